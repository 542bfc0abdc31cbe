/**
 * JSON Web Tokens (RFC 7519): signature, then times, issuer and audience, then what the claims say about the account.
 */
import { decodeProtectedHeader, errors, type JWTPayload, jwtVerify } from 'jose'
import { type Account, accountDefect, isTenantName } from '../../actors/account.ts'
import { TroupeError } from '../../actors/errors.ts'
import type { Clock, EpochMs, World } from '../../actors/world.ts'
import type { Config } from '../config.ts'
import { type JwtKey, jwtKeys } from './jwtKeys.ts'
import type { AuthProvider } from './provider.ts'

export type JwtOptions = Pick<
  Config['auth'],
  'jwtSecret' | 'jwtPublicKey' | 'jwks' | 'issuer' | 'audience' | 'clockSkewMs' | 'userClaim' | 'tenantClaim' | 'permissions'
>

/** Longer ones are not looked at. Headers of a request have 8 KiB in all; only `authenticate` could bring more. */
const maxTokenLength = 16 * 1024
/** Words of OpenID Connect (Core 1.0 §5.4, §11), which say nothing about what the user may do here. */
const openIdScopes: ReadonlySet<string> = new Set(['openid', 'profile', 'email', 'address', 'phone', 'offline_access'])
/** Times past it are no `Date`. */
const latestSeconds = 8.64e12

const fail = (detail: string): never => {
  throw new TroupeError('auth.failed', `token: ${detail}`)
}

// ── claims ─────────────────────────────────────────────────────────────────────────────────────────────────────────

/** An own property: the claim `constructor` of an empty token is not there. */
const claim = (claims: JWTPayload, ...names: readonly string[]): unknown => {
  const name = names.find((one) => Object.hasOwn(claims, one))
  return name === undefined ? undefined : claims[name]
}

const userOf = (value: unknown): string => {
  if (typeof value !== 'string' && !Number.isSafeInteger(value)) return fail('no user')
  const user = String(value).normalize('NFC')
  const defect = accountDefect(user)
  return defect === undefined ? user : fail(`no user: ${defect}`)
}

const tenantOf = (value: unknown): string => {
  if (value === undefined) return ''
  return typeof value === 'string' && isTenantName(value) ? value : fail('the tenant is not 1 to 64 of A-Z a-z 0-9 _ . -')
}

const permissionsOf = (claims: JWTPayload, fallback: readonly string[]): readonly string[] => {
  const { permissions, scope } = claims
  if (permissions !== undefined) {
    const isList = Array.isArray(permissions) && permissions.every((one) => typeof one === 'string')
    return isList ? permissions : fail('permissions is not a list of texts')
  }
  if (scope === undefined) return fallback
  if (typeof scope !== 'string') return fail('scope is not a text')
  const words = scope.split(' ').filter((word) => word !== '' && !openIdScopes.has(word))
  return words.length === 0 ? fallback : words
}

const seconds = (claims: JWTPayload, name: 'exp' | 'iat'): EpochMs | undefined => {
  const value = claims[name]
  if (value === undefined) return undefined
  return typeof value === 'number' && Math.abs(value) <= latestSeconds ? value * 1_000 : fail(`${name} is not a time`)
}

/** What a token whose signature, issuer and audience are right says. Errors: `auth.failed`, `auth.expired`. */
export const accountOf = (claims: JWTPayload, options: JwtOptions, now: EpochMs): Account => {
  const { userClaim, tenantClaim, clockSkewMs, permissions } = options
  const expires = seconds(claims, 'exp')
  const issuedAt = seconds(claims, 'iat')
  const { jti, epoch } = claims
  // The connection ends when the token would no longer be accepted; earlier, its client would come back with the same one.
  const expiresAt = expires === undefined ? undefined : expires + clockSkewMs
  if (expiresAt !== undefined && expiresAt <= now) throw new TroupeError('auth.expired')
  if (issuedAt !== undefined && issuedAt > now + clockSkewMs) fail('not yet valid')
  if (jti !== undefined && typeof jti !== 'string') fail('jti is not a text')
  if (epoch !== undefined && typeof epoch !== 'string') fail('epoch is not a text')
  return {
    user: userOf(claim(claims, userClaim, 'user_id')),
    tenant: tenantOf(claim(claims, tenantClaim, 'tenant_id')),
    isAnonymous: false,
    permissions: permissionsOf(claims, permissions),
    ...(expiresAt === undefined ? {} : { expiresAt }),
    ...(issuedAt === undefined ? {} : { issuedAt }),
    ...(jti === undefined ? {} : { tokenId: jti }),
    ...(typeof epoch === 'string' ? { epoch } : {}),
  }
}

