/**
 * How a document takes in changes: those of its clients, and those of the server itself.
 *
 *   update ─→ inspect (a large one in the worker) ─→ refused, known, missing, too large, judged ─→ admitted to the log ─→ receipt
 *
 * Promises: what cannot be integrated is neither stored nor published, and its sender is asked for what is missing; what cannot be
 * taken in at the moment is asked for again; whoever waits for a receipt gets one for each change, and exactly one.
 */
import type { AwarenessOwner } from '../crdt/awarenessState.ts'
import type { Author, DoneRequest, RequestKey } from '../crdt/change.ts'
import { deletionsWithin } from '../crdt/deletions.ts'
import { isLongToInspect, unpacked } from '../crdt/packedInspection.ts'
import { isBeyondLimits, type Rejection } from '../crdt/rejection.ts'
import { inspectUpdate, type UpdateInspection, type UpdateLimits, updateLimits } from '../crdt/update.ts'
import type { DocumentWork } from '../crdt/work.ts'
import { type DocumentAccess, publicName } from './account.ts'
import { DocumentClientIds } from './documentClientIds.ts'
import type { DocumentExistence } from './documentExistence.ts'
import type { Candidate, DocumentGuard, Judgement } from './documentGuard.ts'
import type { DocumentIntake } from './documentIntake.ts'
import { defaultInlineBytes } from './documentLoad.ts'
import type { DocumentLog } from './documentLog.ts'
import type { DocumentMessage, Edited } from './documentMessages.ts'
import type { DocumentNews } from './documentNews.ts'
import type { DocumentPresence } from './documentPresence.ts'
import type { DocumentReceipts, Dues } from './documentReceipts.ts'
import { type ErrorCode, isTroupeError, TroupeError } from './errors.ts'
import type { Offset } from './journal.ts'
import { publication } from './publication.ts'
import type { Address } from './system/address.ts'
import type { Scope } from './system/scope.ts'

/** More than that in one state vector is refused (stateVector.ts), so nobody could open the document any more. */
const defaultClientIds = 100_000
/** Edits of the server that wait until the document was compacted; whoever asked gets another try. */
const mostWaitingEdits = 100

export interface ChangesOptions {
  readonly work: DocumentWork
  readonly inlineBytes?: number
  /** Most client ids that may have written to a document. Default 100 000. */
  readonly clientIds?: number
  readonly updateLimits?: UpdateLimits
  /** For metrics. */
  readonly observe?: { refused(code: string): void }
}

export interface Session {
  readonly address: Address
  readonly owner: AwarenessOwner
  readonly author: Author
  readonly dues: Dues
  /** Client ids that it has brought something under. */
  wrote: Set<number> | undefined
  /** What forbids it to bring the document into being. */
  readonly birthBan: string | undefined
  access: DocumentAccess
  hearsOfStorage: boolean
}

/** Whose change it is: of a session, or of a request. */
type Party = Pick<Session, 'access' | 'author' | 'birthBan'> &
  Partial<Pick<Session, 'address' | 'wrote'>> & { readonly ownClient?: number | undefined }

export type EditRequest = Extract<DocumentMessage, { type: 'document.edit' }>

/** The document, as far as changes concern it. */
export interface ChangesHost {
  readonly sessions: ReadonlyMap<Address, Session>
  readonly log: DocumentLog
  readonly guard: DocumentGuard
  readonly existence: DocumentExistence
  readonly receipts: DocumentReceipts
  readonly intake: DocumentIntake
  readonly presence: DocumentPresence
  readonly news: DocumentNews
  refuse(address: Address, code: ErrorCode, detail: string): void
}

export class DocumentChanges {
  readonly #scope: Scope
  readonly #options: ChangesOptions
  readonly #host: ChangesHost
  readonly #clientIds: DocumentClientIds
  /** Whose updates were not taken in while the document was being moved, or the like. */
  readonly #unheard = new Set<Dues>()
  /** Those of them who were asked since, and edits of the server that waited like them. */
  readonly #asked = new Set<Dues>()
  /** Whose deletions were taken without the rest, which has not come in since. Each answer lists them anew, and would be asked for again without end. */
  readonly #relieved = new Set<Dues>()
  readonly #waitingEdits: (() => void)[] = []

