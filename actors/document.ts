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
import { mergeWindow } from '../crdt/merge.ts'
import { unpacked } from '../crdt/packedInspection.ts'
import type { Rejection } from '../crdt/rejection.ts'
import { emptyUpdate, inspectUpdate, stateLimits, type UpdateInspection, type UpdateLimits, updateLimits } from '../crdt/update.ts'
import { DocumentExistence, type ExistenceOptions } from './documentExistence.ts'
import { DocumentGuard, type GuardOptions, type Judgement } from './documentGuard.ts'
import { DocumentHistory } from './documentHistory.ts'
import { DocumentIntake } from './documentIntake.ts'
import { DocumentLog, defaultInlineBytes, type LogObserver, type LogOptions } from './documentLog.ts'
import type { DocumentMemory } from './documentMemory.ts'
import type {
  DocumentAccess,
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
import { DocumentReceipts, type Dues, type ReceiptOptions } from './documentReceipts.ts'
import { RecordJournal } from './documentRecord.ts'
import { type ErrorCode, TroupeError } from './errors.ts'
import type { Offset } from './journal.ts'
import { type Part, publication } from './publication.ts'
import type { Address } from './system/address.ts'
import { defineActor } from './system/definition.ts'
import type { Scope } from './system/scope.ts'
import type { DocumentEvent } from './webhook.ts'

export interface DocumentOptions extends LogOptions, PresenceOptions, ReceiptOptions, GuardOptions, ExistenceOptions {
  readonly idleMs?: number
  readonly updateLimits?: UpdateLimits
  /** For metrics. */
  readonly observe?: DocumentObserver
  /** For webhooks. */
  readonly happened?: (event: DocumentEvent) => void
  /** Of all documents together. Without it they leave when they are idle for long enough. */
  readonly memory?: DocumentMemory
}

export interface DocumentObserver extends LogObserver {
  /** A client sent something that could not be used. */
  refused(code: string): void
}

type EditRequest = Extract<DocumentMessage, { type: 'document.edit' }>

interface Session {
  readonly address: Address
  readonly owner: AwarenessOwner
  readonly author: Author
  readonly dues: Dues
  access: DocumentAccess
}

const encoder = new TextEncoder()

/** One document in memory. The handlers at the end of the file are its table; they are one line each. */
class OpenDocument {
  readonly sessions = new Map<Address, Session>()
  readonly log: DocumentLog
  readonly presence: DocumentPresence
  readonly news: DocumentNews
  readonly guard: DocumentGuard
  readonly existence: DocumentExistence
  readonly intake: DocumentIntake
  readonly history: DocumentHistory
  /** Whose updates were not taken in while the document was being moved, or the like. */
  readonly #unheard = new Set<Dues>()
  /** Those of them who were asked since, and edits of the server that waited like them. */
  readonly #asked = new Set<Dues>()
  readonly #waitingEdits: (() => void)[] = []
  /** Who wants in while it is. */
  readonly #waiting = new Set<Address>()
  readonly #scope: Scope
  readonly #options: DocumentOptions
  readonly receipts: DocumentReceipts

  constructor(scope: Scope, options: DocumentOptions, log: DocumentLog, records: RecordJournal) {
    this.#scope = scope
    this.#options = options
    this.log = log
    this.news = new DocumentNews(scope, options.happened)
    this.intake = new DocumentIntake(log.background)
    this.guard = new DocumentGuard(scope, options, () => log.document)
    this.presence = new DocumentPresence(
      scope,
      options,
      () => this.sessions.size,
      () => log.plan(),
      (code) => options.observe?.refused(code),
    )
    this.receipts = new DocumentReceipts(scope, options, log)
    this.existence = new DocumentExistence(scope, options, this, records)
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
        this.existence.changed()
        this.history.retain()
      },
    })
    this.existence.begin()
    this.#weigh()
  }

  static async load(scope: Scope, options: DocumentOptions): Promise<OpenDocument> {
    const records = await RecordJournal.load(options.journals, scope.id)
    return new OpenDocument(scope, options, await DocumentLog.load(scope, options), records)
  }

  get isClean(): boolean {
    return this.sessions.size === 0 && this.log.isClean && this.existence.isIdle && this.history.isIdle
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

  dropCaches(): void {
    this.log.document.dropCaches()
  }

  unload(): void {
    this.#scope.passivate()
  }

  #weigh(): void {
    this.#options.memory?.used(this.#scope.address, this)
  }

  leftMemory(): void {
    this.#options.memory?.left(this.#scope.address, this)
  }

  /** Before it leaves memory; undefined when there is nothing to write. */
  save(): Promise<void> | undefined {
    const saving = this.log.save()
    if (saving === undefined && this.existence.isMeasured) return undefined
    // Without its size written down it leaves all the same: it is measured again after it was opened the next time.
    return Promise.resolve(saving).then(() => this.existence.measure().catch(() => {}))
  }

  get summary(): { readonly bytes: number; readonly sessions: number; readonly unsaved: number; readonly offset: Offset } {
    return { bytes: this.log.document.bytes, sessions: this.sessions.size, unsaved: this.log.unsaved, offset: this.log.saved }
  }

  // ── who is here ────────────────────────────────────────────────────────────────────────────────────────────────

  /** Errors: see `document.join`. */
  async admit(address: Address, participation: Participation): Promise<void> {
    const { existence } = this
    this.#waiting.add(address)
    try {
      if (existence.isBusy) await existence.whenFree()
      if (existence.closure !== undefined) await existence.fit()
      if (existence.closure !== undefined) throw existence.closure
      if (participation.epoch) await existence.checkEpoch(participation.epoch)
      if (this.#waiting.has(address)) this.join(address, participation)
    } finally {
      this.#waiting.delete(address)
    }
  }

  join(address: Address, { access, account, wantsReceipts, via = '' }: Participation): void {
    if (this.sessions.has(address)) return
    const user = account.isAnonymous ? undefined : account.user
    const owner: AwarenessOwner = { id: address, user }
    const author: Author = { user: user ?? '', via }
    const dues = this.receipts.open(address, wantsReceipts)
    this.sessions.set(address, { address, owner, author, dues, access })
    this.#scope.watch(address)
    this.present(address)
  }

  leave(address: Address): void {
    this.#waiting.delete(address)
    const session = this.sessions.get(address)
    if (session === undefined) return
    this.sessions.delete(address)
    this.#unheard.delete(session.dues)
    this.#asked.delete(session.dues)
    this.receipts.close(session.dues)
    this.#scope.unwatch(address)
    this.presence.release(session.owner)
    this.#weigh()
  }

  /** Closes all connections, with this reason. */
  dismiss(code: ErrorCode, detail: string): void {
    for (const address of [...this.sessions.keys()]) {
      this.#refuse(address, code, detail)
      this.leave(address)
    }
  }

  get connections(): number {
    return this.sessions.size
  }

  setAccess(address: Address, access: DocumentAccess): void {
    const session = this.sessions.get(address)
    if (session !== undefined) session.access = access
  }

  /** Tells one connection who is here. */
  present(address: Address): void {
    const parts = this.presence.all()
    if (parts.length > 0) this.#scope.tell(address, publication(parts))
  }

  hearPresence(address: Address, update: Uint8Array): void {
    const session = this.sessions.get(address)
    const rejection = session && this.presence.hear(session.owner, update)
    if (rejection !== undefined) this.#refuse(address, 'connection.bad_message', `${rejection.code}: ${rejection.detail}`)
  }

  // ── changes ────────────────────────────────────────────────────────────────────────────────────────────────────

  /** A large one is inspected in the worker; what its client says next waits for that. */
  hear(address: Address, update: Uint8Array, isAnswer: boolean): void {
    const session = this.sessions.get(address)
    if (session === undefined) return
    const limits = isAnswer ? stateLimits : (this.#options.updateLimits ?? updateLimits)
    if (update.length <= (this.#options.inlineBytes ?? defaultInlineBytes)) {
      this.#hear(session, update, isAnswer, inspectUpdate(update, limits))
      return
    }
    this.intake.hold(
      address,
      this.#options.work.run('inspect', update, limits),
      (inspection) => this.#hear(session, update, isAnswer, unpacked(inspection)),
      (error) => this.#refuse(address, 'document.busy', `a change could not be inspected: ${String(error).slice(0, 50)}`),
    )
  }

  #hear(session: Session, update: Uint8Array, isAnswer: boolean, inspected: UpdateInspection | Rejection): void {
    const { dues, address } = session
    if (this.sessions.get(address) !== session) return
    const receipts = this.receipts.earns(dues, isAnswer)
    const { document } = this.log
    const examined = document.examine(update, stateLimits, inspected)
    if (!examined.ok) {
      this.receipts.refuse(dues, receipts)
      this.#refuse(address, 'connection.bad_message', `${examined.code}: ${examined.detail}`)
      return
    }
    const { verdict, inspection } = examined
    const old = this.existence.isOldUpdate(inspection)
    if (old !== undefined) return this.#refuse(address, 'document.epoch', old)
    if (this.existence.isBusy && verdict !== 'known') return this.#hearLater(session, inspection, isAnswer, receipts)
    if (verdict === 'missing' && session.access !== 'read') return this.#hearMissing(session, update, inspection, isAnswer, receipts)
    if (verdict !== 'known') {
      if (this.log.isOverfull) return this.#refuse(address, 'document.unsaved', this.#scope.address)
      const size = session.access === 'read' ? undefined : this.#judgeSize(update, inspection, this.#asked.has(dues))
      if (size === 'later') return this.#hearLater(session, inspection, isAnswer, receipts)
      if (size !== undefined) return this.#hearTooLarge(session, size.detail, receipts)
      const judgement = this.#judge(session, update, inspection, isAnswer)
      if (judgement.kind === 'refused') return this.#hearRefused(session, judgement, receipts)
      if (judgement.kind === 'allowed') {
        this.#asked.delete(dues)
        this.#admit(update, inspection, session.author)
        if (isAnswer) document.noteAnswer(update, inspection)
      }
    }
    // A repetition is on disk, or on its way there, and its sender waits to hear so.
    else if (!inspection.isEmpty && !isAnswer) this.#echo(address, update.slice())
    this.receipts.taken(dues, receipts, isAnswer)
  }

  /** The client has it, and is asked for it as soon as something can be taken in again. */
  #hearLater({ dues, address }: Session, inspection: UpdateInspection, isAnswer: boolean, receipts: number): void {
    this.#unheard.add(dues)
    if ((!isAnswer || receipts > 0) && !this.receipts.hold(dues, inspection, receipts))
      this.#refuse(address, 'document.busy', 'it is being moved')
  }

  listen(): void {
    for (const dues of this.#unheard) {
      this.#asked.add(dues)
      dues.askableAt = 0
      this.receipts.ask(dues)
    }
    this.#unheard.clear()
    for (const goOn of this.#waitingEdits.splice(0)) goOn()
  }

  #judgeSize(update: Uint8Array, inspection: UpdateInspection, isAgain: boolean): TroupeError | 'later' | undefined {
    return this.log.document.hasNewStructs(inspection) ? this.existence.quota.judge(this.log, update.length, isAgain) : undefined
  }

  /** Also what was held of the client before, for the same answer stands for it. */
  #hearTooLarge(session: Session, detail: string, receipts: number): void {
    const { dues } = session
    const held = dues.held?.receipts ?? 0
    dues.held = undefined
    this.#asked.delete(dues)
    this.#hearRefused(session, { kind: 'refused', code: 'document.full', detail }, receipts + held)
  }

  #admit(update: Uint8Array, inspection: UpdateInspection, author: Author): void {
    this.log.admit(update, inspection, author)
    this.guard.admitted(this.log.document.tail.at(-1) ?? update)
    this.news.by(author.user)
  }

  /** A client's answer to our question always lists all deletions that it knows of, ours too; a reader's are passed over. */
  #judge({ access, author }: Session, update: Uint8Array, inspection: UpdateInspection, isAnswer: boolean): Judgement {
    const bringsStructs = this.log.document.hasNewStructs(inspection)
    if (access !== 'read') return this.guard.judge(update, access, author, bringsStructs)
    if (bringsStructs) return { kind: 'refused', code: 'access.denied', detail: `needs ${this.#scope.address.replace('/', ':')}:write` }
    return isAnswer ? { kind: 'nothing' } : this.guard.judge(update, access, author, bringsStructs)
  }

  /**
   * Whoever changed something believes that it will be saved, so it is told, and where it cannot be told otherwise sent away. Whom the
   * application refused is sent away in any case, with its reason: all that this client goes on to write hangs on the refused change.
   */
  #hearRefused(session: Session, { code, detail }: Extract<Judgement, { kind: 'refused' }>, receipts: number): void {
    const { dues, address } = session
    this.receipts.refuse(dues, receipts)
    if (!dues.wantsReceipts || code === 'rate.limited' || code === 'document.invalid') return this.#refuse(address, code, detail)
    this.#options.observe?.refused(code)
  }

  /**
   * It builds on something that is not here: ask for it. If even the answer to that has holes (the client itself waits for
   * something), the part that fits is taken, and it is asked again only after a while, for the same answer would come.
   */
  #hearMissing(session: Session, update: Uint8Array, inspection: UpdateInspection, isAnswer: boolean, receipts: number): void {
    const { dues, address } = session
    this.#options.observe?.refused('update.missing')
    // Of an answer to a question of ours only what it brings counts; what it lacks was nobody's change.
    if ((!isAnswer || receipts > 0) && !this.receipts.hold(dues, inspection, receipts))
      return this.#refuse(address, 'document.busy', 'too much builds on something that the document does not have')
    if (!isAnswer) return this.receipts.ask(dues)
    this.receipts.hasHoles(dues)
    const { snapshot, tail } = this.log.document
    const copy = update.slice()
    this.log.background.run(
      this.#options.work.run('integrablePart', snapshot, [...tail], copy),
      (part) => {
        const examined = part === undefined ? undefined : this.log.document.examine(part, stateLimits)
        if (part !== undefined && examined?.ok && examined.verdict === 'new') {
          const judgement = this.#judge(session, part, examined.inspection, true)
          if (judgement.kind === 'refused') return this.#refuse(address, judgement.code, judgement.detail)
          if (judgement.kind === 'allowed') this.#admit(part, examined.inspection, session.author)
        }
        this.receipts.partTaken(dues)
      },
      () => {}, // its author still has it, and gives it back when it synchronises again
    )
  }

  #echo(address: Address, bytes: Uint8Array): void {
    this.log.whenSaved(() => this.#scope.tell(address, publication([{ kind: 'update', bytes }])))
  }

  countAnew(address: Address): void {
    const session = this.sessions.get(address)
    if (session !== undefined) this.receipts.countAnew(session.dues)
  }

  /** Answered when everything that came before it is on disk. */
  barrier(address: Address, payload: Uint8Array): void {
    const session = this.sessions.get(address)
    if (session !== undefined) this.receipts.barrier(session.dues, payload.slice())
  }

  /**
   * Answers "this is what I have" with everything in memory. That is no acknowledgement: should the process die before the
   * newest of it is on disk, everybody who has it gives it back when they synchronise with the next one.
   */
  synchronise(address: Address, stateVector: Uint8Array, isCounted = false, isReply = false): void {
    const session = this.sessions.get(address)
    if (session === undefined) return
    const old = this.existence.hasOldVector(stateVector)
    if (old !== undefined) return this.#refuse(address, 'document.epoch', old)
    if (!isCounted && !isReply) this.receipts.countAnew(session.dues)
    const answer = this.log.document.answer(stateVector)
    if (!answer.ok) return this.#refuse(address, 'connection.bad_message', `${answer.code}: ${answer.detail}`)
    const updates = [...answer.updates]
    // One update is the whole answer; of several, an empty last one says that they were all.
    const last = updates.length === 1 ? (updates.pop() as Uint8Array) : emptyUpdate // length is 1
    const parts: Part[] = updates.map((bytes) => ({ kind: 'update', bytes }))
    parts.push({ kind: 'state', bytes: last })
    if (!isReply) parts.push(this.receipts.question(session.dues))
    this.#scope.tell(address, publication(parts, true, answer.isVeiled))
    this.#weigh()
  }

  /** Which history this is. */
  async tellEpoch(address: Address): Promise<void> {
    if (!this.sessions.has(address)) return
    const epoch = await this.existence.epoch()
    this.#scope.tell(address, publication([{ kind: 'epoch', bytes: encoder.encode(epoch) }]))
  }

  // ── what the server itself does ────────────────────────────────────────────────────────────────────────────────

  /** Errors: `document.unknown`, `document.deleted`, `document.renamed`. */
  async state(): Promise<DocumentBytes> {
    const { refusal } = this.existence
    if (refusal !== undefined) throw refusal
    const { document, saved: offset, unsaved } = this.log
    const { snapshot, tail } = document
    const stateVector = document.encodeStateVector()
    const epoch = await this.existence.epoch()
    return { snapshot, tail: [...tail], stateVector, epoch, offset, unsaved }
  }

  async edit(request: EditRequest, isAgain = false): Promise<Edited> {
    const { update, author, access = 'write', expectedOffset } = request
    if (this.existence.isBusy) await this.existence.whenFree()
    const { refusal } = this.existence
    if (refusal !== undefined) throw refusal
    if (expectedOffset !== undefined && (this.log.unsaved > 0 || this.log.saved !== expectedOffset))
      throw new TroupeError('document.changed', `it is at ${this.log.saved}`)
    const examined = this.log.document.examine(update, stateLimits)
    if (!examined.ok) throw new TroupeError('document.invalid', `${examined.code}: ${examined.detail}`)
    if (examined.verdict === 'missing') throw new TroupeError('document.invalid', 'it builds on something that the document does not have')
    if (this.log.isOverfull) throw new TroupeError('document.unsaved', this.#scope.address)
    const old = this.existence.isOldUpdate(examined.inspection)
    if (old !== undefined) throw new TroupeError('document.epoch', old)
    if (examined.verdict === 'new') {
      const size = this.#judgeSize(update, examined.inspection, isAgain)
      if (size === 'later') return new Promise<void>((goOn) => this.#waitingEdits.push(goOn)).then(() => this.edit(request, true))
      if (size !== undefined) throw size
      const judgement = this.guard.judge(update, access, author, this.log.document.hasNewStructs(examined.inspection))
      if (judgement.kind === 'refused') throw new TroupeError(judgement.code, judgement.detail, { rule: judgement.detail })
      if (judgement.kind === 'allowed') this.#admit(update, examined.inspection, author)
    }
    return new Promise((resolve, reject) =>
      this.log.whenSaved(
        () => resolve({ offset: this.log.saved, isNew: examined.verdict === 'new' }),
        () => reject(new TroupeError('document.unavailable', 'it was closed before the change was on disk; ask again')),
      ),
    )
  }

  broadcast(payload: string): void {
    this.#tellAll([{ kind: 'stateless', bytes: encoder.encode(payload) }])
  }

  // ── the window ─────────────────────────────────────────────────────────────────────────────────────────────────

  #publish(batch: readonly Uint8Array[]): void {
    const parts: Part[] = []
    if (batch.length > 0) {
      parts.push({ kind: 'update', bytes: mergeWindow(batch) })
      this.news.changed(this.log.saved)
      this.existence.changed()
    }
    const news = this.presence.takeNews()
    if (news !== undefined) parts.push(news)
    this.#tellAll(parts)
  }

  #tellAll(parts: readonly Part[]): void {
    if (parts.length === 0) return
    const message = publication(parts)
    for (const address of this.sessions.keys()) this.#scope.tell(address, message)
  }

  #refuse(address: Address, code: ErrorCode, detail: string): void {
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
      document.leftMemory()
      return Promise.all([document.existence.end(), document.log.end()])
    },
    handlers: {
      'document.join': (document, message, { from }) => {
        if (from !== undefined) return document.admit(from, message)
      },
      'document.leave': (document, _message, { from }) => {
        if (from !== undefined) document.intake.run(from, () => document.leave(from))
      },
      'document.access': (document, { access }, { from }) => {
        if (from !== undefined) document.setAccess(from, access)
      },
      'document.sync': (document, { stateVector, isCounted, isReply }, { from }) => {
        if (from !== undefined) document.intake.run(from, () => document.synchronise(from, stateVector, isCounted, isReply))
      },
      'document.countAnew': (document, _message, { from }) => {
        if (from !== undefined) document.intake.run(from, () => document.countAnew(from))
      },
      'document.update': (document, { update, isAnswer }, { from }) => {
        if (from !== undefined) document.intake.run(from, () => document.hear(from, update, isAnswer))
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
      'document.stateless': () => {},
      'document.pulse': (document, _message, { from }) => (from === undefined ? undefined : document.intake.taken(from)),
      'document.state': (document) => document.state(),
      'document.edit': (document, message) => document.edit(message),
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
      'actor.stopped': (document, { address }) => document.intake.run(address, () => document.leave(address)),
      'document.flush': (document) => document.log.flush(),
      'document.expire': (document) => document.presence.expire(),
      'document.tellPresence': (document) => document.presence.due(),
      'document.guard': (document) => document.guard.rest(),
      'document.compact': (document) => document.log.rested(),
      'document.look': (document) => document.receipts.look(),
      'document.news': (document) => document.news.tell(),
    },
  })
