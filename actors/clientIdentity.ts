/**
 * Who a client is: the account that it goes by, the status that others see, and what hangs on the two: its user, its inbox, the
 * channels that it may stay in, the telemetry that it watches. Not an actor: a part of one, with its scope.
 *
 * Promises:
 * - Whoever becomes somebody else hears nothing more that only the former may hear.
 * - A user has one status on all its connections. One of which nothing is heard is shown as offline.
 */
import { type Account, type Authenticate, type Credentials, type Roster, scopedId, userDefect } from './account.ts'
import { type ChannelRequest, inboxOf } from './channelMessages.ts'
import type { ClientAccess } from './clientAccess.ts'
import type { ClientFeed } from './clientFeed.ts'
import { isTroupeError, TroupeError } from './errors.ts'
import type { Hooks } from './hooks.ts'
import type { Json, Output, Status } from './output.ts'
import type { Manners } from './request.ts'
import type { SocketLife } from './socketLife.ts'
import type { Address } from './system/address.ts'
import type { Scope } from './system/scope.ts'
import { telemetryAddress } from './telemetry.ts'
import type { MonotonicMs } from './world.ts'

/** What the parts of a client share. */
export interface ClientParts {
  readonly scope: Scope
  readonly life: SocketLife<Output>
  readonly manners: Manners
  readonly access: ClientAccess
  readonly feed: ClientFeed
  /** For telemetry. */
  readonly emit: (event: string, fields: { readonly [field: string]: Json }) => void
  /** Runs a hook for what has happened already, and so cannot be refused. */
  readonly afterwards: (hook: string, run: () => unknown) => void
}

export interface IdentityOptions {
  readonly authenticate: (credentials: Credentials, remote: string) => ReturnType<Authenticate>
  /** Who did not log in may do nothing but that. */
  readonly isLoginRequired: boolean
  /** Clients may say what they are called; not where others prove it. */
  readonly mayRename: boolean
  readonly hooks: Hooks
  readonly silentMs: number
  readonly roster: Roster
  readonly observe: { login(result: string): void }
}

export interface Visit {
  readonly hasLoggedIn: boolean
  /** Address of the peer, for throttling logins. */
  readonly remote: string
}

export class ClientIdentity {
  readonly #parts: ClientParts
  readonly #options: IdentityOptions
  readonly #remote: string
  #hasLoggedIn: boolean
  status: Status = 'online'
  /** How often the user has told its status. */
  #statuses = 0
  #isSilent = false
  #heardAt: MonotonicMs
  /** The telemetry that it hears; undefined: none. */
  #watched: readonly string[] | undefined

  constructor(parts: ClientParts, { hasLoggedIn, remote }: Visit, options: IdentityOptions) {
    this.#parts = parts
    this.#options = options
    this.#remote = remote
    this.#hasLoggedIn = hasLoggedIn
    this.#heardAt = parts.scope.monotonic()
  }

  begin(): void {
    const { scope, life } = this.#parts
    if (this.lacksLogin) life.demand()
    this.#goBy(this.account)
    scope.after('silence', this.#options.silentMs, { type: 'client.silence' })
  }

  /** What it came with passes the same hook as what it logs in with later. */
  admit(): void | Promise<void> {
    const { onAuthenticate, onConnect } = this.#options.hooks
    const { access } = this.#parts
    const connect = (changed: Account | void) => {
      if (changed !== undefined) this.#goBy(changed)
      return onConnect?.(access.party)
    }
    const changed = this.#hasLoggedIn ? onAuthenticate?.(access.party, this.account) : undefined
    return changed instanceof Promise ? changed.then(connect) : connect(changed)
  }

  end(): void {
    this.#options.roster.delete(this.#parts.scope.address)
  }

  get account(): Account {
    return this.#parts.access.account
  }

  /** As a user among those of all tenants. */
  get userId(): string {
    return scopedId(this.account.tenant, this.account.user)
  }

  get #userAddress(): Address {
    return `user/${this.userId}`
  }

  get lacksLogin(): boolean {
    return this.#options.isLoginRequired && !this.#hasLoggedIn
  }

