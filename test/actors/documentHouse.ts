/** Documents in a simulated world, clients that note what they are told, and verbs for both. */
import * as Y from 'yjs'
import type { Account, DocumentAccess } from '../../actors/account.ts'
import { type DocumentOptions, documentKind } from '../../actors/document.ts'
import type { DocumentDescription, DocumentLifeRequest, DocumentMessage, Participation, Refused } from '../../actors/documentMessages.ts'
import { type SweepMessage, sweepKind } from '../../actors/documentSweep.ts'
import { usageKind } from '../../actors/documentUsage.ts'
import { TroupeError } from '../../actors/errors.ts'
import type { Journals } from '../../actors/journal.ts'
import type { Publication } from '../../actors/publication.ts'
import { countsTenants } from '../../actors/quotaSteps.ts'
import { defineActor } from '../../actors/system/definition.ts'
import { ActorSystem } from '../../actors/system/system.ts'
import { type DocumentWork, documentWork } from '../../crdt/work.ts'
import { type DiskOptions, SimulatedDisk } from '../support/simJournals.ts'
import { quiet, type TestWorld, testWorld } from '../support/world.ts'

const account: Account = { user: 'ada', tenant: '', isAnonymous: false, permissions: ['*'] }

const work: DocumentWork = {
  run: async (name, ...given) => {
    const run = documentWork[name] as (...given: unknown[]) => never // `given` fits `name`
    return run(...given)
  },
}

type ClientMessage =
  | Publication
  | Refused
  | { type: 'join'; document: string; participation: Participation }
  | { type: 'say'; document: string; message: DocumentMessage }

/** What the actor of a connection does, without a socket. */
class Told {
  readonly doc = new Y.Doc()
  refused: string | undefined
  asked: (vector: Uint8Array) => void = () => {}
}

export class DocumentHouse {
  readonly world: TestWorld = testWorld()
  readonly disk: SimulatedDisk
  readonly #options: Partial<DocumentOptions>
  readonly #told = new Map<string, Told>()
  #clients = 0
  journals!: Journals // set by boot
  system!: ActorSystem // set by boot

  constructor(options: Partial<DocumentOptions> = {}, disk: DiskOptions = {}) {
    this.#options = options
    this.disk = new SimulatedDisk(this.world.clock, { maxEntryBytes: 16 * 1_048_576, ...disk })
  }

  static async open(options: Partial<DocumentOptions> = {}, disk: DiskOptions = {}): Promise<DocumentHouse> {
    const house = new DocumentHouse(options, disk)
    await house.boot()
    return house
  }

