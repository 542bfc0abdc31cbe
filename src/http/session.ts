/**
 * What a request over HTTP may do: everything that a client of the bus may and that needs no connection. The same checks,
 * hooks, limits and telemetry; `ClientAccess` has the rules.
 */
import { type Account, type Decision, type DocumentAccess, type Resource, scopedId } from '../../actors/account.ts'
import type { ChannelState, DirectoryPage, Page, Published, Range } from '../../actors/channelMessages.ts'
import type { ClientOptions } from '../../actors/client.ts'
import { ClientAccess, type Prepared, refusalOf } from '../../actors/clientAccess.ts'
import type { PublishOptions, Session } from '../../actors/command.ts'
import { accessTo } from '../../actors/documentAccess.ts'
import { TroupeError } from '../../actors/errors.ts'
import type { HookClient } from '../../actors/hooks.ts'
import type { ChannelInfo, Json, Member, Refusal, Status } from '../../actors/output.ts'
import { SlidingWindows } from '../../actors/rate.ts'
import { runCommand } from '../../actors/runCommand.ts'
import type { Address } from '../../actors/system/address.ts'
import type { Message } from '../../actors/system/message.ts'
import type { AskOptions } from '../../actors/system/scope.ts'
import type { ActorSystem } from '../../actors/system/system.ts'
import type { EpochMs, Log, MonotonicMs, World } from '../../actors/world.ts'
import type { Visitor } from '../auth/visitors.ts'

export interface SessionOptions {
  readonly system: Pick<ActorSystem, 'ask' | 'tell'>
  readonly world: World
  /** Those of clients that are connected. */
  readonly client: Pick<
    ClientOptions,
    'hooks' | 'commands' | 'allowedCommands' | 'roomTtlMs' | 'requestsPerMinute' | 'userRequests' | 'tap' | 'observe'
  >
}

const minuteMs = 60_000
const needsConnection = (): never => {
  throw new TroupeError('command.failed', 'this needs a connection')
}

/** Makes a session for each request. */
export class HttpSessions {
  readonly options: SessionOptions
  /** Whoever opens a connection for each request has one all the same: that of its address. */
  readonly #requests: SlidingWindows | undefined

  constructor(options: SessionOptions) {
    this.options = options
    const { requestsPerMinute } = options.client
    this.#requests = requestsPerMinute > 0 ? new SlidingWindows(requestsPerMinute, minuteMs) : undefined
  }

  /** Errors: those of the hook `onAuthenticate`, through which an account goes here as on a socket. */
  async open(visitor: Visitor): Promise<HttpSession> {
    const { account, hasLoggedIn } = visitor
    const party: HookClient = { client: '', account, door: 'http' }
    const changed = hasLoggedIn ? await this.options.client.hooks.onAuthenticate?.(party, account) : undefined
    return new HttpSession({ ...visitor, account: changed ?? account }, this.options, this.#requests)
  }
}

export class HttpSession implements Session {
  readonly client = ''
  readonly status: Status = 'online'
  readonly channels: readonly string[] = []
  readonly #access: ClientAccess
  readonly #remote: string
  readonly #options: SessionOptions
  readonly #requests: SlidingWindows | undefined

  constructor({ account, remote }: Visitor, options: SessionOptions, requests: SlidingWindows | undefined) {
    const { hooks, roomTtlMs } = options.client
    const ask = options.system.ask.bind(options.system)
    this.#access = new ClientAccess({ client: '', account, door: 'http' }, { hooks, roomTtlMs, trustsSender: true, ask })
    this.#remote = remote
    this.#options = options
    this.#requests = requests
  }

  get account(): Account {
    return this.#access.account
  }

  get log(): Log {
    return this.#options.world.log
  }

  now(): EpochMs {
    return this.#options.world.clock.now()
  }

  get #monotonic(): MonotonicMs {
    return this.#options.world.clock.monotonic()
  }

  // ── what a request does ────────────────────────────────────────────────────────────────────────────────────────

