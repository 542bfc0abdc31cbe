/**
 * The past of a document: what others may ask of it, answered from its journals; the document in memory knows the present alone.
 *
 *   request ─→ line ─→ what is on disk (historyJournal.ts) ─→ worker (crdt/history*.ts) ─→ answer, or a change like any other
 *
 * Promises:
 * - One request at a time for each document, so that a hundred curious clients cost the memory of one.
 * - What is restored or rolled back is a change: whoever edits meanwhile goes on, and it is in the history like all others.
 * - A version is on disk when it is answered, and outlives the history around it.
 * - Forgetting is by the options, after compactions; what somebody wants forgotten goes at once, out of the document's journal, too.
 */
import type { DocumentWork } from '../crdt/work.ts'
import { isTroupeError, TroupeError } from './errors.ts'
import { type HistoryHost, HistoryInquiry } from './historyInquiry.ts'
import { HistoryJournal } from './historyJournal.ts'
import type { HistoryRequest } from './historyMessages.ts'
import type { HistoryOptions } from './historyOptions.ts'
import type { Journals } from './journal.ts'
import type { Scope } from './system/scope.ts'

interface Settings {
  readonly journals: Journals
  readonly work: DocumentWork
  /** Not there: none is kept. */
  readonly history?: HistoryOptions | undefined
}

const looking: ReadonlySet<HistoryRequest['type']> = new Set([
  'document.history',
  'document.view',
  'document.diff',
  'document.version.list',
])
/** Whoever comes when so many wait is sent away. */
const mostWaiting = 32

export class DocumentHistory {
  readonly #scope: Scope
  readonly #host: HistoryHost
  readonly #settings: Settings
  #line: Promise<unknown> = Promise.resolve()
  #waiting = 0

  constructor(scope: Scope, settings: Settings, host: HistoryHost) {
    this.#scope = scope
    this.#host = host
    this.#settings = settings
  }

  /** Nobody waits for an answer. */
  get isIdle(): boolean {
    return this.#waiting === 0
  }

  /** Errors: see the messages. */
  async answer(request: HistoryRequest): Promise<unknown> {
    const { history } = this.#settings
    if (history === undefined) throw new TroupeError('document.no_history')
    if (this.#waiting >= mostWaiting) throw new TroupeError('document.busy', this.#scope.address)
    this.#waiting++
    const answer = this.#line.then(() => this.#inquire(history, request))
    this.#line = answer.then(nothing, nothing)
    try {
      return await answer
    } catch (error) {
      throw this.#refusal(error)
    } finally {
      this.#waiting--
    }
  }

  /** What the worker throws, or Yjs in it, is no failure of the document. */
  #refusal(error: unknown): TroupeError {
    // Its journals were taken away under it: what is missing there says nothing about the document.
    const isOfJournals = !isTroupeError(error) || error.code.startsWith('journal.')
    if (this.#isOver && isOfJournals) return new TroupeError('document.unavailable', this.#scope.address, { cause: error })
    if (isTroupeError(error)) return error
    this.#scope.log.error({ document: this.#scope.address, error: String(error) }, 'the history of a document could not be looked at')
    return new TroupeError('document.history_unreadable', undefined, { cause: error })
  }

  async #inquire(history: HistoryOptions, request: HistoryRequest): Promise<unknown> {
    const { existence } = this.#host
    if (existence.isBusy) await existence.whenFree()
    if (existence.refusal !== undefined) throw existence.refusal
    const isLooking = looking.has(request.type)
    await this.#settled(isLooking)
    this.#checkAlive()
    const { journals, work } = this.#settings
    const journal = new HistoryJournal(journals, history.compression, this.#scope.id)
    const answer = await new HistoryInquiry({ work, journal, options: history, host: this.#host, now: this.#scope.now() }).answer(request)
    if (isLooking) this.#checkAlive() // it may be of two contents
    return answer
  }

  /** The journals of this name may hold something else by now. */
  get #isOver(): boolean {
    return this.#host.log.background.isOver
  }

  #checkAlive(): void {
    if (this.#isOver) throw new TroupeError('document.unavailable', this.#scope.address)
  }

  /** Everything that was taken in so far is on disk. Whoever only looks is shown what is there, where the disk takes nothing more. */
  #settled(isLooking: boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#host.log.whenSaved(resolve, {
        lost: () => reject(new TroupeError('document.unavailable', this.#scope.address)),
        refused: (code) => (isLooking ? resolve() : reject(new TroupeError(code))),
      })
    })
  }

  /** After a compaction: what is too old or too much goes. Should that fail, the next one tries again. */
  retain(): void {
    if (this.#settings.history === undefined || !this.isIdle) return
    this.answer({ type: 'document.prune' }).catch((error) => {
      const isGone = isTroupeError(error) && error.code.startsWith('document.') // it was deleted or moved meanwhile
      if (!isGone && !this.#isOver)
        this.#scope.log.error({ document: this.#scope.address, error: String(error) }, 'the history of a document could not be pruned')
    })
  }
}

const nothing = () => {}
