/**
 * The past of documents over HTTP. Reference: docs/history.md.
 *
 *   GET    /v1/documents/{name}/history            who changed it when, in groups
 *   GET    /v1/documents/{name}/history/{moment}   the document as it was
 *   GET    /v1/documents/{name}/diff               what changed between two moments, by whom
 *   GET    /v1/documents/{name}/versions           moments that have a name
 *   POST   /v1/documents/{name}/versions                                                  201
 *   PATCH  /v1/documents/{name}/versions/{id}
 *   DELETE /v1/documents/{name}/versions/{id}                                             204
 *   POST   /v1/documents/{name}/restore            give it the content that it had
 *   POST   /v1/documents/{name}/rollback           take back what one author did
 *   POST   /v1/documents/{name}/prune              forget
 *
 * A moment is an offset (`42`: after the change 42; `0`: before the first), a time (`2026-05-04T12:00:00Z`), or `version:ID`.
 */
import { z } from 'zod'

import { TroupeError } from '../../actors/errors.ts'
import type { HistoryDifference, HistoryPage, HistoryView, Moment, NamedVersion, Pruned, Reversion } from '../../actors/historyMessages.ts'
import type { ChangeGroup } from '../../crdt/history.ts'
import type { DocumentWork } from '../../crdt/work.ts'
import { isoMs } from '../bus/parameters.ts'
import { readAs } from '../documents/content.ts'
import { isoTime } from '../doors/times.ts'
import { binary, contentForms, harmless, mediaTypes, otherTypes } from './contentForms.ts'
import { differencesBody } from './documentDifference.ts'
import { offset, time, timeOf } from './documentSchemas.ts'
import { type DocumentRoute, documentRoute, ifMatch, repeatable } from './documentSession.ts'
import { expectedOf } from './preconditions.ts'

export interface HistoryRoutesNeeds {
  readonly work: DocumentWork
}

const base = '/v1/documents/{name}'
const tag = 'history'

// ── what is taken ────────────────────────────────────────────────────────────────────────────────────────────────

/** Errors: `command.bad_parameters`. */
const momentOf = (text: string): Moment => {
  if (/^\d{1,15}$/.test(text)) return { offset: Number(text) }
  if (text.startsWith('version:')) return { version: text.slice('version:'.length) }
  const at = isoMs(text)
  if (at === undefined) throw new TroupeError('command.bad_parameters', `moment: ${text} is no offset, no time and no version:ID`)
  return { time: Math.max(0, at) }
}

const moment = z
  .union([z.string().min(1).max(100), z.int().min(0)])
  .transform(String)
  .describe('An offset, a time (ISO 8601), or `version:ID`')
const gap = z.coerce.number().min(0).max(1e9).default(300).describe('A pause of so many seconds ends a group')
const versionName = z.string().min(1).max(255)
const versionText = z.string().max(4_096)

// ── what is answered ─────────────────────────────────────────────────────────────────────────────────────────────

const user = z.string().describe('Empty: nobody known')
const via = z.string().describe('`http`, `agent`, `restore`, …; empty: an editor')
const group = z.object({
  from: z.int().describe('Offset of its first change'),
  to: z.int().describe('Of its last'),
  began_at: time,
  ended_at: time,
  user,
  via,
  changes: z.int(),
  bytes: z.int(),
  inserted: z.int().describe('Characters, values, elements and formatting marks'),
})
const page = z.object({
  groups: z.array(group),
  next: z.int().optional().describe('Go on with this as `before`, or `after`'),
  first: z.int().describe('Offset of the oldest moment that can be shown'),
  last: z.int().describe('Of the last change'),
  bytes: z.int().describe('Of the history on disk, compressed'),
})
const difference = z.object({
  from: offset,
  to: offset,
  roots: z.record(z.string(), z.unknown()).describe('By name; docs/history.md has the form'),
})
const version = z.object({
  id: z.string(),
  name: z.string(),
  description: z.string(),
  user,
  offset: z.int(),
  at: time.nullable().describe('Of the change at this offset'),
  created_at: time,
})
const reversion = z.object({
  offset,
  means: z
    .enum(['none', 'undo', 'replacement'])
    .describe('`undo`: what stayed is the same content as before; `replacement`: some was written anew; `none`: nothing differed'),
})

const groupBody = ({ author, began, ended, ...rest }: ChangeGroup) => ({
  ...rest,
  began_at: isoTime(began),
  ended_at: isoTime(ended),
  ...author,
})

const versionBody = ({ id, name, description, user: by, offset: at, time: of, createdAt }: NamedVersion) => ({
  id,
  name,
  description,
  user: by,
  offset: at,
  at: at === 0 ? null : timeOf(of),
  created_at: isoTime(createdAt),
})

