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
import type { Account } from './account.ts'
import type { Published } from './channelMessages.ts'
import { ClientAccess, type Prepared, refusalOf } from './clientAccess.ts'
import { ClientFeed } from './clientFeed.ts'
import { ClientIdentity, type ClientParts, type IdentityOptions, type Visit } from './clientIdentity.ts'
import { ClientSession, type SessionOptions } from './clientSession.ts'
import type { Command } from './command.ts'
import { isTroupeError, TroupeError } from './errors.ts'
import type { Hooks } from './hooks.ts'
import type { Json, Output, Push, Ref, Refusal, Status } from './output.ts'
import { SlidingWindow, type SlidingWindows } from './rate.ts'
import type { ClientRequest, Manners } from './request.ts'
import { type CommandRules, runCommand } from './runCommand.ts'
import { type Sink, SocketLife, type SocketLimits, type SocketMessage, socketHandlers } from './socketLife.ts'
import type { Address } from './system/address.ts'
import { defineActor } from './system/definition.ts'
import type { Scope } from './system/scope.ts'
import type { TelemetryTap } from './telemetry.ts'

export type ClientMessage =
  /** What one frame of the client said. */
  /** `bytes`: of the frame in which they came. */
  | { readonly type: 'client.receive'; readonly requests: readonly ClientRequest[]; readonly bytes?: number }
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

export interface ClientInput extends Visit {
  readonly sink: Sink<Output>
  readonly manners: Manners
  /** Of the token that it came with, or an anonymous one. */
  readonly account: Account
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

export interface ClientOptions extends CommandRules, IdentityOptions, SessionOptions {
  readonly limits: SocketLimits
  readonly hooks: Hooks
  readonly echoBudget: number
  readonly roomTtlMs: number
  /** Of one connection in any minute; 0: no limit. */
  readonly requestsPerMinute: number
  /** Of one user, over all connections; undefined: no limit. */
  readonly userRequests: SlidingWindows | undefined
  readonly tap: TelemetryTap
  readonly observe: ClientObserver
}

type PublishRequest = Extract<ClientRequest, { type: 'request.publish' }>
type CommandRequest = Extract<ClientRequest, { type: 'request.command' }>

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

class Client {
  readonly life: SocketLife<Output>
  readonly feed: ClientFeed
  readonly identity: ClientIdentity
  readonly #scope: Scope
  readonly #sink: Sink<Output>
  readonly #manners: Manners
  readonly #options: ClientOptions
  readonly #access: ClientAccess
  readonly #session: ClientSession
  readonly #rates: SlidingWindow[] = []
  /** Requests that wait for the one before. */
  readonly #waiting: { readonly request: ClientRequest; readonly frame: Frame }[] = []
  #isBusy = false
  /** The socket has ended, but not all that came from it is done. */
  #isLeaving = false
  /** False: refused, or not asked yet. */
  #isAdmitted: boolean | Promise<void> = false
  #echoes: number