  /** Errors: `rate.limited`. */
  count(kind: 'request.publish' | 'request.command'): void {
    const { observe, userRequests } = this.#options.client
    observe.request(kind)
    const now = this.#monotonic
    this.#limit('requests of one connection', this.#requests?.take(this.#remote, now) ?? 0)
    this.#limit('requests of one user', userRequests?.take(this.#userKey, now) ?? 0)
  }

  /** Those who did not log in have one name, or another one for each request. */
  get #userKey(): string {
    const { isAnonymous, tenant, user } = this.account
    return isAnonymous ? `anonymous ${this.#remote}` : scopedId(tenant, user)
  }

  #limit(rule: string, waitMs: number): void {
    if (waitMs === 0) return
    this.#emit('rate_limited', { rule })
    throw new TroupeError('rate.limited', undefined, { rule, retryAfterMs: waitMs })
  }

  async run(name: string, params: unknown): Promise<unknown> {
    this.count('request.command')
    const began = this.#monotonic
    const { client } = this.#options
    const answered = (code: string) => {
      client.observe.answered(name, this.#monotonic - began)
      this.#emit('command', { command: name, code })
    }
    try {
      const data = await runCommand(client, name, params, this)
      answered('ok')
      return data
    } catch (error) {
      answered(refusalOf(error).code)
      throw error
    }
  }

  /** In two steps, so that messages of a batch are stored together and in their order. */
  prepare(message: PublishOptions): Prepared | Promise<Prepared> {
    this.count('request.publish')
    return this.#access.prepare(message)
  }

  async send(prepared: Prepared): Promise<Published> {
    const began = this.#monotonic
    const published = await this.#access.send(prepared)
    const { channel, id, offset } = published.message
    this.#options.client.observe.answered('publish', this.#monotonic - began)
    this.#emit('published', { channel, id, sequence: offset })
    return published
  }

  refused({ code, rule = '' }: Refusal): void {
    this.#options.client.observe.refused(code)
    if (code === 'access.denied') this.#emit('denied', { code, rule })
  }

  #emit(event: string, fields: { readonly [field: string]: Json }): void {
    const { tap } = this.#options.client
    const { user, tenant } = this.account
    if (tap.isOn) tap.emit({ event, at: this.now(), tenant, client: '', user, door: 'http', ...fields })
  }

  // ── what a command may do ──────────────────────────────────────────────────────────────────────────────────────

  async publish(message: PublishOptions): Promise<Published> {
    return this.send(await this.#access.prepare(message))
  }

  history(channel: string, range: Range): Promise<Page> {
    return this.#access.history(channel, range)
  }

  members(channel: string): Promise<readonly Member[]> {
    return this.#access.members(channel)
  }

  async create(channel: string, options: { description?: string; isRoom?: boolean; ttlMs?: number }): Promise<ChannelInfo> {
    const made = await this.#access.create(channel, options)
    this.#emit('channel_created', { channel: made.name })
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

  may(resource: Resource, name: string, action: string): Decision {
    return this.#access.may(resource, name, action)
  }

  /** As over a socket. Errors: `access.denied`, and those of the hook `onDocumentAccess`. */
  async documentAccess(name: string): Promise<DocumentAccess> {
    return accessTo(this.#options.client.hooks, this.#access.party, name)
  }

  /** Whether the application has a say in who may open a document. */
  get asksForDocuments(): boolean {
    return this.#options.client.hooks.onDocumentAccess !== undefined
  }

  tell<M extends Message>(address: Address, message: M): boolean {
    return this.#options.system.tell(address, message)
  }

  ask<M extends Message>(address: Address, message: M, options?: AskOptions): Promise<unknown> {
    return this.#options.system.ask(address, message, options)
  }

  authenticate = async (): Promise<never> => needsConnection()
  rename = async (): Promise<never> => needsConnection()
  setStatus = async (): Promise<never> => needsConnection()
  join = async (): Promise<never> => needsConnection()
  leave = async (): Promise<never> => needsConnection()
  watch = needsConnection
}
