/**
 * The wire of ArqonBus itself, as its server and SDK speak it: one envelope for everything, strictly checked, JSON text frames.
 *
 *   client                                       server
 *         ←── message {welcome, client_id} ──────
 *   ── message room, channel, payload ─────────→
 *         ←── message_response payload ──────────   with the id of the request, when it is on disk
 *         ←── message sender, payload ───────────   to the others in the channel
 *   ── command command, args ──────────────────→
 *         ←── response status, {message, data} ──   with the request_id; then
 *         ←── command_response {result} ─────────   with the id of the request
 *         ←── error error, error_code ───────────
 *
 * A channel of a room is the channel `room/channel`. Source: ArqonBus, transport/websocket_bus.py. Reference: docs/wire/arqonbus.md.
 */
import type { ErrorCode } from '../../actors/errors.ts'
import type { ChannelMessage, Json, JsonObject, Member, Output, Refusal, TelemetryEvent } from '../../actors/output.ts'
import type { ClientRequest, Manners } from '../../actors/request.ts'
import type { EpochMs } from '../../actors/world.ts'
import { excess, fits, fittingItems, isSurelySmall, mostBytes } from '../bus/frameLimit.ts'
import type { Config } from '../config.ts'
import { answerSpelling, listOf } from './answers.ts'
import { channelOf, clientIdOf, type Envelope, idOf, isSequence, newEnvelope, newId, placeOf, readEnvelope } from './arqonbusEnvelope.ts'
import { isJsonObject, parseObject, refusalOf } from './json.ts'
import type { Denial, TextDoor } from './textDoor.ts'
import { naiveTime } from './times.ts'

export type ArqonbusOptions = Pick<Config['bus'], 'messageBytes' | 'depth'>

interface Ref {
  readonly asked: 'message' | 'telemetry' | 'nowhere' | 'command' | 'bad'
  /** Of the request, if it had one. */
  readonly id?: string
  readonly command?: string
  readonly args?: JsonObject
  readonly payload?: JsonObject
  readonly defects?: readonly string[]
}

const sender = 'arqonbus'

// ── what the client says ─────────────────────────────────────────────────────────────────────────────────────────

const bad = (refusal: Refusal, ref: Omit<Ref, 'asked'> = {}): readonly ClientRequest[] => [
  { type: 'request.bad', ref: { asked: 'bad', ...ref } satisfies Ref, refusal },
]

const idIn = ({ id }: { readonly id?: string }): { readonly id?: string } => (id === undefined ? {} : { id })

/** Commands about a channel, which may be named by its room and its name there. */
const ofChannels: ReadonlySet<string> = new Set(
  'join_channel leave_channel create_channel delete_channel channel_info members history publish'.split(' '),
)
const ofWindows: ReadonlySet<string> = new Set(['history.get', 'op.history.get', 'history.replay', 'op.history.replay'])
const isReplay = (command: string): boolean => command.endsWith('history.replay')
const mostEntries = 1_000
/** Longer names are not said again. */
const nameLength = 255

const textIn = (value: Json | undefined): string | undefined => (typeof value === 'string' && value !== '' ? value : undefined)

/** A window of the history: from the newest backwards (`get`), or as it was (`replay`). */
const windowParams = (command: string, args: JsonObject): JsonObject => {
  const [since, until] = isReplay(command) ? [args.from_ts, args.to_ts] : [args.since, args.until]
  const { limit = isReplay(command) ? mostEntries : 100 } = args
  return {
    limit: typeof limit === 'number' ? Math.min(limit, mostEntries) : limit,
    direction: isReplay(command) ? 'forwards' : 'backwards',
    ...(since !== undefined && { since }),
    ...(until !== undefined && { until }),
  }
}

const commandOf = (envelope: Envelope): ClientRequest => {
  const { command: called = '', room, channel, args } = envelope
  const isWindow = ofWindows.has(called)
  const ref: Ref = { asked: 'command', command: called.slice(0, nameLength), args, ...idIn(envelope) }
  const request = { type: 'request.command', ref, command: isWindow ? 'history' : called } as const
  if (!isWindow && !ofChannels.has(called)) {
    const place = { ...(room !== undefined && { room }), ...(channel !== undefined && { channel }) }
    return { ...request, params: { ...place, ...args } }
  }
  const { room: inRoom, channel: inChannel, channel_id: channelId, ...rest } = args
  const name = channelOf(textIn(inRoom) ?? room, textIn(inChannel) ?? textIn(channelId) ?? channel)
  return { ...request, params: { ...(isWindow ? windowParams(called, rest) : rest), ...(name !== undefined && { channel: name }) } }
}