  constructor(scope: Scope, options: ChangesOptions, host: ChangesHost) {
    this.#scope = scope
    this.#options = options
    this.#host = host
    this.#clientIds = new DocumentClientIds({
      isThere: (client) => host.log.document.stateVector.has(client),
      holderOf: (client) => host.presence.holderOf(client),
      mayWrite: (address) => host.sessions.get(address)?.access === 'write',
      hasOnlyComments: (client) => host.guard.hasOnlyComments(client),
    })
  }

  /** Presence came from it: the client id that it calls its own is nobody else's. */
  present({ owner, author }: Session): void {
    const client = this.#host.presence.homeOf(owner)
    if (client !== undefined) this.#clientIds.announced(client, author.user)
  }

  get #limits(): UpdateLimits {
    return this.#options.updateLimits ?? updateLimits
  }

  /** The connection is gone. */
  forget({ dues }: Session): void {
    this.#unheard.delete(dues)
    this.#asked.delete(dues)
    this.#relieved.delete(dues)
  }

  /** A large one, or one of many clients, is inspected in the worker; what its client says next waits for that. */
  hear(session: Session | undefined, update: Uint8Array, isAnswer: boolean): void {
    if (session === undefined) return
    const limits = this.#limits
    if (!isLongToInspect(update, this.#options.inlineBytes ?? defaultInlineBytes)) {
      this.#hear(session, update, isAnswer, inspectUpdate(update, limits))
      return
    }
    const { address } = session
    this.#host.intake.look(
      address,
      () => this.#options.work.run('inspect', update, limits),
      (inspection) => this.#hear(session, update, isAnswer, unpacked(inspection)),
      (error) => this.#host.refuse(address, 'document.busy', `a change could not be inspected: ${String(error).slice(0, 50)}`),
    )
  }

  #hear(session: Session, update: Uint8Array, isAnswer: boolean, inspected: UpdateInspection | Rejection): void {
    const { dues, address } = session
    if (this.#host.sessions.get(address) !== session) return
    const { document } = this.#host.log
    const examined = document.examine(update, this.#limits, inspected)
    // A reader is not asked for what is missing: it is judged by the rest.
    const isJudged = examined.ok && (examined.verdict === 'new' || (examined.verdict === 'missing' && session.access === 'read'))
    const ready = isJudged && !this.#host.existence.isBusy ? this.#whenJudged(session, update, examined.inspection, isAnswer) : undefined
    if (ready !== undefined) {
      const again = () => this.#hear(session, update, isAnswer, inspected)
      return this.#host.intake.hold(address, ready, again, (error) => this.#hearUntried(session, error))
    }
    const isAsked = dues.unanswered > 0
    const receipts = this.#host.receipts.earns(dues, isAnswer)
    if (!examined.ok) {
      // What somebody really made would otherwise go without a word: it is told at once that this can never be saved.
      const code = isBeyondLimits(examined) ? 'document.invalid' : 'connection.bad_message'
      this.#host.receipts.refuse(dues, receipts, code)
      this.#host.refuse(address, code, `${examined.code}: ${examined.detail}`)
      return
    }
    const { verdict, inspection } = examined
    const old = this.#host.existence.epoch.isOldUpdate(inspection)
    if (old !== undefined) return this.#host.refuse(address, 'document.epoch', old)
    if (this.#host.existence.isBusy && verdict !== 'known') return this.#hearLater(session, inspection, isAnswer, receipts)
    if (verdict === 'missing' && session.access !== 'read')
      return this.#hearMissing(session, update, inspection, isAnswer && isAsked, receipts)
    // A repetition is on disk, or on its way there, and its sender waits to hear so.
    const wantsEcho = verdict === 'known' && !inspection.isEmpty && !isAnswer
    const isKept = verdict === 'new' || wantsEcho || receipts > 0
    if (isKept && this.#host.log.isOverfull) return this.#host.refuse(address, 'document.unsaved', this.#scope.address)
    if (wantsEcho) this.#echo(address, update.slice())
    if (verdict === 'known' || this.#takeIn(session, update, inspection, isAnswer, receipts))
      this.#host.receipts.taken(dues, receipts, isAnswer)
  }

  /** What is new, and could be integrated. False: it was not taken in, and its sender has been told or will be asked again. */
  #takeIn(session: Session, update: Uint8Array, inspection: UpdateInspection, isAnswer: boolean, receipts: number): boolean {
    const { document } = this.#host.log
    const size = session.access === 'read' ? undefined : this.#judgeSize(update, inspection, this.#asked.has(session.dues))
    if (size !== undefined) {
      if (size === 'later' || this.#takeDeletions(session, update, inspection)) this.#hearLater(session, inspection, isAnswer, receipts)
      else this.#hearTooLarge(session, size.detail, receipts, inspection)
      return false
    }
    const judgement = this.#judge(session, update, inspection, isAnswer)
    if (judgement.kind === 'refused') this.#hearRefused(session, judgement, receipts, inspection)
    if (judgement.kind !== 'allowed') return judgement.kind === 'nothing'
    this.#asked.delete(session.dues)
    this.#relieved.delete(session.dues)
    this.#admitOf(session, update, inspection)
    if (isAnswer) document.noteAnswer(update, inspection)
    return true
  }

  /** The client has it, and is asked for it as soon as something can be taken in again. */
  #hearLater({ dues, address }: Session, inspection: UpdateInspection, isAnswer: boolean, receipts: number): void {
    this.#unheard.add(dues)
    // An answer that nobody counts is given anew. Until then no barrier passes it, which would say that it is on disk.
    const ends = isAnswer && receipts === 0 ? undefined : inspection
    if (!this.#host.receipts.holdLater(dues, ends, receipts)) this.#host.refuse(address, 'document.busy', 'it is being moved')
  }

  /** Whoever waits for the document to take in changes again goes on. */
  listen(): void {
    for (const dues of this.#unheard) {
      this.#asked.add(dues)
      this.#host.receipts.askNow(dues)
    }
    this.#unheard.clear()
    for (const goOn of this.#waitingEdits.splice(0)) goOn()
  }

  #judgeSize(update: Uint8Array, inspection: UpdateInspection, isAgain: boolean): TroupeError | 'later' | undefined {
    const { document } = this.#host.log
    const { clientIds = defaultClientIds } = this.#options
    if (document.hasMoreClientsThan(clientIds, inspection)) return new TroupeError('document.full', `documents.clientIds ${clientIds}`)
    return document.hasNewStructs(inspection) ? this.#host.existence.quota.judge(this.#host.log, update.length, isAgain) : undefined
  }

  /**
   * Whoever has written too much and then deletes sends both together. Were both refused, there would never be room again. False:
   * it deletes nothing that is here, and may not come again.
   */
  #takeDeletions(session: Session, update: Uint8Array, { deletesAt }: UpdateInspection): boolean {
    if (this.#relieved.has(session.dues)) return false
    const { document } = this.#host.log
    const deletions = deletionsWithin(update, deletesAt, document.stateVector)
    const examined = deletions && document.examine(deletions, this.#limits)
    if (deletions === undefined || !examined?.ok || examined.verdict !== 'new') return false
    if (this.#judge(session, deletions, examined.inspection, true).kind !== 'allowed') return false
    this.#admitOf(session, deletions, examined.inspection)
    this.#relieved.add(session.dues)
    this.#host.existence.quota.makeRoom(this.#host.log)
    return true
  }

  /** Also what was held of the client before, for the same answer stands for it. */
  #hearTooLarge(session: Session, detail: string, receipts: number, inspection: UpdateInspection): void {
    const { dues } = session
    this.#host.receipts.tooLarge(dues, `document.full: ${detail}`)
    this.#asked.delete(dues)
    this.#hearRefused(session, { kind: 'refused', code: 'document.full', detail }, receipts, inspection)
  }

  #admitOf(session: Session, update: Uint8Array, inspection: UpdateInspection): void {
    const { address, author } = session
    const writer = { user: author.user, address, wrote: (session.wrote ??= new Set()) }
    for (const client of this.#host.log.document.contributors(inspection)) this.#clientIds.used(client, writer)
    this.#admit(update, inspection, author)
  }

  #admit(update: Uint8Array, inspection: UpdateInspection, author: Author, request?: DoneRequest): Offset {
    const { log, guard, existence } = this.#host
    const onlyDeletes = !log.document.hasNewStructs(inspection)
    const offset = log.admit(update, inspection, author, request)
    guard.admitted(log.document.tail.at(-1) ?? update)
    if (onlyDeletes) existence.quota.deleted(log)
    this.#host.news.by(author.user)
    return offset
  }

  /** A client's answer to our question always lists all deletions that it knows of, ours too; a reader's are passed over. */
  #judge(party: Party, update: Uint8Array, inspection: UpdateInspection, isAnswer: boolean): Judgement {
    const { access, author } = party
    const bringsStructs = this.#host.log.document.hasNewStructs(inspection)
    const ban = bringsStructs ? this.#banOf(party, inspection) : undefined
    if (ban !== undefined) return { kind: 'refused', code: 'access.denied', detail: ban }
    if (access === 'read' && isAnswer) return { kind: 'nothing' }
    return this.#host.guard.judge(update, access, author, bringsStructs)
  }

  /** Why somebody may not bring content here, whatever it is. */
  #banOf({ access, author: { user }, birthBan, address, wrote, ownClient }: Party, inspection: UpdateInspection): string | undefined {
    if (access === 'read') return this.#needsWrite
    if (this.#host.existence.isAbsent && (access === 'comment' || birthBan !== undefined)) return birthBan ?? this.#needsWrite
    // Whose ids these are would be looked up in the shadow, for somebody who is refused without it.
    if (access === 'write' || this.#host.guard.refusesUnseen(user)) return undefined
    const writer = { user, address, wrote }
    const isBarred = (client: number) => client !== ownClient && !this.#clientIds.isOpen(client, writer)
    const barred = this.#host.log.document.contributors(inspection).find(isBarred)
    return barred === undefined ? undefined : `client id ${barred} is that of somebody else; begin with a new Y.Doc`
  }

  get #needsWrite(): string {
    return `needs document:${publicName(this.#scope.id)}:write`
  }

  /**
   * Whoever changed something believes that it will be saved, so it is told, and where it cannot be told otherwise sent away. Whoever may
   * write or comment here and has written something that may not be is sent away in any case, with the reason: all that this client
   * goes on to write hangs on the refused change. Those who may only read do not type.
   */
  #hearRefused(
    session: Session,
    { code, detail }: Extract<Judgement, { kind: 'refused' }>,
    receipts: number,
    inspection: UpdateInspection,
  ): void {
    const { access, dues, address } = session
    this.#host.receipts.refuse(dues, receipts, `${code}: ${detail}`, inspection)
    const isFinal = code === 'rate.limited' || code === 'document.invalid' || (code === 'access.denied' && access !== 'read')
    if (isFinal || !dues.wantsReceipts) return this.#host.refuse(address, code, detail)
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
    if ((!isAnswer || receipts > 0) && !this.#host.receipts.hold(dues, inspection, receipts))
      return this.#host.refuse(address, 'document.busy', 'too much builds on something that the document does not have')
    if (!isAnswer) return inspection.deleteRanges > 0 ? this.#host.receipts.askSmaller(dues) : this.#host.receipts.ask(dues)
    this.#host.receipts.hasHoles(dues)
    const { snapshot, tail } = this.#host.log.document
    const copy = update.slice()
    // What it says next waits: each of these reads the whole document.
    this.#host.intake.hold(
      address,
      this.#options.work.run('integrablePart', snapshot, [...tail], copy),
      (part) => this.#takePart(session, part),
      () => {}, // its author still has it, and gives it back when it synchronises again
    )
  }

  #takePart(session: Session, part: Uint8Array | undefined): void {
    const { dues, address } = session
    if (this.#host.sessions.get(address) !== session) return
    const examined = part === undefined ? undefined : this.#host.log.document.examine(part, this.#limits)
    if (part !== undefined && examined?.ok && examined.verdict === 'new') {
      const { inspection } = examined
      if (this.#host.existence.isBusy) return this.#hearLater(session, inspection, true, 0)
      const ready = this.#whenJudged(session, part, inspection, true)
      const again = () => this.#takePart(session, part)
      if (ready !== undefined) return this.#host.intake.hold(address, ready, again, (error) => this.#hearUntried(session, error))
      if (this.#host.log.isOverfull) return this.#host.refuse(address, 'document.unsaved', this.#scope.address)
      if (!this.#takeIn(session, part, inspection, true, 0)) return
    }
    this.#host.receipts.partTaken(dues)
  }

  /** Undefined: `#judge` takes no time now. */
  #whenJudged(session: Session, bytes: Uint8Array, inspection: UpdateInspection, isAnswer: boolean): Promise<void> | undefined {
    const { access, author } = session
    if (access === 'read' && (isAnswer || this.#host.log.document.hasNewStructs(inspection))) return undefined
    return this.#host.guard.whenReady(access, author, this.#candidate(session, bytes, inspection))
  }

  /** What would be tried for nothing is refused for what it is, or for its size: trying 1 MiB of it costs a shadow. */
  #candidate(party: Party, bytes: Uint8Array, inspection: UpdateInspection): Candidate | undefined {
    const { log, existence } = this.#host
    if (!log.document.hasNewStructs(inspection)) return undefined
    const isDecided = () => !existence.quota.hasRoomFor(log.document.bytes, bytes.length) || this.#banOf(party, inspection) !== undefined
    return { bytes, inspection, isDecided }
  }

  /** As for an inspection that failed: its client begins anew. */
  #hearUntried({ address }: Session, error: unknown): void {
    this.#host.refuse(address, 'document.busy', isTroupeError(error) ? error.detail : String(error).slice(0, 50))
  }

  #echo(address: Address, bytes: Uint8Array): void {
    const tell = () => void this.#scope.tell(address, publication([{ kind: 'update', bytes }]))
    this.#host.log.whenSaved(tell, { bytes: bytes.length })
  }

  /** Until it is neither moved nor the like, and looking at a change takes no time. */
  async #whenOpen(party: Party, bytes: Uint8Array, inspection: UpdateInspection | Rejection): Promise<void> {
    const { existence, guard } = this.#host
    const { access, author } = party
    const change = () => (inspection.ok ? this.#candidate(party, bytes, inspection) : undefined)
    const wait = () => (existence.isBusy ? existence.whenFree() : guard.whenReady(access, author, change()))
    for (let until = wait(); until !== undefined; until = wait()) await until
  }

  async edit(request: EditRequest, isAgain = false): Promise<Edited> {
    const { update, author, access = 'write', birthBan, ownClient, expectedOffset, expectedEpoch } = request
    const epoch = expectedEpoch === undefined ? undefined : await this.#host.existence.epoch.current()
    const inspected = inspectUpdate(update, this.#limits)
    const party: Party = { access, author, birthBan, ownClient }
    await this.#whenOpen(party, update, inspected)
    const done = await this.recall(request.request)
    if (done !== undefined) return done
    // The content may have been exchanged while this waited.
    if (this.#host.log.life.stage === 'over') throw new TroupeError('document.unavailable', 'it is loaded anew; ask again')
    const { refusal } = this.#host.existence
    if (refusal !== undefined) throw refusal
    if (epoch !== expectedEpoch)
      throw new TroupeError(expectedOffset === undefined ? 'document.unavailable' : 'document.changed', 'it has other content now')
    if (expectedOffset !== undefined && (this.#host.log.unsaved > 0 || this.#host.log.saved !== expectedOffset))
      throw new TroupeError('document.changed', `it is at ${this.#host.log.saved}`)
    const examined = this.#host.log.document.examine(update, this.#limits, inspected)
    if (!examined.ok) throw new TroupeError('document.invalid', `it is no Yjs update (V1): ${examined.detail}`)
    if (examined.verdict === 'missing') throw new TroupeError('document.invalid', 'it builds on something that the document does not have')
    // On a disk that refuses everything nobody would hear for long what has become of it.
    if (examined.verdict === 'new' && this.#host.log.refusal !== undefined) throw new TroupeError(this.#host.log.refusal)
    if (this.#host.log.isOverfull) throw new TroupeError('document.unsaved', this.#scope.address)
    const old = this.#host.existence.epoch.isOldUpdate(examined.inspection)
    if (old !== undefined) throw new TroupeError('document.epoch', old)
    let { saved: offset } = this.#host.log
    if (examined.verdict === 'new') {
      const size = this.#judgeSize(update, examined.inspection, isAgain)
      if (size === 'later' && this.#waitingEdits.length >= mostWaitingEdits) throw new TroupeError('document.busy', 'it is being compacted')
      if (size === 'later') return new Promise<void>((goOn) => this.#waitingEdits.push(goOn)).then(() => this.edit(request, true))
      if (size !== undefined) throw size
      const judgement = this.#judge(party, update, examined.inspection, false)
      if (judgement.kind === 'refused') throw new TroupeError(judgement.code, judgement.detail, { rule: judgement.detail })
      if (judgement.kind === 'allowed') offset = this.#admit(update, examined.inspection, author, request.request)
    } else offset += this.#host.log.unsaved
    return this.#onDisk({ offset, isNew: examined.verdict === 'new', answer: request.request?.answer ?? '' })
  }

  /** What was answered when this was asked for the first time; undefined when it was not. */
  async recall(request: RequestKey | undefined): Promise<Edited | undefined> {
    if (this.#host.existence.isBusy) await this.#host.existence.whenFree()
    const done = this.#host.log.requests.find(request, this.#scope.now())
    return done && this.#onDisk({ offset: done.offset, isNew: true, answer: done.answer })
  }

  /** The answer when all that was taken in so far is on disk. Where that is not certain, its error says so. */
  #onDisk(edited: Edited): Promise<Edited> {
    return new Promise((resolve, reject) =>
      this.#host.log.whenSaved(() => resolve(edited), {
        lost: (isStored) =>
          isStored.then((is) =>
            is
              ? resolve(edited)
              : reject(new TroupeError('document.unavailable', 'it was closed before the change was on disk; ask again')),
          ),
        refused: (code) => reject(new TroupeError('document.outcome_unknown', `${code}: it is stored as soon as the disk takes it`)),
      }),
    )
  }
}
