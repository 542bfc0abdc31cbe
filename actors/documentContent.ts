/** The content of a document as it lies in its journal, for those who need it whole. */
import { decodeChange, encodeChange, unseal } from '../crdt/change.ts'
import { TroupeError } from './errors.ts'
import type { Entry, Journals } from './journal.ts'
import type { EpochMs } from './world.ts'

export interface Times {
  readonly createdAt: EpochMs
  /** Empty: nobody known. */
  readonly createdBy: string
  readonly updatedAt: EpochMs
}

export const contentOf = (journals: Journals, journal: string) => ({
  /**
   * As entries for another journal: first what the snapshot holds, as a change of this user, then the changes as they are, but for the
   * keys of their requests, which are those of this document.
   */
  async entries(user: string, via: string): Promise<Uint8Array[]> {
    const snapshot = await journals.snapshot(journal)
    const content: Uint8Array[] = []
    if (snapshot !== undefined) {
      const update = unseal(snapshot.data)
      if (update === undefined) throw new TroupeError('storage.newer_format', journal)
      content.push(encodeChange({ author: { user, via }, update }))
    }
    for await (const { data } of entriesAfter(journals, journal, snapshot?.offset ?? 0)) content.push(withoutRequest(data))
    return content
  },

  /** Of all changes that are not in the snapshot. */
  async bytes(): Promise<number> {
    let bytes = 0
    for await (const { data } of entriesAfter(journals, journal, 0)) bytes += decodeChange(data)?.update.length ?? 0
    return bytes
  },

  /** Zeros when there is nothing. */
  async times(): Promise<Times> {
    const [[first], [last]] = await Promise.all([journals.read(journal, { limit: 1 }), journals.read(journal, { reverse: true, limit: 1 })])
    const snapshot = first?.offset === 1 && last !== undefined ? undefined : await journals.snapshot(journal)
    const author = first?.offset === 1 ? decodeChange(first.data)?.author.user : undefined
    const createdAt = (first?.offset === 1 ? first.time : snapshot?.time) ?? 0
    return { createdAt, createdBy: author ?? '', updatedAt: last?.time ?? snapshot?.time ?? 0 }
  },
})

const withoutRequest = (data: Uint8Array): Uint8Array => {
  const change = decodeChange(data)
  return change?.request === undefined ? data : encodeChange({ author: change.author, update: change.update })
}

/** All entries after this offset, a page in memory at a time. */
export async function* entriesAfter(journals: Journals, journal: string, offset: number): AsyncGenerator<Entry> {
  for (let after = offset; ; ) {
    const entries = await journals.read(journal, { after })
    if (entries.length === 0) return
    yield* entries
    after = entries.at(-1)?.offset ?? after
  }
}
