/**
 * Who somebody is. Asks the providers one after the other, those of programs and plugins first, then tokens, then the users
 * file; the first that knows the kind of credentials decides.
 *
 * Promises: nobody is let in by a provider that failed or did not answer; what was revoked stays out, also after a restart;
 * where somebody can log in, a name alone does not make a client somebody.
 */
import { type Account, accountDefect, type Credentials, guestPrefix, isTenantName, userDefect } from '../../actors/account.ts'
import { isTroupeError, TroupeError } from '../../actors/errors.ts'
import { IssueTimes, mostLeadMs } from '../../actors/issueTimes.ts'
import {
  type Revocation,
  type RevocationRequest,
  RevocationSet,
  type RevocationsMessage,
  revocationsAddress,
  revocationsKind,
} from '../../actors/revocations.ts'
import type { Address } from '../../actors/system/address.ts'
import type { ActorDefinition } from '../../actors/system/definition.ts'
import type { EpochMs, World } from '../../actors/world.ts'
import type { Config } from '../config.ts'
import { jwtProvider } from './jwt.ts'
import type { AuthProvider } from './provider.ts'
import { Throttle } from './throttle.ts'
import { type UsersFile, usersProvider } from './users.ts'

export interface AuthenticatorOptions {
  readonly auth: Config['auth']
  readonly world: Pick<World, 'clock' | 'log'>
  /** Of programs and plugins. */
  readonly providers?: readonly AuthProvider[]
}

/** The actor system, as far as it is needed here. */
export interface Asked {
  ask(address: Address, message: RevocationsMessage): Promise<unknown>
}

/** A provider that takes longer counts as failed. */
const providerMs = 10_000
/** When accounts were issued is written down so often at most; what a crash forgets of it matters only where the clock is set back, too. */
const markEveryMs = 600_000

export class Authenticator {
  /** Clients must log in. */
  readonly isRequired: boolean
  /** Somebody can log in. */
  readonly isConfigured: boolean
  /** What the actor system needs for it. */
  readonly actors: readonly ActorDefinition[]
  readonly #world: Pick<World, 'clock' | 'log'>
  readonly #providers: readonly AuthProvider[]
  readonly #throttle: Throttle
  readonly #revocations = new RevocationSet()
  readonly #toleranceMs: number
  readonly #times: IssueTimes
  /** What is known of them on disk. */
  #marked: EpochMs = 0
  readonly #anonymousPermissions: readonly string[]
  /** Who gave an account. */
  readonly #givers = new WeakMap<Account, AuthProvider>()
  #revoked = (): void => {}
  #system: Asked | undefined
  #users: UsersFile | undefined

