/**
 * Close codes of WebSockets (RFC 6455 §7.4). For y-websocket 3.1 the range tells whether to come back: 4400 to 4499 is
 * for good, everything else is tried again; so nothing transient may have a code in that range. Reasons are at most
 * 123 bytes (RFC 6455 §5.5: a control frame carries 125, of which two are the code).
 */
import type { ErrorCode } from '../../actors/errors.ts'

export interface Close {
  readonly code: number
  /** True when the client should come back by itself. */
  readonly retry: boolean
}

const codes: Partial<Record<ErrorCode, Close>> = {
  'connection.bad_message': { code: 4400, retry: false },
  'connection.bad_name': { code: 4404, retry: false },
  'connection.origin': { code: 4403, retry: false },
  'auth.required': { code: 4401, retry: false },
  'auth.failed': { code: 4401, retry: false },
  'auth.expired': { code: 4401, retry: false },
  'auth.revoked': { code: 4403, retry: false },
  'auth.unavailable': { code: 1013, retry: true },
  'access.denied': { code: 4403, retry: false },
  'hook.rejected': { code: 4403, retry: false },
  'rate.limited': { code: 1013, retry: true },
  'channel.unavailable': { code: 1013, retry: true },
  'connection.silent': { code: 1008, retry: true },
  'connection.unresponsive': { code: 1001, retry: true },
  'connection.slow': { code: 1013, retry: true },
  'connection.too_many': { code: 1013, retry: true },
  'document.unavailable': { code: 1011, retry: true },
  'document.busy': { code: 1013, retry: true },
  'document.unsaved': { code: 1013, retry: true },
  'document.unknown': { code: 4404, retry: false },
  'document.deleted': { code: 4410, retry: false },
  'document.renamed': { code: 4410, retry: false },
  'document.epoch': { code: 4409, retry: false },
  'document.invalid': { code: 4422, retry: false },
  'document.full': { code: 4413, retry: false },
  'journal.corrupt': { code: 1011, retry: true },
  'storage.newer_format': { code: 1011, retry: true },
  'system.closed': { code: 1012, retry: true },
}

/** Every code that a door closes with; the reference docs are checked against it. */
export const closeTable: Readonly<Partial<Record<ErrorCode, Close>>> = codes

export const closeOf = (code: ErrorCode): Close => codes[code] ?? { code: 1011, retry: true }

const encoder = new TextEncoder()

/** `code: detail`, cut to what a close frame can carry. */
export const closeReason = (code: ErrorCode, detail: string): string => {
  const text = detail === '' ? code : `${code}: ${detail}`
  if (encoder.encode(text).length <= 123) return text
  let cut = text.slice(0, 123)
  while (encoder.encode(cut).length > 123) cut = cut.slice(0, -1)
  return cut.isWellFormed() ? cut : cut.slice(0, -1)
}
