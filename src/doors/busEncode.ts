/** What a client of the bus hears: outputs to frames. The wire is described in bus.ts, and in docs/wire/bus.md. */
import type {
  ChannelMessage,
  ClosedOutput,
  Json,
  Member,
  Output,
  PresenceOutput,
  Ref,
  Refusal,
  TelemetryEvent,
} from '../../actors/output.ts'
import type { EpochMs } from '../../actors/world.ts'
import { fits, mostBytes } from '../bus/frameLimit.ts'
import { answerSpelling, listOf } from './answers.ts'
import type { BusOptions, BusRef } from './busDecode.ts'
import { isJsonObject, refusalOf } from './json.ts'
import type { TextDoor } from './textDoor.ts'
import { isoTime } from './times.ts'

const contentOf = (body: Json): Json => (typeof body === 'string' || isJsonObject(body) ? body : { data: body })

const messageOf = ({ id, kind, time, sender, channel, room, body, metadata, offset, epoch }: ChannelMessage) => ({
  id,
  // Nobody can make a frame that looks like an answer or an error of the server.
  type: kind === 'event' ? 'event' : 'message',
  timestamp: isoTime(time),
  sender,
  channel,
  ...(room !== undefined && { room }),
  content: contentOf(body),
  ...(metadata !== undefined && { metadata }),
  sequence: offset,
  // A channel has none before its first message, so whoever joined an empty one learns it here, and can recover.
  epoch,
})

const memberOf = ({ user, status, connections, lastSeen }: Member) => ({ user, status, connections, last_seen: isoTime(lastSeen) })

const eventOf = (at: EpochMs, channel: string, content: object) => ({ type: 'event', timestamp: isoTime(at), channel, content })

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
  const spelled = events.map(({ at, ...fields }) => ({ ...fields, timestamp: isoTime(at) }))
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
  if (command !== undefined)
    return { type: 'command_response', command, success: false, ...said, timestamp: isoTime(at), ...requestId(ref) }
  const { id, channel } = busRef(ref)
  return {
    type: 'error',
    ...said,
    ...(channel !== undefined && { channel }),
    ...(id !== undefined && { id }),
    ...requestId(ref),
    timestamp: isoTime(at),
  }
}

/** What a command gave, as clients of the bus read it. */
export const spelledData = answerSpelling({ time: isoTime, messages: (messages) => messages.map(messageOf), member: memberOf })

const responseOf = (answer: Extract<Output, { type: 'output.answer' }>) => {
  const { ref, command, at, data } = answer
  return { type: 'command_response', command, success: true, data: spelledData(command, data), timestamp: isoTime(at), ...requestId(ref) }
}

const acknowledgement = ({ ref, message, isRepeated }: Extract<Output, { type: 'output.acknowledged' }>) => ({
  type: 'ack',
  id: message.id,
  channel: message.channel,
  sequence: message.offset,
  epoch: message.epoch,
  timestamp: isoTime(message.time),
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
        const { channel, epoch, offset, at } = output
        return [JSON.stringify(eventOf(at, channel, { type: 'lost', channel, epoch, sequence: offset }))]
      }
      case 'output.telemetry':
        return telemetryFrames(output.events)
      case 'output.greeting':
      case 'output.heartbeat':
        return []
    }
  }
}