  private constructor({ auth, world }: AuthenticatorOptions, providers: readonly AuthProvider[], times: IssueTimes) {
    this.isRequired = !auth.anonymous
    this.isConfigured = providers.length > 0
    this.#world = world
    this.#providers = providers
    this.#throttle = new Throttle(world.clock, auth.attemptsPerMinute)
    this.#times = times
    this.#toleranceMs = auth.clockSkewMs
    const toleranceMs = this.#toleranceMs
    this.actors = [revocationsKind({ toleranceMs, times, revoked: (revocation) => this.#note(revocation) })]
    // Where names belong to somebody, a client that did not log in does not speak in them.
    const permitted = this.isConfigured ? [...auth.anonymousPermissions, '!sender:*'] : auth.anonymousPermissions
    this.#anonymousPermissions = this.isRequired ? [] : permitted
  }

  /** Reads keys and users. Errors: `config.invalid`. */
  static async create(options: AuthenticatorOptions): Promise<Authenticator> {
    const { auth, world, providers: own = [] } = options
    const { users: file, permissions, jwks } = auth
    if (/^http:/i.test(jwks)) world.log.warn({ jwks }, 'keys come without TLS: whoever is in between can log in as anybody')
    const jwt = await jwtProvider(auth, world)
    const times = new IssueTimes()
    let gone = (_user: string, _tenant: string): void => {}
    const users =
      file === '' ? undefined : await usersProvider({ file, permissions, world, times, gone: (user, tenant) => gone(user, tenant) })
    const providers = [...own, jwt, users].filter((provider) => provider !== undefined)
    if (!auth.anonymous && providers.length === 0)
      throw new TroupeError(
        'config.invalid',
        'auth.anonymous is false and nobody can log in; give auth.users, auth.jwtSecret, auth.jwtPublicKey or auth.jwks, or register a provider',
      )
    const authenticator = new Authenticator(options, providers, times)
    gone = (user, tenant) => authenticator.#note({ user, tenant, before: times.revoke(world.clock.now()) })
    authenticator.#users = users
    return authenticator
  }

  /** Before the first client comes: reads what was revoked, and begins to look at the users file. Errors: those of the actor. */
  async load(system: Asked): Promise<void> {
    const revocations = (await system.ask(revocationsAddress, { type: 'revocations.list' })) as Revocation[] // what the actor answers
    for (const revocation of revocations) this.#revocations.add(revocation)
    this.#marked = (await system.ask(revocationsAddress, { type: 'revocations.latest' })) as EpochMs // as above
    this.#times.note(this.#marked, this.#world.clock.now())
    this.#system = system
    this.#users?.begin()
  }

  /** `listener` is called when something was revoked, or a user is no more: look at every connection with `isRevoked`. */
  onRevoked(listener: () => void): void {
    this.#revoked = listener
  }

  /** Errors: `auth.failed`, `auth.expired`, `auth.revoked`, `auth.unavailable`, `rate.limited`. */
  async authenticate(credentials: Credentials, remote: string): Promise<Account> {
    const forgive = credentials.type === 'password' ? this.#throttle.attempt(remote) : () => {}
    try {
      const account = await this.#accountOf(credentials)
      if (account.expiresAt !== undefined && account.expiresAt <= this.#world.clock.now()) throw new TroupeError('auth.expired')
      if (this.isRevoked(account)) throw new TroupeError('auth.revoked')
      forgive()
      return account
    } catch (error) {
      if (!isTroupeError(error, 'auth.failed')) forgive()
      throw error
    }
  }

  /**
   * The account of a client that did not log in. Where it could, its name begins with `guest:`; where it has to, it may do
   * nothing. Errors: `auth.failed` for what is not a name.
   */
  anonymous(name: string): Account {
    const isPlain = !this.isConfigured || name.startsWith(guestPrefix)
    const user = (isPlain ? name : `${guestPrefix}${name}`).normalize('NFC')
    const defect = userDefect(user)
    if (defect !== undefined) throw new TroupeError('auth.failed', defect)
    return { user, tenant: '', isAnonymous: true, permissions: this.#anonymousPermissions }
  }

  isRevoked(account: Account): boolean {
    return this.#revocations.covers(account, this.#world.clock.now())
  }

  /** Resolves when it is on disk and connections have been looked at. Errors: `auth.too_many_revocations`, those of the store. */
  async revoke(request: RevocationRequest): Promise<Revocation> {
    if (this.#system === undefined) throw new TroupeError('system.closed')
    return (await this.#system.ask(revocationsAddress, { type: 'revocations.revoke', ...request })) as Revocation // what the actor answers
  }

  /** The account as it is now. Errors: `auth.revoked` when it is no more. */
  async refresh(account: Account): Promise<Account> {
    const provider = this.#givers.get(account)
    if (provider?.refresh === undefined) return account
    let fresh: Account | undefined
    try {
      fresh = await this.#inTime(provider.refresh(account))
    } catch (error) {
      this.#world.log.error(
        { provider: provider.name, error: error instanceof Error ? error.message : String(error) },
        'an account stays as it was',
      )
      return account
    }
    if (fresh === undefined) throw new TroupeError('auth.revoked')
    const { user, tenant } = this.#checked(provider, fresh)
    if (user === account.user && tenant === account.tenant) return fresh
    this.#world.log.error({ provider: provider.name, user: account.user }, 'an auth provider gave the account of somebody else')
    return account
  }

  close(): void {
    for (const provider of this.#providers) provider.close?.()
  }

  #note(revocation: Revocation): void {
    this.#revocations.expire(this.#world.clock.now() - this.#toleranceMs - mostLeadMs)
    this.#revocations.add(revocation)
    this.#revoked()
  }

  /** Whoever is revoked from now on was let in before, whatever the clock will say. */
  #issued({ issuedAt, isAnonymous }: Account): void {
    if (isAnonymous || issuedAt === undefined) return
    this.#times.note(issuedAt, this.#world.clock.now())
    const at = this.#times.latest
    if (this.#system === undefined || Math.abs(at - this.#marked) < markEveryMs) return
    this.#marked = at
    this.#system.ask(revocationsAddress, { type: 'revocations.issued', at }).catch(() => {}) // refused, the next one is told
  }

  async #accountOf(credentials: Credentials): Promise<Account> {
    for (const provider of this.#providers) {
      const account = await this.#askProvider(provider, credentials)
      if (account !== undefined) return this.#checked(provider, account)
    }
    if (credentials.type === 'token') throw new TroupeError('auth.failed', 'tokens of this kind are not accepted here')
    // Clients that say a name and a password to every server. Here nobody has an account, so it is only a name.
    if (!this.isConfigured) return this.anonymous(credentials.username)
    throw new TroupeError('auth.failed', 'nobody here checks passwords')
  }

  async #askProvider(provider: AuthProvider, credentials: Credentials): Promise<Account | undefined> {
    try {
      return await this.#inTime(provider.authenticate(credentials))
    } catch (error) {
      if (isTroupeError(error)) throw error
      const text = error instanceof Error ? error.message : String(error)
      this.#world.log.error({ provider: provider.name, error: text }, 'an auth provider failed')
      throw new TroupeError('auth.unavailable')
    }
  }

  async #inTime<Answer>(asked: Promise<Answer>): Promise<Answer> {
    let cancel = (): void => {}
    const late = new Promise<never>((_, reject) => {
      cancel = this.#world.clock.after(providerMs, () => reject(new Error(`no answer within ${providerMs} ms`)))
    })
    try {
      return await Promise.race([asked, late])
    } finally {
      cancel()
    }
  }

  /** A provider of a program may be JavaScript, and what it took from elsewhere anything. */
  #checked(provider: AuthProvider, account: Account): Account {
    const { user, tenant, permissions, isAnonymous } = account
    const isComplete = typeof user === 'string' && typeof tenant === 'string' && typeof isAnonymous === 'boolean'
    const isListed = Array.isArray(permissions) && permissions.every((one) => typeof one === 'string')
    const isOwn = isComplete && (isAnonymous ? userDefect : accountDefect)(user) === undefined && isTenantName(tenant)
    if (isOwn && isListed) {
      this.#givers.set(account, provider)
      this.#issued(account)
      return account
    }
    this.#world.log.error({ provider: provider.name }, 'an auth provider gave something that is not an account')
    throw new TroupeError('auth.failed', 'the account has no proper name, tenant or permissions')
  }
}
