/** What a client of a document is told of its changes, and what it is asked. */
import { describe, expect, it } from 'vitest'
import * as Y from 'yjs'
import type { DocumentAccess } from '../../actors/account.ts'
import { type DocumentOptions, documentKind } from '../../actors/document.ts'
import { DocumentMemory } from '../../actors/documentMemory.ts'
import type { DocumentBytes, DocumentDescription, DocumentMessage, Refused } from '../../actors/documentMessages.ts'
import { usageKind } from '../../actors/documentUsage.ts'
import type { Part, Publication } from '../../actors/publication.ts'
import { defineActor } from '../../actors/system/definition.ts'
import type { Scope } from '../../actors/system/scope.ts'
import { encodeAwareness } from '../../crdt/awareness.ts'
import { updateLimits } from '../../crdt/update.ts'
import { documentWork } from '../../crdt/work.ts'
import { SeededRandom } from '../support/world.ts'
import { codeOf, Machine, quiet } from './house.ts'

const address = 'document/d'
const account = { user: 'u', tenant: '', isAnonymous: true, permissions: [] }

/** A client and what it heard. */
class Client {
  readonly doc = new Y.Doc()
  readonly heard: Part[] = []
  readonly refusals: string[] = []
  readonly #room: Room
  readonly #from: string

  constructor(room: Room, name: string) {
    this.#room = room
    this.#from = `probe/${name}`
    this.doc.clientID = 1 + room.clients.size
    room.clients.set(name, this)
  }

  async join(options: { readonly wantsReceipts?: boolean; readonly access?: DocumentAccess; readonly epoch?: string } = {}): Promise<this> {
    const join: DocumentMessage = { type: 'document.join', access: 'write', account, wantsReceipts: true, ...options }
    await this.#room.machine.system.ask(address, join, {}, this.#from)
    return this
  }

  tell(message: DocumentMessage): void {
    this.#room.machine.system.tell(address, message, this.#from)
  }

  async say(message: DocumentMessage): Promise<void> {
    this.tell(message)
    await this.#room.flush()
  }

  /** Asks what it lacks, and answers the question that comes with that. */
  async synchronise(): Promise<void> {
    await this.ask()
    await this.answer()
  }

  ask(): Promise<void> {
    return this.say({ type: 'document.sync', stateVector: Y.encodeStateVector(this.doc) })
  }

  get isAsked(): boolean {
    return this.heard.some(({ kind }) => kind === 'vector')
  }

  /** Answers the oldest question that it has heard. */
  async answer(): Promise<void> {
    this.reply()
    await this.#room.flush()
  }

  /** Answers it, without waiting for what comes of it. */
  reply(changed: (own: Uint8Array) => Uint8Array = (own) => own): void {
    const at = this.heard.findIndex(({ kind }) => kind === 'vector')
    const [question] = this.heard.splice(at, 1) as [Part]
    this.tell({ type: 'document.update', update: changed(Y.encodeStateAsUpdate(this.doc, question.bytes)), isAnswer: true })
  }

  /** Makes a change and returns it. */
  write(text = 'x'): Uint8Array {
    return this.change(() => this.doc.getText('text').insert(0, text))
  }

  /** The update of a change, as a provider gets it. */
  change(make: () => void): Uint8Array {
    const updates: Uint8Array[] = []
    const note = (update: Uint8Array) => void updates.push(update)
    this.doc.on('update', note)
    this.doc.transact(make)
    this.doc.off('update', note)
    return updates[0] as Uint8Array // one transaction, one update
  }

  send(update: Uint8Array): Promise<void> {
    return this.say({ type: 'document.update', update, isAnswer: false })
  }

  /** What it has heard since it was last asked for this, presence apart. */
  take(): string[] {
    return this.heard
      .splice(0)
      .filter(({ kind }) => kind !== 'awareness')
      .map(({ kind }) => kind)
  }
}

class Room {
  readonly clients = new Map<string, Client>()
  machine!: Machine // set by open
  isHeld = false

