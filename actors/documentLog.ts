/**
 * How a document gets to disk: changes wait for company for one window, go out in one append, and are told about when that is on
 * disk. How it gets back is in documentLoad.ts; what becomes of a long tail of changes, in documentCompaction.ts.
 *
 * Promises:
 * - What is told (`stored`, receipts) is on disk.
 * - A commit that the disk refuses is kept and tried again until it succeeds or the process ends.
 * - Clean means: nothing waits, nothing is under way.
 */
import { type Author, type Change, type DoneRequest, encodeChange } from '../crdt/change.ts'
import type { DocumentState } from '../crdt/document.ts'
import type { UpdateInspection } from '../crdt/update.ts'
import { Background } from './background.ts'
import { type CompactionObserver, type CompactionOptions, DocumentCompaction, defaultRetryMs } from './documentCompaction.ts'
import { isAtRest, isCommitting, isRefused, isSaved, Life } from './documentLife.ts'
import { type Loaded, type LoadObserver, type LoadOptions, loadDocument } from './documentLoad.ts'
import type { RecordJournal } from './documentRecord.ts'
import type { DocumentRequests } from './documentRequests.ts'
import { type ErrorCode, isTroupeError, type TroupeError } from './errors.ts'
import type { Offset } from './journal.ts'
import type { Scope } from './system/scope.ts'
import type { MonotonicMs } from './world.ts'

export interface LogOptions extends LoadOptions, CompactionOptions {
  /**
   * Updates wait this long for company while the document is busy; an idle document stores at once. Default 5. The more
   * readers, the longer, up to `maxWindowMs` (default 25): each publication costs one system call a reader.
   */
  readonly windowMs?: number
  readonly maxWindowMs?: number
  /** Bytes that may wait for a disk that refuses them; past it, writers are sent away. Default 16 MiB. */
  readonly maxUnsavedBytes?: number
  readonly observe?: LogObserver
}

export interface LogObserver extends LoadObserver, CompactionObserver {
  /** A window was stored: so many updates, and how long the first of them waited. */
  stored(updates: number, waitedMs: number): void
  /** A document whose last commit the disk refused, more or less. */
  unsaved(change: 1 | -1): void
  /** The disk refused a commit, with this code. */
  commitRefused(code: string): void
  /** A document that is damaged is in memory, more or less. */
  damaged(change: 1 | -1): void
}

/** What the document does when something is on disk. */
export interface LogListener {
  /** A window is on disk, or only presence waits to be told (then it is empty). */
  flushed(batch: readonly Uint8Array[]): void
  /** After each window: whatever was owed for it has been paid. */
  settled(): void
  /** Something else than changes waits to be told. */
  hasNews(): boolean
  readers(): number
  /** It has another size. */
  compacted(): void
  /** The disk has begun to refuse commits, with this code; undefined: everything is on disk again. */
  storageChanged(code: ErrorCode | undefined): void
}

/** Who waits for the disk, and what else may become of that. */
export interface Waiting {
  /** The incarnation ended before; the promise says whether it got to disk all the same. */
  lost?(isStored: Promise<boolean>): void
  /** The disk refuses commits, with this code, and has refused once more when it was tried again. It may take this one later. */
  refused?(code: ErrorCode): void
  /** What is kept for it meanwhile. */
  readonly bytes?: number
}

/** Of one who waits, beside `bytes`. */
const waitingBytes = 256
const bytesOf = ({ bytes = 0 }: Waiting): number => bytes + waitingBytes

const defaultWindowMs = 5
const defaultMaxWindowMs = 25
/** A write costs about 5 µs, so publishing takes at most a sixteenth of the time: 8 ms for 100 readers. */
const windowMsForEachReader = 0.08
const defaultMaxUnsavedBytes = 16 * 1024 * 1024
/** Trying again would not help: somebody else wrote to the journal, or what is to be written is larger than it takes. */
const hopeless: readonly string[] = ['journal.conflict', 'journal.too_large']

export class DocumentLog {
  readonly document: DocumentState
  readonly background: Background
  readonly life: Life
  readonly compaction: DocumentCompaction
  /** Why nobody can work with the document. */
  readonly damage: TroupeError | undefined
  readonly #scope: Scope
  readonly #options: LogOptions
  #listener: LogListener | undefined
  /** Admitted and not yet on disk, oldest first. */
  readonly #unsaved: Change[] = []
  #unsavedBytes = 0
  #unsavedSince: MonotonicMs = 0
  #isFlushPlanned = false
  #lastFlushAt: MonotonicMs = 0
  /** What is to be told when a certain offset is on disk; in order. */
  #owed: { readonly after: Offset; readonly pay: () => void; readonly waiting: Waiting }[] = []
  #owedBytes = 0
  /** The commit that is on its way. */
  #commit: { readonly upTo: Offset; readonly written: Promise<unknown> } | undefined
  /** Done ones that may come again. */
  readonly requests: DocumentRequests
  /** Offset of the last entry on disk. */
  #saved: Offset
  /** Why the disk refused the last commit; undefined: it did not. */
  #refusal: ErrorCode | undefined