  /** `wrap`: journals that fail or end in the middle. */
  async boot(wrap: (journals: Journals) => Journals = (journals) => journals): Promise<void> {
    this.journals = wrap(this.disk.open())
    const { journals, world } = this
    const { deletedMs = 30 * 24 * 3_600_000 } = this.#options
    this.system = new ActorSystem({
      world,
      journals,
      actors: [
        documentKind({ windowMs: 0, ...this.#options, journals, work }),
        usageKind(this.#options),
        sweepKind({ journals, deletedMs, countsBytes: countsTenants(this.#options) }),
        this.#clientKind(),
      ],
    })
    await this.system.start()
  }

  #clientKind() {
    return defineActor<Told, ClientMessage>({
      kind: 'client',
      passivation: false,
      state: ({ id }) => this.#told.get(id) as Told, // made by `connect`
      handlers: {
        join: (_, { document, participation }, scope) => scope.ask(document, { type: 'document.join', ...participation }),
        say: (_, { document, message }, scope) => scope.tell(document, message),
        'connection.publish': (told, { parts }) => {
          for (const { kind, bytes } of parts) {
            if (kind === 'update' || kind === 'state') Y.applyUpdate(told.doc, bytes, 'server')
            else if (kind === 'vector') told.asked(bytes)
          }
        },
        'connection.refused': (told, { code, detail }) => {
          told.refused ??= detail === '' ? code : `${code}: ${detail}`
        },
      },
    })
  }

  /** A client whose document may have a past. Rejects when it is not let in. */
  async connect(name: string, options: { doc?: Y.Doc; epoch?: string; access?: DocumentAccess } = {}): Promise<Client> {
    const id = `c${++this.#clients}`
    const told = Object.assign(new Told(), options.doc === undefined ? {} : { doc: options.doc })
    this.#told.set(id, told)
    const { access = 'write', epoch } = options
    const participation = { access, account, wantsReceipts: false, ...(epoch !== undefined && { epoch }) }
    const document = `document/${name}`
    await this.system.ask(`client/${id}`, { type: 'join', document, participation })
    const say = (message: DocumentMessage) => this.system.tell(`client/${id}`, { type: 'say', document, message })
    const client = new Client(told, say, () => this.world.clock.advance(1))
    client.synchronise()
    await quiet()
    return client
  }

  async life(name: string, request: DocumentLifeRequest): Promise<DocumentDescription> {
    return (await this.system.ask(`document/${name}`, request, { timeoutMs: 1e9 })) as DocumentDescription // the answer to these
  }

  /** The text that somebody reads who comes now. */
  async text(name: string): Promise<string> {
    const reader = await this.connect(name)
    await quiet()
    return reader.text
  }

  async append(name: string, update: Uint8Array): Promise<void> {
    await this.system.ask(`document/${name}`, { type: 'document.edit', update, author: { user: '', via: 'http' } })
  }

  sweep(): boolean {
    return this.system.tell('sweep/documents', { type: 'sweep.day' } satisfies SweepMessage)
  }

  /** The process ends at one of the writes to come, before or after it has reached the disk. */
  async endAt(write: number, isWritten: boolean): Promise<void> {
    await this.crash(mortal(write, isWritten))
  }

  /** The disk refuses one of the writes to come. */
  async refuseAt(write: number): Promise<void> {
    await this.crash(moody(write))
  }

  /** The disk is full from one of the writes to come on. */
  async fullFrom(write: number): Promise<{ readonly isFull: boolean }> {
    const state = { isFull: false }
    const fill = () => {
      state.isFull = true
      this.disk.refuse('storage.full')
    }
    await this.crash(counting(write, fill))
    return state
  }

  /** The process ends without a word, and the next one starts. */
  async crash(wrap?: (journals: Journals) => Journals): Promise<void> {
    this.disk.crash()
    this.world.clock.forget()
    await quiet()
    await this.boot(wrap)
  }

  /** `options`: what is set otherwise from now on. */
  async reboot(options: Partial<DocumentOptions> = {}): Promise<void> {
    await this.system.close()
    Object.assign(this.#options, options)
    await this.boot()
  }
}

const writes: ReadonlySet<PropertyKey> = new Set(['append', 'saveSnapshot', 'trim', 'remove'])

/** From the write with this number on (0: the next) nobody gets an answer. */
const mortal =
  (write: number, isWritten: boolean) =>
  (journals: Journals): Journals => {
    let left = write
    const never = new Promise<never>(() => {})
    return new Proxy(journals, {
      get: (target, key) => {
        const method = Reflect.get(target, key) as (...given: unknown[]) => unknown // the role has methods only
        return (...given: unknown[]) => {
          if (left < 0) return key === 'onStatus' || key === 'status' ? method.apply(target, given) : never
          if (!writes.has(key) || left-- > 0) return method.apply(target, given)
          if (isWritten) void (method.apply(target, given) as Promise<unknown>).catch(() => {})
          return never
        }
      },
    })
  }

/** The write with this number (0: the next) is refused. */
const moody =
  (write: number) =>
  (journals: Journals): Journals => {
    let left = write
    return new Proxy(journals, {
      get: (target, key) => {
        const method = Reflect.get(target, key) as (...given: unknown[]) => unknown // the role has methods only
        return (...given: unknown[]) =>
          writes.has(key) && left-- === 0 ? Promise.reject(new TroupeError('storage.full')) : method.apply(target, given)
      },
    })
  }

/** Calls back before the write with this number (0: the next). */
const counting =
  (write: number, reached: () => void) =>
  (journals: Journals): Journals => {
    let left = write
    return new Proxy(journals, {
      get: (target, key) => {
        const method = Reflect.get(target, key) as (...given: unknown[]) => unknown // the role has methods only
        return (...given: unknown[]) => {
          if (writes.has(key) && left-- === 0) reached()
          return method.apply(target, given)
        }
      },
    })
  }

export class Client {
  readonly #told: Told
  readonly #say: (message: DocumentMessage) => unknown
  readonly #pass: () => Promise<void>

  constructor(told: Told, say: (message: DocumentMessage) => unknown, pass: () => Promise<void>) {
    this.#told = told
    this.#say = say
    this.#pass = pass
    told.asked = (vector) => {
      if (this.refused === undefined) say({ type: 'document.update', update: Y.encodeStateAsUpdate(this.doc, vector), isAnswer: true })
    }
    this.doc.on('update', (update: Uint8Array, origin: unknown) => {
      if (origin !== 'server') say({ type: 'document.update', update, isAnswer: false })
    })
  }

  get doc(): Y.Doc {
    return this.#told.doc
  }

  /** Why the connection was closed. */
  get refused(): string | undefined {
    return this.#told.refused
  }

  get text(): string {
    return this.doc.getText('text').toString()
  }

  synchronise(): void {
    this.#say({ type: 'document.sync', stateVector: Y.encodeStateVector(this.doc) })
  }

  async write(text: string): Promise<void> {
    this.doc.getText('text').insert(this.text.length, text)
    await this.#pass()
  }

  async erase(length: number): Promise<void> {
    this.doc.getText('text').delete(0, length)
    await this.#pass()
  }
}

export const updateOf = (text: string): Uint8Array => {
  const doc = new Y.Doc()
  doc.getText('text').insert(0, text)
  return Y.encodeStateAsUpdate(doc)
}

/** As a page that is opened again: what IndexedDB kept, under a new client id. */
export const reopened = (doc: Y.Doc): Y.Doc => {
  const next = new Y.Doc()
  Y.applyUpdate(next, Y.encodeStateAsUpdate(doc))
  return next
}
