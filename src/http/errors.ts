/**
 * Errors over HTTP: which status each code has (RFC 9110 §15), and how a refusal is spelled.
 *
 *   { "error": { "code": "access.denied", "message": "…", "rule"?: "needs channel:a:read", "retry_after"?: 12 } }
 *
 * `retry_after` is in seconds and stands in `Retry-After`, too. 401 names the scheme (RFC 6750 §3).
 */
import { STATUS_CODES } from 'node:http'
import type { FastifyReply } from 'fastify'
import { refusalOf } from '../../actors/clientAccess.ts'
import { type ErrorCode, isTroupeError, TroupeError } from '../../actors/errors.ts'
import type { Refusal } from '../../actors/output.ts'
import type { Log } from '../../actors/world.ts'

export type HttpStatus = 400 | 401 | 403 | 404 | 405 | 408 | 409 | 410 | 412 | 413 | 415 | 422 | 429 | 431 | 500 | 503 | 504

const statuses: Readonly<Record<ErrorCode, HttpStatus>> = {
  'actor.unknown_kind': 404,
  'actor.bad_address': 400,
  'actor.bad_definition': 500,
  'actor.mailbox_full': 503,
  'actor.ask_timeout': 503,
  'actor.ask_self': 500,
  'actor.unhandled': 400,
  'actor.failed': 500,
  'actor.stopped': 503,
  'system.closed': 503,
  'journal.conflict': 409,
  'journal.trimmed': 500,
  'journal.corrupt': 500,
  'journal.bad_name': 400,
  'journal.too_large': 413,
  'storage.full': 503,
  'storage.failed': 503,
  'storage.read_only': 500,
  'storage.locked': 503,
  'storage.newer_format': 500,
  'storage.corrupt': 500,
  'storage.closed': 503,
  'connection.bad_message': 400,
  'connection.bad_name': 400,
  'connection.silent': 503,
  'connection.unresponsive': 503,
  'connection.slow': 503,
  'connection.origin': 403,
  'connection.too_many': 503,
  'document.unavailable': 503,
  'document.outcome_unknown': 504,
  'document.key_reused': 422,
  'document.busy': 503,
  'document.unsaved': 503,
  'document.unknown': 404,
  'document.exists': 409,
  'document.deleted': 410,
  'document.renamed': 410,
  'document.epoch': 409,
  'document.invalid': 422,
  'document.changed': 412,
  'document.misfit': 422,
  'document.full': 413,
  'document.no_history': 409,
  'document.pruned': 410,
  'document.history_too_large': 413,
  'document.history_unreadable': 500,
  'document.version_unknown': 404,
  'auth.required': 401,
  'auth.failed': 401,
  'auth.expired': 401,
  'auth.revoked': 401,
  'auth.unavailable': 503,
  'auth.too_many_revocations': 409,
  'access.denied': 403,
  'rate.limited': 429,
  'message.malformed': 400,
  'message.too_large': 413,
  'message.id_reused': 409,
  'message.invalid': 400,
  'hook.rejected': 403,
  'command.unknown': 404,
  'command.bad_parameters': 400,
  'command.failed': 500,
  'channel.unknown': 404,
  'channel.exists': 409,
  'channel.bad_name': 400,
  'channel.not_joined': 409,
  'channel.closed': 409,
  'channel.too_many': 403,
  'channel.unavailable': 503,
  'config.invalid': 500,
  'http.not_found': 404,
  'http.method_not_allowed': 405,
  'http.bad_request': 400,
  'http.head_too_large': 431,
  'http.too_slow': 408,
  'http.unsupported_type': 415,
  'http.failed': 500,
}

export const statusOf = (code: ErrorCode): HttpStatus => statuses[code]

/** What a client is told to wait that was not told how long. Seconds. */
const retryAfter = 1
/** The account is not good; with `auth.required` there was none, and RFC 6750 §3.1 wants no error named then. */
const challenge = (code: ErrorCode): string => `Bearer realm="troupe"${code === 'auth.required' ? '' : ', error="invalid_token"'}`

