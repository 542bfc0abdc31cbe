/** What a request brings along, checked once: query, body, headers. Whatever does not fit is `command.bad_parameters`. */
import { z } from 'zod'
import { TroupeError } from '../../actors/errors.ts'
import type { Json, JsonObject } from '../../actors/output.ts'
import { isJsonObject, type JsonLimits, parseObject } from '../doors/json.ts'
import { RefusedRequest } from './errors.ts'

/** As the bus has it, too: ids and names that are stored. */
const shortText = z.string().min(1).max(255)
const json = z.custom<Json>((value) => value !== undefined, 'required')
const object = z.custom<JsonObject>((value) => isJsonObject(value as Json | undefined), 'must be an object')

export const messageBody = z.strictObject({
  content: json,
  type: z.enum(['message', 'event']).default('message'),
  id: shortText.optional(),
  sender: shortText.optional(),
  metadata: object.optional(),
})
export type MessageBody = z.output<typeof messageBody>

/** Each message is checked by itself, so that a bad one does not stop the others. */
export const batchBody = z.strictObject({ messages: z.array(z.unknown()).min(1).max(1_000) })

/** Most channels of one stream: each event carries a position in every one of them. */
const streamChannels = 16
const names = z.union([z.string(), z.array(z.string())]).transform((given) => (typeof given === 'string' ? [given] : given))
/** Credentials stand in the query, too, so other fields are none of ours. */
export const eventsQuery = z.object({
  channel: names.default([]),
  rewind: z.coerce.number().int().min(0).max(1_000).optional(),
  presence: z.enum(['true', 'false']).default('true'),
  /** For readers that cannot set a header. */
  last_event_id: z.string().optional(),
})

/** The channels of a stream, each once. */
export const streamNames = (given: readonly string[]): readonly string[] => {
  const all = [...new Set(given.map((name) => name.normalize('NFC')))]
  if (all.length === 0) throw new TroupeError('command.bad_parameters', 'channel: required')
  if (all.length > streamChannels) throw new TroupeError('command.bad_parameters', `channel: at most ${streamChannels}`)
  return all
}

type Issue = z.core.$ZodIssue

/** A word that decides between forms, and is that of none of them: each of them misses it there. */
const wordOf = (
  forms: readonly (readonly Issue[])[],
): { readonly path: readonly PropertyKey[]; readonly values: readonly unknown[] } | undefined => {
  const words = forms.map((issues) => issues.find((issue) => issue.code === 'invalid_value'))
  const [first] = words
  const isSame = words.every((one) => one !== undefined && one.path.join('.') === first?.path.join('.'))
  if (first === undefined || !isSame) return undefined
  return { path: first.path, values: [...new Set(words.flatMap((one) => (one?.code === 'invalid_value' ? one.values : [])))] }
}

/** Of a value that may have one of several forms, what keeps it from the one that it comes closest to: a word that decides fits there. */
const explain = (issue: Issue, within: readonly PropertyKey[] = []): readonly string[] => {
  const path = [...within, ...issue.path]
  if (issue.code === 'invalid_union' && issue.errors.length > 0) {
    const word = wordOf(issue.errors)
    if (word !== undefined) return [`${[...path, ...word.path].join('.')}: expected one of ${word.values.join(', ')}`]
    const misses = (form: readonly Issue[]) => form.filter(({ code }) => code === 'invalid_value').length * 100 + form.length
    const closest = issue.errors.reduce((one, other) => (misses(other) < misses(one) ? other : one))
    return closest.flatMap((inner) => explain(inner, path))
  }
  return [path.length === 0 ? issue.message : `${path.join('.')}: ${issue.message}`]
}

/** Errors: `command.bad_parameters`, with the names of what is wrong. */
export const read = <Schema extends z.ZodType>(schema: Schema, value: unknown): z.output<Schema> => {
  const parsed = schema.safeParse(value)
  if (parsed.success) return parsed.data
  const wrong = parsed.error.issues.flatMap((issue) => explain(issue))
  throw new TroupeError('command.bad_parameters', wrong.join('; '))
}

/** What is no UTF-8 would be taken as it stands, `%FF` for a name of three letters. Errors: `http.bad_request`. */
export const checkQuery = (url: string): void => {
  const from = url.indexOf('?')
  if (from === -1) return
  try {
    decodeURIComponent(url.slice(from))
  } catch {
    throw new TroupeError('http.bad_request', 'the query is not percent-encoded as UTF-8')
  }
}

/** A body of JSON; without one, an empty object. Errors: `message.too_large`, `message.malformed`. */
export const readObject = (text: unknown, limits: JsonLimits): JsonObject => {
  if (typeof text !== 'string' || text === '') return {}
  const parsed = parseObject(text, limits)
  if (parsed.refusal !== undefined) throw new RefusedRequest(parsed.refusal)
  return parsed.object
}

/** `Idempotency-Key`; quoted, too, as structured fields are (RFC 9651 §3.3.3). */
export const idempotencyKey = (header: string | string[] | undefined): string | undefined => {
  if (header === undefined) return undefined
  const text = String(header).trim()
  return read(shortText, /^"(.*)"$/.exec(text)?.[1] ?? text)
}
