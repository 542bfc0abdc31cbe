/**
 * How a document takes in changes: those of its clients, and those of the server itself.
 *
 *   update ─→ inspect (a large one in the worker) ─→ refused, known, missing, too large, judged ─→ admitted to the log ─→ receipt
 *
 * Promises: what cannot be integrated is neither stored nor published, and its sender is asked for what is missing; what cannot be
 * taken in at the moment is asked for again; whoever waits for a receipt gets one for each change, and exactly one.
 */
import type { AwarenessOwner } from '../crdt/awarenessState.ts'
import type { Author } from '../crdt/change.ts'
import { deletionsWithin } from '../crdt/deletions.ts'
import { unpacked } from '../crdt/packedInspection.ts'
import type { Rejection } from '../crdt/rejection.ts'
import { inspectUpdate, stateLimits, type UpdateInspection, type UpdateLimits, updateLimits } from '../crdt/update.ts'
import type { DocumentWork } from '../crdt/work.ts'
import type { DocumentAccess } from './account.ts'
import type { DocumentExistence } from './documentExistence.ts'
import type { DocumentGuard, Judgement } from './documentGuard.ts'
import type { DocumentIntake } from './documentIntake.ts'
import { type DocumentLog, defaultInlineBytes } from './documentLog.ts'
import type { DocumentMessage, Edited } from './documentMessages.ts'
import type { DocumentNews } from './documentNews.ts'
import type { DocumentReceipts, Dues } from './documentReceipts.ts'
import { type ErrorCode, TroupeError } from './errors.ts'
import { publication } from './publication.ts'
import type { Address } from './system/address.ts'
import type { Scope } from './system/scope.ts'

/** Edits of the server that wait until the document was compacted; whoever asked gets another try. */
const mostWaitingEdits = 100

export interface ChangesOptions {
  readonly work: DocumentWork
  readonly inlineBytes?: number
  readonly updateLimits?: UpdateLimits
  /** For metrics. */
  readonly observe?: { refused(code: string): void }
}

export interface Session {
  readonly address: Address
  readonly owner: AwarenessOwner
  readonly author: Author
  readonly dues: Dues
  access: DocumentAccess
  hearsOfStorage: boolean
}

export type EditRequest = Extract<DocumentMessage, { type: 'document.edit' }>

/** The document, as far as changes concern it. */
export interface ChangesHost {
  readonly sessions: ReadonlyMap<Address, Session>
  readonly log: DocumentLog
  readonly guard: DocumentGuard
  readonly existence: DocumentExistence
  readonly receipts: DocumentReceipts
  readonly intake: DocumentIntake
  readonly news: DocumentNews
  refuse(address: Address, code: ErrorCode, detail: string): void
}

export class DocumentChanges {
  readonly #scope: Scope
  readonly #options: ChangesOptions
  readonly #host: ChangesHost
  /** Whose updates were not taken in while the document was being moved, or the like. */
  readonly #unheard = new Set<Dues>()
  /** Those of them who were asked since, and edits of the server that waited like them. */
  readonly #asked = new Set<Dues>()
  readonly #waitingEdits: (() => void)[] = []

  constructor(scope: Scope, options: ChangesOptions, host: ChangesHost) {
    this.#scope = scope
    this.#options = options
    this.#host = host
  }

  /** The connection is gone. */
  forget({ dues }: Session): void {
    this.#unheard.delete(dues)
    this.#asked.delete(dues)
  }