  static async open(options: Partial<DocumentOptions> = {}): Promise<Room> {
    const room = new Room()
    const ear = defineActor<string, Publication | Refused>({
      kind: 'probe',
      state: (scope: Scope) => scope.id,
      handlers: {
        'connection.publish': (name, { parts }) => void room.clients.get(name)?.heard.push(...parts),
        'connection.refused': (name, { code }) => void room.clients.get(name)?.refusals.push(code),
      },
    })
    const journals: DocumentOptions['journals'] = new Proxy({} as DocumentOptions['journals'], {
      get: (_, name) => {
        const handle = room.#handle as unknown as Record<string | symbol, (...given: unknown[]) => unknown> // whatever is asked of it
        return handle[name]?.bind(handle)
      },
    })
    const work: DocumentOptions['work'] = {
      run: async (name, ...given) => (documentWork[name] as (...given: unknown[]) => never)(...given), // `given` fits `name`
    }
    const document = documentKind({ journals, work, idleMs: 1_000_000, ...options })
    room.machine = await Machine.boot([document, usageKind(options), ear])
    room.#handle = room.machine.disk.open()
    return room
  }

  #handle!: DocumentOptions['journals']

  client(name: string): Client {
    return new Client(this, name)
  }

  /** Lets the window pass, and the commit if the disk is not held. */
  async flush(): Promise<void> {
    await this.machine.clock.advance(50)
    await quiet()
  }

  entries(): number {
    return this.machine.disk.stored(address)?.entries.length ?? 0
  }
}

