/** What a client of the bus hears: outputs to frames. The wire is described in bus.ts, and in docs/wire/bus.md. */
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
import type { EpochMs } from '../../actors/world.ts'
import { fits, mostBytes } from '../bus/frameLimit.ts'
import type { BusOptions, BusRef } from './busDecode.ts'
import { isJsonObject, refusalOf } from './json.ts'
import type { TextDoor } from './textDoor.ts'

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

export const busEncoder = ({ messageBytes }: BusOptions): TextDoor['encode'] => {
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
