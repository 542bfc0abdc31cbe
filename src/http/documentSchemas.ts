/** What routes about documents take and answer; the description for programs (openapi.ts) is made of these. */
import { z } from 'zod'
import type { DocumentDescription } from '../../actors/documentMessages.ts'
import type { Json } from '../../crdt/jsonValue.ts'
import { jsonObject, operations } from '../documents/operations.ts'
import { isoTime } from '../doors/times.ts'

export const epoch = z.string().describe('Identity of the history; empty before the first change')
export const offset = z.int().min(0).describe('Of the last change on disk')
export const time = z.iso.datetime()
const optionalTime = time.nullable().describe('null: not known')
const user = z.string().describe('Empty: nobody known')
export const documentName = z.string().min(1).max(255)
export const base64 = z.base64().describe('A Yjs update (V1) in base64')

export const description = z.object({
  name: z.string(),
  epoch,
  offset,
  bytes: z.int().describe('As it lies in memory'),
  connections: z.int(),
  unsaved: z.int().describe('Changes that wait for the disk'),
  full: z.boolean().describe('Growing is refused'),
  created_at: optionalTime,
  created_by: user,
  updated_at: optionalTime,
  deleted: z
    .object({
      at: time,
      by: user,
      purge_at: time.optional().describe('It can be restored until then; not there: its content has gone'),
      renamed_to: z.string().optional(),
    })
    .optional(),
  renamed_from: z.string().optional(),
  damage: z.string().optional().describe('Why nobody can open it: restore a backup, or purge it, or begin anew with `reset`'),
})

export const timeOf = (at: number): string | null => (at === 0 ? null : isoTime(at))

export const describe = ({ isFull, createdAt, createdBy, updatedAt, deleted, renamedFrom, damage, ...rest }: DocumentDescription) => ({
  name: rest.name,
  epoch: rest.epoch,
  offset: rest.offset,
  bytes: rest.bytes,
  connections: rest.connections,
  unsaved: rest.unsaved,
  full: isFull,
  created_at: timeOf(createdAt),
  created_by: createdBy,
  updated_at: timeOf(updatedAt),
  ...(deleted !== undefined && {
    deleted: {
      at: isoTime(deleted.at),
      by: deleted.by,
      ...(deleted.purgeAt !== undefined && { purge_at: isoTime(deleted.purgeAt) }),
      ...(deleted.renamedTo !== undefined && { renamed_to: deleted.renamedTo }),
    },
  }),
  ...(renamedFrom !== undefined && { renamed_from: renamedFrom }),
  ...(damage !== undefined && { damage }),
})

const isRoot = (value: Json): boolean => typeof value === 'string' || (typeof value === 'object' && value !== null)
const roots = jsonObject.superRefine((content, { addIssue }) => {
  for (const [name, value] of Object.entries(content))
    if (!isRoot(value)) addIssue({ code: 'custom', path: [name], message: 'must be an object, an array or a text' })
})

/** What a document begins with: nothing, or one of these. */
export const initial = z.strictObject({
  content: roots.optional().describe('Roots by their names: objects, arrays, texts'),
  operations: operations.optional().describe('As for PATCH, on an empty document'),
  update: base64.optional(),
})
export type Initial = z.output<typeof initial>

export const changed = z.object({ epoch, offset, changed: z.boolean().describe('False: there was nothing to change') })

/** Everything in one piece, to be kept or carried elsewhere. */
export const envelope = z.object({
  format: z.literal('troupe-document'),
  version: z.literal(1),
  name: z.string(),
  epoch,
  offset,
  exported_at: time,
  created_at: optionalTime,
  created_by: user,
  updated_at: optionalTime,
  update: base64,
})
