/**
 * The wire of the bus: the envelope and the commands of the ArqonBus guide, JSON text frames.
 *
 *   client                                                     server
 *   ── message | event {channel, content, id?, ack?, …} ─────→
 *         ←── message {id, timestamp, sender, channel, content, sequence, epoch} ─   to members, when it is on disk
 *         ←── ack {id, channel, sequence, epoch, repeated} ────────────────   when asked for
 *   ── command {command, request_id?, parameters …} ─────────→
 *         ←── command_response {command, success, data | error, code} ──────   the next frame after it was read
 *         ←── message … ────────────────────────────────────────────────────   replayed ones, after the answer to join_channel
 *   ── batch {messages: [message, …]} ───────────────────────→              as if each had come alone
 *   ── heartbeat ────────────────────────────────────────────→              nothing is answered
 *         ←── event {channel, content: {type: user_joined, …}} ─────────────   from the server itself
 *         ←── error {code, error} ──────────────────────────────────────────   to anything but a command
 *
 * Silent on connect: the guide's clients take the first frame for an answer. Their listeners end for good on a frame that is no
 * object, has no `type`, or has a `content` that is neither an object nor a text of a user, so no such frame leaves.
 * Reference: docs/wire/bus.md.
 */
import { inboxOf } from '../../actors/channelMessages.ts'
import type { PublishOptions } from '../../actors/command.ts'
import type {
  ChannelMessage,
  ClosedOutput,
  Json,
  JsonObject,
  Member,
  Output,
  PresenceOutput,
  Ref,
  Refusal,
  TelemetryEvent,
} from '../../actors/output.ts'
import type { ClientRequest, Manners } from '../../actors/request.ts'
import type { EpochMs } from '../../actors/world.ts'
import { excess, fits, isSurelySmall, mostBytes } from '../bus/frameLimit.ts'
import type { Config } from '../config.ts'
import { isJsonObject, parseObject, refusalOf } from './json.ts'
import type { TextDoor } from './textDoor.ts'

export type BusOptions = Pick<Config['bus'], 'messageBytes' | 'depth'>

const manners: Manners = {
  door: 'bus',
  greets: false,
  echo: 'budget',
  acknowledges: false,
  mustJoinToPublish: false,
  canLogIn: true,
  hasPresence: true,
  hasInbox: true,
  trustsSender: true,
  heartbeatMs: undefined,
  beatsAtOnce: false,
  rate: undefined,
  nameOf: (client) => client,
}

/** Messages of one batch. */
const batchLimit = 1_000
/** Ids and names that are stored or sent back. */
const textLimit = 255

/** What the answer to a request says about it. */
interface BusRef {
  readonly requestId?: string | number
  readonly id?: string
  readonly channel?: string
}

// ── from the client ─────────────────────────────────────────────────────────────────────────────────────────────

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
  return undefined
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

/** Fields of the frame itself, which are no parameters. */
const envelope: ReadonlySet<string> = new Set(['type', 'command', 'id', 'request_id', 'timestamp', 'sender', 'metadata'])
/** Where clients put parameters when they do not stand at the top. */
const nests: ReadonlySet<string> = new Set(['payload', 'args', 'data'])