  /** A large one is inspected in the worker; what its client says next waits for that. */
  hear(session: Session | undefined, update: Uint8Array, isAnswer: boolean): void {
    if (session === undefined) return
    const limits = isAnswer ? stateLimits : (this.#options.updateLimits ?? updateLimits)
    if (update.length <= (this.#options.inlineBytes ?? defaultInlineBytes)) {
      this.#hear(session, update, isAnswer, inspectUpdate(update, limits))
      return
    }
    const { address } = session
    this.#host.intake.hold(
      address,
      this.#options.work.run('inspect', update, limits),
      (inspection) => this.#hear(session, update, isAnswer, unpacked(inspection)),
      (error) => this.#host.refuse(address, 'document.busy', `a change could not be inspected: ${String(error).slice(0, 50)}`),
    )
  }

  #hear(session: Session, update: Uint8Array, isAnswer: boolean, inspected: UpdateInspection | Rejection): void {
    const { dues, address } = session
    if (this.#host.sessions.get(address) !== session) return
    const receipts = this.#host.receipts.earns(dues, isAnswer)
    const { document } = this.#host.log
    const examined = document.examine(update, stateLimits, inspected)
    if (!examined.ok) {
      this.#host.receipts.refuse(dues, receipts)
      this.#host.refuse(address, 'connection.bad_message', `${examined.code}: ${examined.detail}`)
      return
    }
    const { verdict, inspection } = examined
    const old = this.#host.existence.epoch.isOldUpdate(inspection)
    if (old !== undefined) return this.#host.refuse(address, 'document.epoch', old)
    if (this.#host.existence.isBusy && verdict !== 'known') return this.#hearLater(session, inspection, isAnswer, receipts)
    if (verdict === 'missing' && session.access !== 'read') return this.#hearMissing(session, update, inspection, isAnswer, receipts)
    if (verdict !== 'known') {
      if (this.#host.log.isOverfull) return this.#host.refuse(address, 'document.unsaved', this.#scope.address)
      const size = session.access === 'read' ? undefined : this.#judgeSize(update, inspection, this.#asked.has(dues))
      if (size === 'later') return this.#hearLater(session, inspection, isAnswer, receipts)
      if (size !== undefined && this.#takeDeletions(session, update, inspection))
        return this.#hearLater(session, inspection, isAnswer, receipts)
      if (size !== undefined) return this.#hearTooLarge(session, size.detail, receipts, inspection)
      const judgement = this.#judge(session, update, inspection, isAnswer)
      if (judgement.kind === 'refused') return this.#hearRefused(session, judgement, receipts, inspection)
      if (judgement.kind === 'allowed') {
        this.#asked.delete(dues)
        const onlyDeletes = !document.hasNewStructs(inspection)
        this.#admit(update, inspection, session.author)
        if (onlyDeletes && this.#host.existence.quota.hasRefused) this.#host.existence.quota.makeRoom(this.#host.log)
        if (isAnswer) document.noteAnswer(update, inspection)
      }
    }
    // A repetition is on disk, or on its way there, and its sender waits to hear so.
    else if (!inspection.isEmpty && !isAnswer) this.#echo(address, update.slice())
    this.#host.receipts.taken(dues, receipts, isAnswer)
  }

  /** The client has it, and is asked for it as soon as something can be taken in again. */
  #hearLater({ dues, address }: Session, inspection: UpdateInspection, isAnswer: boolean, receipts: number): void {
    this.#unheard.add(dues)
    if ((!isAnswer || receipts > 0) && !this.#host.receipts.hold(dues, inspection, receipts))
      this.#host.refuse(address, 'document.busy', 'it is being moved')
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
    return this.#host.log.document.hasNewStructs(inspection)
      ? this.#host.existence.quota.judge(this.#host.log, update.length, isAgain)
      : undefined
  }

  /**
   * Whoever has written too much and then deletes sends both together. Were both refused, there would never be room again. False:
   * it deletes nothing that is here, and may not come again.
   */
  #takeDeletions(session: Session, update: Uint8Array, { deletesAt }: UpdateInspection): boolean {
    const { document } = this.#host.log
    const deletions = deletionsWithin(update, deletesAt, document.stateVector)
    const examined = deletions && document.examine(deletions, stateLimits)
    if (deletions === undefined || !examined?.ok || examined.verdict !== 'new') return false
    if (this.#judge(session, deletions, examined.inspection, true).kind !== 'allowed') return false
    this.#admit(deletions, examined.inspection, session.author)
    this.#host.existence.quota.makeRoom(this.#host.log)
    return true
  }

  /** Also what was held of the client before, for the same answer stands for it. */
  #hearTooLarge(session: Session, detail: string, receipts: number, inspection: UpdateInspection): void {
    const { dues } = session
    this.#host.receipts.tooLarge(dues)
    this.#asked.delete(dues)
    this.#hearRefused(session, { kind: 'refused', code: 'document.full', detail }, receipts, inspection)
  }

  #admit(update: Uint8Array, inspection: UpdateInspection, author: Author): void {
    this.#host.log.admit(update, inspection, author)
    this.#host.guard.admitted(this.#host.log.document.tail.at(-1) ?? update)
    this.#host.news.by(author.user)
  }

  /** A client's answer to our question always lists all deletions that it knows of, ours too; a reader's are passed over. */
  #judge({ access, author }: Session, update: Uint8Array, inspection: UpdateInspection, isAnswer: boolean): Judgement {
    const bringsStructs = this.#host.log.document.hasNewStructs(inspection)
    if (access !== 'read') return this.#host.guard.judge(update, access, author, bringsStructs)
    if (bringsStructs) return { kind: 'refused', code: 'access.denied', detail: `needs ${this.#scope.address.replace('/', ':')}:write` }
    return isAnswer ? { kind: 'nothing' } : this.#host.guard.judge(update, access, author, bringsStructs)
  }

  /**
   * Whoever changed something believes that it will be saved, so it is told, and where it cannot be told otherwise sent away. Whom the
   * application refused is sent away in any case, with its reason: all that this client goes on to write hangs on the refused change.
   */
  #hearRefused(
    session: Session,
    { code, detail }: Extract<Judgement, { kind: 'refused' }>,
    receipts: number,
    inspection: UpdateInspection,
  ): void {
    const { dues, address } = session
    this.#host.receipts.refuse(dues, receipts, inspection)
    if (!dues.wantsReceipts || code === 'rate.limited' || code === 'document.invalid') return this.#host.refuse(address, code, detail)
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
    this.#host.log.background.run(
      this.#options.work.run('integrablePart', snapshot, [...tail], copy),
      (part) => {
        const examined = part === undefined ? undefined : this.#host.log.document.examine(part, stateLimits)
        if (part !== undefined && examined?.ok && examined.verdict === 'new') {
          const judgement = this.#judge(session, part, examined.inspection, true)
          if (judgement.kind === 'refused') return this.#host.refuse(address, judgement.code, judgement.detail)
          if (judgement.kind === 'allowed') this.#admit(part, examined.inspection, session.author)
        }
        this.#host.receipts.partTaken(dues)
      },
      () => {}, // its author still has it, and gives it back when it synchronises again
    )
  }

