/**
 * Channels over HTTP, for programs without WebSocket. Reference: docs/reference/http.md.
 *
 *   POST   /v1/channels/{name}/messages     publish one message, or several       201, 200
 *   GET    /v1/channels/{name}/messages     command `history`
 *   GET    /v1/channels/{name}/members              `members`
 *   GET    /v1/channels/{name}                      `channel_info`
 *   PUT    /v1/channels/{name}                      `create_channel`              201
 *   DELETE /v1/channels/{name}                      `delete_channel`              204
 *   GET    /v1/channels                             `list_channels`
 *   GET    /v1/rooms                                `list_rooms`
 *   POST   /v1/rooms                                `create_room`                 201
 *   POST   /v1/revocations                          `revoke`                      201
 *   GET    /v1/revocations                  accounts and tokens that are no longer good
 *
 * What has a command there is that command of the bus: the same parameters, permissions and answers. A publish is on disk when
 * it is answered. Names are percent-encoded, their slashes, too.
 */

import type { FastifyInstance, FastifyPluginAsync, FastifyReply, FastifyRequest, HTTPMethods } from 'fastify'
import { inboxOf, type Published } from '../../actors/channelMessages.ts'
import { refusalOf } from '../../actors/clientAccess.ts'
import type { PublishOptions } from '../../actors/command.ts'
import { isTroupeError, TroupeError } from '../../actors/errors.ts'
import type { Json, JsonObject } from '../../actors/output.ts'
import { type Revocation, type RevocationsMessage, revocationsAddress } from '../../actors/revocations.ts'
import { revocationData } from '../auth/revokeCommand.ts'

import { excess } from '../bus/frameLimit.ts'
import type { Config } from '../config.ts'
import { isoTime } from '../doors/times.ts'
import { takeBodies } from './bodies.ts'
import { preflightHeaders } from './cors.ts'
import { errorBody } from './errors.ts'
import { batchBody, idempotencyKey, type MessageBody, messageBody, read, readObject } from './parameters.ts'
import type { HttpSession } from './session.ts'
import { sessionOf, takeVisits, type VisitsOptions } from './visits.ts'

export interface ChannelRoutesOptions extends VisitsOptions {
  /** The answer to a command, as the bus spells it. */
  readonly spell: (command: string, data: Json) => unknown
  readonly config: Pick<Config, 'bus' | 'origins'>
}

interface NameParams {
  readonly name?: string
}

/** A request that is a command: where its parameters come from. */
interface CommandRoute {
  readonly method: HTTPMethods
  readonly url: string
  readonly command: string
  readonly status?: number
}

const channelUrl = '/v1/channels/:name'
const commandRoutes: readonly CommandRoute[] = [
  { method: 'GET', url: `${channelUrl}/messages`, command: 'history' },
  { method: 'GET', url: `${channelUrl}/members`, command: 'members' },
  { method: 'GET', url: channelUrl, command: 'channel_info' },
  { method: 'PUT', url: channelUrl, command: 'create_channel', status: 201 },
  { method: 'DELETE', url: channelUrl, command: 'delete_channel', status: 204 },
  { method: 'GET', url: '/v1/channels', command: 'list_channels' },
  { method: 'GET', url: '/v1/rooms', command: 'list_rooms' },
  { method: 'POST', url: '/v1/rooms', command: 'create_room', status: 201 },
  { method: 'POST', url: '/v1/revocations', command: 'revoke', status: 201 },
]

const publishedBody = ({ message, isRepeated }: Published) => ({
  id: message.id,
  channel: message.channel,
  sequence: message.offset,
  epoch: message.epoch,
  timestamp: isoTime(message.time),
  repeated: isRepeated,
})

const nameOf = ({ params }: FastifyRequest): string => (params as NameParams).name as string // routes with a name only

class ChannelRoutes {
  readonly #options: ChannelRoutesOptions

  constructor(options: ChannelRoutesOptions) {
    this.#options = options
  }