describe('a client that counts its changes', () => {
  it('[DLF3] gets one receipt for each update, after the commit and after the echo', async () => {
    const room = await Room.open()
    const a = await room.client('a').join()
    await a.synchronise()
    a.take()
    room.machine.disk.hold()
    await a.send(a.write())
    await a.send(a.write())
    expect(a.take()).toEqual([])
    room.machine.disk.release()
    await room.flush()
    expect(a.take()).toEqual(['update', 'saved', 'update', 'saved'])
  })

  it('[DLF3] gets one for an update that it repeats, on disk or on its way there', async () => {
    const room = await Room.open()
    const a = await room.client('a').join()
    await a.synchronise()
    a.take()
    room.machine.disk.hold()
    const update = a.write()
    await a.send(update)
    await a.send(update)
    expect(a.take()).toEqual([])
    room.machine.disk.release()
    await room.flush()
    expect(a.take().filter((kind) => kind === 'saved')).toHaveLength(2)
    await a.send(update)
    expect(a.take()).toEqual(['update', 'saved'])
  })

  it('[DLF3] gets one when a commit was refused and tried again, and none before', async () => {
    const room = await Room.open({ retryMs: 100 })
    const a = await room.client('a').join()
    await a.synchronise()
    a.take()
    room.machine.disk.refuse('storage.full')
    await a.send(a.write())
    await room.machine.clock.advance(1_000)
    expect(a.take()).toEqual([])
    room.machine.disk.refuse(undefined)
    await room.machine.clock.advance(1_000)
    expect(a.take()).toEqual(['update', 'saved'])
  })

  it('[DLF3] gets one for the answer to its own question, and none for that to the server’s', async () => {
    const room = await Room.open({ compareMs: 60_000 })
    const a = await room.client('a').join()
    await a.ask()
    expect(a.heard.map(({ kind }) => kind)).toEqual(['state', 'vector'])
    await a.answer()
    expect(a.take()).toEqual(['state', 'saved'])
    await a.send(a.write())
    a.take()
    await room.machine.clock.advance(90_000)
    expect(a.heard.map(({ kind }) => kind)).toEqual(['vector'])
    await a.answer()
    expect(a.take()).toEqual([])
  })

  it('[DLF3] is told of each change that is refused', async () => {
    const room = await Room.open()
    const a = await room.client('a').join({ access: 'read' })
    await a.ask()
    await a.answer()
    a.take()
    await a.send(a.write())
    await a.send(a.write())
    expect(a.take()).toEqual(['refused', 'refused'])
    expect(room.entries()).toBe(0)
    expect(a.refusals).toEqual([])
  })

  it.each(['read', 'comment'] as const)(
    '[DLF3] who had access %s for a while is asked for what was refused as soon as it may write again, and gets all receipts then',
    async (access) => {
      const room = await Room.open()
      const a = await room.client('a').join()
      await a.synchronise()
      await a.say({ type: 'document.access', access })
      a.take()
      await a.send(a.write())
      await a.send(a.write())
      while (a.heard.some(({ kind }) => kind === 'vector')) await a.answer()
      expect(a.take()).toContain('refused')
      expect(room.entries()).toBe(0)
      await a.say({ type: 'document.access', access: 'write' })
      expect(a.heard.map(({ kind }) => kind)).toEqual(['vector'])
      await a.answer()
      expect(a.take()).toEqual(['update', 'saved', 'saved'])
      await a.send(a.write())
      expect(a.take()).toEqual(['update', 'saved'])
    },
  )

  it('[DLF3] whose refused deletion is still not here after its access was raised and lowered gets no receipt for it', async () => {
    const room = await Room.open()
    const a = await room.client('a').join()
    await a.synchronise()
    await a.send(a.write())
    await a.say({ type: 'document.access', access: 'read' })
    a.take()
    await a.send(a.change(() => a.doc.getText('text').delete(0, 1)))
    expect(a.take()).toEqual(['refused'])
    await a.say({ type: 'document.access', access: 'write' })
    await a.say({ type: 'document.access', access: 'read' })
    await a.answer()
    expect(a.take()).toEqual([])
    await a.say({ type: 'document.access', access: 'write' })
    await a.answer()
    expect(a.take()).toEqual(['update', 'saved'])
  })

  it('[DLF4] hears nothing of what builds on something missing, is asked once, and gets all receipts when its answer is on disk', async () => {
    const room = await Room.open()
    const a = await room.client('a').join()
    await a.synchronise()
    a.take()
    a.write('kept back')
    await a.send(a.write())
    await a.send(a.write())
    expect(a.heard.map(({ kind }) => kind)).toEqual(['vector'])
    room.machine.disk.hold()
    await a.answer()
    expect(a.take()).toEqual([])
    room.machine.disk.release()
    await room.flush()
    expect(a.take()).toEqual(['update', 'saved', 'saved'])
    await a.send(a.write())
    expect(a.take()).toEqual(['update', 'saved'])
  })

  it('[DLF4] whose answer has holes itself gets receipts for what is here, and the rest when it is', async () => {
    const room = await Room.open({ askAgainMs: 1_000 })
    const [a, b] = [await room.client('a').join(), await room.client('b').join()]
    await a.synchronise()
    await b.synchronise()
    const first = b.write('not yet. ')
    // `a` has learned of the second change of `b` past the server, and waits for the first one.
    Y.applyUpdate(a.doc, b.write('second. '))
    expect(a.doc.store.pendingStructs).not.toBeNull()
    a.take()
    await a.ask()
    await a.answer()
    expect(a.take()).toEqual(['state'])
    await a.send(a.write('own. '))
    expect(a.take()).toEqual(['update', 'saved'])
    await b.send(first)
    expect(a.heard.some(({ kind }) => kind === 'update')).toBe(true)
    for (const { kind, bytes } of a.heard) if (kind === 'update') Y.applyUpdate(a.doc, bytes)
    a.take()
    await room.machine.clock.advance(1_500)
    expect(a.heard.map(({ kind }) => kind)).toEqual(['vector'])
    await a.answer()
    expect(a.take()).toEqual(['update', 'saved'])
  })

  it('[DLF5] that counts anew gets a receipt for its answer alone', async () => {
    const room = await Room.open()
    const a = await room.client('a').join()
    await a.synchronise()
    a.take()
    room.machine.disk.hold()
    await a.send(a.write())
    await a.send(a.write())
    await a.ask()
    await a.answer()
    room.machine.disk.release()
    await room.flush()
    expect(a.take().filter((kind) => kind === 'saved')).toHaveLength(1)
  })

  it('[DLF5] counts anew from where it asked, though its question had to wait', async () => {
    const room = await Room.open()
    const a = await room.client('a').join()
    await a.synchronise()
    a.take()
    room.machine.disk.hold()
    await a.send(a.write())
    await a.say({ type: 'document.countAnew' })
    await a.send(a.write())
    await a.say({ type: 'document.sync', stateVector: Y.encodeStateVector(a.doc), isCounted: true })
    await a.answer()
    room.machine.disk.release()
    await room.flush()
    expect(a.take().filter((kind) => kind === 'saved')).toHaveLength(2)
  })

  it('[DLF5] that counts anew while a change before it is still in the worker gets no receipt for that, early or late', async () => {
    const gates: (() => void)[] = []
    const work: DocumentOptions['work'] = {
      run: async (name, ...given) => {
        if (name === 'inspect') await new Promise<void>((open) => gates.push(open))
        return (documentWork[name] as (...given: unknown[]) => never)(...given) // `given` fits `name`
      },
    }
    const room = await Room.open({ work, inlineBytes: 1_000 })
    const a = await room.client('a').join()
    await a.synchronise()
    a.take()
    await a.send(a.write('one '.repeat(500)))
    await a.send(a.write('two '.repeat(500)))
    await a.ask()
    gates.shift()?.()
    await room.flush()
    expect(a.take()).toEqual(['update'])
    gates.shift()?.()
    await room.flush()
    expect(a.take()).toEqual(expect.not.arrayContaining(['saved']))
  })

  it('[DLF5] that left is owed nothing, and its changes are stored', async () => {
    const room = await Room.open()
    const a = await room.client('a').join()
    await a.synchronise()
    a.take()
    room.machine.disk.hold()
    await a.send(a.write())
    await a.say({ type: 'document.leave' })
    room.machine.disk.release()
    await room.flush()
    expect(a.take()).toEqual([])
    expect(room.entries()).toBe(1)
  })
})

