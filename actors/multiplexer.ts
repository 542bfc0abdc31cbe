/**
 * A multiplexer: one socket that several documents share. Each document on it is a lane (lane.ts) with a connection actor of its
 * own behind it, so access, presence, receipts and limits are those of any other connection.
 *
 *   socket ─ frames ─→ multiplexer ─ by lane ─→ connection ─→ document
 *   socket ←──────────────── lane sink ←─────── connection ←── document
 *
 * Promises:
 * - Nothing reaches a document before the token of its lane was found good; what comes earlier waits, within bounds.
 * - A denied lane is told so once, and the socket stays open: a client that finds it closed connects again, for ever.
 * - A connection that ends for a reason that passes is made again; client and document synchronise anew, receipts that were
 *   under way are made good, and the other lanes notice nothing. One that ends for good leaves its lane denied.
 * - Before the token of a lane runs out, its client is asked for another, which takes effect in place.
 * - A client that is alive hears something at least every `keepAliveMs`.
 *
 * Runs as a custom-logic actor, made by the server for each socket and never restarted; its connections end with it.
 */
import { noBytes } from '../crdt/cursor.ts'
import { type Account, scopedId } from './account.ts'
import type { ConnectionInput, ConnectionMessage } from './connection.ts'
import type { DocumentRequest } from './documentMessages.ts'
import { type ErrorCode, errorTable, isTroupeError } from './errors.ts'
import { Lane, type LaneLimits } from './lane.ts'
import type { LaneRequest, SharedSink } from './laneMessages.ts'
import { LaneSink } from './laneSink.ts'
import { LaneVoice } from './laneVoice.ts'
import { SocketLife, type SocketLimits, type SocketMessage, socketHandlers, socketLimits } from './socketLife.ts'
import type { Address } from './system/address.ts'
import { defineActor } from './system/definition.ts'
import type { Scope } from './system/scope.ts'
import type { EpochMs } from './world.ts'

export type MultiplexerMessage =
  | { readonly type: 'multiplexer.receive'; readonly request: LaneRequest }
  | { readonly type: 'multiplexer.identified'; readonly lane: Lane; readonly account: Account }
  | { readonly type: 'multiplexer.refused'; readonly lane: Lane; readonly code: ErrorCode; readonly detail: string }
  | { readonly type: 'multiplexer.joined'; readonly lane: Lane; readonly sink: LaneSink }
  | {
      readonly type: 'multiplexer.ended'
      readonly lane: Lane
      readonly sink: LaneSink
      readonly code: ErrorCode
      readonly detail: string
    }
  /** No token came in time. */
  | { readonly type: 'multiplexer.unanswered'; readonly lane: Lane }
  /** The token of the lane is about to run out. */
  | { readonly type: 'multiplexer.aging'; readonly lane: Lane }
  /** The lane has rested. */
  | { readonly type: 'multiplexer.rested'; readonly lane: Lane }
  | { readonly type: 'multiplexer.keepAlive' }
  | SocketMessage

export interface MultiplexerLimits extends SocketLimits, LaneLimits {
  /** Something is said at least this often. Default 20 000. */
  readonly keepAliveMs: number
  /** Bad messages that belong to no open lane before the socket is closed. Default 3. */
  readonly strikes: number
  /** Documents on one socket. Default 128. */
  readonly lanes: number
  /** A new token is asked for this long before the old one runs out. Default 30 000. */
  readonly tokenRefreshMs: number
}

export const multiplexerLimits: MultiplexerLimits = {
  ...socketLimits,
  keepAliveMs: 20_000,
  strikes: 3,
  lanes: 128,
  tokenRefreshMs: 30_000,
  pendingMessages: 128,
  pendingBytes: 1024 * 1024,
}

/** What the server gives a new multiplexer. */
export interface MultiplexerInput {
  readonly sink: SharedSink
  /** Whose token it is; for an empty one, who opened the socket. Errors: those of the authenticator, `auth.required`. */
  readonly identify: (token: string) => Promise<Account>
  /** For hooks. */
  readonly door: string
  /** The epoch of the document that the client says it knows, where the token does not say it. */
  readonly epoch?: string
}