  private constructor(scope: Scope, options: LogOptions, life: Life, { document, requests, tailAfter, saved, damage }: Loaded) {
    this.damage = damage
    this.life = life
    this.document = document
    this.requests = requests
    this.background = new Background(scope)
    this.#scope = scope
    this.#options = options
    this.#saved = saved
    this.compaction = new DocumentCompaction(scope, options, this, tailAfter, () => this.#listener?.compacted())
  }

  /** Reads snapshot and entries. Errors: those of the store, but what is damaged. */
  static async load(scope: Scope, options: LogOptions, records: Pick<RecordJournal, 'record' | 'damage'>): Promise<DocumentLog> {
    const loaded = await loadDocument(scope, options, records)
    if (loaded.damage !== undefined) options.observe?.damaged(1)
    const life = new Life()
    life.happened('loaded')
    return new DocumentLog(scope, options, life, loaded)
  }

  /** Before anything is added. */
  begin(listener: LogListener): void {
    this.#listener = listener
    this.compaction.ifNeeded()
  }

  get isClean(): boolean {
    return isAtRest(this.life) && this.background.isIdle
  }

  /** More waits for the disk than is kept. */
  get isOverfull(): boolean {
    return this.#unsavedBytes + this.#owedBytes > (this.#options.maxUnsavedBytes ?? defaultMaxUnsavedBytes)
  }

  get unsaved(): number {
    return this.#unsaved.length
  }

  /** Offset of the last change on disk. */
  get saved(): Offset {
    return this.#saved
  }

  /** Takes an update that was examined as `new` just now, and returns its place. `request`: what brought it, if that may come again. */
  admit(update: Uint8Array, inspection: UpdateInspection, author: Author, request?: DoneRequest): Offset {
    this.life.happened('admitted')
    const admitted = this.document.admit(update, inspection)
    if (this.#unsaved.length === 0) this.#unsavedSince = this.#scope.monotonic()
    this.#unsaved.push({ author, update: admitted, request })
    this.#unsavedBytes += admitted.length
    const offset = this.#saved + this.#unsaved.length
    if (request !== undefined) this.requests.add(request, offset, this.#scope.now())
    this.plan()
    return offset
  }

  /** Calls back when everything that was admitted so far is on disk; at once if it is. */
  whenSaved(pay: () => void, waiting: Waiting = {}): void {
    if (isSaved(this.life)) return pay()
    if (this.refusal !== undefined && waiting.refused !== undefined) return waiting.refused(this.refusal)
    this.#owed.push({ after: this.#saved + this.#unsaved.length, pay, waiting })
    this.#owedBytes += bytesOf(waiting)
  }

  vector(): { readonly clocks: ReadonlyMap<number, number>; readonly bytes: Uint8Array } {
    return { clocks: this.document.stateVector, bytes: this.document.encodeStateVector() }
  }

  // ── the window ─────────────────────────────────────────────────────────────────────────────────────────────────

  get #windowMs(): number {
    const { windowMs = defaultWindowMs, maxWindowMs = defaultMaxWindowMs } = this.#options
    return Math.max(windowMs, Math.min(maxWindowMs, (this.#listener?.readers() ?? 0) * windowMsForEachReader))
  }

  /** An idle document flushes after the messages that already wait; a busy one once in a window. */
  plan(): void {
    if (this.#isFlushPlanned || isCommitting(this.life)) return
    this.#isFlushPlanned = true
    const wait = this.#lastFlushAt + this.#windowMs - this.#scope.monotonic()
    if (wait > 0 || !this.#scope.tell(this.#scope.address, { type: 'document.flush' }))
      this.#scope.after('flush', Math.max(1, wait), { type: 'document.flush' })
  }

  flush(): void {
    this.#isFlushPlanned = false
    if (isCommitting(this.life)) return
    this.#lastFlushAt = this.#scope.monotonic()
    if (isSaved(this.life)) return this.#listener?.flushed([])
    this.life.happened('commit')
    const batch = this.#unsaved.slice()
    const since = this.#unsavedSince
    const expected = this.#saved === 0 ? 'none' : this.#saved
    const written = this.background.write(this.#options.journals.append(this.#scope.address, batch.map(encodeChange), { expected }))
    this.#commit = { upTo: this.#saved + batch.length, written }
    this.background.run(
      written,
      ({ last }) => this.#stored(batch, last, since),
      (error) => this.#refused(error),
    )
  }

  #stored(batch: readonly Change[], last: Offset, since: MonotonicMs): void {
    this.#commit = undefined
    this.#saved = last
    this.#unsaved.splice(0, batch.length)
    for (const { update } of batch) this.#unsavedBytes -= update.length
    this.#unsavedSince = this.#scope.monotonic()
    if (isRefused(this.life)) this.#options.observe?.unsaved(-1)
    this.life.happened(this.#unsaved.length === 0 ? 'stored' : 'storedSome')
    this.#options.observe?.stored(batch.length, this.#scope.monotonic() - since)
    this.#listener?.flushed(batch.map(({ update }) => update))
    for (let first = this.#owed[0]; first !== undefined && first.after <= last; first = this.#owed[0]) {
      this.#owed.shift()
      this.#owedBytes -= bytesOf(first.waiting)
      first.pay()
    }
    this.#listener?.settled()
    this.#setRefusal(undefined)
    if (!isSaved(this.life) || this.#listener?.hasNews()) this.plan()
    this.compaction.ifNeeded()
  }

  #refused(error: unknown): void {
    const code: ErrorCode = isTroupeError(error) ? error.code : 'storage.failed'
    this.#commit = undefined
    this.#options.observe?.commitRefused(code)
    if (hopeless.includes(code)) {
      if (isRefused(this.life)) this.#options.observe?.unsaved(-1)
      this.life.happened('diverged')
      this.#scope.log.error({ document: this.#scope.address, code }, 'the journal cannot take what the document holds; it is loaded anew')
      this.#scope.stop()
      return
    }
    if (!isRefused(this.life)) {
      this.#options.observe?.unsaved(1)
      this.#scope.log.error(
        { document: this.#scope.address, error: String(error), updates: this.#unsaved.length },
        'a document could not be stored; it is kept and tried again',
      )
    } else this.#tellWaiting(code)
    this.life.happened('refused')
    this.#isFlushPlanned = true
    this.#scope.after('flush', this.#retryMs, { type: 'document.flush' })
    this.#listener?.flushed([]) // presence goes on
    this.#setRefusal(code)
  }

  get refusal(): ErrorCode | undefined {
    return this.#refusal
  }

  #setRefusal(code: ErrorCode | undefined): void {
    if (code === this.#refusal) return
    this.#refusal = code
    this.#listener?.storageChanged(code)
  }

  /** Twice in a row is no hiccup: who would rather know than wait goes. */
  #tellWaiting(code: ErrorCode): void {
    const wanting = this.#owed.filter(({ waiting }) => waiting.refused !== undefined)
    this.#owed = this.#owed.filter(({ waiting }) => waiting.refused === undefined)
    for (const { waiting } of wanting) {
      this.#owedBytes -= bytesOf(waiting)
      waiting.refused?.(code)
    }
  }

  get #retryMs(): number {
    return this.#options.retryMs ?? defaultRetryMs
  }

  /** The incarnation ends, for whatever reason. The promise, if any, resolves when all that it wrote is on disk or refused. */
  end(): Promise<unknown> | undefined {
    // Whoever exchanges the content ends it first, and the actor that stops then ends it again.
    if (this.life.stage === 'over') return this.background.end()
    if (isRefused(this.life)) this.#options.observe?.unsaved(-1)
    if (this.damage !== undefined) this.#options.observe?.damaged(-1)
    this.life.happened('ended')
    const { upTo = 0, written = Promise.resolve() } = this.#commit ?? {}
    const isWritten = written.then(
      () => true,
      () => false,
    )
    for (const { after, waiting } of this.#owed.splice(0)) waiting.lost?.(isWritten.then((isStored) => isStored && after <= upTo))
    return this.background.end()
  }

  /** The process ends in good order: what is not on disk is put there, unless the disk refuses it. */
  save(): Promise<void> | undefined {
    return isSaved(this.life) ? undefined : this.#saveAll()
  }

  async #saveAll(): Promise<void> {
    this.life.happened('save')
    do {
      this.flush()
      await this.background.settled()
    } while (this.life.stage === 'saving' && ['waiting', 'committing', 'retrying'].includes(this.life.storage))
    if (this.life.stage === 'saving') this.life.happened('saved')
  }
}