describe('what a client is asked', () => {
  it('[DLF6] comes again while it does not answer, ever more seldom', async () => {
    const room = await Room.open({ askAgainMs: 1_000, compareMs: 0 })
    const a = await room.client('a').join()
    await a.synchronise()
    a.take()
    a.write('kept back')
    await a.send(a.write())
    await room.machine.clock.advance(60_000)
    // At 0, 1, 3, 7, 15 and 31 s, looked at each second.
    expect(a.take()).toEqual(Array(6).fill('vector'))
  })

  it('[DLF7] is what it has beyond the server, once, when it wrote and then fell silent', async () => {
    const room = await Room.open({ compareMs: 60_000 })
    const [a, b] = [await room.client('a').join(), await room.client('b').join()]
    for (const one of [a, b]) await one.synchronise()
    await a.send(a.write())
    for (const one of [a, b]) one.take()
    a.write('kept back, and nothing follows')
    await room.machine.clock.advance(300_000)
    expect(a.heard.map(({ kind }) => kind)).toEqual(['vector'])
    expect(b.take()).toEqual([])
    await a.answer()
    expect(b.take()).toEqual(['update'])
    await room.machine.clock.advance(300_000)
    expect(a.take()).toEqual(['update'])
  })

  it('[DLF8] has been answered before a barrier comes back that was sent after something with holes', async () => {
    const room = await Room.open()
    const a = await room.client('a').join({ wantsReceipts: false })
    await a.synchronise()
    a.take()
    a.write('kept back')
    await a.send(a.write())
    await a.say({ type: 'document.barrier', payload: Uint8Array.of(1) })
    await a.say({ type: 'document.barrier', payload: Uint8Array.of(2) })
    expect(a.heard.map(({ kind }) => kind)).toEqual(['vector'])
    await a.answer()
    expect(a.heard.map(({ kind, bytes }) => (kind === 'barrier' ? bytes[0] : kind))).toEqual(['update', 2])
  })

  it('[DLF8] has been asked again before a barrier comes back that was sent while the document is being moved', async () => {
    const room = await Room.open()
    await room.machine.system.ask('document/taken', { type: 'document.create', by: 'u' })
    const a = await room.client('a').join({ wantsReceipts: false })
    await a.synchronise()
    await a.send(a.write('there already'))
    await a.ask()
    a.write('typed offline')
    room.machine.disk.hold()
    const rename = codeOf(room.machine.system.ask(address, { type: 'document.rename', by: 'u', to: 'taken' }))
    await quiet()
    await a.answer()
    await a.say({ type: 'document.barrier', payload: Uint8Array.of(1) })
    expect(a.take()).not.toContain('barrier')
    room.machine.disk.release()
    await room.flush()
    expect(await rename).toBe('document.exists')
    const stored = room.entries()
    expect(a.heard.map(({ kind }) => kind)).toEqual(['vector'])
    await a.answer()
    expect(a.take()).toEqual(['update', 'barrier'])
    expect(room.entries()).toBe(stored + 1)
  })

  it('[DLF3] has no receipt for anything while something of it waits for the document to be moved', async () => {
    const room = await Room.open()
    await room.machine.system.ask('document/taken', { type: 'document.create', by: 'u' })
    const a = await room.client('a').join()
    await a.synchronise()
    a.take()
    room.machine.disk.hold()
    await a.send(a.write('on its way'))
    const rename = codeOf(room.machine.system.ask(address, { type: 'document.rename', by: 'u', to: 'taken' }))
    await quiet()
    await a.send(a.write('too late'))
    room.machine.disk.release()
    await room.flush()
    expect(await rename).toBe('document.exists')
    expect(a.heard.map(({ kind }) => kind)).toEqual(['update', 'vector'])
    await a.answer()
    expect(a.take()).toEqual(['update', 'update', 'saved', 'saved'])
  })

  it('[DLF8] that is sent away when the document has begun anew never hears the barrier behind what it brought meanwhile', async () => {
    const room = await Room.open()
    const a = await room.client('a').join({ wantsReceipts: false })
    await a.synchronise()
    await a.send(a.write('there already'))
    await a.ask()
    a.write('typed offline')
    room.machine.disk.hold()
    const reset = room.machine.system.ask(address, { type: 'document.reset', by: 'u' })
    await quiet()
    await a.answer()
    await a.say({ type: 'document.barrier', payload: Uint8Array.of(1) })
    room.machine.disk.release()
    await room.flush()
    await reset
    expect(a.take()).not.toContain('barrier')
    expect(a.refusals).toEqual(['document.epoch'])
  })
})

