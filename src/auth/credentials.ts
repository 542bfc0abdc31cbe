/**
 * Where a request carries its credentials: one of
 *
 *   ?token= ?access_token= ?auth_token=           browsers, which cannot set headers
 *   Authorization: Bearer TOKEN                   programs (RFC 6750 §2.1)
 *   Authorization: Basic BASE64                   user name and password (RFC 7617)
 *   Sec-WebSocket-Protocol: bearer.TOKEN, NAME    browsers that keep tokens out of URLs; also `bearer, TOKEN`
 *
 * The same token in two places is one. Nothing of it is ever part of an error.
 */
import type { IncomingMessage } from 'node:http'
import type { Credentials } from '../../actors/account.ts'
import { TroupeError } from '../../actors/errors.ts'

export type Request = Pick<IncomingMessage, 'url' | 'headers'>

const parameters = ['token', 'access_token', 'auth_token'] as const

const refuse = (detail: string): never => {
  throw new TroupeError('auth.failed', detail)
}

const ofQuery = (url = ''): Credentials[] => {
  const start = url.indexOf('?')
  if (start < 0) return []
  const query = new URLSearchParams(url.slice(start + 1).split('#', 1)[0])
  return parameters.flatMap((name) => query.getAll(name)).map((token) => ({ type: 'token', token }))
}

const ofBasic = (encoded: string): Credentials => {
  const [, username, password] = /^([^:]*):(.*)$/s.exec(Buffer.from(encoded, 'base64').toString('utf8')) ?? []
  if (username === undefined || password === undefined) return refuse('Authorization: Basic without a colon')
  return { type: 'password', username, password }
}

const ofHeader = (header = ''): Credentials[] => {
  const [scheme = '', ...rest] = header.trim().split(' ')
  const value = rest.join(' ').trim()
  if (scheme === '') return []
  if (scheme.toLowerCase() === 'bearer') return [{ type: 'token', token: value }]
  return scheme.toLowerCase() === 'basic' ? [ofBasic(value)] : refuse('Authorization: neither Bearer nor Basic')
}

interface Protocols {
  readonly tokens: readonly string[]
  /** How the first token was offered. */
  readonly bare: string | undefined
  readonly others: readonly string[]
}

/** The scheme and the token stand side by side, or joined by a dot; all else are protocols. */
const sorted = (offered: readonly string[]): Protocols => {
  const tokens: string[] = []
  const others: string[] = []
  let bare: string | undefined
  for (let i = 0; i < offered.length; i++) {
    const one = offered[i] as string // i is below the length
    const next = offered[i + 1]
    if (one.startsWith('bearer.')) {
      tokens.push(one.slice('bearer.'.length))
      bare ??= one
    } else if (one === 'bearer' && next !== undefined) {
      tokens.push(next)
      bare ??= one
      i++
    } else if (one !== '') others.push(one)
  }
  return { tokens, bare, others }
}

const offeredBy = (header = ''): string[] => header.split(',').map((one) => one.trim())

/** Undefined: there are none. Errors: `auth.failed` for two that differ, and for what is not understood. */
export const credentialsOf = ({ url, headers }: Request): Credentials | undefined => {
  const tokens = sorted(offeredBy(headers['sec-websocket-protocol'])).tokens.map((token): Credentials => ({ type: 'token', token }))
  const found = [...ofQuery(url), ...ofHeader(headers.authorization), ...tokens].filter((one) => one.type !== 'token' || one.token !== '')
  const [first, ...others] = found
  if (others.some((other) => JSON.stringify(other) !== JSON.stringify(first))) refuse('the request carries credentials that differ')
  return first
}

/**
 * The subprotocol to answer with: the first that is one. When there is none but the token, what came with it: a browser that
 * offered something and gets no answer closes the connection.
 */
export const answeredProtocol = (offered: ReadonlySet<string>): string | undefined => {
  const { bare, others } = sorted([...offered])
  return others[0] ?? bare
}
