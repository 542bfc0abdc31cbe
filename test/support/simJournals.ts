/**
 * A simulated disk with journals on it, for tests and for the deterministic simulation.
 *
 * What is written waits in one queue, as in a group commit, and is on disk when the disk is flushed: at once (default),
 * after a time on the simulated clock, or when the test says so (`hold`, `flush`). `crash` forgets what waits; the next
 * `open` is another process on the same disk.
 */
import { type ErrorCode, TroupeError } from '../../actors/errors.ts'
import type { Appended, Entry, Head, Journals, Offset, ReadOptions, Snapshot, StorageStatus } from '../../actors/journal.ts'
import type { Cancel, Clock, EpochMs } from '../../actors/world.ts'

interface StoredJournal {
  readonly epoch: string
  first: Offset
  last: Offset
  lastTime: EpochMs
  entries: Entry[]
  snapshot: Snapshot | undefined
}

interface Write {
  readonly owner: Handle
  readonly journal: string
  /** Allowed while the disk is full: it frees space. */
  readonly isFreeing: boolean
  /** Changes the disk, or throws and changes nothing. */
  readonly apply: () => unknown
  readonly resolve: (value: never) => void
  readonly reject: (error: unknown) => void
}

type Refusal = Extract<ErrorCode, 'storage.full' | 'storage.failed'>

const maxNameBytes = 512
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
const controls = /[\u0000-\u001f\u007f-\u009f]/

const checkName = (journal: string): void => {
  const bytes = Buffer.byteLength(journal)
  if (bytes === 0 || bytes > maxNameBytes || controls.test(journal) || !journal.isWellFormed()) {
    throw new TroupeError('journal.bad_name', JSON.stringify(journal))
  }
}

export interface DiskOptions {
  /** Time from a write to its flush, on the clock. Default: at once, without the clock. */
  readonly flushMs?: () => number
  /** Largest entry, in bytes. Default 1 MiB. */
  readonly maxEntryBytes?: number
}

export class SimulatedDisk {
  readonly clock: Clock
  readonly maxEntryBytes: number
  readonly #flushMs: (() => number) | undefined
  readonly #journals = new Map<string, StoredJournal>()
  readonly #handles = new Set<Handle>()
  #queue: Write[] = []
  #isHeld = false
  #isScheduled = false
  #cancelFlush: Cancel | undefined
  #refusal: Refusal | undefined
  #refusedSince: EpochMs = 0
  #epochs = 0
  /** Appends that reached the disk. */
  commits = 0

  constructor(clock: Clock, options: DiskOptions = {}) {
    this.clock = clock
    this.#flushMs = options.flushMs
    this.maxEntryBytes = options.maxEntryBytes ?? 1_048_576
  }

  // ── verbs of the test ──────────────────────────────────────────────────────────────────────────────────────────

  /** A process opens the store. */
  open(): Journals {
    const handle = new Handle(this)
    this.#handles.add(handle)
    return handle
  }

  /** From now on nothing becomes durable until `flush` or `release`. */
  hold(): void {
    this.#isHeld = true
    this.#cancelFlush?.()
    this.#isScheduled = false
  }

  release(): void {
    this.#isHeld = false
    this.flush()
  }

  /** The oldest `writes` of those that wait reach the disk, in order; all of them by default. Returns how many did. */
  flush(writes = Number.POSITIVE_INFINITY): number {
    const due = this.#queue.splice(0, Math.min(writes, this.#queue.length))
    for (const write of due) this.#commit(write)
    return due.length
  }

  get waiting(): number {
    return this.#queue.length
  }