  constructor(scope: Scope, input: ClientInput, options: ClientOptions) {
    const { sink, manners, account } = input
    this.#scope = scope
    this.#sink = sink
    this.#manners = manners
    this.#options = options
    this.#echoes = options.echoBudget
    this.life = new SocketLife(scope, sink, options.limits)
    this.#access = this.#openAccess(account)
    this.feed = new ClientFeed(scope, this.life, sink, manners, this.#access, () => this.identity.shownStatus)
    const parts: ClientParts = {
      scope,
      life: this.life,
      manners,
      access: this.#access,
      feed: this.feed,
      emit: (event, fields) => this.#emit(event, fields),
      afterwards: (hook, run) => this.#afterwards(hook, run),
    }
    this.identity = new ClientIdentity(parts, input, options)
    this.#session = new ClientSession(parts, this.identity, options)
    if (manners.rate !== undefined) this.#rates.push(new SlidingWindow(manners.rate.count, manners.rate.withinMs))
    if (options.requestsPerMinute > 0) this.#rates.push(new SlidingWindow(options.requestsPerMinute, minuteMs))
  }

  #openAccess(account: Account): ClientAccess {
    const { door, trustsSender, mustJoinToPublish } = this.#manners
    const { hooks, roomTtlMs } = this.#options
    return new ClientAccess(
      { client: this.#scope.id, account, door },
      {
        hooks,
        roomTtlMs,
        trustsSender,
        ask: (address, message) => this.#scope.ask(address, message),
        ...(mustJoinToPublish ? { isIn: (channel: string) => this.feed.get(channel) !== undefined } : {}),
      },
    )
  }

  open(start: readonly ClientRequest[]): void {
    const { greets, heartbeatMs, beatsAtOnce, door } = this.#manners
    this.life.begin()
    this.identity.begin()
    const opened = () => {
      const { account, life } = this
      if (greets) life.send({ type: 'output.greeting', client: this.#scope.id, account, at: this.#scope.now() })
      if (beatsAtOnce) this.heartbeat()
      else if (heartbeatMs !== undefined) this.#scope.after('heartbeat', heartbeatMs, { type: 'client.heartbeat' })
      this.#emit('connected', { door })
      this.identity.attach()
    }
    const refused = (error: unknown) => {
      const refusal = this.#refusalOf(error, 'onConnect')
      this.life.send({ type: 'output.refused', ref: undefined, command: undefined, at: this.#scope.now(), refusal })
      this.life.close(refusal.code, refusal.message)
    }
    this.#inOrder(() => this.#admit(), opened, refused)
    this.#enqueue(start, () => {})
  }

  #admit(): void | Promise<void> {
    const admitted = this.identity.admit()
    this.#isAdmitted = admitted ?? true
    return admitted
  }

  get account(): Account {
    return this.#access.account
  }

  // ── what the client says ───────────────────────────────────────────────────────────────────────────────────────

  receive(requests: readonly ClientRequest[], bytes: number): void {
    if (this.life.isClosed) return
    this.identity.heard()
    this.#enqueue(requests, () => this.#sink.handled(requests.length, bytes))
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
    else if (this.identity.lacksLogin) this.#refuse(request.ref, undefined, refusalOf(new TroupeError('auth.required')))
    else return this.#publish(request, done)
    done()
  }

  #rateRefusal(): Refusal | undefined {
    const now = this.#scope.monotonic()
    for (const rate of this.#rates) {
      const wait = rate.take(now)
      if (wait > 0) return this.#limited(wait, 'requests of one connection')
    }
    const wait = this.#options.userRequests?.take(this.identity.userId, now) ?? 0
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
      this.#goOn(() => {
        next()
        this.#next()
        if (this.#isLeaving && !this.#isBusy) this.life.gone()
      })
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

  /** After a promise a throw would end the process, and not this client. */
  #goOn(run: () => void): void {
    this.life.guarded('channel.unavailable', run)
  }

  #publish({ ref, message, wantsAck }: PublishRequest, done: () => void): void {
    const refused = (error: unknown) => {
      this.#refuse(ref, undefined, this.#refusalOf(error, 'onPublish'))
      done()
    }
    const send = (prepared: Prepared) => {
      this.identity.nameAfter(prepared.draft.sender)
      const began = this.#scope.monotonic()
      const stored = (published: Published) => {
        this.#options.observe.answered('publish', this.#scope.monotonic() - began)
        this.#published(ref, published, wantsAck)
        done()
      }
      this.#access.send(prepared).then(
        (published) => this.#goOn(() => stored(published)),
        (error) => this.#goOn(() => refused(error)),
      )
    }
    try {
      const prepared = this.#access.prepare(message)
      if (prepared instanceof Promise) this.#inOrder(() => prepared, send, refused)
      else send(prepared)
    } catch (error) {
      refused(error)
    }
  }

  #published(ref: Ref, { message, isRepeated }: Published, wantsAck: boolean): void {
    this.#emit('published', { channel: message.channel, id: message.id, sequence: message.offset })
    const { echo, acknowledges } = this.#manners
    if (echo === 'budget' && !isRepeated && this.#echoes > 0 && !this.feed.has(message.channel)) {
      this.#echoes--
      this.feed.echo(message)
    }
    if (wantsAck || acknowledges) this.feed.hand({ type: 'output.acknowledged', ref, message, isRepeated })
  }

