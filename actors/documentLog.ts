/**
 * How a document gets to disk: changes wait for company for one window, go out in one append, and are told about when that is on
 * disk. Long tails are compacted into a snapshot.
 *
 * Promises:
 * - What is told (`stored`, receipts) is on disk.
 * - A commit that the disk refuses is kept and tried again until it succeeds or the process ends.
 * - Clean means: nothing waits, nothing is under way.
 * - Of what is damaged nothing is in memory, so that nothing can take what is left of it for all of it: the document is empty, and
 *   refuses everybody (documentExistence.ts).
 */
import { type Author, type Change, type DoneRequest, decodeChange, encodeChange, seal, sealWith, unsealAll } from '../crdt/change.ts'
import type { Compaction } from '../crdt/compact.ts'
import { type CompactionPolicy, DocumentState } from '../crdt/document.ts'
import { isLongToInspect, unpacked, unpackInspection } from '../crdt/packedInspection.ts'
import type { Rejection } from '../crdt/rejection.ts'
import { emptyUpdate, storedLimits, type UpdateInspection } from '../crdt/update.ts'
import type { DocumentWork } from '../crdt/work.ts'
import { Background } from './background.ts'
import { isDamage } from './documentDamage.ts'
import { isAtRest, isCommitting, isRefused, isSaved, Life } from './documentLife.ts'
import type { RecordJournal } from './documentRecord.ts'
import { DocumentRequests, type RequestLimits } from './documentRequests.ts'
import { type ErrorCode, isTroupeError, TroupeError } from './errors.ts'
import { HistoryJournal } from './historyJournal.ts'
import type { HistoryOptions } from './historyOptions.ts'
import type { Journals, Offset } from './journal.ts'
import type { Scope } from './system/scope.ts'
import type { MonotonicMs } from './world.ts'

export interface LogOptions extends RequestLimits {
  readonly journals: Journals
  readonly work: DocumentWork
  /**
   * Updates wait this long for company while the document is busy; an idle document stores at once. Default 5. The more
   * readers, the longer, up to `maxWindowMs` (default 25): each publication costs one system call a reader.
   */
  readonly windowMs?: number
  readonly maxWindowMs?: number
  /** Wait before a commit that the disk refused is tried again. Default 1 000. */
  readonly retryMs?: number
  /** Bytes that may wait for a disk that refuses them; past it, writers are sent away. Default 16 MiB. */
  readonly maxUnsavedBytes?: number
  /** A change that is larger is inspected in the worker: a MiB takes 5 to 40 ms. What is loaded may be four times as large. Default 256 KiB. */
  readonly inlineBytes?: number
  readonly compaction?: CompactionPolicy
  /** Not there: what a compaction covers is forgotten. */
  readonly history?: HistoryOptions | undefined
  readonly observe?: LogObserver
}

export interface LogObserver {
  /** A window was stored: so many updates, and how long the first of them waited. */
  stored(updates: number, waitedMs: number): void
  /** A document whose last commit the disk refused, more or less. */
  unsaved(change: 1 | -1): void
  /** The disk refused a commit, with this code. */
  commitRefused(code: string): void
  compacted(milliseconds: number, bytes: number): void
  /** A document could not be loaded, with this code. */
  loadFailed(code: string): void
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

const pageEntries = 5_000
const defaultWindowMs = 5
const defaultMaxWindowMs = 25
/** A write costs about 5 µs, so publishing takes at most a sixteenth of the time: 8 ms for 100 readers. */
const windowMsForEachReader = 0.08
const defaultRetryMs = 1_000
/** Of the wait after a compaction that failed, so at most 16 times `retryMs`. */
const mostDoublings = 4
export const defaultInlineBytes = 256 * 1024
/**
 * What is loaded comes once, not with each key, and was inspected before it was stored: it may be so much larger than a change before
 * a thread pays. The first of them takes 50 ms and 20 MiB to start, which is more than a document of a MiB costs here.
 */
const loadedOnce = 4
const defaultMaxUnsavedBytes = 16 * 1024 * 1024
/** Trying again would not help: somebody else wrote to the journal, or what is to be written is larger than it takes. */
const hopeless: readonly string[] = ['journal.conflict', 'journal.too_large']

const missing = (first: Offset, last: Offset): TroupeError =>
  new TroupeError('journal.corrupt', `changes ${first} to ${last} of the document are missing`)

interface Loaded {
  readonly document: DocumentState
  readonly requests: DocumentRequests
  readonly tailAfter: Offset
  readonly saved: Offset
  readonly damage: TroupeError | undefined
}

const readable = <Value>(value: Value | undefined, stored: Uint8Array, where: string): Value => {
  if (value === undefined) throw new TroupeError('storage.newer_format', `${where} has format ${stored[0]}`)
  return value
}

export class DocumentLog {
  readonly document: DocumentState
  readonly background: Background
  readonly life: Life
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
  /** Offset of the entry just before the tail. */
  #tailAfter: Offset
  /** Offset of the last entry on disk. */
  #saved: Offset
  /** Who waits for a compaction that the policy does not ask for. */
  #hurried: { readonly upTo: Offset; readonly resolve: () => void; readonly reject: (error: unknown) => void }[] = []
  /** Why the disk refused the last commit; undefined: it did not. */
  #refusal: ErrorCode | undefined
  /** Compactions that have failed since the last one that did not. */
  #failures = 0
  /** Why the last of them did. */
  #failure: unknown

