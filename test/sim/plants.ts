/** Bugs that are planted on purpose: the simulation must find each of them, or it proves nothing. */
import type { Appended, Entry, Head, Journals, Offset, ReadOptions, Snapshot, StorageStatus } from '../../actors/journal.ts'
import { DocumentState, type Examined } from '../../crdt/document.ts'
import type { SeededRandom } from '../support/world.ts'
import type { Events } from './events.ts'

type Expected = { readonly expected?: Offset | 'none' }

export class Passing implements Journals {
  protected readonly journals: Journals

  constructor(journals: Journals) {
    this.journals = journals
  }

  append(journal: string, entries: readonly Uint8Array[], options?: Expected): Promise<Appended> {
    return this.journals.append(journal, entries, options)
  }

  read(journal: string, options?: ReadOptions): Promise<Entry[]> {
    return this.journals.read(journal, options)
  }

  head(journal: string): Promise<Head> {
    return this.journals.head(journal)
  }

  snapshot(journal: string): Promise<Snapshot | undefined> {
    return this.journals.snapshot(journal)
  }

  saveSnapshot(journal: string, offset: Offset, data: Uint8Array, options?: { readonly trim?: boolean }): Promise<void> {
    return this.journals.saveSnapshot(journal, offset, data, options)
  }

  trim(journal: string, before: Offset): Promise<void> {
    return this.journals.trim(journal, before)
  }

  remove(journal: string): Promise<void> {
    return this.journals.remove(journal)
  }

  list(prefix: string, options?: { readonly after?: string; readonly limit?: number }): Promise<string[]> {
    return this.journals.list(prefix, options)
  }

  status(): StorageStatus {
    return this.journals.status()
  }

  onStatus(changed: (status: StorageStatus) => void): () => void {
    return this.journals.onStatus(changed)
  }

  close(): Promise<void> {
    return this.journals.close()
  }
}

/** Where an append will lie that says where the journal stands. */
const place = (entries: readonly Uint8Array[], { expected = 'none' }: Expected = {}): Appended => {
  const before = expected === 'none' ? 0 : expected
  return { first: before + 1, last: before + entries.length, time: 0 }
}

/** Says "on disk" when it is not. */
export class EarlyJournals extends Passing {
  override append(journal: string, entries: readonly Uint8Array[], options?: Expected): Promise<Appended> {
    this.journals.append(journal, entries, options).catch(() => {})
    return Promise.resolve(place(entries, options))
  }
}

/** A write now and then stays behind in a cache; the next one gets to the disk before it. */
export class ReorderingJournals extends Passing {
  readonly #events: Events
  readonly #random: SeededRandom
  readonly #behind = new Map<string, readonly Uint8Array[]>()

  constructor(journals: Journals, events: Events, random: SeededRandom) {
    super(journals)
    this.#events = events
    this.#random = random
  }

  override async append(journal: string, entries: readonly Uint8Array[], options?: Expected): Promise<Appended> {
    const behind = this.#behind.get(journal)
    if (behind === undefined && this.#random.chance(0.2)) {
      this.#behind.set(journal, entries)
      await new Promise<void>((resolve) => this.#events.after(5, resolve))
      return place(entries, options)
    }
    const written = this.journals.append(journal, entries)
    if (behind !== undefined) {
      this.#behind.delete(journal)
      this.journals.append(journal, behind).catch(() => {})
    }
    await written
    return place(entries, options)
  }
}

/** While `run` runs, an update with missing predecessors passes for a whole one. */
export const withoutCheckOfPredecessors = async <T>(run: () => Promise<T>): Promise<T> => {
  const { examine } = DocumentState.prototype
  DocumentState.prototype.examine = function (this: DocumentState, ...parameters) {
    const examined = examine.apply(this, parameters)
    return examined.ok && examined.verdict === 'missing' ? ({ ...examined, verdict: 'new' } satisfies Examined) : examined
  }
  try {
    return await run()
  } finally {
    DocumentState.prototype.examine = examine
  }
}
