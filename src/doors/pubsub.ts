/**
 * The wire of the production WebSocket server of the course module: topics, JSON text frames, the publisher hears nothing of
 * its own messages.
 *
 *   client                                       server
 *         ←── connected client_id, timestamp ────
 *         ←── heartbeat ─────────────────────────   at once, then every 30 s
 *   ── subscribe topics ───────────────────────→
 *         ←── subscribed topics ─────────────────   all of the client now
 *   ── publish topic, data ────────────────────→
 *         ←── message topic, data, from, timestamp   to the other subscribers
 *   ── unsubscribe topics ─────────────────────→
 *         ←── unsubscribed topics ───────────────   those that are left
 *   ── ping ───────────────────────────────────→
 *         ←── pong ──────────────────────────────
 *         ←── error code, message ───────────────
 *
 * A topic is a channel. Reference: docs/wire/pubsub.md.
 */
import { telemetryChannel } from '../../actors/channelMessages.ts'
import type { ErrorCode } from '../../actors/errors.ts'
import type { ChannelMessage, ClosedOutput, Json, JsonObject, Output, Refusal, TelemetryEvent } from '../../actors/output.ts'
import type { ClientRequest, Manners } from '../../actors/request.ts'
import { fits, mostBytes } from '../bus/frameLimit.ts'
import type { Config } from '../config.ts'
import { hexOf } from './ids.ts'
import { parseObject, refusalOf } from './json.ts'
import type { Denial, TextDoor } from './textDoor.ts'
import { naiveTime } from './times.ts'

export type PubsubOptions = Pick<Config['bus'], 'heartbeatMs' | 'smallMessageBytes' | 'messageBytes' | 'depth' | 'pubsubRequestsPerMinute'>

interface Ref {
  readonly asked: 'subscribe' | 'unsubscribe' | 'publish' | 'ping' | 'unknown' | 'json'
  readonly topic?: string
}

/** The answer of `subscribe` and `unsubscribe` (src/bus/commands.ts). */
interface TopicsAnswer {
  readonly channels: readonly string[]
}

const rateWindowMs = 60_000
/** An unknown type is quoted up to here; 64 KiB of it would be of no use. */
const quotedLength = 200
/** Longer names are not said again. */
const nameLength = 255

/** As Python's `str` writes the simple values; `None` stands for a missing one, too. */
const inPython = (value: Json | undefined): string => {
  if (value === undefined || value === null) return 'None'
  if (typeof value === 'boolean') return value ? 'True' : 'False'
  return (typeof value === 'string' ? value : JSON.stringify(value)).slice(0, quotedLength).toWellFormed()
}

const requestOf = (message: JsonObject): ClientRequest => {
  const { type, topic, topics = [], data = null } = message
  switch (type) {
    case 'subscribe':
    case 'unsubscribe': {
      const channels = typeof topics === 'string' ? [topics] : topics
      return { type: 'request.command', ref: { asked: type } satisfies Ref, command: type, params: { channels } }
    }
    case 'publish':
      if (typeof topic !== 'string')
        return { type: 'request.bad', ref: undefined, refusal: refusalOf('message.malformed', 'publish needs a topic, a text') }
      return {
        type: 'request.publish',
        ref: { asked: 'publish', topic } satisfies Ref,
        message: { channel: topic, body: data },
        wantsAck: false,
      }
    case 'ping':
      return { type: 'request.command', ref: { asked: 'ping' } satisfies Ref, command: 'ping', params: {} }
    default:
      return {
        type: 'request.bad',
        ref: { asked: 'unknown' } satisfies Ref,
        refusal: { code: 'message.malformed', message: `Unknown message type: ${inPython(type)}` },
      }
  }
}

/** `access.denied` is `ACCESS_DENIED` here. */
const codeOf = (code: ErrorCode): string => code.replace('.', '_').toUpperCase()

const errorFrame = (code: string, message: string, more: JsonObject = {}): string =>
  JSON.stringify({ type: 'error', code, message, ...more })

