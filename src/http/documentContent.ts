/**
 * What is in a document, over HTTP, for programs that know no Yjs and for those that do. Reference: docs/documents-api.md.
 *
 *   GET   /v1/documents/{name}/content     in the form that is asked for
 *   PATCH /v1/documents/{name}/content     operations; all of them or none
 *   POST  /v1/documents/{name}/update      a Yjs update
 *   POST  /v1/documents/{name}/broadcast   a text to everybody who has it open
 *
 * A state of a document has an ETag of its epoch and offset: `If-None-Match` saves the transfer, `If-Match` makes a change only if nothing
 * has changed since.
 */
import { z } from 'zod'
import type { DocumentBytes } from '../../actors/documentMessages.ts'
import { TroupeError } from '../../actors/errors.ts'
import { base64 } from '../../crdt/base64.ts'
import type { DocumentWork } from '../../crdt/work.ts'
import { changeBy, readAs, updateSince } from '../documents/content.ts'
import type { DocumentEdits, Made, Position } from '../documents/edits.ts'
import { json as anyJson, operations } from '../documents/operations.ts'
import type { ApiReply } from './apiRoute.ts'
import { binary, contentForms, harmless, mediaTypes, otherTypes } from './contentForms.ts'
import { changed } from './documentSchemas.ts'
import { type DocumentRoute, type DocumentSession, documentRoute } from './documentSession.ts'
import { read } from './parameters.ts'

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

/** The first type of `Accept` that there is; weights are passed over, for clients that want one thing name one. */
const formatOf = (accept: string | undefined): Format => {
  for (const part of (accept ?? '').split(',')) {
    const type = part.split(';', 1)[0]?.trim().toLowerCase()
    const found = accepted.find(([name]) => name === type)
    if (found !== undefined) return found[1]
  }
  return 'json'
}

export const etagOf = ({ epoch, offset }: Position): string => `"${epoch}-${offset}"`

/** `*` is whatever there is. Errors: `command.bad_parameters`. */
const positionOf = (header: string | undefined): Position | undefined => {
  if (header === undefined || header.trim() === '*') return undefined
  const match = /^"(.*)-(\d{1,15})"$/.exec(header.trim())
  if (match === null) throw new TroupeError('command.bad_parameters', 'If-Match: not an ETag of this document')
  return { epoch: match[1] as string, offset: Number(match[2]) } // both groups are part of the match
}

const isAmong = (header: string | undefined, etag: string): boolean =>
  (header ?? '')
    .split(',')
    .map((one) => one.trim().replace(/^W\//, ''))
    .some((one) => one === etag || one === '*')

/** Errors: those of `demandExistence`. */
const stateOf = async (document: DocumentSession): Promise<DocumentBytes> => {
  await document.demandExistence()
  return document.ask<DocumentBytes>({ type: 'document.state' })
}

/** Errors: `command.bad_parameters`. */
const vectorOf = (text: string | undefined): Uint8Array | undefined =>
  text === undefined ? undefined : base64.decode(read(z.union([z.base64(), z.base64url()], 'since: not base64'), text))

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
const ifMatch = { 'If-Match': 'An ETag: change it only if it is still there; else 412' }
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
        .max(1024 * 1024)
        .optional()
        .describe('For `update`: only what somebody with this state vector lacks; base64'),
    }),
    headers: { 'If-None-Match': 'An ETag: 304 if it is still there', Accept: 'Where the query names no format' },
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
      const etag = etagOf(state)
      const headers = { ...harmless, vary: 'accept, origin', ...(state.unsaved === 0 && { etag }) }
      if (state.unsaved === 0 && isAmong(request.headers['if-none-match'], etag)) return { status: 304, headers }
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
    headers: ifMatch,
    body: { schema: operations, isRequired: true },
    answers: madeAnswer,
    needs: 'document:NAME:write, or document:NAME:comment below the roots for comments',
    demands: 'comment',
    async handle({ document, body = [], request }) {
      const { address, author, access } = document
      const expected = positionOf(request.headers['if-match'])
      if (request.headers['if-match'] !== undefined) await document.demandExistence()
      return answerOf(
        await edits.change({ address, author, access, expected, make: (state, client) => changeBy(work, state, body, client) }),
      )
    },
  }),

  documentRoute({
    method: 'POST',
    path: '/v1/documents/{name}/update',
    operation: 'appendUpdate',
    tag,
    summary: 'Add a Yjs update (V1) to a document',
    headers: ifMatch,
    body: { isBinary: true, isRequired: true },
    answers: madeAnswer,
    needs: 'document:NAME:write, or document:NAME:comment below the roots for comments',
    demands: 'comment',
    async handle({ document, bytes, request }) {
      const { address, author, access } = document
      const expected = positionOf(request.headers['if-match'])
      if (request.headers['if-match'] !== undefined) await document.demandExistence()
      return answerOf(await edits.append({ address, author, access, expected, update: bytes as Uint8Array })) // required
    },
  }),

  documentRoute({
    method: 'POST',
    path: '/v1/documents/{name}/broadcast',
    operation: 'broadcastToDocument',
    tag,
    summary: 'Send a text to everybody who has the document open; it is not stored',
    body: { schema: z.strictObject({ payload: z.string() }), isRequired: true },
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
