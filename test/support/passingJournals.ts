/** Journals that pass every call on to others: for those that do something to some of them. */
import type { Appended, Entry, Head, Journals, Offset, ReadOptions, Snapshot, StorageStatus } from '../../actors/journal.ts'

export type Expected = { readonly expected?: Offset | 'none' }

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
