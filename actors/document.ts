/**
 * A document: one Yjs document and everybody who has it open.
 *
 *   document.update ─→ examine ─→ window ─→ one append for the window ─→ on disk ─→ one publication to everybody
 *
 * Promises:
 * - What a client gets back of its own update is on disk: an update is published, to its author too, after its commit.
 * - An update that cannot be integrated is neither stored nor published; its sender is asked for what is missing.
 * - Nobody is answered before the stored document is loaded, and there is one actor, so one load, for each document.
 * - A commit that the disk refuses is kept and tried again; the document stays in memory until it is on disk.
 * - It leaves memory only when it is clean and nobody has it open, decided in the turn in which it leaves.
 *
 * Runs under the system as a durable actor of its own making: its journal holds the updates as they came, its snapshot one
 * merged update. On a crash it is loaded anew and its connections close, so that their clients synchronise again.
 */
import type { AwarenessOwner } from '../crdt/awarenessState.ts'
import type { Author } from '../crdt/change.ts'
import type { Answer } from '../crdt/document.ts'
import { joinWindow } from '../crdt/merge.ts'
import { isBeyondLimits, type Rejection } from '../crdt/rejection.ts'
import { emptyUpdate } from '../crdt/update.ts'
import { birthBan, type DocumentAccess, publicName } from './account.ts'
import { DocumentAnswers } from './documentAnswers.ts'
import { type ChangesOptions, DocumentChanges, type EditRequest, type Session } from './documentChanges.ts'
import { DocumentExistence, type ExistenceOptions } from './documentExistence.ts'
import { DocumentGuard, type GuardOptions } from './documentGuard.ts'
import { DocumentHistory } from './documentHistory.ts'
import { DocumentIntake } from './documentIntake.ts'
import { DocumentLog, type LogObserver, type LogOptions } from './documentLog.ts'
import type { DocumentMemory } from './documentMemory.ts'
import type {
  DocumentBytes,
  DocumentDescription,
  DocumentLifeRequest,
  DocumentMessage,
  Edited,
  Participation,
  Refused,
} from './documentMessages.ts'
import { DocumentNews } from './documentNews.ts'
import { DocumentPresence, type PresenceOptions } from './documentPresence.ts'
import { DocumentReceipts, type ReceiptOptions } from './documentReceipts.ts'
import { RecordJournal } from './documentRecord.ts'
import type { ErrorCode } from './errors.ts'
import type { Leavings } from './leavings.ts'
import { type Part, publication } from './publication.ts'
import type { Address } from './system/address.ts'
import { defineActor } from './system/definition.ts'
import type { Scope } from './system/scope.ts'
import type { DocumentEvent } from './webhook.ts'

export interface DocumentOptions extends ChangesOptions, LogOptions, PresenceOptions, ReceiptOptions, GuardOptions, ExistenceOptions {
  readonly idleMs?: number
  /** For metrics. */
  readonly observe?: DocumentObserver
  /** For webhooks. */
  readonly happened?: (event: DocumentEvent) => void
  /** Of all documents together. Without it they leave when they are idle for long enough. */
  readonly memory?: DocumentMemory
  /** Of all documents together. */
  readonly leavings?: Leavings
}

export interface DocumentObserver extends LogObserver {
  /** A client sent something that could not be used. */
  refused(code: string): void
}

const encoder = new TextEncoder()

/** One that is damaged stays as it is unless somebody restores it in the store. */
const reloadMs = 60_000

const storagePart = (code: ErrorCode | undefined): Part => ({ kind: 'storage', bytes: encoder.encode(code ?? '') })

/** One document in memory. The handlers at the end of the file are its table; they are one line each. */
class OpenDocument {
  readonly sessions = new Map<Address, Session>()
  readonly log: DocumentLog
  readonly presence: DocumentPresence
  readonly news: DocumentNews
  readonly guard: DocumentGuard
  readonly existence: DocumentExistence
  readonly intake: DocumentIntake
  readonly changes: DocumentChanges
  readonly answers: DocumentAnswers
  readonly history: DocumentHistory
  /** Who wants in, and what it may do by now. */
  readonly #waiting = new Map<Address, DocumentAccess>()
  readonly #scope: Scope
  readonly #options: DocumentOptions
  readonly receipts: DocumentReceipts