const publishOf = (envelope: Envelope): readonly ClientRequest[] => {
  const { type, room, channel, payload, metadata } = envelope
  const isTelemetry = type === 'telemetry'
  if (room === undefined || channel === undefined) {
    // It leads nowhere; a message is acknowledged all the same.
    const ref: Ref = { asked: 'nowhere', payload, ...idIn(envelope) }
    return isTelemetry ? [] : [{ type: 'request.command', ref, command: 'ping', params: {} }]
  }
  const message = {
    channel: channelOf(room, channel) ?? channel,
    body: payload,
    ...idIn(envelope),
    ...(isTelemetry && { kind: 'telemetry' }),
    ...(Object.keys(metadata).length > 0 && { metadata }),
  }
  const ref: Ref = { asked: isTelemetry ? 'telemetry' : 'message', ...idIn(envelope) }
  return [{ type: 'request.publish', ref, message, wantsAck: !isTelemetry }]
}

const requestsOf = (given: JsonObject): readonly ClientRequest[] => {
  const read = readEnvelope(given)
  if ('defect' in read)
    return bad({ code: 'message.malformed', message: `Internal server error: Failed to create envelope from data: ${read.defect}` })
  if ('defects' in read) return bad({ code: 'message.invalid', message: 'Message validation failed' }, read)
  const { envelope } = read
  switch (envelope.type) {
    case 'command':
      return [commandOf(envelope)]
    case 'message':
    case 'telemetry':
      return publishOf(envelope)
    case 'operator.join':
      return bad({ code: 'command.unknown', message: 'There are no operators' }, idIn(envelope))
    default:
      return [] // answers of operators
  }
}

// ── what the client hears ────────────────────────────────────────────────────────────────────────────────────────

const errorCodes: Partial<Record<ErrorCode, string>> = {
  // What is no envelope counts as an error of the server there.
  'message.malformed': 'INTERNAL_ERROR',
  'message.invalid': 'VALIDATION_ERROR',
  'message.too_large': 'VALIDATION_ERROR',
  'message.id_reused': 'VALIDATION_ERROR',
  'command.bad_parameters': 'VALIDATION_ERROR',
  'channel.bad_name': 'VALIDATION_ERROR',
  'access.denied': 'AUTHORIZATION_ERROR',
  'auth.required': 'AUTHORIZATION_ERROR',
  'auth.failed': 'AUTHORIZATION_ERROR',
  'auth.expired': 'AUTHORIZATION_ERROR',
  'auth.revoked': 'AUTHORIZATION_ERROR',
  'command.unknown': 'NOT_FOUND',
  'channel.unknown': 'NOT_FOUND',
  'channel.exists': 'CHANNEL_EXISTS',
  'rate.limited': 'RATE_LIMIT_EXCEEDED',
}

/** Everything else was understood and allowed, and could not be done. */
const errorCodeOf = (code: ErrorCode): string => errorCodes[code] ?? 'EXECUTION_ERROR'

const reasonOf = ({ code, rule, retryAfterMs }: Refusal): JsonObject => ({
  code,
  ...(rule !== undefined && { rule }),
  ...(retryAfterMs !== undefined && { retry_after: retryAfterMs / 1_000 }),
})

const payloadOf = (body: Json): JsonObject => (isJsonObject(body) ? body : { content: body })

const messageEnvelope = (message: ChannelMessage): JsonObject => {
  const { channel, offset, time, sender: name, client, body, kind, metadata = {} } = message
  const from = client === '' ? name : clientIdOf(client)
  const { sequence: own } = metadata
  const sequence = isSequence(own) ? own : offset
  return newEnvelope(idOf(message), time, kind === 'telemetry' ? kind : 'message', payloadOf(body), {
    metadata: { ...metadata, sequence, offset },
    ...placeOf(channel),
    sender: from,
    // Who speaks in another name than that of its connection.
    ...(name !== from && { from_client: name }),
  })
}

const memberOf = ({ user, status, connections, joinedAt, lastSeen }: Member): JsonObject => ({
  user,
  status,
  connections,
  joined_at: naiveTime(joinedAt),
  last_seen: naiveTime(lastSeen),
})

/** An envelope is larger than the message in it, so fewer may fit. */
const spelledData = answerSpelling({
  time: naiveTime,
  messages: (messages) => fittingItems(messages.map(messageEnvelope)),
  member: memberOf,
})

