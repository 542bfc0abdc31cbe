/**
 * A client of the bus: one socket (or one HTTP stream) that publishes to channels and listens to them.
 *
 *   door ──→ request ──→ rate, login ──→ one after the other ──→ permission, hooks ──→ channel
 *   door ←── output  ←── held while a command is answered ←── push ←── channel
 *
 * Promises:
 * - Requests take effect in the order in which they came. A publish does not wait for the disk before the next one is sent
 *   on; a command waits until it is answered.
 * - The answer to a command is the next thing that the client hears after it was read, and what it missed of a channel
 *   comes before what is new there.
 * - Every refused request is answered with its code and the rule that refused it.
 * - A channel that fails and comes back is joined again, with everything in between, or the client is told that there is a gap.
 * - When the account expires or is revoked, the connection is closed.
 *
 * Runs as a custom-logic actor, made by the server for each socket and never restarted: its client makes a new one, and
 * recovers with the epoch and offset that it has.
 */
import {
  type Account,
  type Authenticate,
  type Credentials,
  type Decision,
  decide,
  type Resource,
  type Roster,
  scopedId,
  userDefect,
} from './account.ts'
import type { ChannelRequest, ChannelState, DirectoryPage, Joined, Page, Published, Range } from './channelMessages.ts'
import { inboxOf } from './channelMessages.ts'
import { ClientAccess, type Prepared, refusalOf } from './clientAccess.ts'
import { ClientFeed, type Listener } from './clientFeed.ts'
import type { Command, JoinOptions, PublishOptions, Session } from './command.ts'
import { isTroupeError, TroupeError } from './errors.ts'
import type { HookClient, Hooks } from './hooks.ts'
import type { ChannelInfo, Json, Member, Output, Push, Ref, Refusal, Status } from './output.ts'
import { SlidingWindow, type SlidingWindows } from './rate.ts'
import type { ClientRequest, Manners } from './request.ts'
import { type CommandRules, runCommand } from './runCommand.ts'
import { type Sink, SocketLife, type SocketLimits, type SocketMessage, socketHandlers } from './socketLife.ts'
import type { Address } from './system/address.ts'
import { defineActor } from './system/definition.ts'
import type { Message } from './system/message.ts'
import type { AskOptions, Scope } from './system/scope.ts'
import { type TelemetryTap, telemetryAddress } from './telemetry.ts'
import type { EpochMs, Log } from './world.ts'

export type ClientMessage =
  /** What one frame of the client said. */
  | { readonly type: 'client.receive'; readonly requests: readonly ClientRequest[] }
  | Push
  /** From the user actor: this is the status of the user now. */
  | { readonly type: 'client.status'; readonly status: Status }
  | SocketMessage
  | { readonly type: 'actor.stopped'; readonly address: Address }
  | { readonly type: 'client.heartbeat' }
  | { readonly type: 'client.silence' }
  | { readonly type: 'client.release' }
  | { readonly type: 'client.seen' }
  | { readonly type: 'client.rejoin'; readonly channel: string }

export interface ClientInput {
  readonly sink: Sink<Output>
  readonly manners: Manners
  /** Of the token that it came with, or an anonymous one. */
  readonly account: Account
  readonly hasLoggedIn: boolean
  /** Address of the peer, for throttling logins. */
  readonly remote: string
  /** What it asks for at once. */
  readonly start?: readonly ClientRequest[]
}

export interface ClientObserver {
  request(kind: string): void
  /** A command of the table, or `publish`. */
  answered(command: string, milliseconds: number): void
  refused(code: string): void
  login(result: string): void
}

export interface ClientOptions extends CommandRules {
  readonly limits: SocketLimits
  readonly authenticate: (credentials: Credentials, remote: string) => ReturnType<Authenticate>
  /** Who did not log in may do nothing but that. */
  readonly isLoginRequired: boolean
  /** Clients may say what they are called; not where others prove it. */
  readonly mayRename: boolean
  readonly hooks: Hooks
  readonly channelsPerClient: number
  readonly echoBudget: number
  readonly silentMs: number
  readonly roomTtlMs: number
  /** Of one connection in any minute; 0: no limit. */
  readonly requestsPerMinute: number
  /** Of one user, over all connections; undefined: no limit. */
  readonly userRequests: SlidingWindows | undefined
  readonly roster: Roster
  readonly tap: TelemetryTap
  readonly observe: ClientObserver
}

const minuteMs = 60_000

/** Counts the requests of one frame; when all are dealt with, the next frame may come. */
class Frame {
  #left: number
  readonly #done: () => void

