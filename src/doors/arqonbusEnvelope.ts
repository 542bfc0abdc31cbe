/**
 * The envelope of ArqonBus: what is one and what is wrong with it, and how ours are written.
 *
 *   {id, timestamp, type, version, payload, args, metadata, room?, channel?, sender?, from_client?, to_client?,
 *    command?, request_id?, status?, error?, error_code?}
 *
 * The first seven are in every envelope that the server writes; a client may leave out all but `type`. Any other field is an
 * error. Source: ArqonBus, protocol/envelope.py, validator.py and ids.py.
 */
import type { Json, JsonObject } from '../../actors/output.ts'
import type { EpochMs } from '../../actors/world.ts'
import { hexOf } from './ids.ts'
import { isJsonObject } from './json.ts'
import { naiveTime } from './times.ts'

/** An envelope of a client. Fields that are null or empty are absent. */
export interface Envelope {
  readonly id?: string
  readonly type: string
  readonly room?: string
  readonly channel?: string
  readonly command?: string
  readonly payload: JsonObject
  readonly args: JsonObject
  readonly metadata: JsonObject
}

export type Read =
  | { readonly envelope: Envelope }
  /** No envelope at all. */
  | { readonly defect: string }
  /** An envelope that breaks rules. */
  | { readonly defects: readonly string[]; readonly id?: string }

const fields: ReadonlySet<string> = new Set(
  `id timestamp type version payload args metadata room channel sender from_client to_client
   command request_id status error error_code`.split(/\s+/),
)
const texts = ['room', 'channel', 'command', 'request_id', 'status', 'error'] as const
const objects = ['payload', 'args', 'metadata'] as const
const types: ReadonlySet<string> = new Set(['message', 'command', 'response', 'error', 'telemetry', 'operator.join'])
/** What an envelope of a type cannot do without. */
const needs: ReadonlyMap<string, string> = new Map([
  ['command', 'command'],
  ['response', 'request_id'],
  ['error', 'error'],
])
const version = '1.0'

/** `arq_<time>_<counter>_<6 hex>`, or `arq_` and a ULID. */
const idPattern = /^arq_(?:\d{1,32}_\d{1,32}_[0-9a-f]{6}|[0-9A-HJKMNP-TV-Z]{26})$/i
const timePattern = /^\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?(?:Z|[+-]\d\d:?\d\d)?)?$/i
/** A wrong value is quoted up to here. */
const quotedLength = 100

const quoted = (value: Json | undefined): string =>
  (typeof value === 'string' ? value : JSON.stringify(value ?? null)).slice(0, quotedLength).toWellFormed()

const isAbsent = (value: Json | undefined): value is undefined | null | '' => value === undefined || value === null || value === ''

const isId = (value: Json | undefined): value is string => typeof value === 'string' && idPattern.test(value)
const isTime = (value: Json): boolean => typeof value === 'string' && timePattern.test(value) && !Number.isNaN(Date.parse(value))
export const isSequence = (value: Json | undefined): value is number =>
  typeof value === 'number' && Number.isSafeInteger(value) && value >= 1
const isVectorClock = (value: Json): boolean =>
  isJsonObject(value) && Object.values(value).every((count) => Number.isSafeInteger(count) && (count as number) >= 0)

/** What keeps an envelope from being made at all. */
const defectOf = (given: JsonObject): string | undefined => {
  const unknown = Object.keys(given).find((field) => !fields.has(field))
  if (unknown !== undefined) return `Envelope.__init__() got an unexpected keyword argument '${quoted(unknown)}'`
  const { timestamp } = given
  return timestamp === undefined || isTime(timestamp) ? undefined : `Invalid isoformat string: '${quoted(timestamp)}'`
}

/** An older form has command and parameters in the payload. */
const withCommand = (given: JsonObject): JsonObject => {
  const { type, payload, command, args } = given
  if (type !== 'command' || !isJsonObject(payload)) return given
  return {
    ...given,
    ...(command === undefined && payload.command !== undefined && { command: payload.command }),
    ...(args === undefined && !isAbsent(payload.parameters) && { args: payload.parameters }),
  }
}

