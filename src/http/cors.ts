/**
 * Pages of other origins (Fetch §3.2). The same rule as for WebSockets: without `origins` all may, with it only those. No
 * cookies are looked at, so a page can do here what it could do from anywhere; its user's token it has to bring itself.
 */
import { TroupeError } from '../../actors/errors.ts'

type Headers = Readonly<Record<string, string>>

const exposedHeaders = { 'access-control-expose-headers': 'document-offset, etag, location, retry-after' }

/** What the answer to a request from `origin` says. Errors: `connection.origin`. */
export const corsHeaders = (origins: readonly string[], origin: string | undefined): Headers => {
  if (origins.length === 0) return { 'access-control-allow-origin': '*', ...exposedHeaders }
  if (origin === undefined) return { vary: 'origin' } // not a page
  if (!origins.includes(origin)) throw new TroupeError('connection.origin', origin)
  return { 'access-control-allow-origin': origin, ...exposedHeaders, vary: 'origin' }
}

/** The answer to the question before a request that is not simple. */
export const preflightHeaders: Headers = {
  'access-control-allow-methods': 'GET, POST, PUT, PATCH, DELETE',
  'access-control-allow-headers': 'authorization, content-type, idempotency-key, if-match, if-none-match, last-event-id',
  'access-control-max-age': '600',
}
