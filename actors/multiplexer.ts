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
import { type LaneHost, LaneLife, type LaneLifeLimits, type LaneLifeMessage, type SocketOrigin } from './laneLife.ts'
import type { LaneRequest } from './laneMessages.ts'
import { LaneVoice } from './laneVoice.ts'
import { SocketLife, type SocketLimits, type SocketMessage, socketHandlers, socketLimits } from './socketLife.ts'
import type { Address } from './system/address.ts'
import { defineActor } from './system/definition.ts'
import type { Scope } from './system/scope.ts'

export type MultiplexerMessage =
  | { readonly type: 'multiplexer.receive'; readonly request: LaneRequest }
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

/** Messages of the client between two looks whether they have been taken in. */
const pulseMessages = 64
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
  #received = 0
  /** Connections that got something since the last look. */
  readonly #touched = new Set<Address>()

  constructor(scope: Scope, origin: SocketOrigin, limits: MultiplexerLimits) {
    this.life = new SocketLife<never>(scope, origin.sink as never, limits) // it pings and closes; what is sent goes through lane sinks
    this.scope = scope
    this.origin = origin
    this.limits = limits
    this.life.begin()
    this.life.demand()
    this.voice = new LaneVoice(scope, origin.sink, limits.keepAliveMs)
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
        if (request.knowsPing) this.voice.knowsPing = true
        const lane = this.#laneOf(request)
        if (lane !== undefined) return lane.hearToken(request.token)
        return this.voice.denied(request.name, 'connection.too_many', `${this.limits.lanes} documents on one socket`)
      }
      case 'lane.request':
        return this.#laneOf(request)?.hear(request.request)
      case 'lane.leave':
        return this.#leave(request.name)
      case 'lane.garbage':
        return this.#garbage(request.name, request.detail)
      case 'lane.misnamed':
        return request.isToken ? this.voice.denied(request.name, 'connection.bad_name', request.detail) : undefined
      case 'lane.pong':
        return
      case 'lane.unreadable':
        return this.#strike(request.detail)
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

  passed(connection: Address): void {
    this.#touched.add(connection)
  }

  /** Without this, 200 000 small edits in one go would fill the mailboxes behind. */
  #count(): void {
    if (++this.#received < pulseMessages) return
    this.#received = 0
    const taken = [...this.#touched].map((connection) =>
      this.scope.ask(connection, { type: 'connection.pulse' }, { timeoutMs: pulseTimeoutMs }),
    )
    this.#touched.clear()
    // Whatever keeps a document from an answer ends that connection, too.
    void Promise.allSettled(taken).then(() => this.origin.sink.handled(pulseMessages))
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
      'multiplexer.receive': (multiplexer, { request }) => multiplexer.receive(request),
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