export interface ErrorBody {
  readonly code: ErrorCode
  readonly message: string
  readonly rule?: string
  /** Seconds. */
  readonly retry_after?: number
}

export const errorBody = ({ code, message, rule, retryAfterMs }: Refusal): ErrorBody => ({
  code,
  message,
  ...(rule === undefined ? {} : { rule }),
  ...(retryAfterMs === undefined ? {} : { retry_after: Math.ceil(retryAfterMs / 1_000) }),
})

/** Status and headers of a refusal. */
export const headOf = ({
  code,
  retryAfterMs,
}: Refusal): { readonly status: HttpStatus; readonly headers: Readonly<Record<string, string>> } => {
  const status = statuses[code]
  if (status === 401) return { status, headers: { 'www-authenticate': challenge(code) } }
  if (status !== 429 && status !== 503) return { status, headers: {} }
  const seconds = retryAfterMs === undefined ? retryAfter : Math.ceil(retryAfterMs / 1_000)
  return { status, headers: { 'retry-after': String(seconds) } }
}

/** Thrown by what reads a request. */
export class RefusedRequest extends Error {
  readonly refusal: Refusal

  constructor(refusal: Refusal) {
    super(refusal.message)
    this.refusal = refusal
  }
}

/** What Fastify throws, in our words, and what it does not say by itself. */
const translations: Readonly<Record<string, readonly [code: ErrorCode, detail?: string]>> = {
  FST_ERR_CTP_BODY_TOO_LARGE: ['message.too_large'],
  FST_ERR_CTP_INVALID_MEDIA_TYPE: ['http.unsupported_type'],
  FST_ERR_CTP_EMPTY_JSON_BODY: ['message.malformed'],
  FST_ERR_CTP_INVALID_JSON_BODY: ['message.malformed'],
  FST_ERR_MAX_PARAM_LENGTH: ['http.bad_request', 'a name in the path is longer than 255 bytes'],
  FST_ERR_BAD_URL: ['http.bad_request', 'the path is not percent-encoded as UTF-8'],
}

/** Whatever a route threw, as a client may be told; undefined: it is a fault of ours, and a matter for the log. */
const refusalOfRequest = (error: unknown): Refusal | undefined => {
  if (error instanceof RefusedRequest) return error.refusal
  if (isTroupeError(error)) return refusalOf(error)
  const { code = '', statusCode = 500 } = error as { code?: string; statusCode?: number } // errors of Fastify and of Node have them
  if (statusCode >= 500) return undefined
  const [known, detail] = translations[code] ?? ['http.bad_request']
  return { code: known, message: new TroupeError(known, detail).message }
}

/** Returns what the client was told. */
export const sendError = (reply: FastifyReply, error: unknown, log: Log): Refusal => {
  let refusal = refusalOfRequest(error)
  if (refusal === undefined) {
    log.error({ error: error instanceof Error ? (error.stack ?? error.message) : String(error) }, 'a request failed')
    refusal = { code: 'http.failed', message: new TroupeError('http.failed').message }
  }
  const { status, headers } = headOf(refusal)
  reply
    .status(status)
    .headers(headers)
    .send({ error: errorBody(refusal) })
  return refusal
}

/** What Node says about bytes that it cannot take for a request. */
const unreadable: Readonly<Record<string, readonly [code: ErrorCode, detail?: string]>> = {
  HPE_HEADER_OVERFLOW: ['http.head_too_large'],
  ERR_HTTP_REQUEST_TIMEOUT: ['http.too_slow'],
}

/** The answer to such bytes, with its head: there is no request that Fastify could answer. */
export const rawRefusal = ({ code = '' }: NodeJS.ErrnoException): string => {
  const [known, detail] = unreadable[code] ?? ['http.bad_request', 'it is no HTTP/1.1']
  const body = JSON.stringify({ error: errorBody({ code: known, message: new TroupeError(known, detail).message }) })
  const status = statuses[known]
  const head = ['connection: close', 'content-type: application/json; charset=utf-8', `content-length: ${Buffer.byteLength(body)}`]
  return [`HTTP/1.1 ${status} ${STATUS_CODES[status]}`, ...head, '', body].join('\r\n')
}
