/** The history of a document goes along to its new name: the same entries, in a journal that begins with its first place. */
import { decodeEntry, encodeEntry } from '../crdt/historyEntry.ts'
import { TroupeError } from './errors.ts'
import { decodeVersions, encodeVersions } from './historyVersions.ts'
import type { Journals, Offset } from './journal.ts'

export interface MovedHistory {
  readonly journal: string
  /** Of the document that it belongs to. */
  readonly epoch: string
  /** Changes of the document that are in the history alone; its own journal goes on after them. */
  readonly skipped: Offset
}

/** Can be interrupted anywhere and called again, as long as the old journal is there. */
export const moveHistory = async (journals: Journals, { journal, epoch }: MovedHistory, id: string): Promise<void> => {
  const target = `history/${id}`
  const { epoch: next } = await journals.head(`document/${id}`)
  const { first } = await journals.head(journal)
  const shift = first - 1
  const moved = (data: Uint8Array): Uint8Array => {
    const entry = decodeEntry(data)
    if (entry === undefined) throw new TroupeError('storage.newer_format', `${journal} has format ${data[0]}`)
    const { begin, base } = entry
    return encodeEntry({
      ...entry,
      epoch: entry.epoch === epoch ? next : entry.epoch,
      begin: Math.max(1, begin - shift),
      base: Math.max(0, base - shift),
    })
  }
  await journals.remove(target)
  for (let after = shift; ; ) {
    const entries = await journals.read(journal, { after })
    if (entries.length === 0) break
    await journals.append(
      target,
      entries.map(({ data }) => moved(data)),
    )
    after = entries.at(-1)?.offset ?? after
  }
  const stored = await journals.snapshot(journal)
  if (stored === undefined) return
  const list = decodeVersions(stored.data)
  const versions = list.versions.map(({ kept, ...version }) => ({ ...version, ...(kept !== undefined && { kept: kept - shift }) }))
  const data = encodeVersions({ ...list, versions, epoch: list.epoch === epoch ? next : list.epoch })
  await journals.saveSnapshot(target, Math.max(0, stored.offset - shift), data)
}
