/**
 * What goes wrong between stock clients and other servers, tried with the same clients here: y-websocket 3.1, HocuspocusProvider 4
 * and 3, over real sockets, on a real store that can be held up and made to refuse.
 */
import { HocuspocusProvider, HocuspocusProviderWebsocket } from '@hocuspocus/provider'
import { afterEach, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import * as Y from 'yjs'
import type { Appended, Entry, Journals, ReadOptions } from '../../actors/journal.ts'
import { options } from '../../src/config.ts'
import { createTroupe, type Troupe, TroupeError, type TroupeOptions } from '../../src/index.ts'
import { openLmdbJournals } from '../../src/storage/lmdb.ts'
import { secret, token } from '../auth/tokens.ts'
import { closeEditors, converged, type Editor, openEditor, synced } from '../support/editors.ts'
import { closeTiptaps, majors, openSocket, openTiptap, saved, type Tiptap } from '../support/hocuspocus.ts'
import { type Expected, Passing } from '../support/passingJournals.ts'
import { temporaryDirectory } from '../support/process.ts'
import { realWorld } from '../support/realWorld.ts'
import { until } from '../support/wait.ts'
import { twoChanges } from './yjs-server-suite/checks/updates.ts'
import { Client } from './yjs-server-suite/client.ts'
import { Socket } from './yjs-server-suite/socket.ts'
import { updateMessage } from './yjs-server-suite/wire.ts'

/** A gate: what waits at it goes on when it is opened. */
class Gate {
  #isOpen = true
  #waiting: (() => void)[] = []

  shut(): void {
    this.#isOpen = false
  }

  open(): void {
    this.#isOpen = true
    for (const go of this.#waiting.splice(0)) go()
  }

  get waiting(): number {
    return this.#waiting.length
  }

  pass(): Promise<void> {
    return this.#isOpen ? Promise.resolve() : new Promise((resolve) => this.#waiting.push(resolve))
  }
}

/** Writes and reads of documents can be held up, writes refused. */
class HeldJournals extends Passing {
  readonly writes = new Gate()
  readonly reads = new Gate()
  refuses = 0
  refused = 0
  loads = 0

  override async append(journal: string, entries: readonly Uint8Array[], expected?: Expected): Promise<Appended> {
    if (!journal.startsWith('document/')) return super.append(journal, entries, expected)
    await this.writes.pass()
    if (this.refuses === 0) return super.append(journal, entries, expected)
    this.refuses--
    this.refused++
    throw new TroupeError('storage.failed', 'an error that the test makes')
  }

  override async read(journal: string, range?: ReadOptions): Promise<Entry[]> {
    if (journal.startsWith('document/')) {
      if (range?.after === undefined || range.after === 0) this.loads++
      await this.reads.pass()
    }
    return super.read(journal, range)
  }
}

const cleanups: (() => unknown)[] = []
afterEach(async () => {
  closeEditors()
  closeTiptaps()
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

interface Running {
  readonly troupe: Troupe
  readonly journals: HeldJournals
  readonly ws: string
}

const start = async (config: TroupeOptions = {}): Promise<Running> => {
  const { path, remove } = temporaryDirectory()
  cleanups.push(remove)
  const { clock, random, log } = realWorld()
  const lmdb: Journals = await openLmdbJournals({ directory: path, clock, random, log, ballastBytes: 0 })
  const journals = new HeldJournals(lmdb)
  const troupe = await createTroupe({ journals, port: 0, log: { level: 'silent' }, ...config })
  cleanups.push(async () => {
    journals.writes.open()
    journals.reads.open()
    await troupe.close()
  })
  return { troupe, journals, ws: `ws://127.0.0.1:${troupe.listeners[0]?.port}` }
}

const tiptap = (ws: string, name: string, more: Parameters<typeof openTiptap>[2] = {}): Tiptap => openTiptap(`${ws}/hocuspocus`, name, more)
const editor = (ws: string, name: string): Editor => openEditor(`${ws}/docs`, name)

/** The codes with which the connection of an editor was closed. */
const closesOf = ({ provider }: Editor): number[] => {
  const codes: number[] = []
  provider.on('connection-close', (event) => event !== null && codes.push(event.code))
  return codes
}

describe('"saved"', () => {
  it.each(majors)('is not said by the provider of major %d before the change is on disk', async (major) => {
    const { journals, ws } = await start()
    const a = tiptap(ws, 'notes', { major })
    await saved(a)
    journals.writes.shut()
    a.text.insert(0, 'on its way')
    await until(() => journals.writes.waiting > 0, 'the write')
    // Both wires are in order: what the server says to a question now, it says after an acknowledgement that it had sent.
    const other = tiptap(ws, 'notes', { major })
    await until(() => other.provider.synced, 'another client')
    expect(a.provider.hasUnsyncedChanges).toBe(true)
    journals.writes.open()
    await saved(a)
  })

  it('is not said by the change that comes back to a y-websocket client before it is on disk', async () => {
    const { journals, ws } = await start()
    const socket = new Socket('yjs', `${ws}/docs/echo`)
    await until(() => socket.isOpen, 'the connection')
    const a = new Client(socket, '')
    a.ask()
    await until(() => a.first('step2') !== undefined, 'step 2')
    journals.writes.shut()
    a.text.insert(0, 'on its way')
    await until(() => journals.writes.waiting > 0, 'the write')
    const before = a.messages.length
    a.ask()
    await until(() => a.first('step2', before) !== undefined, 'an answer after the change')
    expect(a.count('update')).toBe(0)
    journals.writes.open()
    await until(() => a.count('update') === 1, 'the change at its author')
    socket.destroy()
  })

  it('is not said of a change that builds on something that the server never got', async () => {
    const { ws } = await start()
    const [, second, whole] = twoChanges()
    const socket = new Socket('hocuspocus', `${ws}/hocuspocus`)
    await until(() => socket.isOpen, 'the connection')
    const a = new Client(socket, 'gap')
    a.answers = false
    a.sayToken('')
    a.ask()
    await until(() => a.first('step1') !== undefined, 'the question of the server')
    const before = a.messages.length
    a.say(updateMessage(second))
    await until(() => a.first('step1', before) !== undefined, 'a question for what is missing')
    expect(a.statuses(true)).toBe(0)
    socket.destroy()
    // With a stock provider, which answers the question by itself, both heal.
    const doc = new Y.Doc()
    const b = tiptap(ws, 'gap', { doc })
    await saved(b)
    Y.applyUpdate(doc, Y.encodeStateAsUpdate(whole), b.provider) // as if it had been sent and lost
    Y.applyUpdate(doc, Y.encodeStateAsUpdate(whole), undefined)
    b.text.insert(0, 'and third, ')
    await saved(b)
    const reader = editor(ws, 'gap')
    await until(() => reader.text.toString() === 'and third, first second', 'what was missing')
  })

  it('stays true when the store fails once and the last client leaves', async () => {
    const { troupe, journals, ws } = await start({ documents: { retryMs: 50, idleMs: 100 } })
    const a = tiptap(ws, 'fails-once', { awareness: null })
    await saved(a)
    journals.refuses = 1
    a.text.insert(0, 'kept')
    await until(() => journals.refused === 1, 'the refusal')
    a.close()
    await until(() => troupe.actors('document/').length === 0, 'the end of the idle document')
    const b = tiptap(ws, 'fails-once')
    await saved(b)
    expect(b.text.toString()).toBe('kept')
  })
})

describe('a document whose connections the server closes', () => {
  it('has its client back at once, alone on its socket or beside another document', async () => {
    const { troupe, ws } = await start()
    const shared = openSocket(`${ws}/hocuspocus`)
    const [kicked, other] = [tiptap(ws, 'kicked', { shared }), tiptap(ws, 'other', { shared })]
    const alone = tiptap(ws, 'kicked')
    await Promise.all([kicked, other, alone].map(saved))
    troupe.stop('document/kicked')
    kicked.text.insert(0, 'written after it. ')
    alone.text.insert(0, 'alone, too. ')
    other.text.insert(0, 'undisturbed')
    await Promise.all([kicked, other, alone].map(saved))
    const reader = editor(ws, 'kicked')
    await until(() => reader.text.length === 'written after it. alone, too. '.length, 'both changes at somebody else')
    expect(shared.opened).toBe(1)
  })

  it('tells a client that may not come back, which stays quiet, while another document on the socket goes on', async () => {
    const { troupe, ws } = await start()
    const shared = openSocket(`${ws}/hocuspocus`)
    const [gone, other] = [tiptap(ws, 'gone', { shared }), tiptap(ws, 'other', { shared })]
    gone.text.insert(0, 'x')
    await Promise.all([gone, other].map(saved))
    await troupe.ask('document/gone', { type: 'document.remove', by: '' })
    await until(() => gone.events.some((event) => event.startsWith('denied document.deleted')), 'the denial')
    other.text.insert(0, 'goes on')
    await saved(other)
    expect(shared.opened).toBe(1)
  })
})

describe('the 30 seconds after which stock clients give up on a silent socket', () => {
  /** As the client counts, but faster: it closes after this. */
  const silenceMs = 600
  const limits = { keepAliveMs: 100 }

  it.each([null, undefined])('pass without a reconnect for a HocuspocusProvider with awareness %j', async (awareness) => {
    const { ws } = await start({ limits })
    const socket = new HocuspocusProviderWebsocket({
      url: `${ws}/hocuspocus`,
      WebSocketPolyfill: WebSocket,
      messageReconnectTimeout: silenceMs,
    })
    const given = awareness === null ? { awareness } : {}
    const provider = new HocuspocusProvider({ websocketProvider: socket, name: 'quiet', document: new Y.Doc(), token: '', ...given })
    let [opened, heard] = [0, 0]
    socket.on('open', () => opened++)
    socket.on('message', () => heard++)
    provider.attach()
    const began = performance.now()
    await until(() => heard > 20 && performance.now() - began > 3 * silenceMs, 'twenty signs of life')
    expect(opened).toBe(1)
    provider.destroy()
    socket.destroy()
  })

  it('never come for a lone y-websocket client without presence', async () => {
    const { ws } = await start({ limits })
    const a = editor(ws, 'quiet')
    a.provider.awareness.setLocalState(null)
    await synced(a)
    const closes = closesOf(a)
    // The client has no option for it: it looks at when it heard something for the last time.
    for (let n = 0; n < 10; n++) {
      const last = a.provider.wsLastMessageReceived
      await until(() => a.provider.wsLastMessageReceived > last, 'a sign of life')
    }
    expect(closes).toEqual([])
    expect(options.find(({ path }) => path === 'limits.keepAliveMs')?.default).toBeLessThan(25_000)
  })
})

describe('close codes', () => {
  it('bring y-websocket back after what passes', async () => {
    const { troupe, ws } = await start()
    const a = editor(ws, 'back')
    const closes = closesOf(a)
    await synced(a)
    troupe.stop('document/back')
    await until(() => closes.length === 1, 'the close')
    await synced(a)
    expect([closes, a.provider.shouldConnect]).toEqual([[1011], true])
    await troupe.close()
    await until(() => closes.length > 1, 'the close of the server')
    expect([closes[1], a.provider.shouldConnect]).toEqual([1012, true])
  })

  it.each([
    ['auth.failed', 4401],
    ['document.deleted', 4410],
    ['connection.bad_message', 4400],
    ['connection.bad_name', 4404],
  ] as const)('keep y-websocket away after %s: %d', async (cause, code) => {
    const { troupe, ws } = await start({ auth: { jwtSecret: secret } })
    const a = editor(ws, cause === 'connection.bad_name' ? '%00' : 'away')
    let ended: number | undefined
    a.provider.on('closed', (event) => {
      ended = event.code
    })
    if (cause === 'auth.failed') a.provider.params = { token: 'nonsense' }
    if (cause === 'document.deleted') {
      a.text.insert(0, 'x')
      const other = editor(ws, 'away')
      await until(() => other.text.length === 1, 'the change on disk')
      await troupe.ask('document/away', { type: 'document.remove', by: '' })
    }
    if (cause === 'connection.bad_message') {
      await synced(a)
      for (let n = 0; n < 3; n++) a.provider.ws?.send(Uint8Array.of(0, 2, 3, 1, 1))
    }
    if (cause === 'auth.failed') {
      a.provider.disconnect()
      a.provider.connect()
    }
    await until(() => ended !== undefined, 'the end for good')
    expect([ended, a.provider.shouldConnect]).toEqual([code, false])
  })

  it('are not seen by a denied HocuspocusProvider: its socket stays open, and it does not come again', async () => {
    const { ws } = await start({ auth: { jwtSecret: secret }, limits: { keepAliveMs: 100 } })
    const shared = openSocket(`${ws}/hocuspocus`)
    let heard = 0
    shared.socket.on('message', () => heard++)
    const denied = tiptap(ws, 'denied', { shared, token: 'nonsense' })
    await until(() => denied.events.some((event) => event.startsWith('denied auth.failed')), 'the denial')
    const before = heard
    await until(() => heard > before + 10, 'ten signs of life')
    expect([shared.opened, denied.events.filter((event) => event.startsWith('denied')).length]).toEqual([1, 1])
    // The same socket serves what is allowed.
    const allowed = tiptap(ws, 'allowed', { shared })
    await saved(allowed)
  })
})

describe('frames', () => {
  it('carry one message each: of many changes and presences at once a stock client misses none', async () => {
    const { ws } = await start()
    const [a, b, watcher] = [editor(ws, 'busy'), editor(ws, 'busy'), editor(ws, 'busy')]
    await Promise.all([a, b, watcher].map(synced))
    for (let n = 1; n <= 100; n++)
      for (const one of [a, b]) {
        one.text.insert(0, 'x')
        one.provider.awareness.setLocalStateField('n', n)
      }
    const stateOf = ({ doc }: Editor) => watcher.provider.awareness.getStates().get(doc.clientID)?.n
    await until(() => watcher.text.length === 200 && stateOf(a) === 100 && stateOf(b) === 100, 'all changes, and the last presences')
  })
})

describe('a big document', () => {
  const writeBig = async (ws: string): Promise<string> => {
    const writer = tiptap(ws, 'big')
    await saved(writer)
    for (let n = 0; n < 64; n++) writer.text.insert(0, `${n} `.repeat(16_384))
    await saved(writer)
    return writer.text.toString()
  }

  it('comes in pieces to stock y-websocket, which counts as synchronised when it has all of it', async () => {
    const { ws } = await start()
    const content = await writeBig(ws)
    const reader = editor(ws, 'big')
    let [pieces, lengthWhenSynced] = [0, 0]
    reader.doc.on('update', () => pieces++)
    reader.provider.once('sync', () => {
      lengthWhenSynced = reader.text.length
    })
    await until(() => lengthWhenSynced > 0, 'synced')
    expect(lengthWhenSynced).toBe(content.length)
    expect(pieces).toBeGreaterThan(4)
  })

  it.each(majors)('comes in pieces to the HocuspocusProvider of major %d', async (major) => {
    const { ws } = await start()
    const content = await writeBig(ws)
    const reader = tiptap(ws, 'big', { major })
    let [pieces, lengthWhenSynced] = [0, 0]
    reader.doc.on('update', () => pieces++)
    reader.provider.on('synced', () => {
      lengthWhenSynced = reader.text.length
    })
    await until(() => lengthWhenSynced > 0, 'synced')
    expect(lengthWhenSynced).toBe(content.length)
    expect(pieces).toBeGreaterThan(4)
  })
})

describe('loading and unloading', () => {
  it('answers nobody before the stored document is there, and loads it once for all who came', async () => {
    const { troupe, journals, ws } = await start({ documents: { idleMs: 100 } })
    const writer = tiptap(ws, 'loaded', { awareness: null })
    writer.text.insert(0, 'from the disk')
    await saved(writer)
    writer.close()
    await until(() => troupe.actors('document/').length === 0, 'the end of the idle document')
    journals.reads.shut()
    journals.loads = 0
    const many = Array.from({ length: 10 }, () => editor(ws, 'loaded'))
    const lengths: number[] = []
    for (const one of many) one.provider.once('sync', () => lengths.push(one.text.length))
    await until(() => journals.reads.waiting > 0 && many.every(({ provider }) => provider.wsconnected), 'all of them to wait')
    expect(lengths).toEqual([])
    journals.reads.open()
    await until(() => lengths.length === 10, 'all of them synced')
    expect([new Set(lengths), journals.loads]).toEqual([new Set([13]), 1])
  })

  it('has no second copy of a document while its last change is being stored', async () => {
    const { troupe, journals, ws } = await start({ documents: { idleMs: 50 } })
    const a = tiptap(ws, 'leaving', { awareness: null })
    await saved(a)
    journals.writes.shut()
    a.text.insert(0, 'last words')
    await until(() => journals.writes.waiting > 0, 'the write')
    a.close()
    const b = editor(ws, 'leaving')
    await synced(b)
    b.text.insert(b.text.length, ', heard')
    expect(troupe.actors('document/').length).toBe(1)
    journals.writes.open()
    await until(() => b.text.toString() === 'last words, heard', 'both in one document')
  })

  it('drops nothing silently for a client that reads slowly', async () => {
    const { ws } = await start({ limits: { outboundMessages: 20 } })
    const [writer, slow] = [editor(ws, 'slow'), editor(ws, 'slow')]
    await Promise.all([writer, slow].map(synced))
    const socket = slow.provider.ws as unknown as WebSocket // the polyfill that it was given
    socket.pause()
    for (let n = 0; n < 500; n++) writer.text.insert(0, `${n} `.repeat(2_000))
    const watcher = editor(ws, 'slow')
    await converged([writer, watcher])
    socket.resume()
    await converged([writer, slow])
    expect(slow.text.length).toBe(writer.text.length)
  })
})

describe('presence', () => {
  it('of a viewer is seen by others, on both wires', async () => {
    const { ws } = await start({ auth: { jwtSecret: secret } })
    const reader = token({ sub: 'vera', permissions: ['document:*:read'] })
    const owner = editor(ws, 'viewed')
    await synced(owner)
    const viewer = tiptap(ws, 'viewed', { token: reader })
    viewer.provider.awareness?.setLocalStateField('cursor', 1)
    const second = editor(ws, 'viewed')
    second.provider.disconnect()
    second.provider.params = { token: reader }
    second.provider.connect()
    second.provider.awareness.setLocalStateField('cursor', 2)
    const cursorOf = (doc: Y.Doc) => owner.provider.awareness.getStates().get(doc.clientID)?.cursor
    await until(() => cursorOf(viewer.doc) === 1 && cursorOf(second.doc) === 2, 'the presence of both viewers')
  })
})
