/**
 * The journal: one append-only, ordered log for each durable actor, with at most one snapshot.
 *
 * This is the role; `src/storage` has the backends. Every backend passes the contract suite in `test/contract`.
 *
 * Promises:
 * - `append` resolves when the entries are on disk (flushed), never earlier. A rejected append left no trace.
 * - Offsets of a journal are 1, 2, 3 … without holes, in the order in which `append` was called.
 * - What was acknowledged survives SIGKILL and loss of power.
 * - Calls for one journal take effect in call order; a `read` sees every append that had resolved before it was called,
 *   and never an entry that is not on disk.
 */
import type { EpochMs } from './world.ts'

/** Position in a journal: 1, 2, 3 …; 0 is "before the first". */
export type Offset = number

export interface Entry {
  readonly offset: Offset
  /** When the entry was appended, by the store's clock. Never decreases within a journal. */
  readonly time: EpochMs
  readonly data: Uint8Array
}

export interface Appended {
  readonly first: Offset
  readonly last: Offset
  readonly time: EpochMs
}

/** The state of the whole journal up to and including `offset`, as its owner wrote it. */
export interface Snapshot {
  readonly offset: Offset
  readonly time: EpochMs
  readonly data: Uint8Array
}

/** A journal as it stands. A journal that was never written has `last` 0, `first` 1 and a fresh epoch is made at its first write. */
export interface Head {
  /** Identity of the journal; another epoch means that the old history is gone. Empty string when it does not exist. */
  readonly epoch: string
  /** Offset of the oldest entry that is still there; `last + 1` when none is. */
  readonly first: Offset
  readonly last: Offset
}

export interface ReadOptions {
  /** Only entries with an offset greater than this (forwards) or smaller than this (`reverse`). Default: from the respective end. */
  readonly after?: Offset
  /** Most entries to return. Default 1 000. */
  readonly limit?: number
  /** Stop after this many bytes of data, but return at least one entry. Default 16 MiB. */
  readonly maxBytes?: number
  /** Newest first. Default false. */
  readonly reverse?: boolean
}

export type StorageStatus =
  | { readonly state: 'ready' }
  /** Writes are refused, reads go on; becomes ready again by itself. */
  | { readonly state: 'full'; readonly since: EpochMs }
  /** Writes are refused until the process is restarted. */
  | { readonly state: 'failed'; readonly since: EpochMs; readonly reason: string }
  | { readonly state: 'closed' }

export interface Journals {
  /**
   * Appends all entries or none. `expected` is the offset of the present last entry (`'none'`: the journal is empty).
   * Errors: `journal.conflict`, `journal.bad_name`, `journal.too_large`, `storage.full`, `storage.failed`, `storage.closed`.
   */
  append(journal: string, entries: readonly Uint8Array[], options?: { readonly expected?: Offset | 'none' }): Promise<Appended>
  /** Errors: `journal.corrupt`, also where entries are missing between those that are there; `journal.bad_name`, `storage.closed`. */
  read(journal: string, options?: ReadOptions): Promise<Entry[]>
  /** Errors: `journal.corrupt`. */
  head(journal: string): Promise<Head>
  /** The snapshot, if there is one. Errors: `journal.corrupt`. */
  snapshot(journal: string): Promise<Snapshot | undefined>
  /** Replaces the snapshot; `offset` is at most `last`. Durable when resolved. With `trim`, entries up to `offset` go in the same commit. */
  saveSnapshot(journal: string, offset: Offset, data: Uint8Array, options?: { readonly trim?: boolean }): Promise<void>
  /** Removes entries with an offset smaller than `before`. Offsets go on counting where they were. Allowed while the disk is full. */
  trim(journal: string, before: Offset): Promise<void>
  /** Removes entries, snapshot and head, also of a damaged journal. A later append starts at 1 with another epoch. Allowed while the disk is full. */
  remove(journal: string): Promise<void>
  /** Names that begin with `prefix`, in order of their UTF-8 bytes, after the name `after`. Default limit 1 000. */
  list(prefix: string, options?: { readonly after?: string; readonly limit?: number }): Promise<string[]>
  status(): StorageStatus
  /** Calls `changed` at every change of status. */
  onStatus(changed: (status: StorageStatus) => void): () => void
  /** Waits for what was appended, then closes. */
  close(): Promise<void>
}