describe('a document', () => {
  it('[DLF9] whose load fails refuses those who wait, with the reason, and is loaded by the next who joins', async () => {
    const room = await Room.open()
    const a = await room.client('a').join()
    await a.synchronise()
    await a.send(a.write('stored'))
    await a.say({ type: 'document.leave' })
    room.machine.system.stop(address)
    const { disk } = room.machine
    const stored = disk.stored(address)
    const entries = stored?.entries.splice(0) ?? []
    stored?.entries.push({ offset: 1, time: 0, data: Uint8Array.of(99, 1, 2) })
    const b = room.client('b')
    expect(await codeOf(b.join())).toBe('storage.newer_format')
    expect(await codeOf(b.join())).toBe('storage.newer_format')
    expect(b.take()).toEqual([])
    expect(room.machine.system.health().isHealthy).toBe(true)
    stored?.entries.splice(0, 1, ...entries)
    await room.machine.world.clock.advance(61_000)
    await b.join()
    await b.ask()
    const state = b.heard.find(({ kind }) => kind === 'state')
    Y.applyUpdate(b.doc, state?.bytes as Uint8Array)
    expect(b.doc.getText('text').toString()).toBe('stored')
  })

  it('leaves memory at once where that is short, when the last of those who were present has gone', async () => {
    const room = await Room.open({ memory: new DocumentMemory(0) })
    const a = await room.client('a').join()
    await a.synchronise()
    await a.send(a.write())
    await a.say({ type: 'document.awareness', update: encodeAwareness([{ client: 1, clock: 0, state: '{}' }]) })
    await a.say({ type: 'document.leave' })
    expect(room.machine.system.counts().get('document')).toBe(0)
  })

  it('that cannot be compacted is tried again ever more seldom', async () => {
    let tries = 0
    const room = await Room.open({
      retryMs: 1_000,
      compaction: { updates: 1, share: 0, bytes: 1e9 },
      work: {
        run: async (name, ...given) => {
          if (name === 'compact') tries++
          if (name === 'compact') throw new Error('no')
          return (documentWork[name] as (...given: unknown[]) => never)(...given) // `given` fits `name`
        },
      },
    })
    const a = await room.client('a').join()
    for (let i = 0; i < 3; i++) await a.send(a.write())
    for (const ms of [1_000, 2_000, 4_000, 8_000]) {
      await room.machine.clock.advance(ms)
      await quiet()
    }
    expect(tries).toBeGreaterThan(2)
    expect(tries).toBeLessThan(7)
  })

  it('[DLF10] stores a list of deletions once, however many clients answer with it', async () => {
    const room = await Room.open()
    const a = await room.client('a').join()
    await a.synchronise()
    await a.send(a.write('to be deleted'))
    await a.send(
      a.change(() => {
        a.doc.getText('text').delete(2, 5)
        a.doc.getText('text').delete(4, 2)
      }),
    )
    const full = Y.encodeStateAsUpdate(a.doc)
    const counts: number[] = []
    for (let i = 0; i < 5; i++) {
      const one = await room.client(`reader${i}`).join()
      Y.applyUpdate(one.doc, full)
      await one.synchronise()
      expect(one.take().at(-1)).toBe('saved')
      counts.push(room.entries())
    }
    expect(new Set(counts.slice(1)).size).toBe(1)
  })
})

