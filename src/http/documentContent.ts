/**
 * What is in a document, over HTTP, for programs that know no Yjs and for those that do. Reference: docs/documents-api.md.
 *
 *   GET   /v1/documents/{name}/content     in the form that is asked for
 *   PATCH /v1/documents/{name}/content     operations; all of them or none
 *   POST  /v1/documents/{name}/update      a Yjs update
 *   POST  /v1/documents/{name}/broadcast   a text to everybody who has it open
 *
 * A state of a document has an ETag (preconditions.ts): `If-None-Match` saves the transfer, `If-Match` makes a change only if nothing has
 * changed since.
 */
import { z } from 'zod'
import type { DocumentBytes } from '../../actors/documentMessages.ts'
import { base64 } from '../../crdt/base64.ts'
import type { DocumentWork } from '../../crdt/work.ts'
import { changeBy, readAs, updateSince } from '../documents/content.ts'
import type { DocumentEdits, Made } from '../documents/edits.ts'
import { json as anyJson, operations } from '../documents/operations.ts'
import type { ApiReply } from './apiRoute.ts'
import { binary, contentForms, harmless, mediaTypes, otherTypes } from './contentForms.ts'
import { changed } from './documentSchemas.ts'
import { type DocumentRoute, type DocumentSession, documentRoute, ifMatch, repeatable } from './documentSession.ts'
import { read } from './parameters.ts'
import { etagOf, expectedOf, isKnown } from './preconditions.ts'

export interface DocumentContentNeeds {
  readonly work: DocumentWork
  readonly edits: DocumentEdits
}

const path = '/v1/documents/{name}/content'
const tag = 'content'

const formats = [...contentForms, 'vector'] as const
type Format = (typeof formats)[number]

const accepted: readonly (readonly [string, Format])[] = [
  ['application/json', 'json'],
  [binary, 'update'],
  ['text/html', 'html'],
  ['text/plain', 'text'],
]

/** What `Accept` prefers of what there is; JSON where it names nothing of that (RFC 9110 §12.4.1 allows for it). */
const formatOf = (accept: string | undefined): Format => {
  const wanted = (accept ?? '').split(',').map((part) => {
    const [type = '', ...parameters] = part.split(';').map((piece) => piece.trim().toLowerCase())
    const weight = parameters.find((one) => one.startsWith('q='))?.slice(2) ?? '1'
    const range = type.endsWith('/*') ? type.slice(0, -1) : type
    return { found: accepted.find(([name]) => name === type || (range !== type && name.startsWith(range))), weight: Number(weight) }
  })
  const best = wanted.filter(({ found, weight }) => found !== undefined && weight > 0).sort((a, b) => b.weight - a.weight)[0]
  return best?.found?.[1] ?? 'json'
}

/** Errors: those of `demandExistence`. */
const stateOf = async (document: DocumentSession): Promise<DocumentBytes> => {
  await document.demandExistence()
  return document.ask<DocumentBytes>({ type: 'document.state' })
}

const base64Text = z.string().refine((text) => z.base64().or(z.base64url()).safeParse(text).success, 'since: not base64')

/** Errors: `command.bad_parameters`. */
const vectorOf = (text: string | undefined): Uint8Array | undefined =>
  text === undefined ? undefined : base64.decode(read(base64Text, text))

const bodyOf = async (
  work: DocumentWork,
  state: DocumentBytes,
  format: Format,
  root: string | undefined,
  since: Uint8Array | undefined,
): Promise<string | Uint8Array> => {
  if (format === 'update') return updateSince(work, state, since)
  if (format === 'vector') return state.stateVector
  return readAs(work, state, { format, ...(root === undefined ? {} : { root }) })
}

const answerOf = ({ epoch, offset, isChanged }: Made): ApiReply => ({
  headers: { etag: etagOf({ epoch, offset }) },
  body: { epoch, offset, changed: isChanged },
})

const etagHeader = { ETag: 'Epoch and offset; not there while changes wait for the disk' }
const conditions = {
  ...ifMatch,
  'If-None-Match': '`*`: change it only while it has no content; else 412',
}
const madeAnswer = { 200: { description: 'On disk', schema: changed, headers: etagHeader } }

