/**
 * The wire of the chat course: rooms with presence and numbered messages, JSON text frames.
 *
 *   client                                       server
 *         ←── connected {clientId, user} ────────
 *   ── join room ──────────────────────────────→
 *         ←── presence {room, users} ────────────
 *         ←── message "… joined the room" ───────   to everybody, the newcomer too
 *         ←── history {room, messages} ──────────   the latest 50, when there are any
 *   ── message {room, content} ────────────────→
 *         ←── message {…, sequence} ─────────────   to everybody, the author too, when it is on disk
 *   ── presence room ──────────────────────────→
 *         ←── presence {room, users} ────────────
 *   ── history room, since ────────────────────→
 *         ←── history {room, messages} ──────────   at most 100 after that sequence
 *   ── leave room ─────────────────────────────→    the others hear "… left the room"
 *         ←── heartbeat ─────────────────────────   every 30 s
 *         ←── error {message, code} ─────────────
 *
 * A room is a channel. What is no message of the protocol is ignored, as in the course. Reference: docs/wire/chat.md.
 */
import { telemetryChannel } from '../../actors/channelMessages.ts'
import type { ChannelMessage, ClosedOutput, Json, JsonObject, Member, Output, Refusal, Status } from '../../actors/output.ts'
import type { ClientRequest, Manners } from '../../actors/request.ts'
import type { EpochMs } from '../../actors/world.ts'
import { fits, fittingItems, isSurelySmall, mostBytes } from '../bus/frameLimit.ts'
import type { Config } from '../config.ts'
import { hexOf, uuidOf } from './ids.ts'
import { isJsonObject, parseObject, refusalOf } from './json.ts'
import type { TextDoor } from './textDoor.ts'

export type ChatOptions = Pick<Config['bus'], 'heartbeatMs' | 'smallMessageBytes' | 'messageBytes' | 'depth'>

/** Messages that a newcomer gets. */
const rewind = 50
/** Most messages of one answer to `history`. */
const historyLimit = 100
/** Longer names are not said again. */
const nameLength = 255
/** What a frame holds beside its messages: field names, and the room, 255 bytes that may all be escaped. */
const frameAround = 1024

/** What was asked, and of which room. */
interface Ref {
  readonly asked: 'join' | 'leave' | 'message' | 'presence' | 'history'
  readonly room: string
}

// The answers of commands, as far as they are spelled here (src/bus/commands.ts).
interface JoinAnswer {
  readonly channel: string
  readonly sequence: number
  readonly announced: boolean
  readonly members: readonly Member[]
  readonly messages: readonly ChannelMessage[]
}
interface MembersAnswer {
  readonly channel: string
  readonly members: readonly Member[]
}
interface HistoryAnswer {
  readonly channel: string
  readonly messages: readonly ChannelMessage[]
}

const userOf = (client: string): string => `user_${hexOf(client).slice(0, 8)}`

const command = (ref: Ref, name: string, params: JsonObject): readonly ClientRequest[] => [
  { type: 'request.command', ref, command: name, params: { channel: ref.room, ...params } },
]

/** The position that `since` means; the course compares it as JavaScript does, so `"5"` is 5. */
const positionOf = (since: Json | undefined): number => Math.min(Math.max(0, Math.floor(Number(since ?? 0)) || 0), Number.MAX_SAFE_INTEGER)

const noTelemetry = refusalOf('channel.bad_name', `${telemetryChannel} has no chat`)

const requestsOf = (message: JsonObject): readonly ClientRequest[] => {
  const { type, room, data } = message
  if (type === 'heartbeat') return [{ type: 'request.heartbeat' }]
  if (type === 'message') return isJsonObject(data) ? messageOf(data) : []
  if (typeof room !== 'string') return []
  switch (type) {
    case 'join':
      // This protocol has no frame for what happens there.
      if (room === telemetryChannel) return [{ type: 'request.bad', ref: { asked: 'join', room } satisfies Ref, refusal: noTelemetry }]
      return command({ asked: 'join', room }, 'join_channel', { rewind })
    case 'leave':
      return command({ asked: 'leave', room }, 'leave_channel', {})
    case 'presence':
      return command({ asked: 'presence', room }, 'members', {})
    case 'history':
      return command({ asked: 'history', room }, 'history', {
        after: positionOf(message.since),
        limit: historyLimit,
        direction: 'forwards',
      })
    default:
      return []
  }
}

/** Stored as the clients of the bus say it, so that they understand it. */
const messageOf = ({ room, content = '' }: JsonObject): readonly ClientRequest[] => {
  if (typeof room !== 'string')
    return [{ type: 'request.bad', ref: { asked: 'message', room: '' } satisfies Ref, refusal: refusalOf('channel.not_joined', 'no room') }]
  const body = { type: 'text', text: typeof content === 'string' ? content : JSON.stringify(content) }
  return [
    {
      type: 'request.publish',
      ref: { asked: 'message', room } satisfies Ref,
      message: { channel: room, body },
      wantsAck: false,
    },
  ]
}

/** Clients of the bus have their words in `text`, those of ArqonBus in `content`; whatever else they say is shown as JSON. */
const textOf = (body: Json): string => {
  if (typeof body === 'string') return body
  if (!isJsonObject(body)) return JSON.stringify(body)
  const { text, content, ...more } = body
  if (typeof text === 'string') return text
  return typeof content === 'string' && Object.keys(more).length === 0 ? content : JSON.stringify(body)
}