  constructor(requests: number, done: () => void) {
    this.#left = requests
    this.#done = done
  }

  readonly dealtWith = (): void => {
    if (--this.#left === 0) this.#done()
  }
}

class Client implements Session, Listener {
  readonly life: SocketLife<Output>
  readonly feed: ClientFeed
  readonly #scope: Scope
  readonly #sink: Sink<Output>
  readonly #manners: Manners
  readonly #options: ClientOptions
  readonly #access: ClientAccess
  readonly #remote: string
  readonly #rates: SlidingWindow[] = []
  /** Requests that wait for the one before. */
  readonly #waiting: { readonly request: ClientRequest; readonly frame: Frame }[] = []
  #isBusy = false
  /** The socket has ended, but not all that came from it is done. */
  #isLeaving = false
  #hasLoggedIn: boolean
  #echoes: number
  #heardAt: EpochMs
  #isSilent = false
  status: Status = 'online'

  constructor(scope: Scope, input: ClientInput, options: ClientOptions) {
    const { sink, manners, account, hasLoggedIn, remote } = input
    this.life = new SocketLife(scope, sink, options.limits)
    this.#scope = scope
    this.#sink = sink
    this.#manners = manners
    this.#options = options
    this.#remote = remote
    this.#hasLoggedIn = hasLoggedIn
    this.#echoes = options.echoBudget
    this.#heardAt = scope.now()
    const { hooks, roomTtlMs } = options
    this.#access = new ClientAccess(
      { client: scope.id, account, door: manners.door },
      { hooks, roomTtlMs, trustsSender: manners.trustsSender, ask: (address, message) => this.#ask(address, message) },
    )
    this.feed = new ClientFeed(scope, this.life, sink, manners, this)
    if (manners.rate !== undefined) this.#rates.push(new SlidingWindow(manners.rate.count, manners.rate.withinMs))
    if (options.requestsPerMinute > 0) this.#rates.push(new SlidingWindow(options.requestsPerMinute, minuteMs))
  }

  open(start: readonly ClientRequest[]): void {
    const { silentMs, roster, isLoginRequired } = this.#options
    const { greets, heartbeatMs, beatsAtOnce } = this.#manners
    roster.set(this.#scope.address, this.account)
    this.life.begin()
    if (isLoginRequired && !this.#hasLoggedIn) this.life.demand()
    this.life.expireAt(this.account.expiresAt)
    this.#scope.after('silence', silentMs, { type: 'client.silence' })
    const opened = () => {
      if (greets) this.life.send({ type: 'output.greeting', client: this.client, account: this.account, at: this.now() })
      if (beatsAtOnce) this.heartbeat()
      else if (heartbeatMs !== undefined) this.#scope.after('heartbeat', heartbeatMs, { type: 'client.heartbeat' })
      this.#emit('connected', { door: this.#manners.door })
      this.#attach()
    }
    const refused = (error: unknown) => {
      const refusal = this.#refusalOf(error, 'onConnect')
      this.life.send({ type: 'output.refused', ref: undefined, command: undefined, at: this.now(), refusal })
      this.life.close(refusal.code, refusal.message)
    }
    this.#inOrder(() => this.#admit(), opened, refused)
    this.#enqueue(start, () => {})
  }

  /** What it came with passes the same hook as what it logs in with later. */
  #admit(): void | Promise<void> {
    const { onAuthenticate, onConnect } = this.#options.hooks
    const connect = (changed: Account | void) => {
      if (changed !== undefined) this.#goBy(changed)
      return onConnect?.(this.#party)
    }
    const changed = this.#hasLoggedIn ? onAuthenticate?.(this.#party, this.account) : undefined
    return changed instanceof Promise ? changed.then(connect) : connect(changed)
  }

  #goBy(account: Account): void {
    this.#access.party = { ...this.#party, account }
    this.#options.roster.set(this.#scope.address, account)
    this.life.expireAt(account.expiresAt)
  }

  // ── what the client says ───────────────────────────────────────────────────────────────────────────────────────

  receive(requests: readonly ClientRequest[]): void {
    if (this.life.isClosed) return
    this.#heard()
    this.#enqueue(requests, () => this.#sink.handled(1))
  }

  #enqueue(requests: readonly ClientRequest[], done: () => void): void {
    if (requests.length === 0) return done()
    const frame = new Frame(requests.length, done)
    for (const request of requests) this.#waiting.push({ request, frame })
    this.#next()
  }

