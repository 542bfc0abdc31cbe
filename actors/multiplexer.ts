/**
 * A multiplexer: one socket that several documents share. Each document on it is a lane (laneLife.ts) with a connection actor of its
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
import type { ErrorCode } from './errors.ts'
import { Inbound } from './inbound.ts'
import { type LaneHost, LaneLife, type LaneLifeLimits, type LaneLifeMessage, type SocketOrigin } from './laneLife.ts'
import type { LaneRequest } from './laneMessages.ts'
import { LaneVoice } from './laneVoice.ts'
import { SocketLife, type SocketLimits, type SocketMessage, socketHandlers, socketLimits } from './socketLife.ts'
import type { Address } from './system/address.ts'
import { defineActor } from './system/definition.ts'
import type { Scope } from './system/scope.ts'

export type MultiplexerMessage =
  /** `bytes`: of the frame in which it came. */
  | { readonly type: 'multiplexer.receive'; readonly request: LaneRequest; readonly bytes?: number }
  | { readonly type: 'multiplexer.keepAlive' }
  | LaneLifeMessage
  | SocketMessage

export interface MultiplexerLimits extends SocketLimits, LaneLifeLimits {
  /** Something is said at least this often. Default 20 000. */
  readonly keepAliveMs: number
  /** Bad messages that belong to no open lane before the socket is closed. Default 3. */
  readonly strikes: number
  /** Documents on one socket. Default 128. */
  readonly lanes: number
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
export type MultiplexerInput = SocketOrigin

const pulseTimeoutMs = 30_000

class Multiplexer implements LaneHost {
  readonly life: SocketLife<never>
  readonly scope: Scope
  readonly origin: SocketOrigin
  readonly limits: MultiplexerLimits
  readonly voice: LaneVoice
  readonly waiting = { bytes: 0 }
  readonly #lanes = new Map<string, LaneLife>()
  #hasSpoken = false
  #strikes = 0
  /** What went on to connections. */
  readonly #inbound: Inbound

  constructor(scope: Scope, origin: SocketOrigin, limits: MultiplexerLimits) {
    this.life = new SocketLife<never>(scope, origin.sink as never, limits) // it pings and closes; what is sent goes through lane sinks
    this.scope = scope
    this.origin = origin
    this.limits = limits
    this.#inbound = new Inbound(origin.sink, (by) => scope.ask(by, { type: 'connection.pulse' }, { timeoutMs: pulseTimeoutMs }))
    this.life.begin()
    this.life.demand()
    this.voice = new LaneVoice(scope, origin.sink, limits.keepAliveMs)
  }

  // ── what the client says ───────────────────────────────────────────────────────────────────────────────────────

  receive(request: LaneRequest, bytes: number): void {
    if (this.life.isClosed) return
    if (!this.#hasSpoken) {
      this.#hasSpoken = true
      this.life.satisfied()
    }
    const connection = request.type === 'lane.request' ? this.#laneOf(request)?.hear(request.request) : this.#take(request)
    if (connection !== undefined) this.#inbound.passed(connection, bytes)
    else this.origin.sink.handled(1, bytes)
  }

  #take(request: Exclude<LaneRequest, { type: 'lane.request' }>): undefined {
    switch (request.type) {
      case 'lane.token': {
        if (request.knowsPing) this.voice.knowsPing = true
        const lane = this.#laneOf(request)
        if (lane !== undefined) lane.hearToken(request.token)
        else this.voice.denied(request.name, 'connection.too_many', `${this.limits.lanes} documents on one socket`)
        return
      }
      case 'lane.leave':
        this.#leave(request.name)
        return
      case 'lane.garbage':
        this.#garbage(request.name, request.detail)
        return
      case 'lane.misnamed':
        if (request.isToken) this.voice.denied(request.name, 'connection.bad_name', request.detail)
        return
      case 'lane.pong':
        return
      case 'lane.foreign':
        this.life.close('connection.bad_message', request.detail)
        return
      case 'lane.unreadable':
        this.#strike(request.detail)
        return
    }
  }

  #laneOf({ name, document }: { readonly name: string; readonly document: string }): LaneLife | undefined {
    const known = this.#lanes.get(name)
    if (known !== undefined || this.#lanes.size >= this.limits.lanes) return known
    const lane = new LaneLife(this, { name, document })
    this.#lanes.set(name, lane)
    return lane
  }

  #leave(name: string): void {
    this.#lanes.get(name)?.leave()
    this.#lanes.delete(name)
  }

  #garbage(name: string, detail: string): void {
    if (this.#lanes.get(name)?.garbage(detail) !== true) this.#strike(detail)
  }

  #strike(detail: string): void {
    this.scope.log.debug({ connection: this.scope.address, detail }, 'a frame was refused')
    if (++this.#strikes >= this.limits.strikes) this.life.close('connection.bad_message', detail)
  }

  released(connection: Address, bytes: number): void {
    this.origin.sink.arrived(1, bytes)
    this.#inbound.passed(connection, bytes)
  }

  // ── the socket ─────────────────────────────────────────────────────────────────────────────────────────────────

  get isClosed(): boolean {
    return this.life.isClosed
  }

  close(code: ErrorCode, detail: string): void {
    this.life.close(code, detail)
  }

  keepAlive(): void {
    const [name] = this.#lanes.keys()
    this.voice.keepAlive(this.#hasSpoken, name)
  }

  drained(): void {
    this.life.drained()
    for (const lane of this.#lanes.values()) lane.drained()
  }

  deadline(): void {
    if (!this.#hasSpoken) this.life.close('connection.silent', `${this.limits.handshakeMs} ms`)
  }

  /** Ended without a word to the client: by a fault of ours. */
  stopped(): void {
    if (this.life.isClosed) return
    this.life.isClosed = true
    this.origin.sink.close('document.busy', '')
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
      'multiplexer.receive': (multiplexer, { request, bytes = 0 }) => multiplexer.receive(request, bytes),
      'multiplexer.identified': (_, { lane, account }) => lane.identified(account),
      'multiplexer.refused': (_, { lane, code, detail }) => lane.refused(code, detail),
      'multiplexer.joined': (_, { lane, sink }) => lane.hasJoined(sink),
      'multiplexer.ended': (_, { lane, sink, code, detail }) => lane.hasEnded(sink, code, detail),
      'multiplexer.unanswered': (_, { lane }) => lane.unanswered(),
      'multiplexer.aging': (_, { lane }) => lane.aging(),
      'multiplexer.rested': (_, { lane }) => lane.rested(),
      'multiplexer.keepAlive': (multiplexer) => multiplexer.keepAlive(),
      ...socketHandlers,
      'connection.drained': (multiplexer) => multiplexer.drained(),
      'connection.deadline': (multiplexer) => multiplexer.deadline(),
    },
  })