/** What stands nearer to the top wins. */
const paramsOf = (fields: JsonObject): JsonObject => {
  const { payload, args, data } = fields
  const nested = (value: Json | undefined): JsonObject => (isJsonObject(value) ? value : {})
  const flat = Object.entries(fields).filter(([key, value]) => !envelope.has(key) && !(nests.has(key) && isJsonObject(value)))
  // fromEntries and spread define properties; an assignment to `__proto__` would set the prototype.
  return { ...nested(nested(payload).parameters), ...nested(args), ...nested(data), ...Object.fromEntries(flat) }
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

const decoder = ({ messageBytes, depth }: BusOptions): TextDoor['decode'] => {
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

// ── to the client ───────────────────────────────────────────────────────────────────────────────────────────────

const iso = (at: EpochMs): string => new Date(at).toISOString()

const contentOf = (body: Json): Json => (typeof body === 'string' || isJsonObject(body) ? body : { data: body })

const messageOf = ({ id, kind, time, sender, channel, room, body, metadata, offset, epoch }: ChannelMessage) => ({
  id,
  // Nobody can make a frame that looks like an answer or an error of the server.
  type: kind === 'event' ? 'event' : 'message',
  timestamp: iso(time),
  sender,
  channel,
  ...(room !== undefined && { room }),
  content: contentOf(body),
  ...(metadata !== undefined && { metadata }),
  sequence: offset,
  // A channel has none before its first message, so whoever joined an empty one learns it here, and can recover.
  epoch,
})

const memberOf = ({ user, status, connections, lastSeen }: Member) => ({ user, status, connections, last_seen: iso(lastSeen) })

const eventOf = (at: EpochMs, channel: string, content: object) => ({ type: 'event', timestamp: iso(at), channel, content })

const presenceType = ({ change, before, status }: PresenceOutput): string => {
  if (change !== 'status') return change === 'joined' ? 'user_joined' : 'user_left'
  if (status === 'offline') return 'user_offline'
  return before === 'offline' ? 'user_online' : 'user_status'
}

const presenceOf = (output: PresenceOutput) => {
  const { at, channel, user, status, reason, offset } = output
  const content = { type: presenceType(output), user, channel, status, ...(reason !== undefined && { reason }), sequence: offset }
  return eventOf(at, channel, content)
}

const closedTypes = { expired: 'room_expired', deleted: 'channel_deleted', forbidden: 'channel_forbidden' } as const

const closedOf = ({ at, channel, reason }: ClosedOutput) => eventOf(at, channel, { type: closedTypes[reason], channel })

const telemetryOf = (events: readonly TelemetryEvent[]) => {
  const spelled = events.map(({ at, ...fields }) => ({ ...fields, timestamp: iso(at) }))
  return eventOf(events.at(-1)?.at ?? 0, '$telemetry', { type: 'telemetry', events: spelled })
}

const refusedFields = ({ code, message, rule, retryAfterMs }: Refusal) => ({
  code,
  error: message,
  ...(rule !== undefined && { rule }),
  ...(retryAfterMs !== undefined && { retry_after: retryAfterMs / 1000 }),
})

const busRef = (ref: Ref): BusRef => (ref ?? {}) as BusRef // what decode made, or nothing

const requestId = (ref: Ref) => {
  const { requestId } = busRef(ref)
  return requestId === undefined ? {} : { request_id: requestId }
}

const refusedOf = ({ ref, command, at, refusal }: Extract<Output, { type: 'output.refused' }>) => {
  const said = refusedFields(refusal)
  if (command !== undefined) return { type: 'command_response', command, success: false, ...said, timestamp: iso(at), ...requestId(ref) }
  const { id, channel } = busRef(ref)
  return {
    type: 'error',
    ...said,
    ...(channel !== undefined && { channel }),
    ...(id !== undefined && { id }),
    ...requestId(ref),
    timestamp: iso(at),
  }
}

// Answers. Those of built-in commands have times, messages and members in them; those of others go out as they are.

const timeKeys: ReadonlySet<string> = new Set(['created_at', 'expires_at', 'timestamp', 'before', 'until'])

/** What a Date can hold (ECMA-262 §21.4.1.1); another number would throw. */
const isTime = (value: Json): value is number => typeof value === 'number' && Math.abs(value) <= 8.64e15

const withTimes = (data: JsonObject): JsonObject =>
  Object.fromEntries(Object.entries(data).map(([key, value]) => [key, timeKeys.has(key) && isTime(value) ? iso(value) : value]))

const listOf = <Item>(value: Json | undefined): readonly Item[] => (Array.isArray(value) ? (value as readonly Item[]) : [])

const withItems = (key: string) => (data: JsonObject) => ({ ...data, [key]: listOf<JsonObject>(data[key]).map(withTimes) })
const withMembers = (data: JsonObject) => ({ ...withTimes(data), members: listOf<Member>(data.members).map(memberOf) })

/** The replayed messages follow in frames of their own. */
const joinedOf = ({ messages, is_new: _, announced: __, channels: ___, ...data }: JsonObject) => ({
  ...withMembers(data),
  replayed: listOf(messages).length,
})

const spellings: ReadonlyMap<string, (data: JsonObject) => object> = new Map([
  ['join_channel', joinedOf],
  ['members', withMembers],
  ['history', (data) => ({ ...data, messages: listOf<ChannelMessage>(data.messages).map(messageOf) })],
  ['list_channels', withItems('channels')],
  ['list_rooms', withItems('rooms')],
  ['channel_info', withTimes],
  ['create_channel', withTimes],
  ['create_room', withTimes],
  ['ping', withTimes],
  ['revoke', withTimes],
])

/** What a command gave, as clients of the bus read it. */
export const spelledData = (command: string, data: Json): Json | object =>
  isJsonObject(data) ? (spellings.get(command)?.(data) ?? data) : data

const responseOf = (answer: Extract<Output, { type: 'output.answer' }>) => {
  const { ref, command, at, data } = answer
  return { type: 'command_response', command, success: true, data: spelledData(command, data), timestamp: iso(at), ...requestId(ref) }
}

const acknowledgement = ({ ref, message, isRepeated }: Extract<Output, { type: 'output.acknowledged' }>) => ({
  type: 'ack',
  id: message.id,
  channel: message.channel,
  sequence: message.offset,
  epoch: message.epoch,
  timestamp: iso(message.time),
  repeated: isRepeated,
  ...requestId(ref),
})

const encoder = ({ messageBytes }: BusOptions): TextDoor['encode'] => {
  const most = mostBytes(messageBytes)
  const tooLarge = (bytes: number): Refusal =>
    refusalOf('message.too_large', `${bytes} bytes; no frame above ${most} is sent`, `bus.messageBytes ${messageBytes}`)

  /** What decode lets in fits; hooks, HTTP and commands of users may bring more. The sequence shows no hole then. */
  const messageFrame = (message: ChannelMessage): string => {
    const frame = JSON.stringify(messageOf(message))
    if (fits(frame, most)) return frame
    const { id, time, channel, offset } = message
    return JSON.stringify(
      eventOf(time, channel, { type: 'message_too_large', id, channel, sequence: offset, bytes: Buffer.byteLength(frame) }),
    )
  }

  const answerFrames = (output: Extract<Output, { type: 'output.answer' }>): readonly string[] => {
    const { ref, command, at, data } = output
    const frame = JSON.stringify(responseOf(output))
    if (!fits(frame, most))
      return [JSON.stringify(refusedOf({ type: 'output.refused', ref, command, at, refusal: tooLarge(Buffer.byteLength(frame)) }))]
    const replayed = command === 'join_channel' && isJsonObject(data) ? listOf<ChannelMessage>(data.messages) : []
    return [frame, ...replayed.map(messageFrame)]
  }

  /** Halves of it, and of those, until each fits. */
  const telemetryFrames = (events: readonly TelemetryEvent[]): readonly string[] => {
    if (events.length === 0) return []
    const frame = JSON.stringify(telemetryOf(events))
    if (fits(frame, most)) return [frame]
    const middle = events.length >> 1
    return middle === 0 ? [] : [...telemetryFrames(events.slice(0, middle)), ...telemetryFrames(events.slice(middle))]
  }

  return (output) => {
    switch (output.type) {
      case 'output.messages':
        return output.messages.map(messageFrame)
      case 'output.presence':
        return [JSON.stringify(presenceOf(output))]
      case 'output.closed':
        return [JSON.stringify(closedOf(output))]
      case 'output.answer':
        return answerFrames(output)
      case 'output.refused':
        return [JSON.stringify(refusedOf(output))]
      case 'output.acknowledged':
        return [JSON.stringify(acknowledgement(output))]
      case 'output.gap': {
        const { channel, isRecovered, epoch, offset, at } = output
        const content = { type: isRecovered ? 'recovered' : 'lost', channel, epoch, sequence: offset }
        return [JSON.stringify(eventOf(at, channel, content))]
      }
      case 'output.telemetry':
        return telemetryFrames(output.events)
      case 'output.greeting':
      case 'output.heartbeat':
        return []
    }
  }
}

export const busDoor = (options: BusOptions): TextDoor => ({ manners, decode: decoder(options), encode: encoder(options) })