// ── routes ───────────────────────────────────────────────────────────────────────────────────────────────────────

export const documentHistoryRoutes = ({ work }: HistoryRoutesNeeds): DocumentRoute[] => [
  documentRoute({
    method: 'GET',
    path: `${base}/history`,
    operation: 'listHistory',
    tag,
    summary: 'Who changed a document when: neighbouring changes of one author in groups, newest first',
    query: z.object({
      before: z.coerce.number().int().min(1).optional().describe('Changes before this offset'),
      after: z.coerce.number().int().min(0).optional().describe('Changes after this offset, oldest first'),
      limit: z.coerce.number().int().min(1).max(1_000).default(50).describe('Most groups'),
      gap,
    }),
    answers: { 200: { description: 'A page', schema: page } },
    needs: 'document:NAME:read',
    demands: 'read',
    async handle({ document, query: { before, after, limit, gap: seconds } }) {
      if (before !== undefined && after !== undefined) throw new TroupeError('command.bad_parameters', 'before, after: only one of them')
      await document.demandExistence()
      const found = await document.ask<HistoryPage>({
        type: 'document.history',
        limit,
        gapMs: seconds * 1_000,
        ...(before !== undefined && { before }),
        ...(after !== undefined && { after }),
      })
      return { body: { ...found, groups: found.groups.map(groupBody) } }
    },
  }),

  documentRoute({
    method: 'GET',
    path: `${base}/history/{moment}`,
    operation: 'viewMoment',
    tag,
    summary: 'A document as it was',
    parameters: { moment: 'An offset, a time (ISO 8601), or `version:ID`' },
    query: z.object({
      format: z.enum(contentForms).default('json').describe('As for the present content'),
      root: z.string().max(1_000).optional().describe('Name of a root; without it all of them, or the only one that has this form'),
    }),
    answers: {
      200: {
        description: 'The content',
        schema: z.unknown(),
        types: otherTypes,
        headers: { 'Document-Offset': 'Of the last change that is in it' },
      },
    },
    needs: 'document:NAME:read',
    demands: 'read',
    async handle({ document, params, query: { format, root } }) {
      const at = momentOf(params.moment as string) // part of the path
      await document.demandExistence()
      const view = await document.ask<HistoryView>({ type: 'document.view', at, withContent: false })
      const headers = { ...harmless, 'document-offset': String(view.offset) }
      if (format === 'update') return { headers, type: binary, body: view.update }
      const wanted = { format, ...(root !== undefined && { root }) }
      return { headers, type: mediaTypes[format], body: await readAs(work, { snapshot: view.update, tail: [] }, wanted) }
    },
  }),

  documentRoute({
    method: 'GET',
    path: `${base}/diff`,
    operation: 'compareMoments',
    tag,
    summary: 'What was inserted, deleted and formatted between two moments, by whom and when',
    query: z.object({ from: moment, to: moment.optional().describe('Without it: now'), gap }),
    answers: { 200: { description: 'For each root what changed', schema: difference } },
    needs: 'document:NAME:read',
    demands: 'read',
    async handle({ document, query: { from, to, gap: seconds } }) {
      const span = { from: momentOf(from), ...(to !== undefined && { to: momentOf(to) }) }
      await document.demandExistence()
      const found = await document.ask<HistoryDifference>({ type: 'document.diff', ...span, gapMs: seconds * 1_000 })
      return { body: { ...found, roots: differencesBody(found.roots) } }
    },
  }),

  documentRoute({
    method: 'GET',
    path: `${base}/versions`,
    operation: 'listVersions',
    tag,
    summary: 'Moments of a document that have a name, oldest first',
    answers: { 200: { description: 'All of them', schema: z.object({ versions: z.array(version) }) } },
    needs: 'document:NAME:read',
    demands: 'read',
    async handle({ document }) {
      await document.demandExistence()
      const versions = await document.ask<readonly NamedVersion[]>({ type: 'document.version.list' })
      return { body: { versions: versions.map(versionBody) } }
    },
  }),

  documentRoute({
    method: 'POST',
    path: `${base}/versions`,
    operation: 'createVersion',
    tag,
    summary: 'Give a moment of a document a name, so that it stays however long ago it was',
    headers: repeatable,
    body: {
      schema: z.strictObject({ name: versionName, description: versionText.default(''), at: moment.optional() }),
      isRequired: true,
    },
    answers: { 201: { description: 'It is on disk', schema: version } },
    needs: 'document:NAME:write',
    demands: 'write',
    async handle({ document, body, key }) {
      const { name, description, at } = body as { name: string; description: string; at?: string } // required
      await document.demandExistence()
      const made = await document.ask<NamedVersion>({
        type: 'document.version.create',
        name,
        description,
        user: document.author.user,
        request: key,
        ...(at !== undefined && { at: momentOf(at) }),
      })
      return { status: 201, body: versionBody(made) }
    },
  }),

  documentRoute({
    method: 'PATCH',
    path: `${base}/versions/{id}`,
    operation: 'changeVersion',
    tag,
    summary: 'Change name or description of a version',
    parameters: { id: 'Of the version' },
    body: { schema: z.strictObject({ name: versionName.optional(), description: versionText.optional() }), isRequired: true },
    answers: { 200: { description: 'The version', schema: version } },
    needs: 'document:NAME:write',
    demands: 'write',
    async handle({ document, params, body }) {
      await document.demandExistence()
      const { name, description } = body as { name?: string; description?: string } // required
      const changed = await document.ask<NamedVersion>({
        type: 'document.version.rename',
        id: params.id as string, // part of the path
        ...(name !== undefined && { name }),
        ...(description !== undefined && { description }),
      })
      return { body: versionBody(changed) }
    },
  }),

  documentRoute({
    method: 'DELETE',
    path: `${base}/versions/{id}`,
    operation: 'deleteVersion',
    tag,
    summary: 'Take the name from a moment; it goes when its time comes',
    parameters: { id: 'Of the version' },
    answers: { 204: { description: 'Done' } },
    needs: 'document:NAME:write',
    demands: 'write',
    async handle({ document, params }) {
      await document.demandExistence()
      await document.ask({ type: 'document.version.delete', id: params.id as string }) // part of the path
      return { status: 204 }
    },
  }),

  documentRoute({
    method: 'POST',
    path: `${base}/restore`,
    operation: 'restoreMoment',
    tag,
    summary: 'Give a document the content that it had, as a change that everybody who has it open receives',
    headers: { ...ifMatch, ...repeatable },
    body: { schema: z.strictObject({ to: moment }), isRequired: true },
    answers: { 200: { description: 'On disk', schema: reversion } },
    needs: 'document:NAME:write',
    demands: 'write',
    async handle({ document, body, key, request }) {
      const { to } = body as { to: string } // required
      const expected = expectedOf(request.headers)
      await document.demandExistence()
      const { user: by } = document.author
      return { body: await document.ask<Reversion>({ type: 'document.restore', to: momentOf(to), user: by, expected, request: key }) }
    },
  }),

  documentRoute({
    method: 'POST',
    path: `${base}/rollback`,
    operation: 'rollbackAuthor',
    tag,
    summary: 'Take back what one author did, and leave what others did',
    headers: { ...ifMatch, ...repeatable },
    body: {
      schema: z.strictObject({
        user: z.string().max(255).describe('Whose changes; empty: those of whoever did not log in'),
        via: z.string().max(255).optional().describe('Only those that came this way'),
        from: moment.optional().describe('Only changes after this'),
        to: moment.optional().describe('Only changes up to this'),
      }),
      isRequired: true,
    },
    answers: { 200: { description: 'On disk', schema: reversion } },
    needs: 'document:NAME:write',
    demands: 'write',
    async handle({ document, body, key, request }) {
      const expected = expectedOf(request.headers)
      const { user: whose, via: way, from, to } = body as { user: string; via?: string; from?: string; to?: string } // required
      await document.demandExistence()
      const done = await document.ask<Reversion>({
        type: 'document.rollback',
        of: { user: whose, ...(way !== undefined && { via: way }) },
        user: document.author.user,
        expected,
        request: key,
        ...(from !== undefined && { from: momentOf(from) }),
        ...(to !== undefined && { to: momentOf(to) }),
      })
      return { body: done }
    },
  }),

  documentRoute({
    method: 'POST',
    path: `${base}/prune`,
    operation: 'pruneHistory',
    tag,
    summary: 'Forget for good what a document was before a moment; named versions stay',
    body: { schema: z.strictObject({ before: moment.optional().describe('Without it, what the options say') }) },
    answers: {
      200: {
        description: 'Forgotten',
        schema: z.object({ first: z.int().describe('Offset of the oldest moment that can be shown'), bytes: z.int() }),
      },
    },
    needs: 'document:NAME:delete',
    demands: 'delete',
    async handle({ document, body }) {
      await document.demandExistence()
      const before = body?.before === undefined ? {} : { before: momentOf(body.before) }
      return { body: await document.ask<Pruned>({ type: 'document.prune', ...before }) }
    },
  }),
]