  private constructor(scope: Scope, options: LogOptions, life: Life, { document, requests, tailAfter, saved, damage }: Loaded) {
    this.damage = damage
    this.life = life
    this.document = document
    this.requests = requests
    this.background = new Background(scope)
    this.#scope = scope
    this.#options = options
    this.#tailAfter = tailAfter
    this.#saved = saved
  }

  /** Reads snapshot and entries. Errors: those of the store, but what is damaged. */
  static async load(scope: Scope, options: LogOptions, records: Pick<RecordJournal, 'record' | 'damage'>): Promise<DocumentLog> {
    const life = new Life()
    let loaded: Loaded
    try {
      if (records.damage !== undefined) throw records.damage
      loaded = await DocumentLog.#read(scope, options, records.record?.offset ?? 0)
    } catch (error) {
      options.observe?.loadFailed(isTroupeError(error) ? error.code : 'actor.failed')
      if (!isDamage(error)) throw error
      scope.log.error({ document: scope.address, error: String(error) }, 'a document is damaged; it refuses everybody')
      loaded = { document: DocumentState.empty(), requests: new DocumentRequests(options), tailAfter: 0, saved: 0, damage: error }
      options.observe?.damaged(1)
    }
    life.happened('loaded')
    return new DocumentLog(scope, options, life, loaded)
  }

  /** `known`: an offset that was on disk. */
  static async #read(scope: Scope, options: LogOptions, known: Offset): Promise<Loaded> {
    const { journals } = options
    const { address } = scope
    const snapshot = await journals.snapshot(address)
    const tailAfter = snapshot?.offset ?? 0
    const updates: Uint8Array[] = []
    const requests = new DocumentRequests(options)
    const sealed = snapshot && readable(unsealAll(snapshot.data), snapshot.data, address)
    for (const request of sealed?.requests ?? []) requests.add(request, request.offset, request.time)
    let saved = tailAfter
    for (;;) {
      const entries = await journals.read(address, { after: saved, limit: pageEntries })
      for (const { offset, time, data } of entries) {
        if (offset !== ++saved) throw missing(saved, offset - 1)
        const { update, request } = readable(decodeChange(data), data, `${address}#${offset}`)
        updates.push(update)
        if (request !== undefined) requests.add(request, offset, time)
      }
      if (entries.length === 0) break
    }
    if (saved < known) throw missing(saved + 1, known)
    const merged = sealed?.update ?? new Uint8Array(0)
    const inlineBytes = (options.inlineBytes ?? defaultInlineBytes) * loadedOnce
    const inspections = new Map<Uint8Array, UpdateInspection | Rejection>()
    for (const bytes of [merged, ...updates]) {
      if (isLongToInspect(bytes, inlineBytes)) inspections.set(bytes, unpacked(await options.work.run('inspect', bytes, storedLimits)))
    }
    const document = DocumentState.load(merged, updates, undefined, inspections)
    if (!(document instanceof DocumentState)) throw new TroupeError('journal.corrupt', `${address}: ${document.code}: ${document.detail}`)
    if (document.setAside.length > 0)
      scope.log.error({ document: address, setAside: document.setAside }, 'stored updates could not be used')
    return { document, requests, tailAfter, saved, damage: undefined }
  }

