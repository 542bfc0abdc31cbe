/**
 * What lies in LMDB, and nothing about when it is written: three tables and a counter.
 *
 *   names      journal name                          → journalState.ts
 *   entries    id u32 | last offset u48              → block.ts
 *   snapshots  id u32 | generation u32 | chunk u32   → envelope, up to 64 KiB
 *   counters   "ids"                                 → ids below this may be in use
 *
 * A commit is a list of differences (from, to) and becomes exactly one transaction. All of it is computed before the first
 * put, because a throw between two puts would commit the first. Whoever calls `write` waits until the one before is settled.
 *
 * Rules for LMDB that were measured: always `safeRestore`; never clear a root database, `getAsync`, `useWritemap`, `noSync`,
 * read-only opening; `eventTurnBatching` off, because with it a failed commit is an unhandled rejection as well.
 */
import { type Database, open, type RootDatabase } from 'lmdb'
import { isTroupeError, TroupeError } from '../../actors/errors.ts'
import type { Entry, Offset } from '../../actors/journal.ts'
import { type Block, entryKey, keyOffset, readBlock } from './block.ts'
import { overlapsFlushes } from './header.ts'
import { absent, decodeState, encodeState, headless, type JournalState, type StoredSnapshot } from './journalState.ts'
import { envelopeBytes, isIntact, seal, verify } from './record.ts'

type Table = Database<Buffer, Buffer>

/** How one journal changes in one commit. */
export interface Change {
  readonly key: Buffer
  readonly from: JournalState
  readonly to: JournalState
  /** New entries, oldest first. */
  readonly blocks: readonly Block[]
  /** The data of `to.snapshot`, when it is new. */
  readonly snapshot: Uint8Array | undefined
}

/** A transaction on its way. */
export interface Commit {
  /** Resolves when it is on disk (flushed). Rejects with the cause, which has LMDB's or the system's `code`. */
  readonly flushed: Promise<void>
  /** Most that it makes the data file larger. */
  readonly growthBytes: number
  /** True when readers see it, on disk or not: after a failure it tells a refused write from a failed flush. */
  isVisible(): boolean
}

interface Put {
  readonly table: Table
  readonly key: Buffer
  /** undefined: remove. */
  readonly record: Buffer | undefined
}

/** Every record of a chunk but the last fills 16 pages of LMDB to the byte. */
const chunkBytes = 16 * 4_096 - 24 - envelopeBytes
const maxOffset = 2 ** 48 - 1
const idsKey = Buffer.from('ids')
const probeKey = Buffer.from('probe')

const pageBytes = 4_096
/** Values from here on have pages of their own. */
const overflowBytes = 2_000
/** Copies of the branches above what was put, new roots, and the list of free pages. */
const commitBytes = 64 * pageBytes
/** Removed records lie together: some of them for each page that is copied to take them out. */
const removalBytes = 256

/**
 * LMDB writes each page anew that it touches: a leaf for each record, when they all go to different journals, and it may be split.
 * What of that finds room in free pages inside the file is not known before, so it counts as well.
 */
const growthOf = (puts: readonly Put[]): number => {
  let bytes = commitBytes
  for (const { record } of puts) {
    if (record === undefined) bytes += removalBytes
    else bytes += pageBytes + (record.length < overflowBytes ? record.length : Math.ceil((record.length + 24) / pageBytes) * pageBytes)
  }
  return bytes
}

const chunkKey = (id: number, generation: number, chunk: number): Buffer => {
  const key = Buffer.allocUnsafe(12)
  key.writeUInt32BE(id, 0)
  key.writeUInt32BE(generation, 4)
  key.writeUInt32BE(chunk, 8)
  return key
}

const missing = (first: Offset, last: Offset): string => `entries ${first} to ${last} are missing`

const chunkCount = ({ length }: StoredSnapshot): number => Math.ceil(length / chunkBytes)

/** lmdb tells the cause in a second promise on the error. */
const causeOf = async (error: unknown): Promise<unknown> => {
  if (!(error instanceof Error) || !('commitError' in error)) return error
  return Promise.resolve(error.commitError).then(
    () => error,
    (cause: unknown) => cause,
  )
}

export class Tables {
  readonly #root: RootDatabase<Buffer, Buffer>
  readonly #names: Table
  readonly #entries: Table
  readonly #snapshots: Table
  readonly #counters: Table