  #command({ ref, command: name, params }: CommandRequest, done: () => void): void {
    const began = this.#scope.monotonic()
    const command = this.#options.commands.get(name)
    const answered = (code: string) => {
      this.#options.observe.answered(command === undefined ? 'unknown' : name, this.#scope.monotonic() - began)
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
      const { account } = this
      const answer = { ref, command: name, at: this.#scope.now(), account, client: this.#scope.id, data: (data ?? null) as Json }
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
    if (this.identity.lacksLogin && command?.needsAccount !== false) throw new TroupeError('auth.required')
    return runCommand(this.#options, name, params, this.#session)
  }

  // ── what the client hears ──────────────────────────────────────────────────────────────────────────────────────

  #refuse(ref: Ref, command: string | undefined, refusal: Refusal): void {
    this.#options.observe.refused(refusal.code)
    const isDenied = refusal.code === 'access.denied' || refusal.code.startsWith('auth.')
    if (isDenied) this.#emit('denied', { code: refusal.code, rule: refusal.rule ?? '' })
    const output: Output = { type: 'output.refused', ref, command, at: this.#scope.now(), refusal }
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

  heartbeat(): void {
    const { heartbeatMs } = this.#manners
    this.feed.hand({ type: 'output.heartbeat', at: this.#scope.now() })
    if (heartbeatMs !== undefined) this.#scope.after('heartbeat', heartbeatMs, { type: 'client.heartbeat' })
  }

  // ── the socket ─────────────────────────────────────────────────────────────────────────────────────────────────

  pong(): void {
    this.identity.heard()
    this.life.pong()
    this.feed.ponged()
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

  deadline(): void {
    this.life.close('auth.required', `within ${this.#options.limits.handshakeMs} ms`)
  }

  /** The actor has ended, perhaps for a reason that the client does not know yet. Channels hear of it by their watch. */
  ended(): void {
    this.identity.end()
    const disconnected = () => {
      this.#emit('disconnected', { door: this.#manners.door })
      this.#afterwards('onDisconnect', () => this.#options.hooks.onDisconnect?.(this.#access.party))
    }
    // Only for whom `onConnect` has let in, or does so in the end.
    if (this.#isAdmitted instanceof Promise) this.#isAdmitted.then(disconnected, () => {})
    else if (this.#isAdmitted) disconnected()
    if (this.life.isClosed) return
    this.life.isClosed = true
    this.#sink.close('channel.unavailable', '')
  }

  /** What happened already cannot be refused. */
  #afterwards(hook: string, run: () => unknown): void {
    const failed = (error: unknown) => this.#scope.log.error({ hook, error: String(error) }, 'a hook failed')
    try {
      Promise.resolve(run()).catch(failed)
    } catch (error) {
      failed(error)
    }
  }

  #emit(event: string, fields: { readonly [field: string]: Json }): void {
    const { tap } = this.#options
    const { tenant, user } = this.account
    if (tap.isOn) tap.emit({ event, at: this.#scope.now(), tenant, client: this.#scope.id, user, ...fields })
  }
}

export const clientKind = (options: ClientOptions) =>
  defineActor<Client, ClientMessage>({
    kind: 'client',
    activation: 'explicit',
    late: 'drop',
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
      'client.receive': (client, { requests, bytes = 0 }) => client.receive(requests, bytes),
      'client.push': (client, { output }, { from }) => client.feed.push(output, from),
      'client.status': (client, { status }, { from }) => client.identity.statusTold(status, from),
      'client.heartbeat': (client) => client.heartbeat(),
      'client.silence': (client) => client.identity.silence(),
      'client.release': (client) => client.feed.release(),
      'client.seen': (client) => client.feed.seen(),
      'client.rejoin': (client, { channel }) => client.feed.rejoin(channel),
      'actor.stopped': (client, { address }) => {
        client.identity.userStopped(address)
        client.feed.channelStopped(address)
      },
    },
  })