  /** Before anything is added. */
  begin(listener: LogListener): void {
    this.#listener = listener
    this.compactIfNeeded()
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
    this.compactIfNeeded()
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

  // ── compaction ─────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * Asked after each commit, after each compaction and after loading: what came during the last compaction of a burst would
   * otherwise stay loose, 10 MiB instead of 1.5 for the paper, until somebody types again.
   */
  compactIfNeeded(): void {
    if (this.life.compaction !== 'idle' || this.#saved === this.#tailAfter) return
    if (this.#hurried.length > 0 || this.document.needsCompaction(this.#options.compaction)) this.#compact()
  }

  /** Resolves when what is on disk now is in the snapshot, and no longer in the journal. */
  compactAll(): Promise<void> {
    if (this.#saved === this.#tailAfter) return Promise.resolve()
    // It is tried again by itself, up to 16 s later; whoever asks is not to wait for that.
    if (this.#failures > 0 && this.life.compaction === 'resting') return Promise.reject(this.#failure)
    return new Promise((resolve, reject) => {
      this.#hurried.push({ upTo: this.#saved, resolve, reject })
      this.compactIfNeeded()
    })
  }

  /** The rest after a compaction is over. */
  rested(): void {
    this.life.happened('rested')
    this.compactIfNeeded()
  }

  /**
   * Then it rests as long as it took, so that a burst keeps a worker at most half busy: each compaction reads and writes the
   * whole document, and 260 000 keystrokes cost 9 µs each instead of 13.
   */
  #compacted(restMs: number): void {
    this.life.happened('compacted')
    this.#scope.after('compact', restMs, { type: 'document.compact' })
  }

  #compact(): void {
    const upTo = this.#saved - this.#tailAfter
    const offset = this.#saved
    const covered = this.document.tail.slice(0, upTo)
    const { address } = this.#scope
    const began = this.#scope.monotonic()
    this.life.happened('compact')
    const failed = (error: unknown) => {
      // Once: on a full disk every document would say so each second, and merge itself anew for it.
      if (this.#failures === 0) this.#scope.log.error({ document: address, error: String(error) }, 'a document could not be compacted')
      this.#failure = error
      for (const { reject } of this.#hurried.splice(0)) reject(error)
      this.#compacted(this.#retryMs * 2 ** Math.min(this.#failures++, mostDoublings))
    }
    this.background.run(
      this.#options.work.run('compact', this.document.snapshot, covered),
      (compaction) => {
        if (!compaction.ok) return failed(`${compaction.code}: ${compaction.detail}`)
        this.background.run(
          this.background.write(this.#keep(offset, compaction, covered)),
          () => {
            const replaced = this.document.replace(compaction.snapshot, upTo, unpackInspection(compaction.inspection))
            if (!replaced.ok) return failed(replaced.code)
            this.#tailAfter += upTo
            this.#failures = 0
            this.#hurried = this.#hurried.filter(({ upTo, resolve }) => upTo > this.#tailAfter || resolve())
            const worked = this.#scope.monotonic() - began
            this.#options.observe?.compacted(worked, compaction.snapshot.length)
            this.#listener?.compacted()
            this.#compacted(worked)
          },
          failed,
        )
      },
      failed,
    )
  }

  /**
   * What Yjs could not use is set aside, and the changes go into the history, before the snapshot replaces them. A history that
   * cannot be written stops nothing: the entries stay where they are until it can.
   */
  async #keep(offset: Offset, compaction: Extract<Compaction, { ok: true }>, covered: readonly Uint8Array[]): Promise<void> {
    const { journals } = this.#options
    const { address, log } = this.#scope
    if (compaction.quarantined.length > 0) {
      log.error({ document: address, quarantined: compaction.quarantined }, 'updates that Yjs cannot apply were set aside')
      const bad = compaction.quarantined.map(({ index }) => seal(covered[index] as Uint8Array)) // indexes are of `covered`
      await journals.append(`quarantine/${address}`, bad)
    }
    await this.#keepHistory(offset, compaction, covered)
    await journals.saveSnapshot(address, offset, sealWith(compaction.snapshot, this.requests.upTo(offset)), { trim: true })
  }

  async #keepHistory(upTo: Offset, compaction: Extract<Compaction, { ok: true }>, covered: readonly Uint8Array[]): Promise<void> {
    const { journals, history } = this.#options
    if (history === undefined) return
    const after = upTo - covered.length
    const throwing = compaction.quarantined.flatMap(({ index, reason }) => (reason === 'throws' ? [index] : []))
    const empty = covered.flatMap((update, index) => (update.length === emptyUpdate.length ? [index] : [])) // set aside when it was loaded
    const unusable = new Set([...throwing, ...empty].map((index) => after + 1 + index))
    const { snapshot: stateBefore } = this.document
    const journal = new HistoryJournal(journals, history.compression, this.#scope.id)
    await journal.keep({ after, stateBefore, upTo, state: compaction.snapshot, unusable })
  }
}
