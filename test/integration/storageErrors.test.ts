/** Documents on a real store that refuses some of their commits, with stock providers of both wires. */
import { open as openLmdb } from 'lmdb'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { WebSocket } from 'ws'
import type { Appended, Journals } from '../../actors/journal.ts'
import { openDocument } from '../../src/client/index.ts'
import { createTroupe, type Troupe, TroupeError } from '../../src/index.ts'
import { openLmdbJournals } from '../../src/storage/lmdb.ts'
import { closeEditors, openEditor } from '../support/editors.ts'
import { closeTiptaps, majors, openTiptap, saved, type Tiptap } from '../support/hocuspocus.ts'
import { type Expected, Passing } from '../support/passingJournals.ts'
import { temporaryDirectory } from '../support/process.ts'
import { realWorld } from '../support/realWorld.ts'
import { until } from '../support/wait.ts'
import { closeWires, WireClient } from '../support/wire.ts'
import { SeededRandom } from '../support/world.ts'
import { contents, lacks, stockWriter, tiptapWriter, unionOf, wireWriter, write } from '../support/writers.ts'

/** Refuses commits of documents as it is told. */
class MoodyJournals extends Passing {
  commits = 0
  refused = 0
  /** Whether this commit, counted from 1, is refused. */
  isRefused = (_commit: number): boolean => false

  override append(journal: string, entries: readonly Uint8Array[], options?: Expected): Promise<Appended> {
    if (!journal.startsWith('document/') || !this.isRefused(++this.commits)) return super.append(journal, entries, options)
    this.refused++
    return Promise.reject(new TroupeError('storage.failed', 'an error that the test makes'))
  }
}

