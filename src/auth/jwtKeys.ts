/**
 * Keys that tokens are checked with. What kind of key it is decides which algorithms it checks, never the token: a server
 * that took a public key for the secret of HS256 because the token said so would accept what anybody signs with that key.
 */
import { createPublicKey, type KeyObject, webcrypto } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import type { JWTVerifyGetKey } from 'jose'
import { TroupeError } from '../../actors/errors.ts'
import type { World } from '../../actors/world.ts'
import type { Config } from '../config.ts'
import { keysOfFile, keysOfUrl } from './keySet.ts'

export interface JwtKey {
  readonly algorithms: readonly string[]
  /** The key for a token with this header. */
  readonly find: JWTVerifyGetKey
}

type KeyOptions = Pick<Config['auth'], 'jwtSecret' | 'jwtPublicKey' | 'jwks'>

const refuse = (option: keyof KeyOptions, reason: string): never => {
  throw new TroupeError('config.invalid', `auth.${option}: ${reason}`)
}

const reasonOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))

const read = (option: keyof KeyOptions, file: string): Promise<string> =>
  readFile(file, 'utf8').catch((error) => refuse(option, reasonOf(error)))

const secretKey = async (secret: string): Promise<JwtKey> => {
  // A public key that was put here would be a secret that everybody knows.
  if (secret.includes('-----BEGIN')) refuse('jwtSecret', 'this is a key file, not a secret; see auth.jwtPublicKey')
  const bytes = new TextEncoder().encode(secret)
  const key = await webcrypto.subtle.importKey('raw', bytes, { name: 'HMAC', hash: 'SHA-256' }, false, ['verify'])
  return { algorithms: ['HS256'], find: () => key }
}

const curves: Readonly<Record<string, string>> = { prime256v1: 'ES256', secp384r1: 'ES384', secp521r1: 'ES512' }
/** RFC 7518 §3.3. */
const leastRsaBits = 2_048

const algorithmsOf = ({ asymmetricKeyType, asymmetricKeyDetails = {} }: KeyObject): readonly string[] => {
  const { modulusLength = 0, namedCurve = '' } = asymmetricKeyDetails
  if (asymmetricKeyType === 'rsa')
    return modulusLength >= leastRsaBits ? ['RS256'] : refuse('jwtPublicKey', `RSA with ${modulusLength} bits; it needs ${leastRsaBits}`)
  if (asymmetricKeyType === 'ed25519') return ['EdDSA', 'Ed25519']
  const algorithm = asymmetricKeyType === 'ec' ? curves[namedCurve] : undefined
  return algorithm === undefined
    ? refuse('jwtPublicKey', `a key of type ${asymmetricKeyType} ${namedCurve} is not understood`)
    : [algorithm]
}

const publicKey = async (file: string): Promise<JwtKey> => {
  const text = await read('jwtPublicKey', file)
  // createPublicKey takes private keys, too. One that lies on this server is in the wrong place.
  if (!text.trimStart().startsWith('-----BEGIN PUBLIC KEY-----'))
    refuse('jwtPublicKey', `${file} does not begin with -----BEGIN PUBLIC KEY-----`)
  try {
    const key = createPublicKey(text)
    return { algorithms: algorithmsOf(key), find: () => key }
  } catch (error) {
    if (error instanceof TroupeError) throw error
    return refuse('jwtPublicKey', `${file}: ${reasonOf(error)}`)
  }
}

/** Which of these a key of the set checks, its type and its `alg` decide. */
const setAlgorithms = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519']

const isUrl = (text: string): boolean => /^https?:\/\//i.test(text)

const keySet = async (source: string, world: Pick<World, 'clock' | 'log'>): Promise<JwtKey> => ({
  algorithms: setAlgorithms,
  find: isUrl(source) ? keysOfUrl(source, world.clock) : await keysOfFile(source, world),
})

/** Errors: `config.invalid`. */
export const jwtKeys = async (
  { jwtSecret, jwtPublicKey, jwks }: KeyOptions,
  world: Pick<World, 'clock' | 'log'>,
): Promise<readonly JwtKey[]> => [
  ...(jwtSecret === '' ? [] : [await secretKey(jwtSecret)]),
  ...(jwtPublicKey === '' ? [] : [await publicKey(jwtPublicKey)]),
  ...(jwks === '' ? [] : [await keySet(jwks, world)]),
]