const entryOf = (message: ChannelMessage): JsonObject => ({
  envelope: messageEnvelope(message),
  stored_at: naiveTime(message.time),
  storage_metadata: { backend: 'journal' },
})

const windowPayload = (command: string, args: JsonObject, messages: readonly ChannelMessage[]): JsonObject => {
  const { room = null, channel = null, since = null, until = null, from_ts = null, to_ts = null, strict_sequence = false } = args
  const { limit = null } = windowParams(command, args)
  const entries = fittingItems((isReplay(command) ? messages : messages.toReversed()).map(entryOf))
  const found = { entries, count: entries.length, room, channel }
  return isReplay(command)
    ? { message: 'History replay window retrieved', data: { ...found, from_ts, to_ts, strict_sequence, limit } }
    : { message: 'History window retrieved', data: { ...found, since, until, limit } }
}

/** A client sees a status of HTTP here, as it does there. */
const deny = ({ code }: Refusal): Denial | undefined =>
  code.startsWith('auth.') && code !== 'auth.unavailable' // which is no fault of the token
    ? {
        status: '401 Unauthorized',
        headers: { 'content-type': 'application/json', 'www-authenticate': 'Bearer realm="arqonbus"' },
        body: JSON.stringify({ error: 'Unauthorized', details: code === 'auth.required' ? 'Missing bearer token' : 'Invalid token' }),
      }
    : undefined

const telemetryFrame = ({ event, at, ...rest }: TelemetryEvent, counter: number): string => {
  const payload = { event_type: event, timestamp: naiveTime(at), ...rest }
  return JSON.stringify(
    newEnvelope(newId(at, counter, event), at, 'telemetry', payload, { room: 'arqonbus.telemetry', channel: 'events', sender }),
  )
}