describe('a client that wrote too much and then deletes', () => {
  it('[DLF11] is asked for the rest within a second, though it has just answered and was refused', async () => {
    const room = await Room.open({ maxBytes: 2_000, compareMs: 0 })
    const a = await room.client('a').join()
    await a.synchronise()
    a.take()
    await a.send(a.write('x'.repeat(1_900)))
    await a.send(a.write('y'.repeat(800)))
    await a.answer()
    expect(a.take()).toEqual(['update', 'saved', 'refused'])
    await a.send(a.change(() => a.doc.getText('text').delete(400, 2_000)))
    await room.machine.clock.advance(1_000)
    while (a.isAsked) await a.answer()
    expect(a.take().filter((kind) => kind === 'saved')).toHaveLength(2)
  })

  it('[DLF11] has everything saved soon, whatever crosses on the way', async () => {
    for (let seed = 0; seed < 100; seed++) {
      const random = new SeededRandom(seed)
      const room = await Room.open({ maxBytes: 2_000, compareMs: 0 })
      const { clock } = room.machine
      const a = await room.client('a').join()
      await a.synchronise()
      a.take()
      const text = a.doc.getText('text')
      const changes = [
        () => text.insert(0, 'x'.repeat(1_000 + random.below(900))),
        () => text.insert(0, 'y'.repeat(800 + random.below(2_200))),
        ...(random.chance(0.3) ? [() => text.insert(0, 'z'.repeat(500))] : []),
        // What stays is small enough; whether anything of it was here before is another matter.
        () => text.delete(random.chance(0.3) ? 0 : 400, text.length - 800),
      ]
      const sent = changes.length
      const until = clock.now() + 5_000
      while (changes.length > 0 || clock.now() < until) {
        const make = random.chance(0.5) ? changes.shift() : undefined
        if (make !== undefined) a.tell({ type: 'document.update', update: a.change(make), isAnswer: false })
        else if (a.isAsked && random.chance(0.5)) a.reply()
        await clock.advance(random.below(40))
        await quiet()
      }
      expect(
        a.take().filter((kind) => kind === 'saved'),
        `seed ${seed}`,
      ).toHaveLength(sent)
      expect(a.refusals, `seed ${seed}`).toEqual([])
      const b = await room.client('b').join()
      await b.ask()
      for (const { kind, bytes } of b.heard) if (kind === 'update' || kind === 'state') Y.applyUpdate(b.doc, bytes)
      expect(b.doc.getText('text').toString(), `seed ${seed}`).toBe(text.toString())
    }
  })
})

