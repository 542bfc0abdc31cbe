/**
 * How a long tail of changes becomes part of the snapshot: merged in the worker, put into the history, then left out of the journal.
 *
 * Promises:
 * - One at a time, and then a rest as long as it took.
 * - A change leaves the journal when it is in the snapshot on disk, and in the history if one is kept.
 * - What Yjs cannot use is kept beside the document.
 * - One that fails is tried again, ever more slowly; whoever waits for it is told.
 */
import { seal, sealWith } from '../crdt/change.ts'
import type { Compaction } from '../crdt/compact.ts'
import type { CompactionPolicy, DocumentState } from '../crdt/document.ts'
import { unpackInspection } from '../crdt/packedInspection.ts'
import { emptyUpdate } from '../crdt/update.ts'
import type { DocumentWork } from '../crdt/work.ts'
import type { Background } from './background.ts'
import type { Life } from './documentLife.ts'
import type { DocumentRequests } from './documentRequests.ts'
import { HistoryJournal } from './historyJournal.ts'
import type { HistoryOptions } from './historyOptions.ts'
import type { Journals, Offset } from './journal.ts'
import type { Scope } from './system/scope.ts'

export interface CompactionOptions {
  readonly journals: Journals
  readonly work: DocumentWork
  /** Wait before what the disk refused is tried again; after a compaction that failed, up to 16 times as long. Default 1 000. */
  readonly retryMs?: number
  readonly compaction?: CompactionPolicy
  /** Not there: what a compaction covers is forgotten. */
  readonly history?: HistoryOptions | undefined
  readonly observe?: CompactionObserver
}

export interface CompactionObserver {
  compacted(milliseconds: number, bytes: number): void
}

/** What it needs of the log. */
export interface CompactionHost {
  readonly document: DocumentState
  readonly background: Background
  readonly life: Life
  readonly requests: DocumentRequests
  /** Offset of the last change on disk. */
  readonly saved: Offset
}

export const defaultRetryMs = 1_000
/** Of the wait after a compaction that failed, so at most 16 times `retryMs`. */
const mostDoublings = 4

export class DocumentCompaction {
  readonly #scope: Scope
  readonly #options: CompactionOptions
  readonly #host: CompactionHost
  /** The document has another size. */
  readonly #compacted: () => void
  /** Offset of the entry just before the tail. */
  #tailAfter: Offset
  /** Who waits for a compaction that the policy does not ask for. */
  #hurried: { readonly upTo: Offset; readonly resolve: () => void; readonly reject: (error: unknown) => void }[] = []
  /** Compactions that have failed since the last one that did not. */
  #failures = 0
  /** Why the last of them did. */
  #failure: unknown

  constructor(scope: Scope, options: CompactionOptions, host: CompactionHost, tailAfter: Offset, compacted: () => void) {
    this.#scope = scope
    this.#options = options
    this.#host = host
    this.#tailAfter = tailAfter
    this.#compacted = compacted
  }

  /**
   * Asked after each commit, after each compaction and after loading: what came during the last compaction of a burst would
   * otherwise stay loose, 10 MiB instead of 1.5 for the paper, until somebody types again.
   */
  ifNeeded(): void {
    const { document, life, saved } = this.#host
    if (life.compaction !== 'idle' || saved === this.#tailAfter) return
    if (this.#hurried.length > 0 || document.needsCompaction(this.#options.compaction)) this.#run()
  }

  /** Resolves when what is on disk now is in the snapshot, and no longer in the journal. */
  all(): Promise<void> {
    const { life, saved } = this.#host
    if (saved === this.#tailAfter) return Promise.resolve()
    // It is tried again by itself, up to 16 s later; whoever asks is not to wait for that.
    if (this.#failures > 0 && life.compaction === 'resting') return Promise.reject(this.#failure)
    return new Promise((resolve, reject) => {
      this.#hurried.push({ upTo: saved, resolve, reject })
      this.ifNeeded()
    })
  }

  /** The rest after a compaction is over. */
  rested(): void {
    this.#host.life.happened('rested')
    this.ifNeeded()
  }

  /**
   * It rests as long as it took, so that a burst keeps a worker at most half busy: each compaction reads and writes the
   * whole document, and 260 000 keystrokes cost 9 µs each instead of 13.
   */
  #rest(restMs: number): void {
    this.#host.life.happened('compacted')
    this.#scope.after('compact', restMs, { type: 'document.compact' })
  }

  #run(): void {
    const { document, background, life, saved: offset } = this.#host
    const upTo = offset - this.#tailAfter
    const covered = document.tail.slice(0, upTo)
    const began = this.#scope.monotonic()
    const failed = (error: unknown) => this.#failed(error)
    life.happened('compact')
    background.run(
      this.#options.work.run('compact', document.snapshot, covered),
      (compaction) => {
        if (!compaction.ok) return failed(`${compaction.code}: ${compaction.detail}`)
        background.run(
          background.write(this.#keep(offset, compaction, covered)),
          () => {
            const replaced = document.replace(compaction.snapshot, upTo, unpackInspection(compaction.inspection))
            if (!replaced.ok) return failed(replaced.code)
            this.#tailAfter += upTo
            this.#failures = 0
            this.#hurried = this.#hurried.filter(({ upTo, resolve }) => upTo > this.#tailAfter || resolve())
            const worked = this.#scope.monotonic() - began
            this.#options.observe?.compacted(worked, compaction.snapshot.length)
            this.#compacted()
            this.#rest(worked)
          },
          failed,
        )
      },
      failed,
    )
  }

  #failed(error: unknown): void {
    const { address, log } = this.#scope
    // Once: on a full disk every document would say so each second, and merge itself anew for it.
    if (this.#failures === 0) log.error({ document: address, error: String(error) }, 'a document could not be compacted')
    this.#failure = error
    for (const { reject } of this.#hurried.splice(0)) reject(error)
    this.#rest((this.#options.retryMs ?? defaultRetryMs) * 2 ** Math.min(this.#failures++, mostDoublings))
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
    await journals.saveSnapshot(address, offset, sealWith(compaction.snapshot, this.#host.requests.upTo(offset)), { trim: true })
  }

  async #keepHistory(upTo: Offset, compaction: Extract<Compaction, { ok: true }>, covered: readonly Uint8Array[]): Promise<void> {
    const { journals, history } = this.#options
    if (history === undefined) return
    const after = upTo - covered.length
    const throwing = compaction.quarantined.flatMap(({ index, reason }) => (reason === 'throws' ? [index] : []))
    const empty = covered.flatMap((update, index) => (update.length === emptyUpdate.length ? [index] : [])) // set aside when it was loaded
    const unusable = new Set([...throwing, ...empty].map((index) => after + 1 + index))
    const { snapshot: stateBefore } = this.#host.document
    const journal = new HistoryJournal(journals, history.compression, this.#scope.id)
    await journal.keep({ after, stateBefore, upTo, state: compaction.snapshot, unusable })
  }
}