export const arqonbusDoor = ({ messageBytes, depth }: ArqonbusOptions): TextDoor => {
  const limits = { bytes: messageBytes, depth, bytesOption: 'bus.messageBytes' }
  const most = mostBytes(messageBytes)

  const manners: Manners = {
    door: 'arqonbus',
    greets: true,
    echo: 'never',
    acknowledges: true,
    mustJoinToPublish: false,
    hasPresence: true,
    hasInbox: true,
    trustsSender: false,
    heartbeatMs: undefined,
    beatsAtOnce: false,
    rate: undefined,
    nameOf: clientIdOf,
  }

  /** What could not leave again is not taken in. */
  const measured = (request: ClientRequest): readonly ClientRequest[] => {
    const found = request.type === 'request.publish' ? excess(request.message, messageBytes) : undefined
    if (found === undefined || request.type !== 'request.publish') return [request]
    return bad(refusalOf('message.too_large', found.detail, found.rule), idIn(request.message))
  }

  const decode = (text: string): readonly ClientRequest[] => {
    const { object, refusal } = parseObject(text, limits)
    if (refusal === undefined) return isSurelySmall(text.length, messageBytes) ? requestsOf(object) : requestsOf(object).flatMap(measured)
    if (refusal.code !== 'message.malformed') return bad(refusal)
    return bad({ ...refusal, message: `Internal server error: Invalid JSON: ${refusal.message}` })
  }

  const notice = (at: EpochMs, of: string, event: string, channel: string, more: JsonObject): string =>
    JSON.stringify(newEnvelope(newId(at, 0, of), at, 'telemetry', { event_type: event, ...more }, { ...placeOf(channel), sender }))

  /** Other doors let in a little more than fits here; what is left out is said. */
  const messageFrame = (message: ChannelMessage): string => {
    const frame = JSON.stringify(messageEnvelope(message))
    if (fits(frame, most)) return frame
    const { time, offset, channel } = message
    const error = `A message of ${Buffer.byteLength(frame)} bytes was left out`
    const payload = { code: 'message.too_large', offset }
    const more = { ...placeOf(channel), sender, error, error_code: errorCodeOf('message.too_large') }
    return JSON.stringify(newEnvelope(newId(time, offset, channel), time, 'error', payload, more))
  }

  const acknowledgement = (id: string, at: EpochMs, payload: JsonObject, metadata: JsonObject): string => {
    const frame = JSON.stringify(newEnvelope(id, at, 'message_response', payload, { metadata, sender }))
    return fits(frame, most) ? frame : JSON.stringify(newEnvelope(id, at, 'message_response', {}, { metadata, sender }))
  }

  /** Every command is answered twice: with what it brought, and with whether it went well. */
  const commandFrames = ({ id, command = '' }: Ref, at: EpochMs, payload: JsonObject, refusal?: Refusal): readonly string[] => {
    const request = id ?? newId(at, 0, command)
    const status = refusal === undefined ? { status: 'success' } : { status: 'error', error_code: errorCodeOf(refusal.code) }
    const response = newEnvelope(newId(at, 1, request), at, 'response', payload, { sender, request_id: request, ...status })
    const frame = JSON.stringify(response)
    if (!fits(frame, most)) {
      const tooLarge: Refusal = { code: 'message.too_large', message: `The answer has ${Buffer.byteLength(frame)} bytes` }
      return commandFrames(
        { asked: 'command', id: request, command },
        at,
        { message: tooLarge.message, data: reasonOf(tooLarge) },
        tooLarge,
      )
    }
    const result = refusal === undefined ? 'ok' : 'error'
    return [frame, JSON.stringify(newEnvelope(request, at, 'command_response', { result }, { sender, command }))]
  }

  const answerFrames = ({ ref, command, data, at, client }: Extract<Output, { type: 'output.answer' }>): readonly string[] => {
    const asked = ref as Ref | undefined
    if (asked?.asked === 'nowhere') return [acknowledgement(asked.id ?? newId(at, 0, client), at, asked.payload ?? {}, {})]
    if (asked?.asked !== 'command') return []
    const { command: called = command, args = {} } = asked
    const fields = isJsonObject(data) ? data : { value: data }
    const messages = listOf<ChannelMessage>(fields.messages)
    if (ofWindows.has(called)) return commandFrames(asked, at, windowPayload(called, args, messages))
    const payload = { message: `Command ${called} done`, data: spelledData(command, fields) }
    return [...commandFrames(asked, at, payload), ...(command === 'join_channel' ? messages.map(messageFrame) : [])]
  }

  const refusedFrames = (ref: Ref | undefined, refusal: Refusal, at: EpochMs): readonly string[] => {
    const { asked, id, command = '', args = {}, defects } = ref ?? {}
    if (ref !== undefined && asked === 'command') {
      if (refusal.code === 'channel.unknown' && ofWindows.has(command)) return commandFrames(ref, at, windowPayload(command, args, []))
      return commandFrames(ref, at, { message: refusal.message, data: reasonOf(refusal) }, refusal)
    }
    // What decode never saw is a binary frame: an envelope as protobuf.
    const isBinary = ref === undefined && refusal.code === 'message.malformed'
    const errorCode = isBinary ? 'INFRA_PROTOCOL_ERROR' : errorCodeOf(refusal.code)
    const payload = refusal.code === 'message.invalid' && defects !== undefined ? { errors: defects } : reasonOf(refusal)
    const more = { ...(id !== undefined && { request_id: id }), error: refusal.message, error_code: errorCode }
    return [JSON.stringify(newEnvelope(newId(at, 0, id ?? refusal.message), at, 'error', payload, { sender, ...more }))]
  }

  const encode = (output: Output): readonly string[] => {
    switch (output.type) {
      case 'output.greeting': {
        const { at, client } = output
        const payload = { welcome: 'Connected to ArqonBus', client_id: clientIdOf(client) }
        return [JSON.stringify(newEnvelope(newId(at, 0, client), at, 'message', payload, { sender }))]
      }
      case 'output.messages':
        return output.messages.map(messageFrame)
      case 'output.acknowledged': {
        const { asked, id } = output.ref as Ref
        const { message, isRepeated: repeated } = output
        const metadata = { offset: message.offset, epoch: message.epoch, repeated }
        return asked === 'telemetry' ? [] : [acknowledgement(id ?? idOf(message), message.time, payloadOf(message.body), metadata)]
      }
      case 'output.answer':
        return answerFrames(output)
      case 'output.refused':
        return refusedFrames(output.ref as Ref | undefined, output.refusal, output.at)
      case 'output.closed': {
        const { at, channel, reason, isRoom } = output
        return [notice(at, channel, isRoom ? 'room_closed' : 'channel_closed', channel, { reason })]
      }
      case 'output.gap': {
        const { at, channel, epoch, offset } = output
        return [notice(at, channel, 'messages_lost', channel, { epoch, offset })]
      }
      case 'output.telemetry':
        return output.events.map(telemetryFrame).filter((frame) => fits(frame, most))
      case 'output.presence':
      case 'output.heartbeat':
        return []
    }
  }

  return { manners, decode, encode, deny }
}