/** Each rule with the complaint when it is broken. */
const rules = (given: JsonObject): readonly (readonly [isBroken: boolean, complaint: string])[] => {
  const { id, type, version: spoken, payload, metadata } = given
  const isKnown = typeof type === 'string' && types.has(type)
  const need = isKnown ? needs.get(type) : undefined
  const { sequence, vector_clock: clock, causal_parent_id: parent } = isJsonObject(metadata) ? metadata : {}
  return [
    [id === '' || id === null, 'Message ID is required'],
    [!isAbsent(id) && !isId(id), `Invalid message ID format: ${quoted(id)}`],
    [isAbsent(type), 'Message type is required'],
    [!isAbsent(type) && !isKnown, `Unsupported message type: ${quoted(type)}`],
    [spoken === '' || spoken === null, 'Protocol version is required'],
    [!isAbsent(spoken) && spoken !== version, `Unsupported protocol version: ${quoted(spoken)}`],
    [payload === null && (type === 'message' || type === 'operator.join'), `Field 'payload' is required for ${quoted(type)} messages`],
    [need !== undefined && isAbsent(given[need]), `Field '${need}' is required for ${quoted(type)} messages`],
    [type === 'response' && !isAbsent(given.request_id) && isAbsent(given.status), 'Response messages must include status'],
    ...texts.map((name) => [!isAbsent(given[name]) && typeof given[name] !== 'string', `Field '${name}' must be a string`] as const),
    ...objects.map((name) => [!isAbsent(given[name]) && !isJsonObject(given[name]), `Field '${name}' must be an object`] as const),
    [!isAbsent(sequence) && !isSequence(sequence), 'metadata.sequence must be an integer >= 1'],
    [!isAbsent(clock) && !isVectorClock(clock), 'metadata.vector_clock must map strings to integers >= 0'],
    [!isAbsent(parent) && !isId(parent), 'metadata.causal_parent_id must be a valid message ID'],
  ]
}

const textAt = <Name extends string>(given: JsonObject, name: Name): { readonly [_ in Name]?: string } =>
  isAbsent(given[name]) ? {} : ({ [name]: given[name] } as { readonly [_ in Name]?: string }) // checked to be a text

const objectAt = (given: JsonObject, name: string): JsonObject => {
  const value = given[name]
  return isJsonObject(value) ? value : {}
}

export const readEnvelope = (given: JsonObject): Read => {
  const defect = defectOf(given)
  if (defect !== undefined) return { defect }
  const complete = withCommand(given)
  const defects = rules(complete).flatMap(([isBroken, complaint]) => (isBroken ? [complaint] : []))
  if (defects.length > 0) return { defects, ...(typeof given.id === 'string' && { id: quoted(given.id) }) }
  const envelope: Envelope = {
    ...textAt(complete, 'id'),
    type: complete.type as string, // one of `types`
    ...textAt(complete, 'room'),
    ...textAt(complete, 'channel'),
    ...textAt(complete, 'command'),
    payload: objectAt(complete, 'payload'),
    args: objectAt(complete, 'args'),
    metadata: objectAt(complete, 'metadata'),
  }
  return { envelope }
}

/** Always the same id for the same thing; `of` tells apart what has time and counter in common. */
export const newId = (at: EpochMs, counter: number, of: string): string => `arq_${at}_${counter}_${hexOf(of).slice(0, 6)}`

/** Its own, if its publisher had one of this protocol. */
export const idOf = ({ id, time, offset }: { readonly id: string; readonly time: EpochMs; readonly offset: number }): string =>
  isId(id) ? id : newId(time, offset, id)

export const clientIdOf = (client: string): string => `arq_client_${hexOf(client)}`

/** Fields in the order in which ArqonBus writes them. */
export const newEnvelope = (
  id: string,
  at: EpochMs,
  type: string,
  payload: JsonObject,
  { metadata = {}, ...more }: { readonly metadata?: JsonObject } & JsonObject = {},
): JsonObject => ({ id, timestamp: naiveTime(at), type, version, payload, args: {}, metadata, ...more })

/** A room here holds channels. The room `default`, and one of the name of its channel, stand for the channel alone. */
export const channelOf = (room: string | undefined, channel: string | undefined): string | undefined => {
  if (channel === undefined) return room
  return room === undefined || room === 'default' || room === channel ? channel : `${room}/${channel}`
}

/** Room and channel such that `channelOf` leads back to the name. */
export const placeOf = (name: string): { readonly room: string; readonly channel: string } => {
  const slash = name.indexOf('/')
  if (slash < 0) return { room: 'default', channel: name }
  const [room, channel] = [name.slice(0, slash), name.slice(slash + 1)]
  return room !== '' && channel !== '' && channelOf(room, channel) === name ? { room, channel } : { room: name, channel: name }
}
