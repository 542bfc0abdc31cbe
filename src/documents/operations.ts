/** Operations on documents (crdt/operations.ts) as they come from outside. */
import { z } from 'zod'
import { isJsonObject, type Json, type JsonObject } from '../../crdt/jsonValue.ts'
import type { Operation } from '../../crdt/operations.ts'

const position = z.int().min(0)
const path = z
  .string()
  .max(8 * 1024)
  .describe('JSON Pointer (RFC 6901); its first part is the name of a root')
/** What JSON.parse gives; walked where it is used, and not once more here. */
export const json: z.ZodType<Json> = z.any().refine((given) => given !== undefined, 'required')
const value = json
const as = z.enum(['text', 'plain', 'xml']).optional().describe('How the value is kept; without it objects and arrays are shared')
/** A record of zod leaves out `__proto__` without a word; here it stays, and whoever applies the operation refuses it. */
export const jsonObject = z
  .custom<JsonObject>((given) => isJsonObject(given as Json), 'must be an object')
  .meta({ type: 'object', additionalProperties: {} })
const attributes = jsonObject
const index = position.describe('UTF-16 units from the beginning of the text')
const length = position.describe('UTF-16 units')

const isTextOrEmbed = ({ text, embed }: { text?: string | undefined; embed?: object | undefined }) =>
  (text === undefined) !== (embed === undefined)

/** The order matters: a `replace` with an index is one of texts. */
export const operation: z.ZodType<Operation> = z.union([
  z.strictObject({ op: z.literal('replace'), path, index, length, text: z.string(), attributes: attributes.optional() }),
  z.strictObject({ op: z.enum(['add', 'replace']), path, value, as }),
  z.strictObject({ op: z.literal('test'), path, value }),
  z.strictObject({ op: z.literal('remove'), path }),
  z.strictObject({ op: z.enum(['move', 'copy']), from: path, path }),
  z
    .strictObject({
      op: z.literal('insert'),
      path,
      index,
      text: z.string().optional(),
      embed: attributes.optional(),
      attributes: attributes.optional(),
    })
    .refine(isTextOrEmbed, 'either `text` or `embed`'),
  z.strictObject({ op: z.literal('delete'), path, index, length }),
  z.strictObject({ op: z.literal('format'), path, index, length, attributes }),
])

export const mostOperations = 10_000

export const operations = z.array(operation).min(1).max(mostOperations)
