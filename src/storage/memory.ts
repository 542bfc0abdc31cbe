/**
 * Journals in memory: for tests, simulations and throw-away servers. Same rules as on disk, nothing survives the process.
 *
 * "On disk" here means "in the map": an append takes effect when it is called.
 */
import { TroupeError } from '../../actors/errors.ts'
import type { Appended, Entry, Head, Journals, Offset, ReadOptions, Snapshot, StorageStatus } from '../../actors/journal.ts'
import type { Clock, Random } from '../../actors/world.ts'
import {
  admitEntries,
  admitExpected,
  admitSnapshot,
  defaultListLimit,
  defaultMaxEntryBytes,
  nameKey,
  Page,
  readRange,
  trimmedFirst,
} from './admission.ts'
import { StatusBoard } from './statusBoard.ts'

export interface MemoryOptions {
  readonly clock: Clock
  readonly random: Random
  /** Largest entry, in bytes. Default 16 MiB. */
  readonly maxEntryBytes?: number
}

interface MemoryJournal {
  readonly epoch: string
  readonly key: Buffer
  /** Entry of offset n is at n - first. */
  entries: Entry[]
  first: Offset
  last: Offset
  lastTime: number
  snapshot: Snapshot | undefined
}

class MemoryJournals implements Journals {
  readonly #journals = new Map<string, MemoryJournal>()
  readonly #board = new StatusBoard()
  readonly #options: Required<MemoryOptions>

  constructor(options: MemoryOptions) {
    this.#options = { maxEntryBytes: defaultMaxEntryBytes, ...options }
  }

  async append(name: string, entries: readonly Uint8Array[], options?: { readonly expected?: Offset | 'none' }): Promise<Appended> {
    const found = this.#find(name)
    admitEntries(entries, this.#options.maxEntryBytes)
    admitExpected(options?.expected, found?.last ?? 0)
    if (entries.length === 0) return { first: (found?.last ?? 0) + 1, last: found?.last ?? 0, time: found?.lastTime ?? 0 }
    const journal = found ?? this.#create(name)
    const time = Math.max(this.#options.clock.now(), journal.lastTime)
    const first = journal.last + 1
    for (const data of entries) journal.entries.push({ offset: ++journal.last, time, data: Uint8Array.from(data) })
    journal.lastTime = time
    return { first, last: journal.last, time }
  }

  async read(name: string, options: ReadOptions = {}): Promise<Entry[]> {
    const journal = this.#find(name)
    if (journal === undefined) return []
    const page = new Page(options)
    const { low, high } = readRange(options, journal.first, journal.last)
    const step = options.reverse === true ? -1 : 1
    for (let offset = step > 0 ? low : high; offset >= low && offset <= high; offset += step) {
      const entry = journal.entries[offset - journal.first]
      if (entry === undefined || !page.take(entry)) break
    }
    return page.entries
  }

  async head(name: string): Promise<Head> {
    const journal = this.#find(name)
    return { epoch: journal?.epoch ?? '', first: journal?.first ?? 1, last: journal?.last ?? 0 }
  }

  async snapshot(name: string): Promise<Snapshot | undefined> {
    return this.#find(name)?.snapshot
  }

  async saveSnapshot(name: string, offset: Offset, data: Uint8Array, options?: { readonly trim?: boolean }): Promise<void> {
    const found = this.#find(name)
    admitSnapshot(offset, found?.last ?? 0)
    const journal = found ?? this.#create(name)
    journal.snapshot = { offset, time: Math.max(this.#options.clock.now(), journal.lastTime), data: Uint8Array.from(data) }
    if (options?.trim === true) this.#trim(journal, offset + 1)
  }

  async trim(name: string, before: Offset): Promise<void> {
    const journal = this.#find(name)
    if (journal !== undefined) this.#trim(journal, before)
  }

  async remove(name: string): Promise<void> {
    this.#find(name)
    this.#journals.delete(name)
  }

  async list(prefix: string, options: { readonly after?: string; readonly limit?: number } = {}): Promise<string[]> {
    this.#open()
    const after = Buffer.from(options.after ?? '')
    return [...this.#journals]
      .filter(([name, { key }]) => name.startsWith(prefix) && Buffer.compare(key, after) > 0)
      .sort(([, a], [, b]) => Buffer.compare(a.key, b.key))
      .slice(0, options.limit ?? defaultListLimit)
      .map(([name]) => name)
  }

  status(): StorageStatus {
    return this.#board.status
  }

  onStatus(changed: (status: StorageStatus) => void): () => void {
    return this.#board.listen(changed)
  }

  async close(): Promise<void> {
    this.#board.set({ state: 'closed' })
  }

  #open(): void {
    if (this.#board.status.state === 'closed') throw new TroupeError('storage.closed')
  }

  #find(name: string): MemoryJournal | undefined {
    this.#open()
    const journal = this.#journals.get(name)
    if (journal === undefined) nameKey(name)
    return journal
  }

  #create(name: string): MemoryJournal {
    const epoch = this.#options.random.id()
    const journal: MemoryJournal = { epoch, key: nameKey(name), entries: [], first: 1, last: 0, lastTime: 0, snapshot: undefined }
    this.#journals.set(name, journal)
    return journal
  }

  #trim(journal: MemoryJournal, before: Offset): void {
    const first = trimmedFirst(before, journal.first, journal.last)
    journal.entries = journal.entries.slice(first - journal.first)
    journal.first = first
  }
}

export const openMemoryJournals = (options: MemoryOptions): Journals => new MemoryJournals(options)
