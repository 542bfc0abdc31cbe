/**
 * One process of the server: the real actor system with the real kinds of documents and connections, and what
 * `src/server.ts` plugs them into, on simulated time, network and disk.
 */
import { type ConnectionInput, type ConnectionLimits, type ConnectionMessage, connectionKind } from '../../actors/connection.ts'
import { type DocumentOptions, documentKind } from '../../actors/document.ts'
import type { DocumentMessage } from '../../actors/documentMessages.ts'
import type { ErrorCode } from '../../actors/errors.ts'
import type { Appended, Entry, Head, Journals, Offset, ReadOptions, Snapshot, StorageStatus } from '../../actors/journal.ts'
import type { Publication } from '../../actors/publication.ts'
import type { Scope } from '../../actors/system/scope.ts'
import { ActorSystem } from '../../actors/system/system.ts'
import type { Log, World } from '../../actors/world.ts'
import { decodeAwareness } from '../../crdt/awareness.ts'
import { type DocumentWork, documentWork } from '../../crdt/work.ts'
import { yjsDoor } from '../../src/doors/yjs.ts'
import { SeededRandom } from '../support/world.ts'
import type { Events, Trace } from './events.ts'
import type { Listener, ServerSide, Socket } from './network.ts'
import type { StoredDocument, Violate } from './oracle.ts'
import type { Content } from './ranges.ts'

export type Document = Parameters<NonNullable<ReturnType<typeof documentKind>['stopped']>>[0]

export interface ServerSettings {
  readonly sliceMs: number
  readonly limits: ConnectionLimits
  readonly document: Omit<DocumentOptions, 'journals' | 'work' | 'observe'>
  readonly readMs: () => number
  readonly compactMs: () => number
}

export interface ServerHost {
  readonly events: Events
  readonly trace: Trace
  readonly violate: Violate
  saw(what: string): void
  stored(address: string): StoredDocument
  /** The client behind a connection. */
  clientOf(socket: Socket): number
  passivated(address: string): void
  isDiskHealthy(): boolean
}

/** Presence is taken back after this long without a word (less what the clock rounds off); nobody may take it back before. */
const awarenessTimeoutMs = 30_000 - 2
/** Whoever is gone is taken back with the next window, which a slow disk puts off. */
const removalMs = 4_000
/** Pings are not counted by the connection, and some may wait. */
const pingSlackBytes = 64

/** What a document may report as an error when the disk refuses something. That its journal has moved is none of it: it writes alone. */
const expectedErrors = [
  'a document could not be stored; it is kept and tried again',
  'a document could not be compacted',
  'the history of a document could not be pruned',
]

const expectedDeadLetters: readonly ErrorCode[] = ['actor.stopped', 'system.closed']

/** Calls of a dead process are never answered, reads take their time. */
class ProcessJournals implements Journals {
  readonly #journals: Journals
  readonly #server: Server
  readonly #settings: ServerSettings
  readonly #open = new Set<Promise<unknown>>()
  /** Writes under way: `append` or `snapshot`, and the journal. */
  readonly #writing = new Map<string, number>()

  constructor(journals: Journals, server: Server, settings: ServerSettings) {
    this.#journals = journals
    this.#server = server
    this.#settings = settings
  }

