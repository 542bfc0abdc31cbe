/**
 * Which documents there are, read from their records and journals; none of them is loaded.
 *
 * Size and time of the last change are as of the last time that the document was measured (when it gets its first change, is compacted,
 * leaves memory); the time is right even for one that is open now, unless all its changes were compacted since.
 */
import { publicName, scopedId, tenantOf } from './account.ts'
import { contentOf } from './documentContent.ts'
import { type DocumentRecord, readRecord, recordOf, standingOf } from './documentRecord.ts'
import type { Journals } from './journal.ts'
import type { EpochMs } from './world.ts'

export interface CatalogRequest {
  readonly tenant: string
  readonly prefix?: string
  /** Names after this one, in order of their UTF-8 bytes. */
  readonly after?: string
  /** Default 100. */
  readonly limit?: number
  /** Those that were deleted instead of those that are there. */
  readonly deleted?: boolean
}

export interface CatalogEntry {
  readonly name: string
  readonly createdAt: EpochMs
  readonly createdBy: string
  readonly updatedAt: EpochMs
  readonly bytes: number
  readonly deletedAt?: EpochMs
  readonly deletedBy?: string
  /** Its content is gone. */
  readonly isPurged?: boolean
  readonly renamedTo?: string
}

export interface CatalogPage {
  readonly documents: readonly CatalogEntry[]
  /** Where to go on; undefined: that was all. A page may be short, even empty, and not be the last. */
  readonly after?: string
}

const defaultLimit = 100
/** Names that one call looks at, so that a thousand tombstones in a row do not make it slow. */
const mostLooked = 1_000
const pageNames = 256

/** Errors: `journal.corrupt`, those of the store. */
export const listDocuments = async (journals: Journals, request: CatalogRequest): Promise<CatalogPage> => {
  const { tenant, prefix = '', after, limit = defaultLimit, deleted = false } = request
  const documents: CatalogEntry[] = []
  let looked = 0
  let last: string | undefined
  if (prefix.startsWith('~')) return { documents }
  for await (const id of idsOf(journals, scopedId(tenant, prefix), after === undefined ? undefined : scopedId(tenant, after), tenant)) {
    if (documents.length === limit || looked === mostLooked) return { documents, after: last as string } // something was looked at
    looked++
    last = publicName(id)
    const { record } = await readRecord(journals, id)
    if ((standingOf(record, true) === 'deleted') === deleted) documents.push(await entryOf(journals, id, record))
  }
  return { documents }
}

const entryOf = async (journals: Journals, id: string, record: DocumentRecord | undefined): Promise<CatalogEntry> => {
  const content = contentOf(journals, `document/${id}`)
  const name = publicName(id)
  // Without a record it was never compacted, so this is at most what a compaction waits for.
  if (record === undefined) return { name, ...(await content.times()), bytes: await content.bytes() }
  const { createdAt, createdBy, bytes, offset, deletedAt, deletedBy = '', purgedAt, renamedTo } = record
  if (deletedAt !== undefined) {
    const { updatedAt } = record
    const deletion = { deletedAt, deletedBy, isPurged: purgedAt !== undefined, ...(renamedTo !== undefined && { renamedTo }) }
    return { name, createdAt, createdBy, updatedAt, bytes, ...deletion }
  }
  const { last } = await journals.head(`document/${id}`)
  const [newest] = last === offset ? [] : await journals.read(`document/${id}`, { reverse: true, limit: 1 })
  return { name, createdAt, createdBy, updatedAt: newest?.time ?? record.updatedAt, bytes }
}

/** Of documents that have content or a record, in order, each once. */
async function* idsOf(journals: Journals, prefix: string, after: string | undefined, tenant: string): AsyncGenerator<string> {
  const walks = ['document/', recordOf('')].map((kind) => namesOf(journals, kind, prefix, after, tenant))
  const heads = await Promise.all(walks.map((walk) => walk.next()))
  for (;;) {
    const waiting = heads.filter(({ done }) => done !== true).map(({ value }) => value as string)
    if (waiting.length === 0) return
    const id = waiting.reduce((least, other) => (compareBytes(other, least) < 0 ? other : least))
    yield id
    for (const [at, walk] of walks.entries()) if (heads[at]?.value === id) heads[at] = await walk.next()
  }
}

async function* namesOf(
  journals: Journals,
  kind: string,
  prefix: string,
  after: string | undefined,
  tenant: string,
): AsyncGenerator<string, undefined> {
  let last = after === undefined ? undefined : kind + after
  for (;;) {
    const names = await journals.list(kind + prefix, { limit: pageNames, ...(last !== undefined && { after: last }) })
    for (const name of names) {
      const id = name.slice(kind.length)
      last = name
      if (tenantOf(id) === tenant) yield id
      else {
        // The default tenant has no names that begin with ~; what comes behind them may be its own again.
        last = `${kind}\x7f`
        break
      }
    }
    if (names.length < pageNames && last !== `${kind}\x7f`) return undefined
    if (names.length === 0) return undefined
  }
}

const encoder = new TextEncoder()

/** As journals are listed: not as JavaScript compares, which takes 𝄞 for smaller than ￼. */
const compareBytes = (one: string, other: string): number => {
  const [a, b] = [encoder.encode(one), encoder.encode(other)]
  for (let i = 0; i < a.length && i < b.length; i++) if (a[i] !== b[i]) return (a[i] as number) - (b[i] as number) // both are long enough
  return a.length - b.length
}
