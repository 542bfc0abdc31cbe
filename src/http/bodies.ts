/**
 * Bodies of requests as they come in: JSON as its text, anything else as bytes.
 *
 * Promises: nothing is taken for UTF-8 that is not. What is compressed or in another charset is `http.unsupported_type`; bytes that are
 * no UTF-8 are `message.malformed`, for with U+FFFD in their place a name or a text would be stored that nobody has sent.
 */
import { isUtf8 } from 'node:buffer'
import type { IncomingHttpHeaders } from 'node:http'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { TroupeError } from '../../actors/errors.ts'

export interface Bodies {
  readonly json: readonly string[]
  readonly binary?: readonly string[]
  readonly bodyLimit: number
}

/** ASCII is UTF-8, too. */
const charsets = new Set(['utf-8', 'utf8', 'us-ascii'])

/** Errors: `http.unsupported_type`. */
const checkCoding = (headers: IncomingHttpHeaders): void => {
  const encoding = headers['content-encoding']?.trim().toLowerCase() || 'identity'
  if (encoding !== 'identity') throw new TroupeError('http.unsupported_type', `content-encoding: ${encoding}`)
}

/** Errors: `http.unsupported_type`, `message.malformed`. */
const textOf = (headers: IncomingHttpHeaders, bytes: Buffer): string => {
  const [, quoted, bare = quoted] = /;\s*charset\s*=\s*(?:"([^"]*)"|([^\s;]*))/i.exec(headers['content-type'] ?? '') ?? []
  if (bare !== undefined && !charsets.has(bare.toLowerCase())) throw new TroupeError('http.unsupported_type', `charset: ${bare}`)
  if (!isUtf8(bytes)) throw new TroupeError('message.malformed', 'not UTF-8')
  return bytes.toString('utf8')
}

/** Nothing else is taken: a page of another origin could send any other type without asking first (Fetch §2.2.2). */
export const takeBodies = (app: FastifyInstance, { json, binary = [], bodyLimit }: Bodies): void => {
  app.removeAllContentTypeParsers()
  const take = (types: readonly string[], read: (headers: IncomingHttpHeaders, bytes: Buffer) => string | Buffer): void => {
    app.addContentTypeParser<Buffer>([...types], { parseAs: 'buffer', bodyLimit }, async ({ headers }: FastifyRequest, bytes: Buffer) => {
      checkCoding(headers)
      return read(headers, bytes)
    })
  }
  take(json, textOf)
  if (binary.length > 0) take(binary, (_headers, bytes) => bytes)
}
