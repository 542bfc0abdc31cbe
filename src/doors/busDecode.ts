/** What a client of the bus says: frames to requests. The wire is described in bus.ts, and in docs/wire/bus.md. */
import { inboxOf } from '../../actors/channelMessages.ts'
import type { PublishOptions } from '../../actors/command.ts'
import type { Json, JsonObject, Refusal } from '../../actors/output.ts'
import type { ClientRequest } from '../../actors/request.ts'
import { excess, isSurelySmall } from '../bus/frameLimit.ts'
import type { Config } from '../config.ts'
import { isJsonObject, parseObject, refusalOf } from './json.ts'
import type { TextDoor } from './textDoor.ts'

export type BusOptions = Pick<Config['bus'], 'messageBytes' | 'depth'>

/** Messages of one batch. */
const batchLimit = 1_000
/** Ids and names that are stored or sent back. */
const textLimit = 255

/** What the answer to a request says about it. */
export interface BusRef {
  readonly requestId?: string | number
  readonly id?: string
  readonly channel?: string
}

const types = ['message', 'event', 'command', 'batch', 'heartbeat']

/** As much of it as can be told, for a request may be wrong in any way. */
const refOf = (fields: JsonObject, requestId = fields.request_id): BusRef => ({
  ...(((typeof requestId === 'string' && requestId.length <= textLimit) || typeof requestId === 'number') && { requestId }),
  ...(typeof fields.id === 'string' && fields.id.length <= textLimit && { id: fields.id }),
  ...(typeof fields.channel === 'string' && fields.channel.length <= textLimit && { channel: fields.channel }),
})

const bad = (ref: BusRef, refusal: Refusal): ClientRequest => ({ type: 'request.bad', ref, refusal })
const malformed = (ref: BusRef, detail: string): ClientRequest => bad(ref, refusalOf('message.malformed', detail))

/** Why the request id cannot be sent back. */
const requestIdDefect = ({ request_id: value }: JsonObject): string | undefined =>
  value === undefined || value === null || typeof value === 'number' || (typeof value === 'string' && value.length <= textLimit)
    ? undefined
    : `request_id: must be a number or a text of at most ${textLimit} characters`

const isFlag = (value: Json | undefined): boolean => value === undefined || value === null || typeof value === 'boolean'

/** Texts that are stored with a message. Null counts as absent, and so does an empty one where nothing else is asked for. */
const textDefect = (fields: JsonObject, key: string, least: number): string | undefined => {
  const value = fields[key] ?? undefined
  const isFit = typeof value === 'string' && value.length >= least && value.length <= textLimit && value.isWellFormed()
  return value === undefined || isFit ? undefined : `${key}: must be a text of ${least} to ${textLimit} characters`
}

const textOf = (value: Json | undefined): string | undefined => (typeof value === 'string' && value !== '' ? value : undefined)

const draftDefect = (fields: JsonObject): string | undefined => {
  const { channel, content, metadata, ack } = fields
  const wrong = requestIdDefect(fields) ?? textDefect(fields, 'id', 1) ?? textDefect(fields, 'room', 0) ?? textDefect(fields, 'sender', 0)
  if (wrong !== undefined) return wrong
  if (content === undefined) return 'content: required'
  if (!isFlag(ack)) return 'ack: must be true or false'
  if ((metadata ?? undefined) !== undefined && !isJsonObject(metadata)) return 'metadata: must be an object'
  if ((channel ?? undefined) !== undefined && typeof channel !== 'string') return 'channel: must be a text'
  // Taken for absent, what was meant for one would be shown to all of the channel.
  const recipient = (isJsonObject(metadata) ? metadata.recipient : undefined) ?? undefined
  return recipient !== undefined && (typeof recipient !== 'string' || recipient === '') ? 'metadata.recipient: must be a text' : undefined
}

/** A recipient goes before a channel: what was meant for one must not be shown to all. */
const targetOf = ({ channel, room, metadata }: JsonObject): string | undefined => {
  const recipient = isJsonObject(metadata) ? textOf(metadata.recipient) : undefined
  if (recipient !== undefined) return inboxOf(recipient)
  return typeof channel === 'string' ? channel : textOf(room)
}

/** What a message is to be published as, or what is wrong with it. */
const draftOf = (fields: JsonObject): PublishOptions | string => {
  const { type, content: body = null, metadata } = fields
  const [id, sender, room] = [textOf(fields.id), textOf(fields.sender), textOf(fields.room)]
  const defect = draftDefect(fields)
  if (defect !== undefined) return defect
  const channel = targetOf(fields)
  if (channel === undefined) return 'channel, room or metadata.recipient: required'
  return {
    channel,
    body,
    kind: type === 'event' ? 'event' : 'message',
    ...(id !== undefined && { id }),
    ...(sender !== undefined && { sender }),
    ...(room !== undefined && { room }),
    ...(isJsonObject(metadata) && { metadata }),
  }
}