  isWriting(kind: 'append' | 'snapshot', journal: string): boolean {
    return (this.#writing.get(`${kind} ${journal}`) ?? 0) > 0
  }

  append(journal: string, entries: readonly Uint8Array[], options?: { readonly expected?: Offset | 'none' }): Promise<Appended> {
    if (this.isWriting('snapshot', journal)) this.#server.host.saw('a write while a snapshot is written')
    return this.#write('append', journal, () => this.#journals.append(journal, entries, options))
  }

  saveSnapshot(journal: string, offset: Offset, data: Uint8Array, options?: { readonly trim?: boolean }): Promise<void> {
    return this.#write('snapshot', journal, () => this.#journals.saveSnapshot(journal, offset, data, options))
  }

  read(journal: string, options?: ReadOptions): Promise<Entry[]> {
    return this.#read(() => this.#journals.read(journal, options))
  }

  head(journal: string): Promise<Head> {
    return this.#read(() => this.#journals.head(journal))
  }

  snapshot(journal: string): Promise<Snapshot | undefined> {
    return this.#read(() => this.#journals.snapshot(journal))
  }

  trim(journal: string, before: Offset): Promise<void> {
    return this.#write('trim', journal, () => this.#journals.trim(journal, before))
  }

  remove(journal: string): Promise<void> {
    return this.#write('remove', journal, () => this.#journals.remove(journal))
  }

  list(prefix: string, options?: { readonly after?: string; readonly limit?: number }): Promise<string[]> {
    return this.#read(() => this.#journals.list(prefix, options))
  }

  status(): StorageStatus {
    return this.#journals.status()
  }

  onStatus(changed: (status: StorageStatus) => void): () => void {
    return this.#journals.onStatus((status) => this.#server.isDead || changed(status))
  }

  async close(): Promise<void> {
    while (this.#open.size > 0) await Promise.allSettled([...this.#open])
    await this.#journals.close()
  }

  #write<T>(kind: string, journal: string, call: () => Promise<T>): Promise<T> {
    const key = `${kind} ${journal}`
    const change = (by: 1 | -1) => this.#writing.set(key, (this.#writing.get(key) ?? 0) + by)
    change(1)
    const written = this.#guard(call)
    this.#open.add(written)
    const done = () => {
      change(-1)
      this.#open.delete(written)
    }
    written.then(done, done)
    return written
  }

  #read<T>(call: () => Promise<T>): Promise<T> {
    return this.#guard(async () => {
      await this.#server.wait(this.#settings.readMs())
      return call()
    })
  }

  #guard<T>(call: () => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      if (this.#server.isDead) return
      call().then(
        (value) => this.#server.isDead || resolve(value),
        (error) => this.#server.isDead || reject(error),
      )
    })
  }
}

/** Who said what about presence, for one incarnation of a document. */
class PresenceRecord {
  /** The latest that the client itself said, by client id. */
  readonly heard = new Map<number, { readonly from: string; readonly at: number; readonly order: number }>()
  /** When something of an id was last told, and whether that was a state. */
  readonly told = new Map<number, number>()
  readonly shown = new Set<number>()
  /** The connection of the client itself that was the first to speak for its id while nobody was shown under it. */
  readonly owners = new Map<number, string>()
  /** Ids that a connection has spoken for. */
  readonly spoken = new Map<string, Set<number>>()
  /** The first id that a connection spoke for. */
  readonly first = new Map<string, number>()
  /** When a connection ended that had spoken for an id. */
  readonly ended = new Map<number, number>()
  order = 0
}

export class Server implements Listener {
  readonly host: ServerHost
  readonly number: number
  readonly system: ActorSystem
  readonly journals: ProcessJournals
  isDead = false
  #isClosing = false
  readonly #settings: ServerSettings
  readonly #sockets = new Map<string, Socket>()
  /** Of every connection that there ever was: what it said may be handled after its end. */
  readonly #speakers = new Map<string, Socket>()
  readonly #live = new Map<string, Document>()
  readonly #ended = new WeakSet<Document>()
  readonly #presence = new WeakMap<Document, PresenceRecord>()
  readonly #stops = new Map<string, number>()
  readonly #passivatedAt = new Map<string, number>()
  #unsaved = 0
  #refusedWrites = 0
  readonly #checked = new WeakSet<Publication>()