const emptyVector = new Uint8Array([0])
/** Messages of the client between two looks whether they have been taken in. */
const pulseMessages = 64
const pulseTimeoutMs = 30_000
/** A document that fails again and again is tried ever more rarely, up to this. */
const firstRestMs = 500
const longestRestMs = 30_000
/** A lane that was open for so long begins anew with the shortest rest. */
const steadyMs = 60_000

/** When to ask for the next token. With a short life left, at half of it; never many times a second. */
export const refreshIn = (now: EpochMs, expiresAt: EpochMs, tokenRefreshMs: number): number => {
  const left = expiresAt - now
  return Math.max(1_000, left > 2 * tokenRefreshMs ? left - tokenRefreshMs : left / 2)
}

/** Somewhere around twice the last rest, so that the clients of a document that failed do not come back in one moment. */
export const restMs = (failures: number, chance: number): number =>
  Math.min(longestRestMs, firstRestMs * 2 ** Math.min(failures, 16)) * (0.5 + chance)

const isSame = (a: Account, b: Account): boolean => a.user === b.user && a.tenant === b.tenant && a.isAnonymous === b.isAnonymous

class Multiplexer {
  readonly life: SocketLife<never>
  readonly #scope: Scope
  readonly #input: MultiplexerInput
  readonly #limits: MultiplexerLimits
  readonly #voice: LaneVoice
  readonly #lanes = new Map<string, Lane>()
  readonly #sinks = new Map<Lane, LaneSink>()
  readonly #waiting = { bytes: 0 }
  #hasSpoken = false
  #strikes = 0
  #received = 0
  /** Connections that got something since the last look. */
  readonly #touched = new Set<Address>()

  constructor(scope: Scope, input: MultiplexerInput, limits: MultiplexerLimits) {
    this.life = new SocketLife<never>(scope, input.sink as never, limits) // it pings and closes; what is sent goes through lane sinks
    this.#scope = scope
    this.#input = input
    this.#limits = limits
    this.life.begin()
    this.life.demand()
    this.#voice = new LaneVoice(scope, input.sink, limits.keepAliveMs)
  }

  // ── what the client says ───────────────────────────────────────────────────────────────────────────────────────

  receive(request: LaneRequest): void {
    if (this.life.isClosed) return
    if (!this.#hasSpoken) {
      this.#hasSpoken = true
      this.life.satisfied()
    }
    this.#take(request)
    if (!this.life.isClosed) this.#count()
  }