const cleanups: (() => unknown)[] = []
afterEach(async () => {
  closeWires()
  closeEditors()
  closeTiptaps()
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

const directory = (): string => {
  const { path, remove } = temporaryDirectory()
  cleanups.push(remove)
  return path
}

const start = async (
  path: string,
): Promise<{ troupe: Troupe; journals: MoodyJournals; ws: string; http: string; stop(): Promise<void> }> => {
  const { clock, random, log } = realWorld()
  const lmdb: Journals = await openLmdbJournals({ directory: path, clock, random, log, ballastBytes: 0 })
  const journals = new MoodyJournals(lmdb)
  const troupe = await createTroupe({ journals, port: 0, log: { level: 'silent' }, documents: { retryMs: 50, idleMs: 200 } })
  let isOver = false
  const stop = async () => {
    if (!isOver) await troupe.close()
    isOver = true
  }
  cleanups.push(stop)
  const at = `127.0.0.1:${troupe.listeners[0]?.port}`
  return { troupe, journals, ws: `ws://${at}`, http: `http://${at}`, stop }
}

const ready = async (http: string): Promise<{ status: number; codes: string[] }> => {
  const response = await fetch(`${http}/ready`)
  const { reasons } = (await response.json()) as { reasons: { code: string }[] } // as docs/reference/http.md says
  return { status: response.status, codes: reasons.map(({ code }) => code) }
}

const metric = async (http: string, name: string): Promise<number> => {
  const text = await (await fetch(`${http}/metrics`)).text()
  const values = [...text.matchAll(new RegExp(`^${name}(?:{[^}]*})? (\\S+)$`, 'gm'))].map(([, value]) => Number(value))
  return values.reduce((sum, value) => sum + value, 0)
}

const seed = Number(process.env.SEED ?? 20_261_121)

describe('a store that refuses every tenth commit of documents', () => {
  it(`[SVE1] loses nothing, shows it, and everybody hears in the end that all is saved (seed ${seed})`, async () => {
    const path = directory()
    const { journals, ws, http, stop } = await start(path)
    journals.isRefused = (commit) => commit % 10 === 0
    const rooms = ['one', 'two']
    const writers = rooms.flatMap((room) => [wireWriter(ws, room), stockWriter(ws, room), tiptapWriter(ws, room), tiptapWriter(ws, room)])
    const union = unionOf(writers)
    const chance = new SeededRandom(seed)
    const writing = write(writers, chance)
    let wasRed = false
    await until(async () => {
      wasRed ||= (await ready(http)).codes.includes('document.unsaved')
      return wasRed && journals.refused >= 20
    }, 'twenty refused commits, and one that shows')
    writing.stop()
    await until(() => writers.every(({ isSaved }) => isSaved() !== false), 'everybody to hear that all is saved')
    for (const { room, doc } of writers) await until(() => contents(doc) === contents(union.get(room) ?? doc), `the convergence of ${room}`)
    await until(async () => (await ready(http)).status === 200, 'a green light')
    expect(await metric(http, 'troupe_documents_unsaved')).toBe(0)
    expect(await metric(http, 'troupe_document_commits_refused_total')).toBe(journals.refused)
    const promised = writers.map(({ room, acknowledged }) => ({ room, updates: [...acknowledged] }))
    closeWires()
    closeEditors()
    closeTiptaps()
    await stop()

    const next = await start(path)
    for (const room of rooms) {
      const { doc } = await new WireClient(`${next.ws}/docs/${room}`).synced()
      expect(contents(doc)).toBe(contents(union.get(room) ?? doc))
      for (const { updates } of promised.filter((one) => one.room === room))
        expect(updates.filter((update) => lacks(doc, update))).toEqual([])
    }
    expect(promised.reduce((sum, { updates }) => sum + updates.length, 0)).toBeGreaterThan(100)
  })
})

describe('a store that refuses all commits for a while', () => {
  it('[SVE2] keeps what clients wrote, unacknowledged, and stores it when it can, though its author has left', async () => {
    const { journals, ws, http, troupe } = await start(directory())
    const a = openTiptap(`${ws}/hocuspocus`, 'kept', { awareness: null }) // presence is remembered for a while, and holds the document
    await until(() => a.provider.synced && !a.provider.hasUnsyncedChanges, 'the beginning')
    journals.isRefused = () => true
    a.text.insert(0, 'on a bad disk')
    await until(async () => (await ready(http)).status === 503, 'a red light')
    expect(await ready(http)).toEqual({ status: 503, codes: ['document.unsaved'] })
    expect(await metric(http, 'troupe_documents_unsaved')).toBe(1)
    await until(() => journals.refused > 5, 'more tries')
    expect(a.provider.hasUnsyncedChanges).toBe(true)
    a.close()
    // Longer than an idle document stays.
    const tries = journals.refused
    await until(() => journals.refused > tries + 8, 'more tries without anybody')
    expect(troupe.actors('document/').map(({ address }) => address)).toEqual(['document/kept'])
    journals.isRefused = () => false
    await until(async () => (await ready(http)).status === 200, 'a green light')
    const b = await new WireClient(`${ws}/docs/kept`).synced()
    expect(b.text.toString()).toBe('on a bad disk')
    b.close()
    await until(() => troupe.actors('document/').length === 0, 'the end of an idle document')
  })

  it('[SVE3] is heard of by its clients, at once or when they come, and so is its recovery', async () => {
    const { journals, ws } = await start(directory())
    const news = ({ events }: Tiptap) => events.filter((event) => event.startsWith('stateless'))
    const failing = 'stateless {"type":"troupe.storage","error":"storage.failed"}'
    const over = 'stateless {"type":"troupe.storage","error":null}'
    const stock = openEditor(`${ws}/docs`, 'told')
    const unknown = vi.spyOn(console, 'error')
    cleanups.push(() => unknown.mockRestore())
    const tiptaps = majors.map((major) => openTiptap(`${ws}/hocuspocus`, 'told', { major }))
    const ownOptions = { url: ws, name: 'told', provider: { WebSocketPolyfill: WebSocket as never, disableBc: true } }
    const own = await openDocument(ownOptions)
    cleanups.push(() => own.close())
    const heard: (string | undefined)[] = []
    own.on('storage', (error) => heard.push(error))
    await Promise.all([...tiptaps.map(saved), own.saved(), until(() => stock.provider.synced, 'a stock client')])
    const [first] = tiptaps as [Tiptap, Tiptap]

    journals.isRefused = () => true
    first.text.insert(0, 'on a bad disk')
    await until(() => tiptaps.every((one) => news(one).length > 0) && heard.length > 0, 'the news')
    const [late, ownLate] = [openTiptap(`${ws}/hocuspocus`, 'told'), await openDocument(ownOptions)]
    cleanups.push(() => ownLate.close())
    await until(() => news(late).length > 0 && ownLate.storageError !== undefined, 'the news for those who come later')
    const refused = journals.refused
    await until(() => journals.refused > refused + 3, 'more tries')
    expect([...tiptaps, late].map(news)).toEqual(Array(3).fill([failing]))
    expect([heard, own.storageError, ownLate.storageError]).toEqual([['storage.failed'], 'storage.failed', 'storage.failed'])

    journals.isRefused = () => false
    await Promise.all([...tiptaps, late].map(saved))
    await until(() => own.storageError === undefined && ownLate.storageError === undefined, 'good news')
    expect([...tiptaps, late].map(news)).toEqual(Array(3).fill([failing, over]))
    expect(heard).toEqual(['storage.failed', undefined])
    await until(() => stock.text.toString() === 'on a bad disk', 'the change at the stock client')
    expect(unknown).not.toHaveBeenCalled()
  })
})

describe('a document of which the disk has damaged something', () => {
  /** Of one block of this journal, or the whole block. */
  const spoil = async (path: string, journal: string, isLost: boolean): Promise<void> => {
    const binary = { encoding: 'binary', keyEncoding: 'binary', cache: false } as const
    const root = openLmdb<Buffer, Buffer>({ path, noSubdir: false, maxDbs: 64, ...binary })
    const id = root
      .openDB<Buffer, Buffer>({ name: 'names', ...binary })
      .get(Buffer.from(journal))
      ?.readUInt32LE(5)
    const entries = root.openDB<Buffer, Buffer>({ name: 'entries', ...binary })
    const key = [...entries.getKeys()].map((key) => Buffer.from(key)).filter((key) => key.readUInt32BE(0) === id)[1] as Buffer
    const block = Buffer.from(entries.get(key) as Buffer)
    block[20] = (block[20] as number) ^ 1
    await (isLost ? entries.remove(key) : entries.put(key, block))
    await root.flushed
    await root.close()
  }

  const damaged = async (isLost: boolean) => {
    const path = directory()
    const first = await start(path)
    for (const name of ['bad', 'good']) {
      const document = first.troupe.document(name)
      for (const word of ['one', 'two', 'three']) await document.edit([{ op: 'insert', path: '/text', index: 0, text: word }])
    }
    await first.stop()
    await spoil(path, 'document/bad', isLost)
    return start(path)
  }

  const call = async (http: string, method: string, name: string, body?: object): Promise<{ status: number; body: unknown }> => {
    const given = body === undefined ? {} : { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }
    const response = await fetch(`${http}/v1/documents/${name}`, { method, ...given })
    return { status: response.status, body: await response.json().catch(() => undefined) }
  }

  it.each([
    ['a flipped bit', false],
    ['a lost block', true],
  ])(
    '[SVE4] (%s) refuses its clients with the reason, on both wires and over HTTP, says so once, and can be replaced',
    async (_, isLost) => {
      const { ws, http, troupe } = await damaged(isLost)
      const stock = Array.from({ length: 5 }, () => {
        const closings: string[] = []
        openEditor(`${ws}/docs`, 'bad').provider.on('connection-close', (event) => closings.push(`${event?.code} ${event?.reason}`))
        return { closings }
      })
      const tiptaps = majors.flatMap((major) => Array.from({ length: 3 }, () => openTiptap(`${ws}/hocuspocus`, 'bad', { major })))
      await until(() => tiptaps.every(({ events }) => events.length > 0), 'the reason for all providers')
      for (const { events } of tiptaps) expect(events).toEqual([expect.stringMatching(/^denied journal\.corrupt: /)])
      await until(() => stock.every(({ closings }) => closings.length > 1), 'stock clients to come again')
      for (const { closings } of stock) expect(closings[0]).toMatch(/^1011 journal\.corrupt: /)
      expect((await call(http, 'GET', 'bad')).body).toMatchObject({ offset: 3, damage: expect.any(String) })
      for (const [method, name] of [
        ['GET', 'bad/content'],
        ['GET', 'bad/history'],
        ['GET', 'bad/export'],
      ] as const)
        expect(await call(http, method, name)).toMatchObject({ status: 500, body: { error: { code: 'journal.corrupt' } } })
      // However often it was asked for.
      expect(await metric(http, 'troupe_document_loads_failed_total')).toBe(1)
      expect(await metric(http, 'troupe_dead_letters_total')).toBe(0)
      expect(await (await fetch(`${http}/status`)).json()).toMatchObject({ documents: { damaged: 1 } })
      expect((await ready(http)).status).toBe(200)
      const good = await new WireClient(`${ws}/docs/good`).synced()
      expect(good.text.toString()).toBe('threetwoone')
      if (isLost) expect((await call(http, 'POST', 'bad/reset', { content: { text: 'anew' } })).status).toBe(200)
      else {
        expect((await call(http, 'DELETE', 'bad?purge=true')).status).toBe(200)
        expect((await call(http, 'PUT', 'bad', { content: { text: 'anew' } })).status).toBe(201)
      }
      const next = await new WireClient(`${ws}/docs/bad`).synced()
      expect(next.text.toString()).toBe('anew')
      expect(await (await fetch(`${http}/status`)).json()).toMatchObject({ documents: { damaged: 0 } })
      expect(troupe.health().isHealthy).toBe(true)
    },
  )
})