const refusedFrame = (ref: Ref | undefined, { code, message, rule }: Refusal): string => {
  if (code === 'rate.limited') return errorFrame('RATE_LIMITED', 'Too many requests')
  if (code === 'message.malformed' && ref?.asked === 'unknown') return errorFrame('INVALID_MESSAGE_TYPE', message)
  if (code === 'message.malformed' && ref?.asked === 'json') return errorFrame('INVALID_JSON', message)
  return errorFrame(codeOf(code), message, {
    ...(ref?.topic !== undefined && { topic: ref.topic.slice(0, nameLength) }),
    ...(rule !== undefined && { rule }),
  })
}

/** An event of the server, to whoever subscribed to `$telemetry`. */
const telemetryFrame = ({ at, ...data }: TelemetryEvent): string =>
  JSON.stringify({ type: 'message', topic: telemetryChannel, data, from: 'server', timestamp: naiveTime(at) })

const endings: Readonly<Record<ClosedOutput['reason'], string>> = {
  deleted: 'The topic was deleted',
  expired: 'The topic has expired',
  forbidden: 'You may not read this topic any more',
}

/** A browser sees no status of HTTP, so the close frame says it. */
const deny = ({ code }: Refusal): Denial | undefined => {
  if (code === 'auth.required') return { close: 1008, reason: 'Missing authentication' }
  if (code === 'auth.unavailable') return undefined // no fault of the token
  return code.startsWith('auth.') ? { close: 1008, reason: 'Invalid authentication' } : undefined
}

export const pubsubDoor = ({
  heartbeatMs,
  smallMessageBytes,
  messageBytes,
  depth,
  pubsubRequestsPerMinute: count,
}: PubsubOptions): TextDoor => {
  const limits = { bytes: smallMessageBytes, depth, bytesOption: 'bus.smallMessageBytes' }
  const most = mostBytes(messageBytes)

  const manners: Manners = {
    door: 'pubsub',
    greets: true,
    echo: 'never',
    acknowledges: false,
    mustJoinToPublish: false,
    hasPresence: false,
    hasInbox: false,
    trustsSender: false,
    heartbeatMs,
    beatsAtOnce: true,
    rate: count > 0 ? { count, withinMs: rateWindowMs } : undefined,
    nameOf: (client) => `client_${hexOf(client).slice(0, 8)}`,
  }

  const decode = (text: string): readonly ClientRequest[] => {
    const { object, refusal } = parseObject(text, limits)
    return [refusal === undefined ? requestOf(object) : { type: 'request.bad', ref: { asked: 'json' } satisfies Ref, refusal }]
  }

  /** Other doors let in a little more than fits here. It is said, for a topic that leaves something out cannot be trusted. */
  const messageFrame = ({ channel, body, sender, time }: ChannelMessage): string => {
    const frame = JSON.stringify({ type: 'message', topic: channel, data: body, from: sender, timestamp: naiveTime(time) })
    if (fits(frame, most)) return frame
    return errorFrame('MESSAGE_TOO_LARGE', `A message of ${Buffer.byteLength(frame)} bytes was left out`, { topic: channel })
  }

  const answerFrames = (ref: Ref | undefined, data: Json): readonly string[] => {
    switch (ref?.asked) {
      case 'subscribe':
      case 'unsubscribe':
        return [JSON.stringify({ type: `${ref.asked}d`, topics: (data as unknown as TopicsAnswer).channels })]
      case 'ping':
        return ['{"type":"pong"}']
      default:
        return []
    }
  }

  const encode = (output: Output): readonly string[] => {
    switch (output.type) {
      case 'output.greeting':
        return [JSON.stringify({ type: 'connected', client_id: output.account.user, timestamp: naiveTime(output.at) })]
      case 'output.messages':
        return output.messages.map(messageFrame)
      case 'output.answer':
        return answerFrames(output.ref as Ref | undefined, output.data)
      case 'output.refused':
        return [refusedFrame(output.ref as Ref | undefined, output.refusal)]
      case 'output.closed':
        return [errorFrame('CHANNEL_CLOSED', endings[output.reason], { topic: output.channel })]
      case 'output.gap':
        return [errorFrame('MESSAGES_LOST', 'Messages were missed', { topic: output.channel })]
      case 'output.heartbeat':
        return ['{"type":"heartbeat"}']
      case 'output.telemetry':
        return output.events.map(telemetryFrame).filter((frame) => fits(frame, most))
      case 'output.acknowledged':
      case 'output.presence':
        return []
    }
  }

  return { manners, decode, encode, deny }
}
