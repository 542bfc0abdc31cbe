/**
 * Documents over HTTP: their life. Reference: docs/documents-api.md.
 *
 *   PUT    /v1/documents/{name}            create, with content or without          201
 *   GET    /v1/documents                   list
 *   GET    /v1/documents/{name}            describe
 *   DELETE /v1/documents/{name}            delete; `purge=true`: for good
 *   POST   /v1/documents/{name}/undelete
 *   POST   /v1/documents/{name}/copy       to another name                          201
 *   POST   /v1/documents/{name}/rename
 *   POST   /v1/documents/{name}/reset      begin anew
 *   GET    /v1/documents/{name}/export
 *   POST   /v1/documents/{name}/import     merge, or replace
 *
 * What is in a document is read and changed in documentContent.ts, its history in documentHistory.ts.
 */
import { z } from 'zod'
import type { DocumentBytes, DocumentDescription } from '../../actors/documentMessages.ts'
import { TroupeError } from '../../actors/errors.ts'
import type { Journals } from '../../actors/journal.ts'
import type { Clock } from '../../actors/world.ts'
import { base64 } from '../../crdt/base64.ts'
import type { Operation } from '../../crdt/operations.ts'
import type { DocumentWork } from '../../crdt/work.ts'
import { listDocuments } from '../documents/catalog.ts'
import { contentBy, updateSince } from '../documents/content.ts'
import type { DocumentEdits } from '../documents/edits.ts'
import { isoTime } from '../doors/times.ts'
import { changed, describe, description, documentName, envelope, type Initial, initial, time, timeOf } from './documentSchemas.ts'
import { type DocumentRoute, type DocumentSession, documentRoute, repeatable } from './documentSession.ts'

export interface DocumentRoutesNeeds {
  readonly work: DocumentWork
  readonly edits: DocumentEdits
  readonly journals: Journals
  readonly clock: Clock
}

const base = '/v1/documents/{name}'
const tag = 'documents'
const flag = z.enum(['true', 'false']).default('false')
const target = z.strictObject({ to: documentName.describe('The other name') })
const one = { 200: { description: 'The document', schema: description } }
const created = { 201: { description: 'The new document', schema: description } }
const createdElsewhere = { 201: { ...created[201], headers: { Location: 'Of the new document' } } }

/** Errors: `command.bad_parameters`, `document.misfit`. */
const initialUpdate = async (
  work: DocumentWork,
  given: Initial | undefined,
  bytes: Uint8Array | undefined,
): Promise<{ update?: Uint8Array }> => {
  if (bytes !== undefined) return { update: bytes }
  const { content, operations, update } = given ?? {}
  if ([content, operations, update].filter((one) => one !== undefined).length > 1)
    throw new TroupeError('command.bad_parameters', 'content, operations, update: only one of them')
  if (update !== undefined) return { update: base64.decode(update) }
  const all =
    operations ?? Object.entries(content ?? {}).map(([root, value]): Operation => ({ op: 'add', path: `/${escaped(root)}`, value }))
  if (all.length === 0) return {}
  const made = await contentBy(work, all)
  return made.length === 0 ? {} : { update: made }
}

const locationOf = (name: string): string => `/v1/documents/${encodeURIComponent(name)}`

const escaped = (token: string): string => token.replaceAll('~', '~0').replaceAll('/', '~1')

const byOf = ({ author }: DocumentSession): string => author.user

const listed = z.object({
  documents: z.array(
    z.object({
      name: z.string(),
      bytes: z.int().optional(),
      offset: z.int().optional(),
      created_at: time.nullable().optional(),
      created_by: z.string().optional(),
      updated_at: time.nullable().optional(),
      deleted_at: time.optional(),
      deleted_by: z.string().optional(),
      renamed_to: z.string().optional(),
    }),
  ),
  has_more: z.boolean(),
  next: z.string().optional().describe('Go on with this as `after`'),
})

