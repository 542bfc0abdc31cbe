/**
 * Which documents a tenant has, by name, page by page: those with content and those with a record, from the names of their journals.
 * Nothing is loaded; what a page tells of a document is what its record said when it was last measured.
 */
import { scopedId } from '../../actors/account.ts'
import { isDamage } from '../../actors/documentDamage.ts'
import { type DocumentRecord, readRecord, recordOf, standingOf } from '../../actors/documentRecord.ts'
import type { Journals } from '../../actors/journal.ts'

export interface CatalogRequest {
  readonly tenant: string
  readonly prefix: string
  /** Name of the last document of the page before. */
  readonly after?: string | undefined
  readonly limit: number
  /** Those that were deleted, instead of those that are there. */
  readonly isDeleted: boolean
  /** Whether whoever asks may know of it. */
  readonly maySee: (name: string) => boolean | Promise<boolean>
}

export interface CatalogEntry {
  readonly name: string
  /** Undefined for a document that was not measured yet. */
  readonly record: DocumentRecord | undefined
}

export interface CatalogPage {
  readonly documents: readonly CatalogEntry[]
  /** Go on after this name; undefined: that was all. It need not be the name of a document of the page. */
  readonly next: string | undefined
}

const batchNames = 200
/** Looked at for one page; then the page ends, even if it is empty, or a reader of nothing would keep the disk busy. */
const searchedNames = 2_000
/** Above all that the name of a tenant begins with. */
const behindTenants = '~\u{10ffff}'

const order = (one: string, other: string): number => Buffer.compare(Buffer.from(one), Buffer.from(other))

/** Ids that have one of both journals, in order. */
const idsAfter = async (
  journals: Journals,
  scope: string,
  after: string,
): Promise<{ readonly ids: readonly string[]; readonly isEnd: boolean }> => {
  const [withContent, withRecord] = await Promise.all(
    ['document/', recordOf('')].map(async (kind) => {
      const names = await journals.list(`${kind}${scope}`, { after: `${kind}${after}`, limit: batchNames })
      return names.map((name) => name.slice(kind.length))
    }),
  )
  const lists = [withContent ?? [], withRecord ?? []]
  const ids = [...new Set(lists.flat())].sort(order)
  // Beyond the end of the shorter list, if it was cut, the other one may have what this one did not get to.
  const ends = lists.filter(({ length }) => length === batchNames).map((list) => list.at(-1) as string)
  const end = ends.sort(order)[0]
  return { ids: end === undefined ? ids : ids.filter((id) => order(id, end) <= 0), isEnd: end === undefined }
}

export const listDocuments = async (journals: Journals, request: CatalogRequest): Promise<CatalogPage> => {
  const { tenant, prefix, after, limit, isDeleted, maySee } = request
  const base = scopedId(tenant, '')
  const scope = `${base}${prefix}`
  const documents: CatalogEntry[] = []
  let searched = 0
  for (let at = after === undefined ? '' : `${base}${after}`; ; ) {
    const { ids, isEnd } = await idsAfter(journals, scope, at)
    for (const id of ids) {
      at = id
      if (tenant === '' && id.startsWith('~')) {
        at = behindTenants
        break
      }
      const name = id.slice(base.length)
      searched++
      if (await maySee(name)) {
        // One that is damaged is listed, and tells itself why it cannot be opened.
        const { record } = await readRecord(journals, id).catch((error) => {
          if (!isDamage(error)) throw error
          return { record: undefined }
        })
        if ((standingOf(record, true) === 'deleted') === isDeleted) documents.push({ name, record })
      }
      if (documents.length > limit) return { documents: documents.slice(0, limit), next: documents[limit - 1]?.name }
      if (searched >= searchedNames) return { documents, next: name }
    }
    if (isEnd && at !== behindTenants) return { documents, next: undefined }
    if (at === behindTenants && !ids.some((id) => id.startsWith('~'))) return { documents, next: undefined }
  }
}