  #take(request: LaneRequest): void {
    switch (request.type) {
      case 'lane.token': {
        if (request.knowsPing) this.#voice.knowsPing = true
        const lane = this.#laneOf(request)
        if (lane !== undefined) return this.#hearToken(lane, request.token)
        return this.#voice.denied(request.name, 'connection.too_many', `${this.#limits.lanes} documents on one socket`)
      }
      case 'lane.request': {
        const lane = this.#laneOf(request)
        return lane === undefined ? undefined : this.#hear(lane, request.request)
      }
      case 'lane.leave':
        return this.#leave(request.name)
      case 'lane.garbage':
        return this.#garbage(request.name, request.detail)
      case 'lane.misnamed':
        return request.isToken ? this.#voice.denied(request.name, 'connection.bad_name', request.detail) : undefined
      case 'lane.pong':
        return
      case 'lane.unreadable':
        return this.#strike(request.detail)
    }
  }

  #laneOf({ name, document }: { readonly name: string; readonly document: string }): Lane | undefined {
    const known = this.#lanes.get(name)
    if (known !== undefined || this.#lanes.size >= this.#limits.lanes) return known
    const lane = new Lane(name, document, this.#limits, this.#waiting)
    this.#lanes.set(name, lane)
    this.#awaitToken(lane)
    return lane
  }

  #hear(lane: Lane, request: DocumentRequest): void {
    lane.hear(request)
    if (lane.stage.kind === 'denied') return
    if (lane.stage.kind === 'open') this.#pass(lane, lane.stage.connection, request)
    else lane.wait(request)
  }

  #pass(lane: Lane, connection: Address, request: DocumentRequest): void {
    this.#touched.add(connection)
    this.#tellConnection(connection, { type: 'connection.receive', message: request })
    if (request.type === 'document.update' && request.isAnswer && lane.answered())
      this.#tellConnection(connection, { type: 'connection.receive', message: { type: 'document.barrier', payload: noBytes } })
  }

  #tellConnection(connection: Address, message: ConnectionMessage): void {
    this.#scope.tell(connection, message)
  }

  #garbage(name: string, detail: string): void {
    const stage = this.#lanes.get(name)?.stage
    if (stage?.kind === 'open') return this.#tellConnection(stage.connection, { type: 'connection.garbage', detail })
    if (stage?.kind !== 'denied') this.#strike(detail)
  }

  #strike(detail: string): void {
    this.#scope.log.debug({ connection: this.#scope.address, detail }, 'a frame was refused')
    if (++this.#strikes >= this.#limits.strikes) this.life.close('connection.bad_message', detail)
  }

  #leave(name: string): void {
    const lane = this.#lanes.get(name)
    if (lane === undefined) return
    this.#lanes.delete(name)
    this.#disconnect(lane)
    this.#forgetTimers(lane)
    lane.takePending()
  }

  /** Without this, 200 000 small edits in one go would fill the mailboxes behind. */
  #count(): void {
    if (++this.#received < pulseMessages) return
    this.#received = 0
    const taken = [...this.#touched].map((connection) =>
      this.#scope.ask(connection, { type: 'connection.pulse' }, { timeoutMs: pulseTimeoutMs }),
    )
    this.#touched.clear()
    // Whatever keeps a document from an answer ends that connection, too.
    void Promise.allSettled(taken).then(() => this.#input.sink.handled(pulseMessages))
  }

  // ── tokens ─────────────────────────────────────────────────────────────────────────────────────────────────────

  #awaitToken(lane: Lane): void {
    lane.stage = { kind: 'waiting' }
    this.#scope.after(`token ${lane.name}`, this.#limits.handshakeMs, { type: 'multiplexer.unanswered', lane })
  }

  #hearToken(lane: Lane, token: string): void {
    const { kind } = lane.stage
    if (kind === 'denied' || kind === 'resting') {
      this.#forgetTimers(lane)
      lane.stage = { kind: 'waiting' }
      // What the client said meanwhile was not listened to.
      if (kind === 'denied') lane.breakOff()
    }
    if (kind === 'waiting') this.#scope.cancel(`token ${lane.name}`)
    if (lane.isChecking) lane.nextToken = token
    else this.#check(lane, token)
  }

  #check(lane: Lane, token: string): void {
    lane.isChecking = true
    const tell = (message: MultiplexerMessage): void => {
      if (!this.life.isClosed) this.#scope.tell(this.#scope.address, message)
    }
    this.#input.identify(token).then(
      (account) => tell({ type: 'multiplexer.identified', lane, account }),
      (error) => {
        if (!isTroupeError(error)) this.#scope.log.error({ error: String(error) }, 'a token could not be checked')
        const [code, detail] = isTroupeError(error) ? [error.code, error.detail] : (['auth.unavailable', ''] as const)
        tell({ type: 'multiplexer.refused', lane, code, detail })
      },
    )
  }

  /** False when another token came meanwhile, or the client left. */
  #checked(lane: Lane): boolean {
    lane.isChecking = false
    if (this.#lanes.get(lane.name) !== lane) return false
    const { nextToken } = lane
    lane.nextToken = undefined
    if (nextToken !== undefined) this.#check(lane, nextToken)
    return nextToken === undefined
  }

  identified(lane: Lane, account: Account): void {
    if (!this.#checked(lane)) return
    const { stage } = lane
    if (stage.kind === 'waiting') return this.#join(lane, account)
    if (stage.kind !== 'joining' && stage.kind !== 'open') return
    if (isSame(stage.account, account)) this.#renew(lane, stage.connection, account)
    // What it sees and what it wrote belongs to somebody else. It comes back, as the new one from the beginning.
    else this.life.close('auth.expired', 'the new token is of another account')
  }

  #renew(lane: Lane, connection: Address, account: Account): void {
    const { kind } = lane.stage
    lane.stage = { kind: kind === 'open' ? 'open' : 'joining', connection, account }
    this.#planRefresh(lane, account)
    this.#scope.ask(connection, { type: 'connection.recheck', account } satisfies ConnectionMessage).then(
      (outcome) => {
        if (outcome === 'same') this.#sinks.get(lane)?.greetAgain()
      },
      () => {}, // the connection has ended, and said why
    )
  }

  refused(lane: Lane, code: ErrorCode, detail: string): void {
    if (!this.#checked(lane) || lane.stage.kind === 'denied') return
    if (!errorTable[code].retry) return this.#deny(lane, code, detail)
    if (lane.stage.kind === 'waiting') return this.#rest(lane, undefined)
    // An open one has its old token still, and is asked once more.
    this.#scope.after(`refresh ${lane.name}`, this.#nextRest(lane), { type: 'multiplexer.aging', lane })
  }

  unanswered(lane: Lane): void {
    if (this.#lanes.get(lane.name) !== lane || lane.stage.kind !== 'waiting' || lane.isChecking) return
    this.#deny(lane, 'auth.required', `no token within ${this.#limits.handshakeMs} ms`)
  }

  #planRefresh(lane: Lane, { expiresAt }: Account): void {
    this.#scope.cancel(`refresh ${lane.name}`)
    // The same token again: it was asked for, and there is no newer one.
    if (expiresAt === undefined || expiresAt === lane.askedFor) return
    const ms = refreshIn(this.#scope.now(), expiresAt, this.#limits.tokenRefreshMs)
    this.#scope.after(`refresh ${lane.name}`, ms, { type: 'multiplexer.aging', lane })
  }

  aging(lane: Lane): void {
    const { stage } = lane
    if (this.#lanes.get(lane.name) !== lane || (stage.kind !== 'open' && stage.kind !== 'joining')) return
    lane.askedFor = stage.account.expiresAt
    this.#voice.wantToken(lane.name)
  }

  // ── the connection behind a lane ───────────────────────────────────────────────────────────────────────────────

  #join(lane: Lane, account: Account): void {
    if (account.expiresAt !== undefined && account.expiresAt <= this.#scope.now()) return this.#deny(lane, 'auth.expired', '')
    const connection: Address = `connection/${this.#scope.random.id()}`
    const sink = new LaneSink(lane, this.#input.sink, this)
    lane.stage = { kind: 'joining', connection, account }
    this.#sinks.set(lane, sink)
    const epoch = account.epoch ?? this.#input.epoch
    this.#scope.spawn(connection, {
      sink,
      document: `document/${scopedId(account.tenant, lane.document)}`,
      account,
      door: this.#input.door,
      wantsReceipts: true,
      wantsStorageNews: true,
      sharesSocket: true,
      ...(epoch === undefined ? {} : { epoch }),
    } satisfies ConnectionInput)
    this.#planRefresh(lane, account)
  }

  /** From the turn of the connection: only told on. */
  joined(lane: Lane, sink: LaneSink): void {
    this.#scope.tell(this.#scope.address, { type: 'multiplexer.joined', lane, sink })
  }

  ended(lane: Lane, sink: LaneSink, code: ErrorCode, detail: string): void {
    if (!this.life.isClosed) this.#scope.tell(this.#scope.address, { type: 'multiplexer.ended', lane, sink, code, detail })
  }

  hasJoined(lane: Lane, sink: LaneSink): void {
    const { stage } = lane
    if (this.#sinks.get(lane) !== sink || stage.kind !== 'joining') return
    lane.stage = { ...stage, kind: 'open' }
    lane.openedAt = this.#scope.now()
    for (const request of lane.takePending()) this.#pass(lane, stage.connection, request)
    if (lane.hasGap) this.#closeGap(lane, stage.connection)
  }

  /** The client does not know that it has to synchronise; so the server asks, and tells it everything that it may lack. */
  #closeGap(lane: Lane, connection: Address): void {
    lane.asked()
    this.#voice.wantPresence(lane.name)
    // Its client does not count the answer to it: the receipts that it waits for are those that were lost.
    this.#pass(lane, connection, { type: 'document.sync', stateVector: lane.vector ?? emptyVector, isCounted: true })
  }

  hasEnded(lane: Lane, sink: LaneSink, code: ErrorCode, detail: string): void {
    const { stage } = lane
    if (this.#sinks.get(lane) !== sink || (stage.kind !== 'joining' && stage.kind !== 'open')) return
    this.#sinks.delete(lane)
    if (!errorTable[code].retry) return this.#deny(lane, code, detail, sink.hasGreeted)
    if (stage.kind === 'open') {
      lane.breakOff()
      if (this.#scope.now() - lane.openedAt >= steadyMs) lane.failures = 0
    }
    this.#scope.cancel(`refresh ${lane.name}`)
    if (sink.hasGreeted) this.#voice.closed(lane.name, code, detail)
    // Who was in is asked for a token: what it may do can have changed since the last one.
    this.#rest(lane, stage.kind === 'open' ? undefined : stage.account)
  }

  #rest(lane: Lane, account: Account | undefined): void {
    lane.stage = { kind: 'resting', account }
    this.#scope.after(`rest ${lane.name}`, this.#nextRest(lane), { type: 'multiplexer.rested', lane })
  }

  #nextRest(lane: Lane): number {
    return restMs(lane.failures++, this.#scope.random.next())
  }

  rested(lane: Lane): void {
    if (this.#lanes.get(lane.name) !== lane || lane.stage.kind !== 'resting') return
    const { account } = lane.stage
    if (account !== undefined) return this.#join(lane, account)
    this.#awaitToken(lane)
    this.#voice.wantToken(lane.name)
  }

  #disconnect(lane: Lane): void {
    const { stage } = lane
    this.#sinks.get(lane)?.end()
    this.#sinks.delete(lane)
    if (stage.kind === 'joining' || stage.kind === 'open') this.#tellConnection(stage.connection, { type: 'connection.gone' })
  }

  #deny(lane: Lane, code: ErrorCode, detail: string, hasGreeted = this.#sinks.get(lane)?.hasGreeted === true): void {
    this.#disconnect(lane)
    this.#forgetTimers(lane)
    lane.takePending()
    lane.stage = { kind: 'denied' }
    // First that it is no longer synchronised, so that it takes the others off the screen.
    if (hasGreeted) this.#voice.closed(lane.name, code, detail)
    this.#voice.denied(lane.name, code, detail)
  }

  #forgetTimers(lane: Lane): void {
    for (const timer of ['token', 'refresh', 'rest']) this.#scope.cancel(`${timer} ${lane.name}`)
  }

  // ── the socket ─────────────────────────────────────────────────────────────────────────────────────────────────

  said(): void {
    this.#voice.said()
  }

  keepAlive(): void {
    const [name] = this.#lanes.keys()
    this.#voice.keepAlive(this.#hasSpoken, name)
  }

  drained(): void {
    for (const { stage } of this.#lanes.values())
      if (stage.kind === 'open') this.#tellConnection(stage.connection, { type: 'connection.drained' })
  }

  deadline(): void {
    if (!this.#hasSpoken) this.life.close('connection.silent', `${this.#limits.handshakeMs} ms`)
  }

  /** Ended without a word to the client: by a fault of ours. */
  stopped(): void {
    if (this.life.isClosed) return
    this.life.isClosed = true
    this.#input.sink.close('document.busy', '')
  }
}

export const multiplexerKind = (limits: MultiplexerLimits = multiplexerLimits) =>
  defineActor<Multiplexer, MultiplexerMessage>({
    kind: 'multiplexer',
    activation: 'explicit',
    late: 'drop',
    supervision: { onFailure: 'stop' },
    mailbox: { overflow: 'disconnect' },
    state: (scope, input) => new Multiplexer(scope, input as MultiplexerInput, limits), // the server gives it
    stopped: (multiplexer) => multiplexer.stopped(),
    handlers: {
      'multiplexer.receive': (multiplexer, { request }) => multiplexer.receive(request),
      'multiplexer.identified': (multiplexer, { lane, account }) => multiplexer.identified(lane, account),
      'multiplexer.refused': (multiplexer, { lane, code, detail }) => multiplexer.refused(lane, code, detail),
      'multiplexer.joined': (multiplexer, { lane, sink }) => multiplexer.hasJoined(lane, sink),
      'multiplexer.ended': (multiplexer, { lane, sink, code, detail }) => multiplexer.hasEnded(lane, sink, code, detail),
      'multiplexer.unanswered': (multiplexer, { lane }) => multiplexer.unanswered(lane),
      'multiplexer.aging': (multiplexer, { lane }) => multiplexer.aging(lane),
      'multiplexer.rested': (multiplexer, { lane }) => multiplexer.rested(lane),
      'multiplexer.keepAlive': (multiplexer) => multiplexer.keepAlive(),
      ...socketHandlers,
      'connection.drained': (multiplexer) => multiplexer.drained(),
      'connection.deadline': (multiplexer) => multiplexer.deadline(),
    },
  })