describe('a client that was refused because its tenant is full', () => {
  const limits = { tenantBytes: 10_000, compareMs: 0 }
  const textOf = (text: string) => {
    const doc = new Y.Doc()
    doc.getText('text').insert(0, text)
    return doc
  }
  const edit = (room: Room, name: string, update: Uint8Array) =>
    room.machine.system.ask(`document/${name}`, { type: 'document.edit', update, author: { user: '', via: 'http' } })

  /** The tenant has 8 000 bytes in another document, and somebody could not save 4 000 in this one. */
  const refused = async (options: Partial<DocumentOptions> = {}) => {
    const room = await Room.open({ ...limits, ...options })
    const other = textOf('o'.repeat(8_000))
    await edit(room, 'other', Y.encodeStateAsUpdate(other))
    const a = await room.client('a').join()
    await a.synchronise()
    a.take()
    await a.send(a.write('x'.repeat(4_000)))
    while (a.isAsked) await a.answer()
    expect(a.take()).toContain('refused')
    return { room, a, other }
  }

  it('[TQ4] is asked again when another document was deleted, and has everything saved', async () => {
    const { room, a } = await refused()
    await room.machine.clock.advance(60_000)
    expect(a.take()).toEqual([])
    await room.machine.system.ask('document/other', { type: 'document.remove', by: 'u' })
    await room.machine.clock.advance(10_000)
    expect(a.isAsked).toBe(true)
    await a.answer()
    expect(a.take()).toEqual(['update', 'saved'])
  })

  it('[TQ4] is asked again when something was deleted in another document, which is compacted for it', async () => {
    const { room, a, other } = await refused()
    const before = Y.encodeStateVector(other)
    other.getText('text').delete(0, 7_000)
    await edit(room, 'other', Y.encodeStateAsUpdate(other, before))
    await room.machine.clock.advance(10_000)
    await a.answer()
    expect(a.take()).toEqual(['update', 'saved'])
  })

  it('[TQ4] and writes on meanwhile has a receipt for each change, once there is room for all of them', async () => {
    const { room, a } = await refused()
    await edit(room, 'third', Y.encodeStateAsUpdate(textOf('t'.repeat(1_000))))
    await a.send(a.write('y'.repeat(4_500)))
    while (a.isAsked) await a.answer()
    await room.machine.system.ask('document/third', { type: 'document.remove', by: 'u' })
    await room.machine.clock.advance(10_000)
    while (a.isAsked) await a.answer()
    expect(a.take().filter((kind) => kind === 'saved')).toEqual([])
    await room.machine.system.ask('document/other', { type: 'document.remove', by: 'u' })
    await room.machine.clock.advance(20_000)
    while (a.isAsked) await a.answer()
    expect(a.take().filter((kind) => kind === 'saved')).toHaveLength(2)
  })

  it('[TQ4] is asked again when the tenant may have new documents, if its own was to be one', async () => {
    const room = await Room.open({ tenantRefuseBytes: 10_000, compareMs: 0 })
    const a = await room.client('a').join()
    await a.synchronise()
    await edit(room, 'other', Y.encodeStateAsUpdate(textOf('o'.repeat(12_000))))
    await room.flush()
    expect(await codeOf(room.client('b').join())).toBe('document.full') // now it is known here, too
    a.take()
    await a.send(a.write('new'))
    while (a.isAsked) await a.answer()
    expect(a.take()).toContain('refused')
    await room.machine.system.ask('document/other', { type: 'document.remove', by: 'u' })
    await room.machine.clock.advance(10_000)
    await a.answer()
    expect(a.take()).toEqual(['update', 'saved'])
  })
})