export const documentLifeRoutes = ({ work, edits, journals, clock }: DocumentRoutesNeeds): DocumentRoute[] => [
  documentRoute({
    method: 'GET',
    path: '/v1/documents',
    operation: 'listDocuments',
    tag,
    summary: 'Documents that the account may read, by name',
    query: z.object({
      prefix: z.string().max(255).default('').describe('Only names that begin with this'),
      after: z.string().max(255).optional().describe('Go on after this name'),
      limit: z.coerce.number().int().min(1).max(1_000).default(100),
      deleted: flag.describe('Those that were deleted, instead of those that are there'),
    }),
    answers: { 200: { description: 'A page; sizes and times as they were when a document was last measured', schema: listed } },
    needs: 'lists what the account may read',
    async handle({ session, query: { prefix, after, limit, deleted } }) {
      const maySee = (name: string) =>
        session.documentAccess(name).then(
          () => true,
          () => false,
        )
      const page = await listDocuments(journals, {
        tenant: session.account.tenant,
        prefix: prefix.normalize('NFC'),
        after: after?.normalize('NFC'),
        limit,
        isDeleted: deleted === 'true',
        maySee,
      })
      const documents = page.documents.map(({ name, record }) => ({
        name,
        ...(record !== undefined && {
          bytes: record.bytes,
          offset: record.offset,
          created_at: timeOf(record.createdAt),
          created_by: record.createdBy,
          updated_at: timeOf(record.updatedAt),
          ...(record.deletedAt !== undefined && { deleted_at: isoTime(record.deletedAt), deleted_by: record.deletedBy ?? '' }),
          ...(record.renamedTo !== undefined && { renamed_to: record.renamedTo }),
        }),
      }))
      return { body: { documents, has_more: page.next !== undefined, ...(page.next !== undefined && { next: page.next }) } }
    },
  }),

  documentRoute({
    method: 'GET',
    path: base,
    operation: 'describeDocument',
    tag,
    summary: 'What a document is: epoch, size, times, who has it open',
    answers: { 200: { description: 'The document, also when it was deleted', schema: description } },
    needs: 'document:NAME:read',
    demands: 'read',
    async handle({ document }) {
      return { body: describe(await document.ask<DocumentDescription>({ type: 'document.describe' })) }
    },
  }),

  documentRoute({
    method: 'PUT',
    path: base,
    operation: 'createDocument',
    tag,
    summary: 'Create a document, with content or without; also in the place of one that was deleted',
    headers: repeatable,
    body: { schema: initial, isBinary: true },
    answers: created,
    needs: 'document:NAME:create',
    demands: 'create',
    async handle({ document, body, bytes, key }) {
      const content = await initialUpdate(work, body, bytes)
      const made = await document.ask<DocumentDescription>({ type: 'document.create', by: byOf(document), request: key, ...content })
      return { status: 201, body: describe(made) }
    },
  }),

  documentRoute({
    method: 'DELETE',
    path: base,
    operation: 'deleteDocument',
    tag,
    summary: 'Delete a document; it can be restored for `documents.deletedMs`, unless it is purged',
    query: z.object({ purge: flag.describe('Content and history go at once and for good') }),
    answers: one,
    needs: 'document:NAME:delete',
    demands: 'delete',
    async handle({ document, query: { purge } }) {
      const type = purge === 'true' ? 'document.purge' : 'document.remove'
      return { body: describe(await document.ask<DocumentDescription>({ type, by: byOf(document) })) }
    },
  }),

  documentRoute({
    method: 'POST',
    path: `${base}/undelete`,
    operation: 'undeleteDocument',
    tag,
    summary: 'Bring a deleted document back',
    answers: one,
    needs: 'document:NAME:delete',
    demands: 'delete',
    async handle({ document }) {
      return { body: describe(await document.ask<DocumentDescription>({ type: 'document.undelete', by: byOf(document) })) }
    },
  }),

  documentRoute({
    method: 'POST',
    path: `${base}/copy`,
    operation: 'copyDocument',
    tag,
    summary: 'Make a new document with the same content',
    headers: repeatable,
    body: { schema: target, isRequired: true },
    answers: createdElsewhere,
    needs: 'document:NAME:read, document:TO:create',
    demands: 'read',
    async handle({ document, body, key }) {
      const copy = document.sibling((body as { to: string }).to) // required
      await copy.demand('create')
      const headers = { location: locationOf(copy.name) }
      const made = await document.ask<DocumentDescription>({ type: 'document.copy', by: byOf(document), to: copy.name, request: key })
      return { status: 201, headers, body: describe(made) }
    },
  }),

  documentRoute({
    method: 'POST',
    path: `${base}/rename`,
    operation: 'renameDocument',
    tag,
    summary: 'Give a document another name; whoever has it open is told the new one',
    body: { schema: target, isRequired: true },
    answers: one,
    needs: 'document:NAME:delete, document:TO:create',
    demands: 'delete',
    async handle({ document, body }) {
      const renamed = document.sibling((body as { to: string }).to) // required
      await renamed.demand('create')
      return { body: describe(await document.ask<DocumentDescription>({ type: 'document.rename', by: byOf(document), to: renamed.name })) }
    },
  }),

  documentRoute({
    method: 'POST',
    path: `${base}/reset`,
    operation: 'resetDocument',
    tag,
    summary: 'Begin anew with no content or other content; clients that have the old content are refused',
    headers: repeatable,
    body: { schema: initial, isBinary: true },
    answers: one,
    needs: 'document:NAME:delete',
    demands: 'delete',
    async handle({ document, body, bytes, key }) {
      const content = await initialUpdate(work, body, bytes)
      const made = await document.ask<DocumentDescription>({ type: 'document.reset', by: byOf(document), request: key, ...content })
      return { body: describe(made) }
    },
  }),

  documentRoute({
    method: 'GET',
    path: `${base}/export`,
    operation: 'exportDocument',
    tag,
    summary: 'Everything in one piece, without history',
    answers: { 200: { description: 'What `import` takes', schema: envelope } },
    needs: 'document:NAME:read',
    demands: 'read',
    async handle({ document }) {
      const about = await document.ask<DocumentDescription>({ type: 'document.describe' })
      const state = await document.ask<DocumentBytes>({ type: 'document.state' })
      const update = await updateSince(work, state, undefined)
      return {
        body: {
          format: 'troupe-document',
          version: 1,
          name: about.name,
          epoch: state.epoch,
          offset: state.offset,
          exported_at: isoTime(clock.now()),
          created_at: timeOf(about.createdAt),
          created_by: about.createdBy,
          updated_at: timeOf(about.updatedAt),
          update: base64.encode(update),
        },
      }
    },
  }),

  documentRoute({
    method: 'POST',
    path: `${base}/import`,
    operation: 'importDocument',
    tag,
    summary: 'Take in what `export` gave, or a Yjs update: merge it, or replace what is there',
    query: z.object({
      mode: z.enum(['merge', 'replace']).default('merge').describe('`replace` begins anew: clients that have the old content are refused'),
    }),
    headers: { 'Idempotency-Key': `With \`replace\`, for a merge counts once anyway. ${repeatable['Idempotency-Key']}` },
    body: { schema: envelope, isBinary: true, isRequired: true },
    answers: { 200: { description: 'On disk', schema: changed } },
    needs: 'document:NAME:write; to replace, document:NAME:delete',
    async handle({ document, body, bytes, key, query: { mode } }) {
      const update = bytes ?? base64.decode((body as { update: string }).update) // one of both is there
      await document.demand(mode === 'replace' ? 'delete' : 'write')
      const { author, address, birthBan } = document
      if (mode === 'merge') {
        const made = await edits.append({ address, author: { ...author, via: 'import' }, birthBan, update })
        return { body: { epoch: made.epoch, offset: made.offset, changed: made.isChanged } }
      }
      const made = await document.ask<DocumentDescription>({ type: 'document.reset', by: author.user, update, request: key })
      return { body: { epoch: made.epoch, offset: made.offset, changed: true } }
    },
  }),
]
