/**
 * Channels as a stream of server-sent events: `GET /v1/channels/{name}/events`, `GET /v1/events?channel=a&channel=b`.
 * The wire is that of src/doors/sse.ts; reference: docs/wire/sse.md.
 *
 * A reader is a client like any other: its actor joins the channels, and `EventSink` is its socket.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { FastifyPluginAsync, FastifyReply, FastifyRequest } from 'fastify'
import type { ClientInput } from '../../actors/client.ts'
import type { Position } from '../../actors/output.ts'
import type { ClientRequest } from '../../actors/request.ts'
import type { SocketMessage } from '../../actors/socketLife.ts'
import type { Log, Random } from '../../actors/world.ts'
import type { Visitor } from '../auth/visitors.ts'
import type { Config } from '../config.ts'
import type { Traffic } from '../doors/sink.ts'
import { type EventEncoder, positionsOf, sseManners } from '../doors/sse.ts'
import { corsHeaders } from './cors.ts'
import { sendError } from './errors.ts'
import { EventSink } from './eventSink.ts'
import { checkQuery, eventsQuery, read, streamNames } from './parameters.ts'

export type Tell = (message: SocketMessage) => void

export interface EventRoutesOptions {
  readonly identify: (request: IncomingMessage) => Promise<Visitor>
  /** Begins a client whose socket is the response. Errors: `system.closed`, `connection.too_many`. */
  readonly connect: (response: ServerResponse, inputOf: (tell: Tell) => ClientInput) => void
  readonly encoder: EventEncoder
  readonly traffic: Traffic
  readonly random: Random
  readonly log: Log
  readonly config: Pick<Config, 'origins'>
}

/** Browsers that were cut off come back after this, each a little later than another, or all would come in one moment. */
const leastRetryMs = 1_000
const spreadMs = 2_000

const join = (channel: string, recover: Position | undefined, rewind: number | undefined): ClientRequest => {
  const position = recover === undefined ? {} : { recover: { epoch: recover.epoch, sequence: recover.offset } }
  // Where a reader comes back, it wants what it missed and not what it has had.
  const last = recover === undefined && rewind !== undefined ? { rewind } : {}
  return { type: 'request.command', ref: undefined, command: 'join_channel', params: { channel, ...position, ...last } }
}

export const eventRoutes = ({ identify, connect, encoder, traffic, random, log, config }: EventRoutesOptions): FastifyPluginAsync => {
  const open = async (request: FastifyRequest, reply: FastifyReply): Promise<void> => {
    const headers = corsHeaders(config.origins, request.headers.origin)
    reply.headers(headers)
    checkQuery(request.url)
    const visitor = await identify(request.raw)
    const { name } = request.params as { name?: string }
    const { channel, rewind, presence, last_event_id } = read(eventsQuery, request.query)
    const channels = streamNames(name === undefined ? channel : [name, ...channel])
    const lastId = request.headers['last-event-id'] ?? last_event_id
    const positions = lastId === undefined || lastId === '' ? [] : positionsOf(String(lastId), channels.length)
    const response = reply.raw
    connect(response, (tell) => ({
      ...visitor,
      manners: sseManners(presence === 'true'),
      start: channels.map((one, index) => join(one, positions[index], rewind)),
      sink: new EventSink(response, {
        encoder,
        traffic,
        headers,
        joins: channels.length,
        retryMs: Math.round(leastRetryMs + random.next() * spreadMs),
        pong: () => tell({ type: 'connection.pong' }),
      }),
    }))
    reply.hijack()
  }
  return async (app) => {
    app.setErrorHandler((error, _request, reply) => void sendError(reply, error, log))
    // Nobody could read the body of an answer to HEAD, and this one never ends.
    app.get('/v1/channels/:name/events', { exposeHeadRoute: false }, open)
    app.get('/v1/events', { exposeHeadRoute: false }, open)
  }
}