describe('what fits of an answer with holes', () => {
  /** The worker waits before it looks for the part. */
  const gated = () => {
    let open = () => {}
    const gate = new Promise<void>((resolve) => (open = resolve))
    let asked = 0
    const work: DocumentOptions['work'] = {
      run: async (name, ...given) => {
        if (name === 'integrablePart') {
          asked++
          await gate
        }
        return (documentWork[name] as (...given: unknown[]) => never)(...given) // `given` fits `name`
      },
    }
    return { work, open: () => open(), asked: () => asked }
  }

  /** Something that builds on what nobody has. */
  const hole = (): Uint8Array => {
    const doc = new Y.Doc()
    let last = new Uint8Array(0)
    doc.on('update', (update: Uint8Array) => (last = new Uint8Array(update)))
    for (const letter of 'xy') doc.getText('other').insert(doc.getText('other').length, letter)
    return last
  }

  const answerWithHole = (a: Client): void => {
    a.reply((own) => Y.mergeUpdates([own, hole()]))
  }

  it('[DLF12] is not taken in while the document is being moved: nobody is told that it is saved, and lacks it then', async () => {
    const { work, open } = gated()
    const room = await Room.open({ work })
    const a = await room.client('a').join()
    await a.synchronise()
    await a.send(a.write('hello'))
    a.take()
    a.write('first ')
    await a.send(a.write('second '))
    answerWithHole(a)
    await room.flush()
    room.machine.disk.hold()
    const reset = room.machine.system.ask(address, { type: 'document.reset', by: 'u' })
    await quiet()
    open()
    await room.flush()
    room.machine.disk.release()
    await room.flush()
    await reset
    expect(a.take()).not.toContain('saved')
    expect(a.refusals).toHaveLength(1)
  })

  it('[DLF12] counts against the size of the document like any other change', async () => {
    const room = await Room.open({ maxBytes: 2_000, compareMs: 0 })
    const a = await room.client('a').join()
    await a.synchronise()
    a.take()
    for (const letter of 'abcdef') {
      a.write(letter.repeat(900))
      await a.ask()
      answerWithHole(a)
      await room.flush()
    }
    const { bytes } = (await room.machine.system.ask(address, { type: 'document.describe' })) as DocumentDescription
    expect(bytes).toBeLessThan(2_500)
    expect(a.take()).toContain('refused')
  })

  it('[DLF12] is looked for once at a time, after a question, and what is said next waits for it', async () => {
    const { work, open, asked } = gated()
    const room = await Room.open({ work })
    const a = await room.client('a').join()
    await a.synchronise()
    a.take()
    await a.ask()
    answerWithHole(a)
    for (let i = 0; i < 5; i++) a.tell({ type: 'document.update', update: hole(), isAnswer: true })
    await a.send(a.write('typed meanwhile'))
    expect([asked(), a.take()]).toEqual([1, ['state']])
    open()
    await room.flush()
    await quiet()
    expect(asked()).toBe(1)
    expect(a.take().filter((kind) => kind === 'saved')).not.toEqual([])
  })
})

describe('a client', () => {
  it('[DLF13] whose change is right but more than is taken hears at once that this can never be saved', async () => {
    const room = await Room.open({ updateLimits: { ...updateLimits, structs: 50 } })
    const a = await room.client('a').join()
    await a.synchronise()
    await a.send(a.change(() => a.doc.getArray('list').push(Array.from({ length: 30 }, () => new Y.Map()))))
    expect(a.refusals).toEqual([])
    await a.send(a.change(() => a.doc.getArray('list').push(Array.from({ length: 60 }, () => new Y.Map()))))
    expect(a.refusals).toEqual(['document.invalid'])
  })

  it.each(['a known change', 'a barrier'])(
    '[DLF14] that repeats %s while the disk refuses is sent away before it fills the memory',
    async (what) => {
      const room = await Room.open({ maxUnsavedBytes: 20_000 })
      const a = await room.client('a').join()
      await a.synchronise()
      room.machine.disk.hold()
      const update = a.write('x'.repeat(5_000))
      await a.send(update)
      for (let i = 0; i < 10; i++)
        if (what === 'a barrier') await a.say({ type: 'document.barrier', payload: new Uint8Array(5_000) })
        else await a.send(update)
      expect(a.refusals[0]).toBe('document.unsaved')
      room.machine.disk.release()
      await room.flush()
      expect(a.take()).toContain('saved')
    },
  )

  it('[DLF15] that is let in while its access is withdrawn may do no more than it may now', async () => {
    const room = await Room.open()
    const b = await room.client('b').join()
    await b.synchronise()
    await b.send(b.write('hello'))
    const { epoch } = (await room.machine.system.ask(address, { type: 'document.state' })) as DocumentBytes
    const a = room.client('a')
    const joining = a.join({ epoch })
    a.tell({ type: 'document.access', access: 'read' })
    await joining
    await a.synchronise()
    const entries = room.entries()
    await a.send(a.write('not allowed'))
    expect([a.take().filter((kind) => kind === 'refused'), room.entries()]).toEqual([['refused'], entries])
  })
})