  constructor(directory: string) {
    const binary = { encoding: 'binary', keyEncoding: 'binary', cache: false } as const
    this.#root = open<Buffer, Buffer>({
      path: directory,
      noSubdir: false,
      safeRestore: true,
      overlappingSync: overlapsFlushes,
      eventTurnBatching: false,
      maxDbs: 64,
      maxReaders: 256,
      noMemInit: false,
      ...binary,
      // Not in the types of lmdb 3.5, but read by its open(): roll back to the last flushed state after a crash.
    } as Parameters<typeof open<Buffer, Buffer>>[0] & { safeRestore: true })
    this.#names = this.#root.openDB({ name: 'names', ...binary })
    this.#entries = this.#root.openDB({ name: 'entries', ...binary })
    this.#snapshots = this.#root.openDB({ name: 'snapshots', ...binary })
    this.#counters = this.#root.openDB({ name: 'counters', ...binary })
  }

  /** Ids below this may be in use. Errors: `storage.corrupt`. */
  reservedIds(): number {
    const record = this.#counters.get(idsKey)
    if (record === undefined) return 1
    if (!isIntact(idsKey, record)) throw new TroupeError('storage.corrupt', 'the counter of journal ids')
    return record.readUInt32LE(envelopeBytes)
  }

  /** What is damaged has a `defect`. */
  state(key: Buffer): JournalState {
    const record = this.#names.get(key)
    if (record === undefined) return absent
    if (!isIntact(key, record)) return headless
    const state = decodeState(record)
    let found = 0
    let lastTime = 0
    try {
      for (const { key: lastKey, value } of this.#range(this.#entries, {
        start: entryKey(state.id, maxOffset),
        end: entryKey(state.id, 0),
        reverse: true,
        limit: 1,
      })) {
        found = keyOffset(lastKey)
        lastTime = readBlock(lastKey, value).at(-1)?.time ?? 0
      }
    } catch (error) {
      if (!isTroupeError(error, 'journal.corrupt')) throw error
      return { ...state, last: Math.max(state.last, found), defect: error.detail }
    }
    if (found < state.last && state.last >= state.first) return { ...state, defect: missing(Math.max(found + 1, state.first), state.last) }
    return { ...state, last: Math.max(state.last, found), lastTime: Math.max(state.lastTime, lastTime) }
  }

  /**
   * Entries `low` to `high`, or the other way round, block by block and in each the oldest first; the blocks at both ends may hold
   * more. Stop iterating as soon as you have enough. Errors: `journal.corrupt`, also where a block is missing.
   */
  *blocks(id: number, low: Offset, high: Offset, reverse: boolean): Generator<Entry[]> {
    if (low > high) return
    let next = reverse ? high : low
    for (const { key, value } of reverse ? this.#backwards(id, low, high) : this.#forwards(id, low)) {
      const entries = readBlock(key, value)
      const last = keyOffset(key)
      const first = last - entries.length + 1
      if (first > next) throw new TroupeError('journal.corrupt', missing(next, first - 1))
      if (last < next) throw new TroupeError('journal.corrupt', missing(last + 1, next))
      yield entries
      next = reverse ? first - 1 : last + 1
      if (next < low || next > high) return
    }
    throw new TroupeError('journal.corrupt', reverse ? missing(low, next) : missing(next, high))
  }

  #forwards(id: number, low: Offset): Iterable<{ key: Buffer; value: Buffer }> {
    return this.#range(this.#entries, { start: entryKey(id, low), end: entryKey(id, maxOffset) })
  }

  #backwards(id: number, low: Offset, high: Offset): Iterable<{ key: Buffer; value: Buffer }> {
    let start: Buffer | undefined
    for (const key of this.#entries.getKeys({ start: entryKey(id, high), end: entryKey(id, maxOffset), limit: 1 })) start = key
    return start === undefined ? [] : this.#range(this.#entries, { start, end: entryKey(id, low - 1), reverse: true })
  }

  /** Errors: `journal.corrupt`. */
  snapshot(id: number, stored: StoredSnapshot): Uint8Array {
    const data = new Uint8Array(stored.length)
    let at = 0
    for (let chunk = 0; chunk < chunkCount(stored); chunk++) {
      const key = chunkKey(id, stored.generation, chunk)
      const record = this.#snapshots.get(key)
      const what = `chunk ${chunk} of the snapshot at offset ${stored.offset}`
      if (record === undefined) throw new TroupeError('journal.corrupt', `${what} is missing`)
      const payload = verify(key, record, what).subarray(envelopeBytes)
      if (at + payload.length > data.length) throw new TroupeError('journal.corrupt', `${what} is too long`)
      data.set(payload, at)
      at += payload.length
    }
    if (at !== data.length) throw new TroupeError('journal.corrupt', `the snapshot at offset ${stored.offset} is too short`)
    return data
  }

  /** Keys of journals from `start` on, in order of their bytes. */
  names(start: Buffer): Iterable<Buffer> {
    return this.#names.getKeys(start.length === 0 ? {} : { start })
  }

  /** `admit` is told how much larger the data file may become, and throws when that is too much: nothing has happened then. */
  write(
    changes: readonly Change[],
    admit: (growthBytes: number) => void,
    options: { readonly reserveIds?: number; readonly probe?: boolean } = {},
  ): Commit {
    const puts: Put[] = []
    for (const change of changes) this.#differences(change, puts)
    if (options.reserveIds !== undefined) {
      const record = Buffer.alloc(envelopeBytes + 4)
      record.writeUInt32LE(options.reserveIds, envelopeBytes)
      puts.push({ table: this.#counters, key: idsKey, record: seal(idsKey, record) })
    }
    if (options.probe === true) puts.push({ table: this.#counters, key: probeKey, record: seal(probeKey, Buffer.alloc(envelopeBytes)) })
    const growthBytes = growthOf(puts)
    if (puts.length > 0) admit(growthBytes)
    return { flushed: this.#commit(puts), growthBytes, isVisible: () => this.#isVisible(puts.at(-1)) }
  }

  /** Bytes of pages in use; the rest of the data file is free for LMDB to use again. */
  usedBytes(): number {
    let bytes = 0
    for (const table of [this.#names, this.#entries, this.#snapshots, this.#counters]) {
      // typed `{}` by lmdb
      const stats = table.getStats() as { pageSize: number; treeBranchPageCount: number; treeLeafPageCount: number; overflowPages: number }
      bytes += stats.pageSize * (stats.treeBranchPageCount + stats.treeLeafPageCount + stats.overflowPages)
    }
    return bytes
  }

  /** Copies everything into the empty directory, while writing goes on. */
  backup(directory: string): Promise<void> {
    return this.#root.backup(directory, true)
  }

  close(): Promise<void> {
    return this.#root.close()
  }

  #range(
    table: Table,
    options: { start: Buffer; end: Buffer; reverse?: boolean; limit?: number },
  ): Iterable<{ key: Buffer; value: Buffer }> {
    return table.getRange(options)
  }

  #differences({ key, from, to, blocks, snapshot }: Change, puts: Put[]): void {
    const remove = (table: Table, gone: Buffer): unknown => puts.push({ table, key: gone, record: undefined })
    const isSame = from.id === to.id
    const oldSnapshot = isSame && from.snapshot === to.snapshot ? undefined : from.snapshot
    if (oldSnapshot !== undefined) {
      for (let chunk = 0; chunk < chunkCount(oldSnapshot); chunk++) {
        remove(this.#snapshots, chunkKey(from.id, oldSnapshot.generation, chunk))
      }
    }
    const gone = isSame ? to.first - 1 : from.last
    if (from.id !== 0 && gone >= from.first) {
      const keys = this.#entries.getKeys({ start: entryKey(from.id, from.first), end: entryKey(from.id, Math.min(gone, from.last) + 1) })
      for (const old of keys) remove(this.#entries, old)
    }
    if (to.id === 0) {
      if (from.id !== 0) remove(this.#names, key)
      return
    }
    if (!isSame || from.first !== to.first || from.snapshot !== to.snapshot || from.noted !== to.noted) {
      puts.push({ table: this.#names, key, record: encodeState(key, to) })
    }
    if (to.snapshot !== undefined && snapshot !== undefined) {
      for (let chunk = 0; chunk < chunkCount(to.snapshot); chunk++) {
        const at = chunkKey(to.id, to.snapshot.generation, chunk)
        const record = Buffer.allocUnsafe(envelopeBytes + Math.min(chunkBytes, snapshot.length - chunk * chunkBytes))
        record.set(snapshot.subarray(chunk * chunkBytes, (chunk + 1) * chunkBytes), envelopeBytes)
        puts.push({ table: this.#snapshots, key: at, record: seal(at, record) })
      }
    }
    for (const block of blocks) {
      if (block.last < to.first) continue
      const at = entryKey(to.id, block.last)
      puts.push({ table: this.#entries, key: at, record: block.record(at) })
    }
  }

  async #commit(puts: readonly Put[]): Promise<void> {
    if (puts.length === 0) return
    try {
      await this.#root.batch(() => {
        for (const { table, key, record } of puts) void (record === undefined ? table.remove(key) : table.put(key, record))
      })
    } catch (error) {
      throw await causeOf(error)
    }
  }

  #isVisible(put: Put | undefined): boolean {
    if (put === undefined) return false
    this.#root.resetReadTxn()
    const found = put.table.get(put.key)
    return put.record === undefined ? found === undefined : found?.equals(put.record) === true
  }
}