  #next(): void {
    while (!this.#isBusy && !this.life.isClosed) {
      const next = this.#waiting.shift()
      if (next === undefined) return
      this.#take(next.request, next.frame.dealtWith)
    }
  }

  #take(request: ClientRequest, done: () => void): void {
    if (request.type === 'request.heartbeat') return done()
    this.#options.observe.request(request.type)
    const command = request.type === 'request.command' ? request.command : undefined
    const refusal = this.#rateRefusal()
    if (refusal !== undefined) this.#refuse(request.ref, command, refusal)
    else if (request.type === 'request.bad') this.#refuse(request.ref, undefined, request.refusal)
    else if (request.type === 'request.command') return this.#command(request, done)
    else if (this.#lacksLogin) this.#refuse(request.ref, undefined, refusalOf(new TroupeError('auth.required')))
    else return this.#publish(request, done)
    done()
  }

  get #lacksLogin(): boolean {
    return this.#options.isLoginRequired && !this.#hasLoggedIn
  }

  #rateRefusal(): Refusal | undefined {
    const now = this.now()
    for (const rate of this.#rates) {
      const wait = rate.take(now)
      if (wait > 0) return this.#limited(wait, 'requests of one connection')
    }
    const wait = this.#options.userRequests?.take(this.#userId, now) ?? 0
    return wait > 0 ? this.#limited(wait, 'requests of one user') : undefined
  }

  #limited(retryAfterMs: number, rule: string): Refusal {
    this.#emit('rate_limited', { rule })
    return { code: 'rate.limited', message: new TroupeError('rate.limited').message, rule, retryAfterMs }
  }

  /** Runs something that may take its time; what the client says next waits for it. */
  #inOrder<Value>(work: () => Value | Promise<Value>, done: (value: Value) => void, failed: (error: unknown) => void): void {
    const settle = (next: () => void) => {
      this.#isBusy = false
      if (this.life.isClosed) return
      try {
        next()
        this.#next()
        if (this.#isLeaving && !this.#isBusy) this.life.gone()
      } catch (error) {
        this.#scope.log.error({ client: this.#scope.address, error: String(error) }, 'a client failed and is disconnected')
        this.life.close('channel.unavailable', '')
      }
    }
    this.#isBusy = true
    try {
      const value = work()
      if (value instanceof Promise)
        value.then(
          (result) => settle(() => done(result)),
          (error) => settle(() => failed(error)),
        )
      else settle(() => done(value))
    } catch (error) {
      settle(() => failed(error))
    }
  }

  #publish({ ref, message, wantsAck }: Extract<ClientRequest, { type: 'request.publish' }>, done: () => void): void {
    const failed = (error: unknown) => {
      this.#refuse(ref, undefined, this.#refusalOf(error, 'onPublish'))
      done()
    }
    const send = (prepared: Prepared) => {
      this.#nameAfter(prepared.draft.sender)
      if (this.#manners.mustJoinToPublish && this.feed.get(prepared.channel) === undefined)
        return failed(new TroupeError('channel.not_joined'))
      const began = this.now()
      this.#access.send(prepared).then((published) => {
        this.#options.observe.answered('publish', this.now() - began)
        if (!this.life.isClosed) this.#published(ref, published, wantsAck)
        done()
      }, failed)
    }
    try {
      const prepared = this.#access.prepare(message)
      if (prepared instanceof Promise) this.#inOrder(() => prepared, send, failed)
      else send(prepared)
    } catch (error) {
      failed(error)
    }
  }

  #published(ref: Ref, { message, isRepeated }: Published, wantsAck: boolean): void {
    this.#emit('published', { channel: message.channel, id: message.id, sequence: message.offset })
    const { echo, acknowledges } = this.#manners
    if (echo === 'budget' && !isRepeated && this.#echoes > 0 && this.feed.get(message.channel) === undefined) {
      this.#echoes--
      this.feed.hand({ type: 'output.messages', channel: message.channel, messages: [message] })
    }
    if (wantsAck || acknowledges) this.feed.hand({ type: 'output.acknowledged', ref, message, isRepeated })
  }

  /** A client that did not log in goes by the name that it speaks in. */
  #nameAfter(sender: string): void {
    const { account } = this
    if (!account.isAnonymous || sender === account.user || this.#isNamed || !this.#manners.trustsSender) return
    if (this.#options.mayRename && userDefect(sender) === undefined) void this.#become({ ...account, user: sender })
  }

  #command({ ref, command: name, params }: Extract<ClientRequest, { type: 'request.command' }>, done: () => void): void {
    const began = this.now()
    const command = this.#options.commands.get(name)
    const answered = (code: string) => {
      this.#options.observe.answered(command === undefined ? 'unknown' : name, this.now() - began)
      this.#emit('command', { command: name, code })
      this.feed.answered()
      done()
    }
    const failed = (error: unknown) => {
      const refusal = this.#refusalOf(error, name)
      this.#refuse(ref, name, refusal)
      answered(refusal.code)
    }
    const succeeded = (data: unknown) => {
      const answer = { ref, command: name, at: this.now(), account: this.account, client: this.client, data: (data ?? null) as Json }
      try {
        this.life.send({ type: 'output.answer', ...answer })
      } catch (error) {
        return failed(error) // a command of a user gave something that is no JSON
      }
      answered('ok')
    }
    this.feed.hold()
    this.#inOrder(() => this.#run(name, command, params), succeeded, failed)
  }

  async #run(name: string, command: Command | undefined, params: unknown): Promise<unknown> {
    if (this.#lacksLogin && command?.needsAccount !== false) throw new TroupeError('auth.required')
    return runCommand(this.#options, name, params, this)
  }

  // ── what the client hears ──────────────────────────────────────────────────────────────────────────────────────

  #refuse(ref: Ref, command: string | undefined, refusal: Refusal): void {
    if (this.life.isClosed) return
    this.#options.observe.refused(refusal.code)
    const isDenied = refusal.code === 'access.denied' || refusal.code.startsWith('auth.')
    if (isDenied) this.#emit('denied', { code: refusal.code, rule: refusal.rule ?? '' })
    const output: Output = { type: 'output.refused', ref, command, at: this.now(), refusal }
    if (command === undefined) this.feed.hand(output)
    else this.life.send(output)
  }

  #refusalOf(error: unknown, where: string): Refusal {
    if (!isTroupeError(error))
      this.#scope.log.error(
        { client: this.#scope.address, where, error: error instanceof Error ? error.stack : String(error) },
        'a request failed',
      )
    return refusalOf(error)
  }

  // ── channels ───────────────────────────────────────────────────────────────────────────────────────────────────

  get channels(): readonly string[] {
    return this.feed.channels
  }

  async join(channel: string, options: JoinOptions = {}): Promise<Joined> {
    const name = this.#access.admit(channel, 'read')
    if (this.feed.get(name) === undefined && this.channels.length >= this.#options.channelsPerClient)
      throw new TroupeError('channel.too_many', undefined, { rule: `bus.channelsPerClient ${this.#options.channelsPerClient}` })
    await this.#options.hooks.onJoin?.(this.#party, name)
    const joined = await this.feed.subscribe(name, { isInbox: false, ...options })
    this.feed.joinedByCommand(name)
    this.#emit('joined', { channel: name })
    return joined
  }

  async leave(channel: string): Promise<boolean> {
    const name = channel.normalize('NFC')
    const subscription = this.feed.get(name)
    if (subscription === undefined || subscription.isInbox) return false
    this.feed.forget(name)
    await this.#ask(subscription.address, { type: 'channel.leave' })
    this.#after('onLeave', () => this.#options.hooks.onLeave?.(this.#party, name))
    this.#emit('left', { channel: name })
    return true
  }

  // ── who the client is ──────────────────────────────────────────────────────────────────────────────────────────

  async authenticate(credentials: Credentials): Promise<Account> {
    try {
      const account = await this.#options.authenticate(credentials, this.#remote)
      const changed = await this.#options.hooks.onAuthenticate?.(this.#party, account)
      await this.#become(changed ?? account)
      this.#hasLoggedIn = !this.account.isAnonymous || !this.#options.isLoginRequired
      if (this.#hasLoggedIn) this.life.satisfied()
      this.#options.observe.login('ok')
      this.#emit('authenticated', { door: this.#manners.door })
      return this.account
    } catch (error) {
      this.#options.observe.login(isTroupeError(error) ? error.code : 'failed')
      throw error
    }
  }

  async rename(name: string): Promise<void> {
    const user = name.normalize('NFC')
    if (user === this.account.user) return
    if (!this.account.isAnonymous || !this.#options.mayRename)
      throw new TroupeError('access.denied', `this client is ${this.account.user}`, { rule: 'names are those of accounts' })
    const defect = userDefect(user)
    if (defect !== undefined) throw new TroupeError('command.bad_parameters', defect)
    await this.#become({ ...this.account, user })
  }

  /** Takes on an account: leaves what that one may not read, and is known by its name everywhere else. */
  async #become(account: Account): Promise<void> {
    const before = this.account
    const isRenamed = account.user !== before.user || account.tenant !== before.tenant
    if (isRenamed) this.#detach()
    for (const [name, { address }] of this.feed) {
      if (account.tenant === before.tenant && decide(account, 'channel', name, 'read').isAllowed) continue
      this.feed.forget(name)
      this.#scope.tell(address, { type: 'channel.leave' })
      this.feed.hand({ type: 'output.closed', channel: name, isRoom: false, reason: 'forbidden', at: this.now() })
    }
    this.#goBy(account)
    if (!isRenamed) return
    this.#tellStatus(account.user)
    this.#attach()
  }

  /** It goes by a name that others know it by, and not by that of its connection. */
  get #isNamed(): boolean {
    return !this.account.isAnonymous || this.account.user !== this.#manners.nameOf(this.client)
  }

  get #userId(): string {
    return scopedId(this.account.tenant, this.account.user)
  }

  #attach(): void {
    if (!this.#isNamed) return
    const inbox = inboxOf(this.account.user)
    this.#ask(`user/${this.#userId}`, { type: 'user.attach' }).then(
      (status) => this.life.isClosed || this.applyStatus(status as Status), // what a user answers
      (error) =>
        this.#scope.log.warn({ client: this.#scope.address, error: String(error) }, 'a client could not be counted among its user'),
    )
    if (!this.#manners.hasInbox) return
    this.feed.subscribe(inbox, { isInbox: true, cursor: this.account.user }).then(
      (joined) => {
        this.feed.caughtUp(inbox, joined)
        this.feed.markUnseen()
      },
      (error) => this.#scope.log.warn({ client: this.#scope.address, error: String(error) }, 'an inbox could not be opened'),
    )
  }

  #detach(): void {
    if (!this.#isNamed) return
    const inbox = inboxOf(this.account.user)
    this.#scope.tell(`user/${this.#userId}`, { type: 'user.detach' })
    const subscription = this.feed.forget(inbox)
    if (subscription !== undefined) this.#scope.tell(subscription.address, { type: 'channel.leave' })
  }

  async setStatus(status: Status): Promise<void> {
    if (this.#isNamed) await this.#ask(`user/${this.#userId}`, { type: 'user.status', status })
    this.applyStatus(status)
  }

  applyStatus(status: Status): void {
    if (status === this.status) return
    this.status = status
    this.#tellStatus()
  }

  get shownStatus(): Status {
    return this.#isSilent ? 'offline' : this.status
  }

  #tellStatus(user?: string): void {
    if (!this.#manners.hasPresence) return
    const message: ChannelRequest = { type: 'channel.status', status: this.shownStatus, ...(user === undefined ? {} : { user }) }
    for (const [, { address, isInbox }] of this.feed) if (!isInbox) this.#scope.tell(address, message)
  }

  // ── the rest of a session ──────────────────────────────────────────────────────────────────────────────────────

  get client(): string {
    return this.#scope.id
  }

  get user(): string {
    return this.account.user
  }

  addressOf(channel: string): Address {
    return this.#access.addressOf(channel)
  }

  get account(): Account {
    return this.#access.account
  }

  get #party(): HookClient {
    return this.#access.party
  }

  get log(): Log {
    return this.#scope.log
  }

  now(): EpochMs {
    return this.#scope.now()
  }

  publish(message: PublishOptions): Promise<Published> {
    return this.#access.publish(message)
  }

  history(channel: string, range: Range): Promise<Page> {
    return this.#access.history(channel, range)
  }

  members(channel: string): Promise<readonly Member[]> {
    return this.#access.members(channel)
  }

  async create(channel: string, options: { description?: string; isRoom?: boolean; ttlMs?: number }): Promise<ChannelInfo> {
    const made = await this.#access.create(channel, options)
    this.#emit('channel_created', { channel })
    return made
  }

  async delete(channel: string): Promise<void> {
    await this.#access.delete(channel)
    this.#emit('channel_deleted', { channel, reason: 'deleted' })
  }

  describe(channel: string): Promise<ChannelState> {
    return this.#access.describe(channel)
  }

  list(options: { prefix?: string; after?: string; limit?: number; isRoom?: boolean }): Promise<DirectoryPage> {
    return this.#access.list(options)
  }

  watch(events: readonly string[] | undefined): void {
    this.#access.demand('telemetry', '', 'watch')
    const seesAll = this.may('admin', '', 'watch').isAllowed
    if (events === undefined) this.#scope.tell(telemetryAddress, { type: 'telemetry.unwatch' })
    else
      this.#scope.tell(telemetryAddress, {
        type: 'telemetry.watch',
        tenant: this.account.tenant,
        seesAll,
        events: events.length > 0 ? events : undefined,
      })
  }

  may(resource: Resource, name: string, action: string): Decision {
    return this.#access.may(resource, name, action)
  }

  tell<M extends Message>(address: Address, message: M): boolean {
    return this.#scope.tell(address, message)
  }

  ask<M extends Message>(address: Address, message: M, options?: AskOptions): Promise<unknown> {
    return this.#scope.ask(address, message, options)
  }

  #ask<M extends Message>(address: Address, message: M, options?: AskOptions): Promise<unknown> {
    return this.#scope.ask(address, message, options)
  }

  // ── signs of life ──────────────────────────────────────────────────────────────────────────────────────────────

  #heard(): void {
    this.#heardAt = this.now()
    if (!this.#isSilent) return
    this.#isSilent = false
    this.#tellStatus()
  }

  pong(): void {
    this.#heard()
    this.life.pong()
  }

  silence(): void {
    const left = this.#heardAt + this.#options.silentMs - this.now()
    this.#scope.after('silence', left > 0 ? left : this.#options.silentMs, { type: 'client.silence' })
    if (left > 0 || this.#isSilent) return
    this.#isSilent = true
    this.#tellStatus()
  }

  /**
   * The socket has ended. What the client said before is done all the same: one that creates a channel, publishes and closes would
   * lose its message without a word. What takes longer than the next ping and its answer is given up.
   */
  gone(): void {
    if (!this.#isBusy) return this.life.gone()
    this.#isLeaving = true
    this.feed.deafen()
  }

  heartbeat(): void {
    const { heartbeatMs } = this.#manners
    this.life.send({ type: 'output.heartbeat', at: this.now() })
    if (heartbeatMs !== undefined) this.#scope.after('heartbeat', heartbeatMs, { type: 'client.heartbeat' })
  }

  deadline(): void {
    this.life.close('auth.required', `within ${this.#options.limits.handshakeMs} ms`)
  }

  /** The actor has ended, perhaps for a reason that the client does not know yet. Channels hear of it by their watch. */
  ended(): void {
    this.#options.roster.delete(this.#scope.address)
    this.#emit('disconnected', { door: this.#manners.door })
    this.#after('onDisconnect', () => this.#options.hooks.onDisconnect?.(this.#party))
    if (this.life.isClosed) return
    this.life.isClosed = true
    this.#sink.close('channel.unavailable', '')
  }

  /** What happened already cannot be refused. */
  #after(hook: string, run: () => unknown): void {
    const failed = (error: unknown) => this.#scope.log.error({ hook, error: String(error) }, 'a hook failed')
    try {
      Promise.resolve(run()).catch(failed)
    } catch (error) {
      failed(error)
    }
  }

  #emit(event: string, fields: { readonly [field: string]: Json }): void {
    const { tap } = this.#options
    if (tap.isOn) tap.emit({ event, at: this.now(), tenant: this.account.tenant, client: this.client, user: this.account.user, ...fields })
  }
}

export const clientKind = (options: ClientOptions) =>
  defineActor<Client, ClientMessage>({
    kind: 'client',
    activation: 'explicit',
    supervision: { onFailure: 'stop' },
    mailbox: { overflow: 'disconnect' },
    state: (scope, given) => {
      const input = given as ClientInput // the server gives it
      const client = new Client(scope, input, options)
      client.open(input.start ?? [])
      return client
    },
    stopped: (client) => client.ended(),
    handlers: {
      ...socketHandlers,
      'connection.pong': (client) => client.pong(),
      'connection.drained': () => {},
      'connection.gone': (client) => client.gone(),
      'connection.deadline': (client) => client.deadline(),
      'client.receive': (client, { requests }) => client.receive(requests),
      'client.push': (client, { output }) => client.feed.push(output),
      'client.status': (client, { status }) => client.applyStatus(status),
      'client.heartbeat': (client) => client.heartbeat(),
      'client.silence': (client) => client.silence(),
      'client.release': (client) => client.feed.releaseLate(),
      'client.seen': (client) => client.feed.seen(),
      'client.rejoin': (client, { channel }) => client.feed.rejoin(channel),
      'actor.stopped': (client, { address }) => client.feed.channelStopped(address),
    },
  })