  constructor(scope: Scope, options: DocumentOptions, log: DocumentLog, records: RecordJournal) {
    this.#scope = scope
    this.#options = options
    this.log = log
    this.news = new DocumentNews(scope, options.happened)
    this.intake = new DocumentIntake(log.background, options.leavings)
    this.answers = new DocumentAnswers(options.work, () => log.document)
    this.guard = new DocumentGuard(scope, options, log.background, () => log.document)
    this.presence = new DocumentPresence(
      scope,
      options,
      () => this.sessions.size,
      () => log.plan(),
      (code) => options.observe?.refused(code),
    )
    this.receipts = new DocumentReceipts(scope, options, log)
    this.existence = new DocumentExistence(scope, options, this, records)
    this.changes = new DocumentChanges(scope, options, this)
    this.history = new DocumentHistory(scope, options, this)
    log.begin({
      flushed: (batch) => this.#publish(batch),
      settled: () => {
        this.receipts.pay()
        this.#weigh()
      },
      hasNews: () => this.presence.hasNews,
      readers: () => this.sessions.size,
      compacted: () => {
        this.existence.measure.changed()
        this.history.retain()
      },
      storageChanged: (code) => this.#tellAll([storagePart(code)], ({ hearsOfStorage }) => hearsOfStorage),
    })
    this.existence.begin()
    this.#weigh()
    if (log.damage !== undefined) this.reload()
  }

  static async load(scope: Scope, options: DocumentOptions): Promise<OpenDocument> {
    const records = await RecordJournal.load(options.journals, scope.id)
    return new OpenDocument(scope, options, await DocumentLog.load(scope, options, records), records)
  }

  get isClean(): boolean {
    return this.sessions.size === 0 && this.log.isClean && this.existence.isIdle && this.history.isIdle && this.guard.isIdle
  }

  // ── what it weighs ─────────────────────────────────────────────────────────────────────────────────────────────

  get bytes(): number {
    return this.log.document.bytes
  }

  get cachedBytes(): number {
    return this.log.document.cachedBytes
  }

  get isIdle(): boolean {
    return this.isClean
  }

  get presentClients(): number {
    return this.presence.size
  }

  dropCaches(): void {
    this.log.document.dropCaches()
  }

  unload(): void {
    this.#scope.passivate()
  }

  /** Whoever comes after a while has it looked at again, though others ask for it all the time. */
  reload(isDue = false): void {
    if (isDue && this.isClean) return this.unload()
    this.#scope.after('reload', reloadMs, { type: 'document.reload' })
  }