  /** It goes by a name that others know it by, and not by that of its connection. */
  get #isNamed(): boolean {
    const { manners, scope } = this.#parts
    return !this.account.isAnonymous || this.account.user !== manners.nameOf(scope.id)
  }

  // ── becoming somebody ──────────────────────────────────────────────────────────────────────────────────────────

  async authenticate(credentials: Credentials): Promise<Account> {
    const { authenticate, hooks, isLoginRequired, observe } = this.#options
    const { life, access, manners, emit } = this.#parts
    try {
      const account = await authenticate(credentials, this.#remote)
      const changed = await hooks.onAuthenticate?.(access.party, account)
      this.#become(changed ?? account)
      this.#hasLoggedIn = !this.account.isAnonymous || !isLoginRequired
      if (this.#hasLoggedIn) life.satisfied()
      observe.login('ok')
      emit('authenticated', { door: manners.door })
      return this.account
    } catch (error) {
      observe.login(isTroupeError(error) ? error.code : 'failed')
      throw error
    }
  }

  /** Errors: `access.denied`, `command.bad_parameters` for what is no name. */
  rename(name: string): void {
    const user = name.normalize('NFC')
    if (user === this.account.user) return
    if (!this.account.isAnonymous || !this.#options.mayRename)
      throw new TroupeError('access.denied', `this client is ${this.account.user}`, { rule: 'names are those of accounts' })
    const defect = userDefect(user)
    if (defect !== undefined) throw new TroupeError('command.bad_parameters', defect)
    this.#parts.access.demand('sender', user, 'speak') // whoever may not speak in a name may not take it
    this.#become({ ...this.account, user })
  }

  /** A client that did not log in goes by the name that it speaks in, if it can be one. */
  nameAfter(sender: string): void {
    const { account } = this
    if (sender === account.user || !this.#parts.manners.trustsSender) return
    if (!account.isAnonymous || this.#isNamed || !this.#options.mayRename) return
    const user = sender.normalize('NFC')
    if (userDefect(user) === undefined) this.#become({ ...account, user })
  }

  #become(account: Account): void {
    const { scope, life } = this.#parts
    if (life.isClosed) throw new TroupeError('actor.stopped', scope.address)
    const before = this.account
    const isSameUser = account.user === before.user && account.tenant === before.tenant
    if (!isSameUser) this.#detach()
    this.#goBy(account)
    this.#leaveWhatIsForbidden(account.tenant === before.tenant, isSameUser)
    this.#watchAgain()
    if (isSameUser) return
    this.#tellStatus(account.user)
    this.attach()
  }

  #goBy(account: Account): void {
    const { scope, life, access } = this.#parts
    if (life.isClosed) return // the roster would keep it for ever
    access.party = { ...access.party, account }
    this.#options.roster.set(scope.address, account)
    life.expireAt(account.expiresAt)
  }

  #leaveWhatIsForbidden(isSameTenant: boolean, isSameUser: boolean): void {
    const { scope, access, feed } = this.#parts
    for (const [name, { isInbox }] of feed) {
      if (isSameTenant && (isInbox ? isSameUser : access.mayStayIn(name))) continue
      feed.leave(name)
      if (!isInbox) feed.hand({ type: 'output.closed', channel: name, isRoom: false, reason: 'forbidden', at: scope.now() })
    }
  }

  /** It is among the connections of its user, and hears what is private to that one. */
  attach(): void {
    if (!this.#isNamed) return
    const { manners, feed } = this.#parts
    this.#joinUser()
    if (manners.hasInbox) feed.follow(inboxOf(this.account.user))
  }

  #joinUser(): void {
    const { scope } = this.#parts
    const user = this.#userAddress
    scope.watch(user)
    scope.ask(user, { type: 'user.attach' }).then(
      (status) => this.#userAddress === user && this.#show(status as Status), // what a user answers
      (error) => scope.log.warn({ client: scope.address, error: String(error) }, 'a client could not be counted among its user'),
    )
  }

  /** The next one knows nothing of its connections. */
  userStopped(address: Address): void {
    if (this.#isNamed && address === this.#userAddress) this.#joinUser()
  }

  #detach(): void {
    if (!this.#isNamed) return
    const { scope } = this.#parts
    scope.unwatch(this.#userAddress)
    scope.tell(this.#userAddress, { type: 'user.detach' })
  }

  // ── telemetry ──────────────────────────────────────────────────────────────────────────────────────────────────

  get isWatching(): boolean {
    return this.#watched !== undefined
  }

  /** Errors: `access.denied`. */
  watch(events: readonly string[] | undefined): void {
    const { scope, access } = this.#parts
    access.demand('telemetry', '', 'watch')
    this.#watched = events
    if (events === undefined) scope.tell(telemetryAddress, { type: 'telemetry.unwatch' })
    else
      scope.tell(telemetryAddress, {
        type: 'telemetry.watch',
        tenant: this.account.tenant,
        seesAll: access.may('admin', '', 'watch').isAllowed,
        events: events.length > 0 ? events : undefined,
      })
  }

  /** As much of it as the account of now may hear. */
  #watchAgain(): void {
    if (this.#watched === undefined) return
    const { scope, access } = this.#parts
    if (access.may('telemetry', '', 'watch').isAllowed) return this.watch(this.#watched)
    this.#watched = undefined
    scope.tell(telemetryAddress, { type: 'telemetry.unwatch' })
  }

  // ── status ─────────────────────────────────────────────────────────────────────────────────────────────────────

  get shownStatus(): Status {
    return this.#isSilent ? 'offline' : this.status
  }

  async setStatus(status: Status): Promise<void> {
    const before = this.#statuses
    if (this.#isNamed) await this.#parts.scope.ask(this.#userAddress, { type: 'user.status', status })
    // What the user tells is in order; the answer to this question may come after a later status.
    if (this.#statuses === before) this.#show(status)
  }

  /** `from`: a user that it was before may still speak. */
  statusTold(status: Status, from: Address | undefined): void {
    if (from !== this.#userAddress) return
    this.#statuses++
    this.#show(status)
  }

  #show(status: Status): void {
    if (status === this.status) return
    this.status = status
    this.#tellStatus()
  }

  #tellStatus(user?: string): void {
    const { scope, life, manners, feed } = this.#parts
    if (!manners.hasPresence || life.isClosed) return
    const message: ChannelRequest = { type: 'channel.status', status: this.shownStatus, ...(user === undefined ? {} : { user }) }
    for (const [, { address, isInbox }] of feed) if (!isInbox) scope.tell(address, message)
  }

  // ── signs of life ──────────────────────────────────────────────────────────────────────────────────────────────

  heard(): void {
    this.#heardAt = this.#parts.scope.monotonic()
    if (!this.#isSilent) return
    this.#isSilent = false
    this.#tellStatus()
  }

  silence(): void {
    const { scope } = this.#parts
    const { silentMs } = this.#options
    const left = this.#heardAt + silentMs - scope.monotonic()
    scope.after('silence', left > 0 ? left : silentMs, { type: 'client.silence' })
    if (left > 0 || this.#isSilent) return
    this.#isSilent = true
    this.#tellStatus()
  }
}