  constructor(host: ServerHost, number: number, seed: number, journals: Journals, settings: ServerSettings) {
    this.host = host
    this.number = number
    this.#settings = settings
    this.journals = new ProcessJournals(journals, this, settings)
    const { events } = host
    const world: World = {
      clock: { ...events.clock, after: (ms, fire) => events.after(ms, () => this.isDead || fire()) },
      turns: {
        soon: (work) => events.soon(() => this.isDead || work()),
        later: (work) => events.after(0, () => this.isDead || work()),
      },
      random: new SeededRandom(seed),
      log: this.#log(),
    }
    this.system = new ActorSystem({
      world,
      journals: this.journals,
      actors: [this.#documents(), connectionKind(settings.limits)],
      sliceMs: settings.sliceMs,
    })
  }

  wait(ms: number): Promise<void> {
    return new Promise((resolve) => this.host.events.after(ms, () => this.isDead || resolve()))
  }

  start(): Promise<void> {
    return this.system.start()
  }

  get connections(): number {
    return this.#sockets.size
  }

  /** The document in memory; undefined when it is not. */
  document(address: string): Document | undefined {
    return this.system.inspect(address) as Document | undefined // the state of its kind
  }

  accept(socket: Socket): ServerSide | undefined {
    if (this.isDead || this.#isClosing) return undefined
    const address = `connection/${this.system.world.random.id()}`
    this.host.trace.note(`${address.slice(-3)} of ${socket.name} begins`)
    const client = this.host.clientOf(socket)
    for (const other of this.#sockets.values())
      if (this.host.clientOf(other) === client) this.host.saw('an editor is back before its old socket is gone')
    this.#sockets.set(address, socket)
    this.#speakers.set(address, socket)
    const tell = (message: ConnectionMessage) => {
      if (!this.isDead) this.system.tell(address, message)
    }
    const side: ServerSide = {
      received: (frame) => {
        this.host.trace.bytes(frame)
        const decoded = yjsDoor.decode(frame)
        if (decoded.ok) tell({ type: 'connection.receive', message: decoded.message })
        else tell({ type: 'connection.garbage', detail: decoded.detail })
      },
      pong: () => tell({ type: 'connection.pong' }),
      drained: () => tell({ type: 'connection.drained' }),
      gone: () => {
        if (!this.#sockets.delete(address)) return
        this.host.trace.note(`${address.slice(-3)} of ${socket.name} is gone`)
        tell({ type: 'connection.gone' })
      },
      sent: (publication) => {
        const { outboundBytes } = this.#settings.limits
        if (socket.queuedBytes > outboundBytes + pingSlackBytes)
          this.host.violate('memory', `${socket.queuedBytes} bytes wait for ${socket.name}`)
        return this.#sent(socket.document, publication)
      },
      terminated: (isCut) => this.host.saw(isCut ? 'the server gives up a dead socket' : 'the server breaks a socket off'),
    }
    const account = { user: address, tenant: '', isAnonymous: true, permissions: ['document:*'] }
    const input: ConnectionInput = { sink: socket, document: socket.document, account, door: 'yjs', wantsReceipts: socket.wantsReceipts }
    this.system.begin(address, input)
    return side
  }

  /** The end of the process, at once. `isSilent`: and of the machine, so that nobody closes its sockets. */
  kill(isSilent: boolean): void {
    this.#checkDeadLetters()
    this.isDead = true
    for (const socket of this.#sockets.values()) socket.crash(isSilent)
    this.#sockets.clear()
  }

  /** As `TroupeServer.close` does it. */
  async close(): Promise<void> {
    this.#isClosing = true
    await this.system.quiesce()
    for (const address of this.#sockets.keys()) {
      const goodbye: ConnectionMessage = { type: 'connection.close', code: 'system.closed', detail: '' }
      this.system.tell(address, goodbye)
    }
    await this.system.close()
    for (const socket of [...this.#sockets.values()]) socket.terminate()
    await this.journals.close()
    this.#checkDeadLetters()
    this.isDead = true
  }

  #checkDeadLetters(): void {
    for (const [code, count] of this.system.deadLettersByCode()) {
      if (expectedDeadLetters.includes(code as ErrorCode)) continue
      const letter = this.system.deadLetters().find((one) => one.code === code)
      this.host.violate('failure', `${count} dead letters ${code}: ${letter?.address} ${letter?.message.type} ${letter?.detail}`)
    }
  }

  check(): void {
    if (!this.isDead) this.#checkDeadLetters()
  }

  #log(): Log {
    const note = (level: string) => (fields: Readonly<Record<string, unknown>>, text: string) => {
      if (this.isDead) return
      this.host.trace.note(`${level}: ${text} ${JSON.stringify(fields)}`)
      if (text === 'a slow client is disconnected') this.host.saw(text)
      if (text === 'a document could not be compacted') this.host.saw('a compaction fails')
      if (text === 'a document could not be stored; it is kept and tried again') this.host.saw('a full disk with unsaved edits')
      if (level === 'error' && !expectedErrors.includes(text)) this.host.violate('failure', `${text} ${JSON.stringify(fields)}`)
    }
    return { debug: note('debug'), info: note('info'), warn: note('warn'), error: note('error') }
  }

  // ── what leaves ────────────────────────────────────────────────────────────────────────────────────────────────

  #sent(document: string, publication: Publication): Content | undefined {
    const stored = this.host.stored(document)
    if (publication.isAnswer) {
      for (const { kind, bytes } of publication.parts) {
        if ((kind === 'update' || kind === 'state') && !stored.isDurable(bytes)) this.host.saw('an answer ahead of the disk')
      }
      return stored.content.told
    }
    if (this.#checked.has(publication)) return undefined
    this.#checked.add(publication)
    for (const { kind, bytes } of publication.parts) {
      if (kind === 'update') stored.assertDurable(bytes, 'an update is published')
      if (kind === 'vector') this.host.saw('a client is asked by the server itself')
      if (kind === 'awareness') this.#checkPresence(document, bytes)
    }
    return undefined
  }

  #checkPresence(address: string, bytes: Uint8Array): void {
    const entries = decodeAwareness(bytes)
    const document = this.document(address)
    const record = document === undefined ? undefined : this.#presence.get(document)
    if (!('length' in entries) || record === undefined || document === undefined) return
    this.host.trace.note(`${address} tells ${entries.map(({ client, clock, state }) => `${client}@${clock}${state}`)}`)
    for (const { client, state } of entries) {
      record.told.set(client, record.order++)
      if (state === null) {
        record.shown.delete(client)
        record.owners.delete(client)
      } else {
        record.shown.add(client)
        continue
      }
      const heard = record.heard.get(client)
      if (heard === undefined || !document.sessions.has(heard.from)) continue
      if (this.host.events.now - heard.at >= awarenessTimeoutMs) this.host.saw('presence expires')
      else if (this.#hasOtherHome(record, client, heard.from)) this.host.saw('an editor without presence of its own speaks for another')
      else if ((record.ended.get(client) ?? -1) < heard.order)
        this.host.violate('presence', `${client} of ${address} is removed though it is there`)
    }
  }

  /**
   * Known limit of AwarenessState: an editor that shows no presence of its own speaks for somebody else first, so that id
   * becomes its home, and its removal (after 30 s without news) counts for 15 s though an heir is there.
   */
  #hasOtherHome(record: PresenceRecord, client: number, from: string): boolean {
    for (const [address, first] of record.first) if (first === client && address !== from) return true
    return false
  }

  // ── documents ──────────────────────────────────────────────────────────────────────────────────────────────────

  #documents(): ReturnType<typeof documentKind> {
    const { events, saw } = this.host
    const work: DocumentWork = {
      run: async (name, ...given) => {
        await this.wait(this.#settings.compactMs())
        const run = documentWork[name] as (...given: unknown[]) => ReturnType<(typeof documentWork)[typeof name]> // `given` fits `name`
        const result = run(...given)
        if (name === 'integrablePart')
          saw(result === undefined ? 'nothing of an answer with holes fits' : 'a part of an answer with holes fits')
        return result
      },
    }
    // Nothing is compressed: what a seed does must not depend on a version of zlib.
    const compression = {
      compress: async (bytes: Uint8Array) => bytes.slice(),
      decompress: async (compressed: Uint8Array) => compressed.slice(),
    }
    const definition = documentKind({
      ...this.#settings.document,
      journals: this.journals,
      work,
      history: { compression },
      observe: {
        stored: () => {
          if (this.#unsaved > 0 || this.#refusedWrites > 0) saw('a refused commit succeeds later')
          this.#refusedWrites = 0
        },
        unsaved: (change) => {
          if (this.isDead) return
          this.#unsaved += change
          if (change < 0) this.#refusedWrites++
        },
        commitRefused: () => {},
        loadFailed: () => {},
        damaged: () => {},
        compacted: () => saw('a compaction'),
        refused: (code) => saw(code === 'update.missing' ? 'an update with missing predecessors is asked for' : `refused ${code}`),
      },
    })
    const handlers = Object.fromEntries(
      Object.entries(definition.handlers).map(([type, handler]) => [
        type,
        (document: Document, message: DocumentMessage, scope: Scope) => {
          this.#handling(document, message, scope)
          return (handler as (document: Document, message: DocumentMessage, scope: Scope) => unknown)(document, message, scope)
        },
      ]),
    ) as unknown as typeof definition.handlers // the same keys
    return {
      ...definition,
      handlers,
      stopped: (document, scope) => {
        this.#stopped(document, scope.address)
        const writes = definition.stopped?.(document, scope)
        if (document.summary.unsaved > 0 && this.journals.isWriting('append', scope.address))
          saw('an actor ends while its commit is under way')
        const stops = this.#stops.get(scope.address) ?? 0
        const { unsaved, sessions } = document.summary
        events.after(0, () => {
          if (this.isDead || this.#isClosing || this.#stops.get(scope.address) !== (stops === 0 ? undefined : stops)) return
          if (unsaved > 0 || sessions > 0)
            this.host.violate('L4', `${scope.address} left memory with ${unsaved} unsaved updates and ${sessions} sessions`)
          saw('a passivation')
          this.#passivatedAt.set(scope.address, events.now)
          this.host.passivated(scope.address)
        })
        return writes
      },
    }
  }

  #handling(document: Document, message: DocumentMessage, { address, from }: Scope): void {
    if (this.#ended.has(document)) this.host.violate('L3', `an incarnation of ${address} handles ${message.type} after its end`)
    const live = this.#live.get(address)
    if (live === undefined) {
      this.#live.set(address, document)
      this.#presence.set(document, new PresenceRecord())
      this.system.watch(address, this.#watcher(address))
      const since = this.host.events.now - (this.#passivatedAt.get(address) ?? Number.NEGATIVE_INFINITY)
      if (since < 100) this.host.saw('a join at the moment of passivation')
    } else if (live !== document) this.host.violate('L3', `two incarnations of ${address} live`)
    const record = this.#presence.get(document) as PresenceRecord // set with the first message
    if (message.type === 'document.awareness' && from !== undefined) this.#heard(record, from, message.update)
    const leaving = message.type === 'actor.stopped' ? message.address : message.type === 'document.leave' ? from : undefined
    if (leaving !== undefined) {
      for (const client of record.spoken.get(leaving) ?? []) record.ended.set(client, record.order++)
      this.#expectRemoval(document, record, leaving)
      record.spoken.delete(leaving)
    }
  }

  /** Whom only this connection has shown is taken back soon; an heir of the same client would take its place. */
  #expectRemoval(document: Document, record: PresenceRecord, from: string): void {
    const order = record.order++
    const witnesses = [...document.sessions.keys()].filter((address) => address !== from)
    for (const [client, owner] of record.owners) {
      const hasHeir = record.heard.get(client)?.from !== owner
      if (owner !== from || hasHeir || !record.shown.has(client)) continue
      this.host.events.after(removalMs, () => {
        const isOver = this.isDead || this.#ended.has(document) || !witnesses.some((address) => document.sessions.has(address))
        if (!isOver && (record.told.get(client) ?? -1) < order) this.host.violate('presence', `${client} is still shown though it is gone`)
      })
    }
  }

  #heard(record: PresenceRecord, from: string, update: Uint8Array): void {
    const entries = decodeAwareness(update)
    const socket = this.#speakers.get(from)
    if (!('length' in entries) || socket === undefined) return
    const own = this.host.clientOf(socket)
    this.host.trace.note(
      `${from.slice(-3)} of ${socket.name} says ${entries.map(({ client, clock, state }) => `${client}@${clock}${state}`)}`,
    )
    for (const { client, state } of entries) {
      if (state === null) {
        if (client === own) record.heard.delete(client)
        continue
      }
      const spoken = record.spoken.get(from) ?? new Set()
      record.spoken.set(from, spoken.add(client))
      if (!record.owners.has(client) && !record.shown.has(client)) record.owners.set(client, client === own ? from : '')
      if (!record.first.has(from)) record.first.set(from, client)
      if (client === own) record.heard.set(client, { from, at: this.host.events.now, order: record.order++ })
    }
  }

  readonly #watchers = new Map<string, () => void>()

  #watcher(address: string): () => void {
    const watcher = this.#watchers.get(address) ?? (() => this.#stops.set(address, (this.#stops.get(address) ?? 0) + 1))
    this.#watchers.set(address, watcher)
    return watcher
  }

  #stopped(document: Document, address: string): void {
    this.#ended.add(document)
    if (this.#live.get(address) === document) this.#live.delete(address)
    if (!this.#isClosing || this.isDead) return
    const { unsaved } = document.summary
    if (unsaved > 0 && this.host.isDiskHealthy())
      this.host.violate('L6', `${address} was closed in good order with ${unsaved} unsaved updates`)
  }
}