  #weigh(): void {
    if (this.log.damage === undefined) this.#options.memory?.used(this.#scope.address, this)
  }

  leftMemory(): void {
    this.#options.memory?.left(this.#scope.address, this)
  }

  /** Before it leaves memory; undefined when there is nothing to write. */
  save(): Promise<void> | undefined {
    const saving = this.log.save()
    if (saving === undefined && this.existence.measure.isNoted) return undefined
    // Without its size written down it leaves all the same: it is measured again after it was opened the next time.
    return Promise.resolve(saving).then(() => this.existence.measure.note().catch(() => {}))
  }

  get summary() {
    const { bytes, connections, presentClients, log } = this
    return { bytes, sessions: connections, presentClients, unsaved: log.unsaved, offset: log.saved }
  }

  // ── who is here ────────────────────────────────────────────────────────────────────────────────────────────────

  /** Errors: see `document.join`. */
  async admit(address: Address, participation: Participation): Promise<void> {
    const { existence } = this
    this.#waiting.set(address, participation.access)
    try {
      if (existence.isBusy) await existence.whenFree()
      const consulted = existence.consulted()
      if (consulted !== undefined) await consulted
      if (existence.closure !== undefined) await existence.fit()
      if (existence.closure !== undefined) throw existence.closure
      if (participation.epoch) await existence.epoch.check(participation.epoch)
      const access = this.#waiting.get(address)
      if (access !== undefined) this.join(address, { ...participation, access })
    } finally {
      this.#waiting.delete(address)
    }
  }

  join(address: Address, { access, account, wantsReceipts, wantsStorageNews: hearsOfStorage = false, via = '' }: Participation): void {
    if (this.sessions.has(address)) return
    const user = account.isAnonymous ? undefined : account.user
    const owner: AwarenessOwner = { id: address, user }
    const author: Author = { user: user ?? '', via }
    const dues = this.receipts.open(address, wantsReceipts)
    const ban = birthBan(account, publicName(this.#scope.id))
    this.sessions.set(address, { address, owner, author, dues, wrote: undefined, birthBan: ban, access, hearsOfStorage })
    this.#scope.watch(address)
    this.present(address)
    if (hearsOfStorage && this.log.refusal !== undefined) this.tellStorage(address)
  }

  leave(address: Address): void {
    this.#waiting.delete(address)
    const session = this.sessions.get(address)
    if (session === undefined) return
    this.sessions.delete(address)
    this.changes.forget(session)
    this.receipts.close(session.dues)
    this.#scope.unwatch(address)
    this.presence.release(session.owner)
    this.#weigh()
  }

  /** Closes all connections, with this reason. */
  dismiss(code: ErrorCode, detail: string): void {
    for (const address of [...this.sessions.keys()]) {
      this.refuse(address, code, detail)
      this.leave(address)
    }
  }

  get connections(): number {
    return this.sessions.size
  }

  hasRoom(): void {
    for (const { dues, access } of this.sessions.values()) if (access !== 'read') this.receipts.permitted(dues, true)
  }

  get hasRefused(): boolean {
    return this.receipts.hasRefused
  }

  setAccess(address: Address, access: DocumentAccess): void {
    const session = this.sessions.get(address)
    if (session === undefined) {
      if (this.#waiting.has(address)) this.#waiting.set(address, access)
      return
    }
    session.access = access
    this.receipts.permitted(session.dues, access !== 'read')
  }

  /** Tells one connection who is here. */
  present(address: Address): void {
    const parts = this.presence.all()
    if (parts.length > 0) this.#scope.tell(address, publication(parts))
  }

  hearPresence(address: Address, update: Uint8Array): void {
    const session = this.sessions.get(address)
    if (session === undefined) return
    const rejection = this.presence.hear(session.owner, update)
    this.changes.present(session)
    if (rejection !== undefined) this.refuse(address, 'connection.bad_message', `${rejection.code}: ${rejection.detail}`)
  }

  // ── what clients say ────────────────────────────────────────────────────────────────────────────────────────────────────

  countsAnewSoon(address: Address): void {
    const session = this.sessions.get(address)
    if (session !== undefined) this.receipts.countsAnewSoon(session.dues)
  }

  countAnew(address: Address): void {
    const session = this.sessions.get(address)
    if (session !== undefined) this.receipts.countAnew(session.dues)
  }

  /** Answered when everything that came before it is on disk. */
  barrier(address: Address, payload: Uint8Array): void {
    const session = this.sessions.get(address)
    if (session === undefined) return
    if (this.log.isOverfull) return this.refuse(address, 'document.unsaved', this.#scope.address)
    this.receipts.barrier(session.dues, payload.slice())
  }

  /**
   * Answers "this is what I have" with everything in memory. That is no acknowledgement: should the process die before the
   * newest of it is on disk, everybody who has it gives it back when they synchronise with the next one.
   */
  synchronise(address: Address, stateVector: Uint8Array, isCounted = false, isReply = false): void {
    const session = this.sessions.get(address)
    if (session === undefined) return
    if (!isCounted && !isReply) this.receipts.countAnew(session.dues)
    const old = this.existence.epoch.hasOldVector(stateVector)
    if (old !== undefined) return this.refuse(address, 'document.epoch', old)
    this.answers.answer(
      stateVector,
      (promise, done) =>
        this.intake.hold(address, promise, done, (error) =>
          this.refuse(address, 'document.busy', `an answer could not be made: ${String(error).slice(0, 50)}`),
        ),
      (answer) => this.#tellAnswer(session, answer, isReply),
    )
  }

  #tellAnswer(session: Session, answer: Answer | Rejection, isReply: boolean): void {
    const { address, dues } = session
    if (this.sessions.get(address) !== session) return
    if (!answer.ok) {
      this.refuse(address, isBeyondLimits(answer) ? 'document.invalid' : 'connection.bad_message', `${answer.code}: ${answer.detail}`)
      // Its connection answers one question after the other.
      this.#scope.tell(address, publication([], true))
      return
    }
    const updates = [...answer.updates]
    // One update is the whole answer; of several, an empty last one says that they were all.
    const last = updates.length === 1 ? (updates.pop() as Uint8Array) : emptyUpdate // length is 1
    const parts: Part[] = updates.map((bytes) => ({ kind: 'update', bytes }))
    parts.push({ kind: 'state', bytes: last })
    if (!isReply) parts.push(this.receipts.question(dues))
    this.#scope.tell(address, publication(parts, true, answer.isVeiled))
    this.#weigh()
  }

  /** Which history this is. */
  async tellEpoch(address: Address): Promise<void> {
    if (!this.sessions.has(address)) return
    const epoch = await this.existence.epoch.current()
    this.#scope.tell(address, publication([{ kind: 'epoch', bytes: encoder.encode(epoch) }]))
  }

  /** Whether the disk takes what is written, now and whenever that changes. */
  tellStorage(address: Address): void {
    const session = this.sessions.get(address)
    if (session === undefined) return
    session.hearsOfStorage = true
    this.#scope.tell(address, publication([storagePart(this.log.refusal)]))
  }

  // ── what the server itself does ────────────────────────────────────────────────────────────────────────────────

  /** Errors: `document.unknown`, `document.deleted`, `document.renamed`. */
  async state(): Promise<DocumentBytes> {
    const { refusal } = this.existence
    if (refusal !== undefined) throw refusal
    const { document, saved: offset, unsaved } = this.log
    const { snapshot, tail } = document
    const stateVector = document.encodeStateVector()
    const epoch = await this.existence.epoch.current()
    return { snapshot, tail: [...tail], stateVector, epoch, offset, unsaved }
  }

  /** Whoever waits for it to take in changes again goes on. */
  listen(): void {
    this.changes.listen()
  }

  edit(request: EditRequest): Promise<Edited> {
    return this.changes.edit(request)
  }

  broadcast(payload: string): void {
    this.#tellAll([{ kind: 'stateless', bytes: encoder.encode(payload) }])
  }

  // ── the window ─────────────────────────────────────────────────────────────────────────────────────────────────

  #publish(batch: readonly Uint8Array[]): void {
    const parts: Part[] = []
    if (batch.length > 0) {
      for (const bytes of joinWindow(batch)) parts.push({ kind: 'update', bytes })
      this.news.changed(this.log.saved)
      this.existence.measure.changed()
    }
    const news = this.presence.takeNews()
    if (news !== undefined) parts.push(news)
    this.#tellAll(parts)
  }

  #tellAll(parts: readonly Part[], hears: (session: Session) => boolean = () => true): void {
    if (parts.length === 0) return
    const message = publication(parts)
    for (const session of this.sessions.values()) if (hears(session)) this.#scope.tell(session.address, message)
  }

  refuse(address: Address, code: ErrorCode, detail: string): void {
    this.#options.observe?.refused(code)
    this.#scope.tell<Refused>(address, { type: 'connection.refused', code, detail })
  }
}

