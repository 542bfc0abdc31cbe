/** What all routes under `/v1` begin and end with: who asks, what a page of another origin may see, and errors in the words of the API. */
import type { IncomingMessage } from 'node:http'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { Visitor } from '../auth/visitors.ts'
import { corsHeaders } from './cors.ts'
import { sendError } from './errors.ts'
import { checkQuery } from './parameters.ts'
import type { HttpSession, HttpSessions } from './session.ts'

export interface VisitsOptions {
  /** Errors: `auth.required`, `auth.failed`, `auth.expired`, `auth.revoked`, `system.closed`. */
  readonly identify: (request: IncomingMessage) => Promise<Visitor>
  readonly sessions: HttpSessions
}

declare module 'fastify' {
  interface FastifyRequest {
    /** Undefined until the visitor is known. */
    session: HttpSession | undefined
  }
}

/** Of a request whose handler runs. */
export const sessionOf = ({ session }: FastifyRequest): HttpSession => session as HttpSession // set before any handler runs

/** `explain`: what the application says about an error of Fastify. */
export const takeVisits = (
  app: FastifyInstance,
  { identify, sessions }: VisitsOptions,
  origins: readonly string[],
  explain: (error: unknown, request: FastifyRequest) => unknown = (error) => error,
): void => {
  app.decorateRequest('session', undefined)
  app.addHook('onRequest', async (request, reply) => {
    reply.headers({ 'cache-control': 'no-store', ...corsHeaders(origins, request.headers.origin) })
    if (request.method === 'OPTIONS') return
    checkQuery(request.url)
    request.session = await sessions.open(await identify(request.raw))
  })
  app.setErrorHandler((error, request, reply) => {
    const { world, client } = sessions.options
    const refusal = sendError(reply, explain(error, request), world.log)
    if (request.session === undefined) client.observe.refused(refusal.code)
    else request.session.refused(refusal)
  })
}