export const documentContentRoutes = ({ work, edits }: DocumentContentNeeds): DocumentRoute[] => [
  documentRoute({
    method: 'GET',
    path,
    operation: 'readContent',
    tag,
    summary: 'What is in a document, as JSON, text, HTML, ProseMirror JSON, Quill delta, Yjs update or state vector',
    query: z.object({
      format: z.enum(formats).optional().describe('Without it, what `Accept` names first; else `json`'),
      root: z.string().max(1_000).optional().describe('Name of a root; without it all of them, or the only one that has this form'),
      since: z
        .string()
        .max(8 * 1024)
        .optional()
        .describe('For `update`: only what somebody with this state vector lacks; base64'),
    }),
    headers: {
      'If-Match': 'ETags: 412 unless one is still there',
      'If-None-Match': 'ETags: 304 if one is still there',
      Accept: 'Where the query names no format',
    },
    answers: {
      200: {
        description: 'The content',
        schema: anyJson,
        types: otherTypes,
        headers: etagHeader,
      },
      304: { description: 'As it was' },
    },
    needs: 'document:NAME:read',
    demands: 'read',
    async handle({ document, query: { format = undefined, root, since }, request }) {
      const wanted = format ?? formatOf(request.headers.accept)
      const vector = vectorOf(since)
      const state = await stateOf(document)
      // What waits for the disk has no place yet, and no ETag matches it.
      const etag = state.unsaved === 0 ? etagOf(state, wanted) : ''
      const headers = { ...harmless, vary: 'accept, origin', ...(etag !== '' && { etag }) }
      if (isKnown(request.headers, etag)) return { status: 304, headers }
      const type = wanted === 'vector' ? binary : mediaTypes[wanted]
      return { headers, type, body: await bodyOf(work, state, wanted, root, vector) }
    },
  }),

  documentRoute({
    method: 'PATCH',
    path,
    operation: 'changeContent',
    tag,
    summary: 'Change a document by operations: JSON Patch (RFC 6902), and operations on texts; all of them or none',
    headers: { ...conditions, ...repeatable },
    body: { schema: operations, isRequired: true },
    answers: madeAnswer,
    needs: 'document:NAME:write, or document:NAME:comment below the roots for comments',
    demands: 'comment',
    async handle({ document, body = [], request, key }) {
      const { address, author, access, birthBan } = document
      const expected = expectedOf(request.headers)
      if (request.headers['if-match'] !== undefined) await document.demandExistence()
      return answerOf(
        await edits.change({
          address,
          author,
          access,
          birthBan,
          expected,
          request: key,
          make: (state, client) => changeBy(work, state, body, client),
        }),
      )
    },
  }),

  documentRoute({
    method: 'POST',
    path: '/v1/documents/{name}/update',
    operation: 'appendUpdate',
    tag,
    summary: 'Add a Yjs update (V1) to a document',
    headers: conditions,
    body: { isBinary: true, isRequired: true },
    answers: madeAnswer,
    needs: 'document:NAME:write, or document:NAME:comment below the roots for comments',
    demands: 'comment',
    async handle({ document, bytes, request }) {
      const { address, author, access, birthBan } = document
      const expected = expectedOf(request.headers)
      if (request.headers['if-match'] !== undefined) await document.demandExistence()
      return answerOf(await edits.append({ address, author, access, birthBan, expected, update: bytes as Uint8Array })) // required
    },
  }),

  documentRoute({
    method: 'POST',
    path: '/v1/documents/{name}/broadcast',
    operation: 'broadcastToDocument',
    tag,
    summary: 'Send a text to everybody who has the document open; it is not stored',
    body: {
      schema: z.strictObject({ payload: z.string().refine((text) => text.isWellFormed(), 'has half of a surrogate pair') }),
      isRequired: true,
    },
    answers: { 202: { description: 'On its way' } },
    needs: 'document:NAME:write',
    demands: 'write',
    async handle({ document, body }) {
      await document.demandExistence()
      document.session.tell(document.address, { type: 'document.broadcast', payload: body?.payload ?? '' })
      return { status: 202 }
    },
  }),
]