const life = ({ existence }: OpenDocument, request: DocumentLifeRequest): Promise<DocumentDescription> => existence.handle(request)

export const documentKind = (options: DocumentOptions) =>
  defineActor<OpenDocument, DocumentMessage>({
    kind: 'document',
    passivation: { idleMs: options.idleMs ?? 120_000 },
    // Its clients are told and come back, and the first of them has it loaded anew; a load that failed refuses only those who waited.
    supervision: { onFailure: 'stop' },
    state: (scope) => OpenDocument.load(scope, options),
    canPassivate: (document) => document.isClean,
    beforePassivation: (document) => document.save(),
    stopped: (document) => {
      document.guard.end()
      document.intake.end()
      document.leftMemory()
      return Promise.all([document.existence.end(), document.log.end()])
    },
    handlers: {
      'document.join': (document, message, { from }) => {
        if (from !== undefined) return document.admit(from, message)
      },
      'document.leave': (document, _message, { from }) => {
        if (from !== undefined) document.intake.leave(from, () => document.leave(from))
      },
      'document.access': (document, { access }, { from }) => {
        if (from !== undefined) document.setAccess(from, access)
      },
      'document.sync': (document, { stateVector, isCounted, isReply }, { from }) => {
        if (from === undefined) return
        if (isCounted !== true && isReply !== true) document.countsAnewSoon(from)
        document.intake.run(from, () => document.synchronise(from, stateVector, isCounted, isReply))
      },
      'document.countAnew': (document, _message, { from }) => {
        if (from === undefined) return
        document.countsAnewSoon(from)
        document.intake.run(from, () => document.countAnew(from))
      },
      'document.update': (document, { update, isAnswer }, { from }) => {
        if (from === undefined) return
        document.intake.run(from, () => document.changes.hear(document.sessions.get(from), update, isAnswer), update.length)
      },
      'document.awareness': (document, { update }, { from }) => {
        if (from !== undefined) document.hearPresence(from, update)
      },
      'document.presence': (document, _message, { from }) => {
        if (from !== undefined) document.present(from)
      },
      'document.barrier': (document, { payload }, { from }) => {
        if (from !== undefined) document.intake.run(from, () => document.barrier(from, payload))
      },
      'document.epoch': (document, _message, { from }) => (from === undefined ? undefined : document.tellEpoch(from)),
      'document.storage': (document, _message, { from }) => (from === undefined ? undefined : document.tellStorage(from)),
      'document.stateless': () => {},
      'document.pulse': (document, _message, { from }) => (from === undefined ? undefined : document.intake.taken(from)),
      'document.state': (document) => document.state(),
      'document.edit': (document, message) => document.edit(message),
      'document.recall': (document, { request }) => document.changes.recall(request),
      'document.present': (document) => document.presence.all().map(({ bytes }) => bytes),
      'document.broadcast': (document, { payload }) => document.broadcast(payload),
      'document.describe': life,
      'document.create': life,
      'document.remove': life,
      'document.undelete': life,
      'document.purge': life,
      'document.reset': life,
      'document.copy': life,
      'document.rename': life,
      'document.receive': life,
      'document.received': (document, { request }) => document.existence.received(request),
      'document.history': (document, request) => document.history.answer(request),
      'document.view': (document, request) => document.history.answer(request),
      'document.diff': (document, request) => document.history.answer(request),
      'document.version.list': (document, request) => document.history.answer(request),
      'document.version.create': (document, request) => document.history.answer(request),
      'document.version.rename': (document, request) => document.history.answer(request),
      'document.version.delete': (document, request) => document.history.answer(request),
      'document.restore': (document, request) => document.history.answer(request),
      'document.rollback': (document, request) => document.history.answer(request),
      'document.prune': (document, request) => document.history.answer(request),
      'actor.stopped': (document, { address }) => document.intake.leave(address, () => document.leave(address)),
      'document.flush': (document) => document.log.flush(),
      'document.expire': (document) => document.presence.expire(),
      'document.tellPresence': (document) => document.presence.due(),
      'document.raisePresence': (document) => document.presence.raise(),
      'document.guard': (document) => document.guard.rest(),
      'document.slice': (document) => document.guard.slice(),
      'document.compact': (document) => document.log.compaction.rested(),
      'document.look': (document) => document.receipts.look(),
      'document.news': (document) => document.news.tell(),
      'document.room': (document) => document.existence.quota.look(document.bytes),
      'document.reload': (document) => document.reload(true),
    },
  })