  #echo(address: Address, bytes: Uint8Array): void {
    this.#host.log.whenSaved(() => this.#scope.tell(address, publication([{ kind: 'update', bytes }])))
  }

  async edit(request: EditRequest, isAgain = false): Promise<Edited> {
    const { update, author, access = 'write', expectedOffset } = request
    if (this.#host.existence.isBusy) await this.#host.existence.whenFree()
    const { refusal } = this.#host.existence
    if (refusal !== undefined) throw refusal
    if (expectedOffset !== undefined && (this.#host.log.unsaved > 0 || this.#host.log.saved !== expectedOffset))
      throw new TroupeError('document.changed', `it is at ${this.#host.log.saved}`)
    const examined = this.#host.log.document.examine(update, stateLimits)
    if (!examined.ok) throw new TroupeError('document.invalid', `${examined.code}: ${examined.detail}`)
    if (examined.verdict === 'missing') throw new TroupeError('document.invalid', 'it builds on something that the document does not have')
    if (this.#host.log.isOverfull) throw new TroupeError('document.unsaved', this.#scope.address)
    const old = this.#host.existence.epoch.isOldUpdate(examined.inspection)
    if (old !== undefined) throw new TroupeError('document.epoch', old)
    if (examined.verdict === 'new') {
      const size = this.#judgeSize(update, examined.inspection, isAgain)
      if (size === 'later' && this.#waitingEdits.length >= mostWaitingEdits) throw new TroupeError('document.busy', 'it is being compacted')
      if (size === 'later') return new Promise<void>((goOn) => this.#waitingEdits.push(goOn)).then(() => this.edit(request, true))
      if (size !== undefined) throw size
      const judgement = this.#host.guard.judge(update, access, author, this.#host.log.document.hasNewStructs(examined.inspection))
      if (judgement.kind === 'refused') throw new TroupeError(judgement.code, judgement.detail, { rule: judgement.detail })
      if (judgement.kind === 'allowed') this.#admit(update, examined.inspection, author)
    }
    return new Promise((resolve, reject) =>
      this.#host.log.whenSaved(
        () => resolve({ offset: this.#host.log.saved, isNew: examined.verdict === 'new' }),
        () => reject(new TroupeError('document.unavailable', 'it was closed before the change was on disk; ask again')),
      ),
    )
  }
}