type Measure = (draft: PublishOptions) => Refusal | undefined

const publishRequest = (fields: JsonObject, ref: BusRef, wantsAck: boolean, measure: Measure): ClientRequest => {
  const draft = draftOf(fields)
  if (typeof draft === 'string') return malformed(ref, draft)
  const refusal = measure(draft)
  return refusal === undefined ? { type: 'request.publish', ref, message: draft, wantsAck } : bad(ref, refusal)
}

const batchRequests = (fields: JsonObject, measure: Measure): readonly ClientRequest[] => {
  const { messages, ack } = fields
  const ref = refOf(fields)
  const wrong = requestIdDefect(fields) ?? (isFlag(ack) ? undefined : 'ack: must be true or false')
  if (wrong !== undefined) return [malformed(ref, wrong)]
  if (!Array.isArray(messages)) return [malformed(ref, 'messages: must be a list of messages')]
  if (messages.length > batchLimit)
    return [bad(ref, refusalOf('message.too_large', `at most ${batchLimit} messages in a batch`, `batch ${batchLimit}`))]
  return (messages as readonly Json[]).map((message, index) => {
    if (!isJsonObject(message)) return malformed(ref, `messages[${index}]: must be an object`)
    const own = refOf(message, message.request_id ?? fields.request_id)
    if (message.type !== undefined && message.type !== 'message' && message.type !== 'event')
      return malformed(own, `messages[${index}].type: must be message or event`)
    return publishRequest(message, own, (message.ack ?? ack) === true, measure)
  })
}

/** Fields of the frame alone. */
const envelope: ReadonlySet<string> = new Set(['type', 'command', 'request_id'])
/** Fields of a frame that a command may have a parameter of the same name for; then one that stands elsewhere is meant. */
const ambiguous: ReadonlySet<string> = new Set(['id', 'timestamp', 'sender', 'metadata'])
/** Where clients put parameters when they do not stand at the top. */
const nests: ReadonlySet<string> = new Set(['payload', 'args', 'data'])

/** What stands nearer to the top wins. */
const paramsOf = (fields: JsonObject): JsonObject => {
  const { payload, args, data } = fields
  const nested = (value: Json | undefined): JsonObject => (isJsonObject(value) ? value : {})
  const flat = Object.entries(fields).filter(([key, value]) => !envelope.has(key) && !(nests.has(key) && isJsonObject(value)))
  // fromEntries and spread define properties; an assignment to `__proto__` would set the prototype.
  const top = (isAmbiguous: boolean) => Object.fromEntries(flat.filter(([key]) => ambiguous.has(key) === isAmbiguous))
  return { ...top(true), ...nested(nested(payload).parameters), ...nested(args), ...nested(data), ...top(false) }
}

const commandRequest = (fields: JsonObject): ClientRequest => {
  const ref = refOf(fields)
  const { payload } = fields
  const command = fields.command ?? (isJsonObject(payload) ? payload.command : undefined)
  const wrong = requestIdDefect(fields)
  if (wrong !== undefined) return malformed(ref, wrong)
  if (typeof command !== 'string' || command === '' || command.length > textLimit)
    return malformed(ref, `command: must be a text of 1 to ${textLimit} characters`)
  return { type: 'request.command', ref, command, params: paramsOf(fields) }
}

export const busDecoder = ({ messageBytes, depth }: BusOptions): TextDoor['decode'] => {
  const limits = { bytes: messageBytes, depth, bytesOption: 'bus.messageBytes' }
  const measured: Measure = (draft) => {
    const found = excess(draft, messageBytes)
    return found && refusalOf('message.too_large', found.detail, found.rule)
  }
  return (text) => {
    const { object: fields, refusal } = parseObject(text, limits)
    if (refusal !== undefined) return [bad({}, refusal)]
    const measure = isSurelySmall(text.length, messageBytes) ? () => undefined : measured
    switch (fields.type) {
      case 'message':
      case 'event':
        return [publishRequest(fields, refOf(fields), fields.ack === true, measure)]
      case 'command':
        return [commandRequest(fields)]
      case 'batch':
        return batchRequests(fields, measure)
      case 'heartbeat':
        return [{ type: 'request.heartbeat' }]
      default:
        return [malformed(refOf(fields), `type: must be one of ${types.join(', ')}`)]
    }
  }
}
