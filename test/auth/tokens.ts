/** Tokens made with node:crypto alone, so that also those can be made that no library would make. */
import { createHmac, generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import type { Config } from '../../src/config.ts'
import { completeConfig } from '../../src/config.ts'

export type Claims = Readonly<Record<string, unknown>>

export const secret = 'a secret that has thirty-two bytes and more'

const encode = (value: unknown): string => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url')

const signers: Readonly<Record<string, (input: string, key: string | KeyObject) => Buffer>> = {
  none: () => Buffer.alloc(0),
  HS256: (input, key) => createHmac('sha256', key).update(input).digest(),
  HS512: (input, key) => createHmac('sha512', key).update(input).digest(),
  RS256: (input, key) => sign('sha256', Buffer.from(input), key),
  ES256: (input, key) => sign('sha256', Buffer.from(input), { key: key as KeyObject, dsaEncoding: 'ieee-p1363' }),
  EdDSA: (input, key) => sign(null, Buffer.from(input), key),
}

export interface TokenOptions {
  /** How it is really signed. */
  readonly with?: string
  readonly key?: string | KeyObject
  /** What the header says, as an object or, for what no object can say, as JSON text. */
  readonly header?: Claims | string
}

/** Claims as an object or, for what no object can say, as JSON text. */
export const token = (claims: Claims | string, { with: algorithm = 'HS256', key = secret, header }: TokenOptions = {}): string => {
  const input = `${encode(header ?? { alg: algorithm, typ: 'JWT' })}.${encode(claims)}`
  const signer = signers[algorithm]
  if (signer === undefined) throw new Error(`no signer for ${algorithm}`)
  return `${input}.${signer(input, key).toString('base64url')}`
}

export const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 })
export const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' })
export const ed = generateKeyPairSync('ed25519')
export const pem = (key: KeyObject): string => key.export({ type: 'spki', format: 'pem' }).toString()
export const jwk = (key: KeyObject, fields: Claims = {}): Claims => ({ ...key.export({ format: 'jwk' }), ...fields })

/** Options of a test on top of the defaults. */
export const authConfig = (auth: Partial<Config['auth']> = {}): Config['auth'] => completeConfig({ auth }).auth
