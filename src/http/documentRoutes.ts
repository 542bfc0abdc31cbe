/**
 * Registers routes about documents: finds out who asks, counts the request, reads query and body by the schemas of the route,
 * checks what it demands, and sends what its handler answers.
 */

import type { FastifyInstance, FastifyPluginAsync, FastifyReply, FastifyRequest } from 'fastify'
import { z } from 'zod'
import { TroupeError } from '../../actors/errors.ts'
import type { Json } from '../../actors/output.ts'
import type { RequestKey } from '../../crdt/change.ts'
import type { Config } from '../config.ts'
import { requestKey } from '../documents/requestKey.ts'
import { parseJson } from '../doors/json.ts'
import { type ApiReply, paramsOf, routerPath } from './apiRoute.ts'
import { takeBodies } from './bodies.ts'
import { type DocumentRoute, DocumentSession, repeatable } from './documentSession.ts'
import { RefusedRequest } from './errors.ts'
import { idempotencyKey, read } from './parameters.ts'
import { sessionOf, takeVisits, type VisitsOptions } from './visits.ts'

export interface DocumentRoutesOptions extends VisitsOptions {
  readonly routes: readonly DocumentRoute[]
  readonly config: Pick<Config, 'limits' | 'documents' | 'origins'>
}

const binaryType = 'application/octet-stream'
const jsonTypes = ['application/json', 'application/json-patch+json']
/** Of routes that take no body: whoever deletes with `{"purge": true}` believes that it is gone for good. */
const nothing = z.strictObject({})

class DocumentRoutes {
  readonly #options: DocumentRoutesOptions

  constructor(options: DocumentRoutesOptions) {
    this.#options = options
  }

  #handler(route: DocumentRoute) {
    const { path, demands } = route
    const hasName = path.includes('{name}')
    return async (request: FastifyRequest, reply: FastifyReply): Promise<unknown> => {
      const session = sessionOf(request)
      session.count('request.command')
      const params = paramsOf(request)
      const document = hasName ? new DocumentSession(session, params.name as string) : (undefined as never) // no such route reads it
      if (demands !== undefined) await document.demand(demands)
      const query = route.query === undefined ? {} : read(route.query, request.query)
      checkConditions(route, request)
      const { body, bytes } = this.#body(route, request)
      const key = this.#key(route, document, request, query)
      return send(reply, await route.handle({ session, document, query, body, bytes, key, params, request }))
    }
  }

  /** The body as it came: whoever repeats a request sends the same bytes. Errors: `command.bad_parameters`. */
  #key(
    { headers = {}, operation }: DocumentRoute,
    document: DocumentSession,
    request: FastifyRequest,
    query: unknown,
  ): RequestKey | undefined {
    const key = Object.keys(repeatable).every((name) => name in headers) ? idempotencyKey(request.headers['idempotency-key']) : undefined
    if (key === undefined) return undefined
    const body = request.body ?? ''
    const { address, author } = document
    const what = [operation, JSON.stringify(query), body as string | Uint8Array] // as above
    return requestKey({ door: 'http', document: address, user: author.user }, key, what)
  }

  /** Errors: `http.unsupported_type`, `message.malformed`, `message.too_large`, `command.bad_parameters`. */
  #body({ body }: DocumentRoute, request: FastifyRequest): { readonly body: unknown; readonly bytes: Uint8Array | undefined } {
    const given = request.body
    const isEmpty = given === undefined || given === null || given === '' || (given instanceof Uint8Array && given.length === 0)
    if (isEmpty) {
      if (body?.isRequired === true) throw new TroupeError('message.malformed', 'the body is missing')
      return { body: undefined, bytes: undefined }
    }
    if (given instanceof Uint8Array) {
      if (body?.isBinary !== true) throw new TroupeError('http.unsupported_type', `${binaryType} is not taken here`)
      return { body: undefined, bytes: given }
    }
    if (body?.schema === undefined && body?.isBinary === true)
      throw new TroupeError('http.unsupported_type', `only ${binaryType} is taken here`)
    return { body: read(body?.schema ?? nothing, this.#json(given as string)), bytes: undefined } // as the parsers below leave it
  }

  #json(text: string): Json {
    const { limits, documents } = this.#options.config
    const parsed = parseJson(text, {
      bytes: limits.messageBytes,
      bytesOption: 'limits.messageBytes',
      depth: documents.depth,
      depthOption: 'documents.depth',
    })
    if (parsed.refusal !== undefined) throw new RefusedRequest(parsed.refusal)
    return parsed.value
  }

  register(app: FastifyInstance): void {
    const { limits, origins } = this.#options.config
    const { messageBytes } = limits
    takeVisits(app, this.#options, origins, (error, request) => explained(error, request, messageBytes))
    takeBodies(app, { json: jsonTypes, binary: [binaryType], bodyLimit: messageBytes })
    for (const route of this.#options.routes)
      app.route({ method: route.method, url: routerPath(route.path), bodyLimit: messageBytes, handler: this.#handler(route) })
  }
}

/** In the words of this side: which limit, which type. */
const explained = (error: unknown, { headers }: FastifyRequest, messageBytes: number): unknown => {
  const { code } = error as { code?: string } // errors of Fastify have one
  const rule = `limits.messageBytes ${messageBytes}`
  if (code === 'FST_ERR_CTP_BODY_TOO_LARGE') return new TroupeError('message.too_large', rule, { rule })
  if (code === 'FST_ERR_CTP_INVALID_MEDIA_TYPE') return new TroupeError('http.unsupported_type', headers['content-type'] ?? 'none is named')
  return error
}

/** Whoever sends one wants nothing done unless it holds; passed over, a delete would take what others have written since. Errors: `command.bad_parameters`. */
const checkConditions = ({ method, headers = {} }: DocumentRoute, request: FastifyRequest): void => {
  if (method === 'GET' || request.headers['if-match'] === undefined || 'If-Match' in headers) return
  throw new TroupeError('command.bad_parameters', 'If-Match: not taken here')
}

const send = (reply: FastifyReply, { status = 200, headers = {}, type, body }: ApiReply): unknown => {
  reply.status(status).headers(headers)
  if (type !== undefined) reply.type(type)
  // Fastify takes Buffers as they are; a bare Uint8Array it would spell as JSON.
  return body instanceof Uint8Array ? Buffer.from(body.buffer, body.byteOffset, body.byteLength) : body
}

export const documentRoutes =
  (options: DocumentRoutesOptions): FastifyPluginAsync =>
  async (app) =>
    new DocumentRoutes(options).register(app)