  /** The disk refuses what is written from now on, and what waits; `undefined`: it accepts again. */
  refuse(code: Refusal | undefined): void {
    this.#refusal = code
    this.#refusedSince = this.clock.now()
    for (const handle of this.#handles) handle.statusChanged()
  }

  /** The process ends here: what waits is lost, and whoever waits for it waits for ever. */
  crash(): void {
    this.#cancelFlush?.()
    this.#isScheduled = false
    this.#queue = []
    for (const handle of this.#handles) handle.isGone = true
    this.#handles.clear()
  }

  /** What is on disk, as JSON values; for assertions. */
  contents(journal: string): unknown[] {
    return (this.#journals.get(journal)?.entries ?? []).map(({ data }) => JSON.parse(Buffer.from(data).toString()))
  }

  // ── what handles need ──────────────────────────────────────────────────────────────────────────────────────────

  stored(journal: string): StoredJournal | undefined {
    return this.#journals.get(journal)
  }

  names(): string[] {
    return [...this.#journals.keys()].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
  }

  create(journal: string): StoredJournal {
    const stored = { epoch: `epoch${++this.#epochs}`, first: 1, last: 0, lastTime: 0, entries: [], snapshot: undefined }
    this.#journals.set(journal, stored)
    return stored
  }

  remove(journal: string): void {
    this.#journals.delete(journal)
  }

  status(): StorageStatus {
    if (this.#refusal === undefined) return { state: 'ready' }
    if (this.#refusal === 'storage.full') return { state: 'full', since: this.#refusedSince }
    return { state: 'failed', since: this.#refusedSince, reason: 'simulated' }
  }

  write(write: Write): void {
    this.#queue.push(write)
    if (this.#isHeld || this.#isScheduled) return
    this.#isScheduled = true
    const flush = () => {
      this.#isScheduled = false
      this.flush()
    }
    if (this.#flushMs === undefined) queueMicrotask(() => this.#isHeld || flush())
    else this.#cancelFlush = this.clock.after(this.#flushMs(), flush)
  }

  /** Resolves when nothing of this handle waits any more. */
  async whenWritten(owner: Handle): Promise<void> {
    while (this.#queue.some((write) => write.owner === owner)) await new Promise<void>((resolve) => setImmediate(resolve))
  }

  closed(handle: Handle): void {
    this.#handles.delete(handle)
  }

  #commit(write: Write): void {
    if (this.#refusal !== undefined && !(write.isFreeing && this.#refusal === 'storage.full')) {
      write.reject(new TroupeError(this.#refusal))
      return
    }
    try {
      write.resolve(write.apply() as never)
    } catch (error) {
      write.reject(error)
    }
  }
}

class Handle implements Journals {
  readonly #disk: SimulatedDisk
  readonly #observers = new Set<(status: StorageStatus) => void>()
  /** Its process has crashed. */
  isGone = false
  #isClosed = false

  constructor(disk: SimulatedDisk) {
    this.#disk = disk
  }

  append(journal: string, entries: readonly Uint8Array[], options: { readonly expected?: Offset | 'none' } = {}): Promise<Appended> {
    const copies = entries.map((entry) => entry.slice())
    return this.#write(journal, false, () => {
      if (copies.some(({ byteLength }) => byteLength > this.#disk.maxEntryBytes)) throw new TroupeError('journal.too_large', journal)
      const last = this.#disk.stored(journal)?.last ?? 0
      const expected = options.expected === 'none' ? 0 : options.expected
      if (expected !== undefined && expected !== last) {
        throw new TroupeError('journal.conflict', `${journal} is at ${last}, not at ${expected}`)
      }
      const stored = this.#disk.stored(journal) ?? this.#disk.create(journal)
      const time = Math.max(stored.lastTime, this.#disk.clock.now())
      for (const data of copies) stored.entries.push({ offset: ++stored.last, time, data })
      stored.lastTime = time
      this.#disk.commits++
      return { first: last + 1, last: stored.last, time } satisfies Appended
    })
  }

  read(journal: string, options: ReadOptions = {}): Promise<Entry[]> {
    const { after, limit = 1_000, maxBytes = 16 * 1_048_576, reverse = false } = options
    return this.#read(journal, (stored) => {
      const all = stored?.entries ?? []
      const from = reverse
        ? all.filter(({ offset }) => after === undefined || offset < after).reverse()
        : all.filter(({ offset }) => after === undefined || offset > after)
      const found: Entry[] = []
      let bytes = 0
      for (const entry of from) {
        bytes += entry.data.byteLength
        if (found.length >= limit || (found.length > 0 && bytes > maxBytes)) break
        found.push({ ...entry, data: entry.data.slice() })
      }
      return found
    })
  }

  head(journal: string): Promise<Head> {
    return this.#read(journal, (stored) => ({ epoch: stored?.epoch ?? '', first: stored?.first ?? 1, last: stored?.last ?? 0 }))
  }

  snapshot(journal: string): Promise<Snapshot | undefined> {
    return this.#read(journal, (stored) => (stored?.snapshot === undefined ? undefined : { ...stored.snapshot }))
  }

  saveSnapshot(journal: string, offset: Offset, data: Uint8Array, options: { readonly trim?: boolean } = {}): Promise<void> {
    const copy = data.slice()
    return this.#write(journal, false, () => {
      const stored = this.#disk.stored(journal)
      if (stored === undefined || offset > stored.last) throw new TroupeError('journal.conflict', `${journal} has no offset ${offset}`)
      stored.snapshot = { offset, time: this.#disk.clock.now(), data: copy }
      if (options.trim === true) trimTo(stored, offset + 1)
    })
  }

  trim(journal: string, before: Offset): Promise<void> {
    return this.#write(journal, true, () => {
      const stored = this.#disk.stored(journal)
      if (stored !== undefined) trimTo(stored, before)
    })
  }

  remove(journal: string): Promise<void> {
    return this.#write(journal, true, () => this.#disk.remove(journal))
  }

  list(prefix: string, options: { readonly after?: string; readonly limit?: number } = {}): Promise<string[]> {
    return this.#read('list', () => {
      const names = this.#disk.names().filter((name) => name.startsWith(prefix))
      const from =
        options.after === undefined ? 0 : names.findIndex((name) => Buffer.compare(Buffer.from(name), Buffer.from(options.after ?? '')) > 0)
      return from < 0 ? [] : names.slice(from, from + (options.limit ?? 1_000))
    })
  }

  status(): StorageStatus {
    return this.#isClosed ? { state: 'closed' } : this.#disk.status()
  }

  onStatus(changed: (status: StorageStatus) => void): () => void {
    this.#observers.add(changed)
    return () => this.#observers.delete(changed)
  }

  statusChanged(): void {
    for (const changed of this.#observers) changed(this.status())
  }

  async close(): Promise<void> {
    if (this.#isClosed) return
    await this.#disk.whenWritten(this)
    this.#isClosed = true
    this.statusChanged()
    this.#disk.closed(this)
  }

  async #read<T>(journal: string, read: (stored: StoredJournal | undefined) => T): Promise<T> {
    await this.#admit(journal)
    return read(this.#disk.stored(journal))
  }

  #write<T>(journal: string, isFreeing: boolean, apply: () => T): Promise<T> {
    const refusal = this.#refusal(journal)
    if (refusal !== undefined) return Promise.reject(refusal)
    return new Promise<T>((resolve, reject) => {
      if (!this.isGone) this.#disk.write({ owner: this, journal, isFreeing, apply, resolve, reject })
    })
  }

  async #admit(journal: string): Promise<void> {
    const refusal = this.#refusal(journal)
    if (refusal !== undefined) throw refusal
    if (this.isGone) await new Promise<never>(() => {})
  }

  #refusal(journal: string): unknown {
    if (this.#isClosed) return new TroupeError('storage.closed')
    try {
      checkName(journal)
      return undefined
    } catch (error) {
      return error
    }
  }
}

const trimTo = (stored: StoredJournal, before: Offset): void => {
  stored.entries = stored.entries.filter(({ offset }) => offset >= before)
  stored.first = Math.max(stored.first, Math.min(before, stored.last + 1))
}