  #body({ body }: FastifyRequest): JsonObject {
    const { messageBytes, depth } = this.#options.config.bus
    return readObject(body, { bytes: messageBytes, depth, bytesOption: 'bus.messageBytes' })
  }

  command({ command, status = 200 }: CommandRoute) {
    return async (request: FastifyRequest, reply: FastifyReply): Promise<unknown> => {
      const { name } = request.params as NameParams
      const given = { ...(request.query as object), ...this.#body(request), ...(name === undefined ? {} : { channel: name }) }
      const data = ((await sessionOf(request).run(command, given)) ?? null) as Json // what a command answers
      reply.status(status)
      return status === 204 ? undefined : this.#options.spell(command, data)
    }
  }

  readonly publish = async (request: FastifyRequest, reply: FastifyReply): Promise<unknown> => {
    const body = this.#body(request)
    const key = idempotencyKey(request.headers['idempotency-key'])
    if ('messages' in body) {
      if (key !== undefined) throw new TroupeError('command.bad_parameters', 'Idempotency-Key: give each message an `id` instead')
      return { results: await this.#publishAll(sessionOf(request), nameOf(request), read(batchBody, body).messages) }
    }
    const message = read(messageBody, body)
    if (key !== undefined && message.id !== undefined && message.id !== key)
      throw new TroupeError('command.bad_parameters', 'Idempotency-Key: `id` is another one')
    const session = sessionOf(request)
    const id = message.id ?? key
    const prepared = await session.prepare(this.#message(nameOf(request), { ...message, id }))
    const published = await session.send(prepared)
    reply.status(201)
    return publishedBody(published)
  }

  /** One after the other into the channel, then one wait for the disk. */
  async #publishAll(session: HttpSession, channel: string, messages: readonly unknown[]): Promise<readonly unknown[]> {
    const failed = (error: unknown) => {
      if (!isTroupeError(error)) session.log.error({ error: String(error) }, 'a message could not be published')
      const refusal = refusalOf(error)
      session.refused(refusal)
      return { error: errorBody(refusal) }
    }
    const results: Promise<unknown>[] = []
    for (const message of messages) {
      try {
        const prepared = await session.prepare(this.#message(channel, read(messageBody, message)))
        results.push(session.send(prepared).then(publishedBody, failed))
      } catch (error) {
        results.push(Promise.resolve(failed(error)))
      }
    }
    return Promise.all(results)
  }

  #message(channel: string, { content, type, id, sender, metadata }: MessageBody): PublishOptions {
    const message: PublishOptions = {
      channel,
      body: content,
      kind: type,
      ...(id === undefined ? {} : { id }),
      ...(sender === undefined ? {} : { sender }),
      ...(metadata === undefined ? {} : { metadata }),
    }
    // As on the bus, where a recipient goes before a channel: what is meant for one must not be shown to all.
    if (typeof metadata?.recipient === 'string' && channel !== inboxOf(metadata.recipient))
      throw new TroupeError('command.bad_parameters', `metadata.recipient: publish to ${inboxOf(metadata.recipient)}`)
    const found = excess(message, this.#options.config.bus.messageBytes)
    if (found !== undefined) throw new TroupeError('message.too_large', found.detail, { rule: found.rule })
    return message
  }

  readonly revocations = async (request: FastifyRequest): Promise<unknown> => {
    const session = sessionOf(request)
    session.count('request.command')
    const { isAllowed, rule } = session.may('admin', 'revoke', 'run')
    if (!isAllowed) throw new TroupeError('access.denied', rule, { rule })
    const message: RevocationsMessage = { type: 'revocations.list' }
    const all = (await session.ask(revocationsAddress, message)) as readonly Revocation[] // what the actor answers
    return { revocations: all.map((one) => this.#options.spell('revoke', revocationData(one))) }
  }

  register(app: FastifyInstance): void {
    const { messageBytes } = this.#options.config.bus
    takeVisits(app, this.#options, this.#options.config.origins)
    // Twice as much comes in as is taken, so that what is somewhat too large is refused in full words.
    takeBodies(app, { json: ['application/json'], bodyLimit: 2 * messageBytes })
    for (const route of commandRoutes) app.route({ method: route.method, url: route.url, handler: this.command(route) })
    app.post(`${channelUrl}/messages`, this.publish)
    app.get('/v1/revocations', this.revocations)
    app.options('/v1/*', (_request, reply) => reply.status(204).headers(preflightHeaders).send())
  }
}

export const channelRoutes =
  (options: ChannelRoutesOptions): FastifyPluginAsync =>
  async (app) =>
    new ChannelRoutes(options).register(app)
