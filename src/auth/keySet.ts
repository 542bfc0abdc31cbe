/**
 * A set of keys (RFC 7517) that is rotated while the server runs, from a file or a URL.
 *
 * Promises: a token that names a new key is let in as soon as the key is there; a key that was taken out of a file lets nobody in
 * any more, about a second later; out of what a URL gives, 10 minutes later. A file that cannot be read or understood changes nothing
 * and is logged once. How often is looked goes by the monotonic clock.
 */
import { readFile } from 'node:fs/promises'
import { createLocalJWKSet, createRemoteJWKSet, errors, type JSONWebKeySet, type JWTVerifyGetKey } from 'jose'
import { TroupeError } from '../../actors/errors.ts'
import type { Clock, MonotonicMs, World } from '../../actors/world.ts'
import { versionOf } from './fileVersion.ts'

const reasonOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))

const isUnknownKey = (error: unknown): boolean => error instanceof errors.JWKSNoMatchingKey

// ── a file ─────────────────────────────────────────────────────────────────────────────────────────────────────────

const lookEveryMs = 1_000
/** For a key that is not there the file is read again, though it looks unchanged: some file systems count whole seconds. */
const readAgainMs = 5_000

/** Errors: `config.invalid`. */
const readKeys = async (file: string): Promise<JWTVerifyGetKey> => {
  const refuse = (reason: string): never => {
    throw new TroupeError('config.invalid', `auth.jwks: ${file}: ${reason}`)
  }
  const text = await readFile(file, 'utf8').catch((error) => refuse(reasonOf(error)))
  try {
    const set = JSON.parse(text) as JSONWebKeySet // createLocalJWKSet checks the form
    const find = createLocalJWKSet(set)
    return set.keys.some((one) => one.kty === 'oct' || 'd' in one) ? refuse('it holds keys that are secret') : find
  } catch (error) {
    if (error instanceof TroupeError) throw error
    return refuse(error instanceof SyntaxError ? 'not JSON' : reasonOf(error))
  }
}

class KeyFile {
  readonly #file: string
  readonly #world: Pick<World, 'clock' | 'log'>
  #keys: JWTVerifyGetKey
  #version: string
  #lookedAt: MonotonicMs
  #readAt: MonotonicMs
  /** Why the file could not be used when it was last looked at. */
  #fault: string | undefined
  /** Under way. */
  #look: Promise<void> | undefined

  constructor(file: string, world: Pick<World, 'clock' | 'log'>, keys: JWTVerifyGetKey, version: string) {
    this.#file = file
    this.#world = world
    this.#keys = keys
    this.#version = version
    this.#lookedAt = world.clock.monotonic()
    this.#readAt = this.#lookedAt
  }

  readonly find: JWTVerifyGetKey = async (header, token) => {
    if (this.#look !== undefined || this.#world.clock.monotonic() - this.#lookedAt >= lookEveryMs) await this.#again(false)
    try {
      return await this.#keys(header, token)
    } catch (error) {
      if (!isUnknownKey(error)) throw error
      await this.#again(true)
      return this.#keys(header, token)
    }
  }

  /** Many tokens that come at once look once. */
  #again(isUnknown: boolean): Promise<void> {
    const now = this.#world.clock.monotonic()
    this.#lookedAt = now
    this.#look ??= this.#readIfChanged(isUnknown && now - this.#readAt >= readAgainMs).finally(() => {
      this.#look = undefined
    })
    return this.#look
  }

  async #readIfChanged(isForced: boolean): Promise<void> {
    const { log, clock } = this.#world
    try {
      const version = await versionOf(this.#file)
      if (version !== this.#version || isForced) {
        this.#readAt = clock.monotonic()
        this.#keys = await readKeys(this.#file)
        if (version !== this.#version) log.info({ file: this.#file }, 'the key set was read again')
        this.#version = version
      }
      this.#fault = undefined
    } catch (error) {
      const fault = reasonOf(error)
      if (fault === this.#fault) return // once is enough
      this.#fault = fault
      log.error({ error: fault }, 'the key set cannot be used; the keys are those of before')
    }
  }
}

/** Errors: `config.invalid`. */
export const keysOfFile = async (file: string, world: Pick<World, 'clock' | 'log'>): Promise<JWTVerifyGetKey> => {
  const version = await versionOf(file).catch(() => 'none') // before reading: a change in between is then seen
  return new KeyFile(file, world, await readKeys(file), version).find
}

// ── a URL ──────────────────────────────────────────────────────────────────────────────────────────────────────────

const freshMs = 600_000
/** For a key that is not there, it is not fetched again before this. */
const fetchAgainMs = 30_000
/** After one that failed. Everybody who comes back while the issuer is down would fetch it otherwise, one right after the other. */
const retryMs = 1_000

/** Fetched when first needed. Errors of `find`: those of the network, when there is no set that is fresh. */
export const keysOfUrl = (url: string, clock: Clock): JWTVerifyGetKey => {
  // Its own times go by the clock that people set; with these it fetches when it is told to.
  const set = createRemoteJWKSet(new URL(url), { cacheMaxAge: Infinity, cooldownDuration: Infinity })
  let fetchedAt: MonotonicMs | undefined
  let failed: { readonly at: MonotonicMs; readonly error: unknown } | undefined
  const isOlder = (ms: number): boolean => fetchedAt === undefined || clock.monotonic() - fetchedAt >= ms
  const fetchKeys = async (): Promise<void> => {
    if (failed !== undefined && clock.monotonic() - failed.at < retryMs) throw failed.error
    try {
      await set.reload() // once for all who wait
      fetchedAt = clock.monotonic()
      failed = undefined
    } catch (error) {
      failed = { at: clock.monotonic(), error }
      throw error
    }
  }
  return async (header, token) => {
    if (isOlder(freshMs)) await fetchKeys()
    try {
      return await set(header, token)
    } catch (error) {
      if (!isUnknownKey(error) || !isOlder(fetchAgainMs)) throw error
      await fetchKeys()
      return set(header, token)
    }
  }
}