// ── signature ──────────────────────────────────────────────────────────────────────────────────────────────────────

/** Three parts in base64url (RFC 7515 §7.1). Decoders let spaces and padding pass, and one token would have many spellings. */
const compact = /^[\w-]+\.[\w-]+\.[\w-]*$/

/** The text goes to the client and to logs, so it is not what the token says unless that is harmless. */
const algorithmOf = (token: string): string => {
  if (!compact.test(token)) return fail('malformed')
  try {
    const { alg } = decodeProtectedHeader(token)
    return typeof alg === 'string' && /^[A-Za-z0-9-]{1,16}$/.test(alg) ? alg : fail('no algorithm')
  } catch (error) {
    if (error instanceof TroupeError) throw error
    return fail('malformed')
  }
}

/** Another key may fit where this one does not. */
const isOfAnotherKey = (error: unknown): boolean =>
  error instanceof errors.JWSSignatureVerificationFailed || error instanceof errors.JWKSNoMatchingKey

const claimTexts: Readonly<Record<string, string>> = { aud: 'audience', iss: 'issuer', nbf: 'not yet valid' }
/** The key set could not be had, which is no fault of the token. */
const keySetFaults: ReadonlySet<string> = new Set([errors.JOSEError.code, errors.JWKSInvalid.code, errors.JWKSTimeout.code])

/** Nothing of `error` goes along as a cause: it holds the claims, and causes end up in logs. */
const translated = (error: unknown): unknown => {
  if (!(error instanceof errors.JOSEError) || keySetFaults.has(error.code)) return error
  if (error instanceof errors.JWTExpired) return new TroupeError('auth.expired')
  const detail = (): string => {
    if (error instanceof errors.JWTClaimValidationFailed) return claimTexts[error.claim] ?? `claim ${error.claim}`
    if (error instanceof errors.JWSSignatureVerificationFailed) return 'signature'
    if (error instanceof errors.JWKSNoMatchingKey) return 'no such key'
    return 'malformed'
  }
  return new TroupeError('auth.failed', `token: ${detail()}`)
}

const verifier = ({ issuer, audience, clockSkewMs }: JwtOptions, clock: Clock) => {
  const fixed = {
    ...(issuer === '' ? {} : { issuer }),
    ...(audience === '' ? {} : { audience }),
    clockTolerance: clockSkewMs / 1_000,
  }
  return async (token: string, { algorithms, find }: JwtKey): Promise<JWTPayload> => {
    const options = { ...fixed, algorithms: [...algorithms], currentDate: new Date(clock.now()) }
    try {
      return (await jwtVerify(token, find, options)).payload
    } catch (error) {
      if (!(error instanceof errors.JWKSMultipleMatchingKeys)) throw error
      // The token does not say which key of the set it is signed with.
      for await (const key of error) {
        try {
          return (await jwtVerify(token, key, options)).payload
        } catch (failure) {
          if (!isOfAnotherKey(failure)) throw failure
        }
      }
      throw new errors.JWSSignatureVerificationFailed()
    }
  }
}

/** Undefined when no key is configured. Errors: `config.invalid`. */
export const jwtProvider = async (options: JwtOptions, world: Pick<World, 'clock' | 'log'>): Promise<AuthProvider | undefined> => {
  const { clock } = world
  const keys = await jwtKeys(options, world)
  if (keys.length === 0) return undefined
  const verify = verifier(options, clock)

  const claimsOf = async (token: string): Promise<JWTPayload> => {
    const algorithm = algorithmOf(token)
    let reason: unknown = new TroupeError('auth.failed', `token: algorithm ${algorithm} is not accepted`)
    for (const key of keys.filter(({ algorithms }) => algorithms.includes(algorithm))) {
      try {
        return await verify(token, key)
      } catch (error) {
        if (!isOfAnotherKey(error)) throw translated(error)
        reason = error
      }
    }
    throw translated(reason)
  }

  return {
    name: 'jwt',
    async authenticate(credentials) {
      if (credentials.type !== 'token') return undefined
      const { token } = credentials
      if (token.length > maxTokenLength) return fail(`longer than ${maxTokenLength} characters`)
      return accountOf(await claimsOf(token), options, clock.now())
    },
  }
}