const endings: Readonly<Record<ClosedOutput['reason'], string>> = {
  deleted: 'The room was deleted',
  expired: 'The room has expired',
  forbidden: 'You may not be in this room any more',
}

const frame = (type: string, data?: Json): string => JSON.stringify(data === undefined ? { type } : { type, data })

/** The course knows three; somebody who is busy is there, but not to be spoken to. */
const statusOf = (status: Status): string => (status === 'busy' ? 'away' : status)

const presenceFrame = (room: string, members: readonly Member[]): string => {
  const users = members.map(({ user, status, lastSeen }) => ({ user, status: statusOf(status), lastSeen }))
  return frame('presence', { room, users: fittingItems(users) })
}

/** The server's own word in a room. It is not stored, so the sequence is that of the last message. */
const systemFrame = (id: string, room: string, content: string, sequence: number, timestamp: EpochMs): string =>
  frame('message', { id: uuidOf(id), room, user: 'system', content, sequence, timestamp })

const errorFrame = ({ message, code, rule, retryAfterMs }: Refusal, room?: string): string =>
  frame('error', {
    message,
    code,
    ...(room && { room: room.slice(0, nameLength) }),
    ...(rule !== undefined && { rule }),
    ...(retryAfterMs !== undefined && { retryAfterMs }),
  })

export const chatDoor = ({ heartbeatMs, smallMessageBytes, messageBytes, depth }: ChatOptions): TextDoor => {
  const limits = { bytes: smallMessageBytes, depth, bytesOption: 'bus.smallMessageBytes' }
  const contentBytes = mostBytes(messageBytes) - frameAround

  const manners: Manners = {
    door: 'chat',
    greets: true,
    echo: 'members',
    acknowledges: false,
    mustJoinToPublish: true,
    hasPresence: true,
    hasInbox: false,
    trustsSender: false,
    heartbeatMs,
    beatsAtOnce: false,
    rate: undefined,
    nameOf: userOf,
  }

  const decode = (text: string): readonly ClientRequest[] => {
    const { object, refusal } = parseObject(text, limits)
    if (refusal === undefined) return requestsOf(object)
    return refusal.code === 'message.too_large' ? [{ type: 'request.bad', ref: undefined, refusal }] : []
  }

  /** Other doors let in more than a chat frame holds; a note in its place keeps the sequence without holes. */
  const spell = ({ id, channel, sender, body, offset, time }: ChannelMessage): JsonObject => {
    const content = textOf(body)
    const message = { id: uuidOf(id), room: channel, user: sender, content, sequence: offset, timestamp: time }
    if (isSurelySmall(content.length, messageBytes) || fits(JSON.stringify(message), contentBytes)) return message
    return { ...message, content: `[${Buffer.byteLength(content)} bytes: too large for a chat message]` }
  }

  const answerFrames = ({ ref, data, client, account, at }: Extract<Output, { type: 'output.answer' }>): readonly string[] => {
    switch ((ref as Ref | undefined)?.asked) {
      case 'join': {
        const { channel, sequence, announced, members, messages } = data as unknown as JoinAnswer
        const latest = fittingItems(messages.map(spell), 'last')
        return [
          presenceFrame(channel, members),
          ...(announced ? [systemFrame(`${client}/${channel}/${at}`, channel, `${account.user} joined the room`, sequence, at)] : []),
          ...(latest.length > 0 ? [frame('history', { room: channel, messages: latest })] : []),
        ]
      }
      case 'presence': {
        const { channel, members } = data as unknown as MembersAnswer
        return [presenceFrame(channel, members)]
      }
      case 'history': {
        const { channel, messages } = data as unknown as HistoryAnswer
        return [frame('history', { room: channel, messages: fittingItems(messages.map(spell)) })]
      }
      default:
        return []
    }
  }

  const refusedFrames = (ref: Ref | undefined, refusal: Refusal): readonly string[] => {
    if (refusal.code === 'channel.unknown') {
      // A room that nobody has entered is empty, not wrong.
      if (ref?.asked === 'history') return [frame('history', { room: ref.room, messages: [] })]
      if (ref?.asked === 'presence') return [presenceFrame(ref.room, [])]
      if (ref?.asked === 'leave') return []
    }
    if (ref?.asked === 'message' && refusal.code === 'channel.not_joined') return [frame('error', { message: 'Not subscribed to room' })]
    return [errorFrame(refusal, ref?.room)]
  }

  const encode = (output: Output): readonly string[] => {
    switch (output.type) {
      case 'output.greeting':
        return [frame('connected', { clientId: uuidOf(output.client), user: output.account.user })]
      case 'output.messages':
        return output.messages.map((message) => frame('message', spell(message)))
      case 'output.presence': {
        const { id, change, channel, user, offset, at } = output
        // The course tells of a status only when asked.
        return change === 'status' ? [] : [systemFrame(id, channel, `${user} ${change} the room`, offset, at)]
      }
      case 'output.answer':
        return answerFrames(output)
      case 'output.refused':
        return refusedFrames(output.ref as Ref | undefined, output.refusal)
      case 'output.closed':
        return [errorFrame({ code: 'channel.closed', message: endings[output.reason] }, output.channel)]
      case 'output.gap':
        return [frame('error', { message: 'Messages were missed', code: 'messages.lost', room: output.channel })]
      case 'output.heartbeat':
        return [frame('heartbeat')]
      case 'output.acknowledged':
      case 'output.telemetry':
        return []
    }
  }

  return { manners, decode, encode }
}
