/**
 * The life of a client socket, whatever its protocol: it must speak, answer pings and read what it is sent, or it ends.
 *
 * Promises: a client that does not read costs bounded memory and slows nobody; one whose network is gone ends within
 * `pingMs + pongMs`; one that reads slowly but reads is alive.
 */
import type { ErrorCode } from './errors.ts'
import type { Scope } from './system/scope.ts'

/** The socket, as far as a connection needs to know one. */
export interface Sink<Output> {
  /** Hands it to the network. */
  send(output: Output): void
  ping(): void
  /** Stops and goes on reading what the client sends. */
  pause(): void
  resume(): void
  /** So many messages of the client have been dealt with: as many more may be given to us. */
  handled(messages: number): void
  /** Says why, then ends. `terminate`: at once, without waiting for what is queued. */
  close(code: ErrorCode, detail: string): void
  terminate(): void
  /** Bytes and writes that the network has not taken yet, without those of answers and of large publications. */
  readonly queuedBytes: number
  readonly queuedWrites: number
  /** What the network has taken so far. Another number whenever it took some; it may fall when a large write begins. */
  readonly sentBytes: number
  /** True while the answer to the last request is still queued. */
  readonly isAnswering: boolean
}

export type SocketMessage =
  | { readonly type: 'connection.pong' }
  /** The network has taken everything. */
  | { readonly type: 'connection.drained' }
  | { readonly type: 'connection.gone' }
  | { readonly type: 'connection.close'; readonly code: ErrorCode; readonly detail: string }
  | { readonly type: 'connection.deadline' }
  | { readonly type: 'connection.ping' }
  | { readonly type: 'connection.unanswered' }
  | { readonly type: 'connection.expired' }

export interface SocketLimits {
  /** The first message, or the login, must come within this. Default 10 000. */
  readonly handshakeMs: number
  /** Default 25 000. */
  readonly pingMs: number
  /** An answer to a ping, or any progress of what is being sent, must come within this. Default 8 000. */
  readonly pongMs: number
  /** Bytes and writes that may wait for a slow client. Default 1 MiB and 1 000. */
  readonly outboundBytes: number
  readonly outboundMessages: number
}

export const socketLimits: SocketLimits = {
  handshakeMs: 10_000,
  pingMs: 25_000,
  pongMs: 8_000,
  outboundBytes: 1024 * 1024,
  outboundMessages: 1_000,
}

/** Longest wait of one timer of Node; an account that expires later is looked at again. */
const longestWaitMs = 2 ** 31 - 1

export class SocketLife<Output> {
  readonly #scope: Scope
  readonly #sink: Sink<Output>
  readonly #limits: SocketLimits
  #sentAtPing = 0
  /** The ping waits behind something that the network had not taken when we last looked. */
  #isPingQueued = false
  #expiresAt: number | undefined
  isClosed = false
  /** Its socket is not read for the moment, so that no answer of it can be heard. */
  isUnheard = false
  /** A ping is not answered yet. */
  isPinging = false

  constructor(scope: Scope, sink: Sink<Output>, limits: SocketLimits) {
    this.#scope = scope
    this.#sink = sink
    this.#limits = limits
  }

  begin(): void {
    this.#scope.after('ping', this.#limits.pingMs, { type: 'connection.ping' })
  }

  /** The client has to do something within `handshakeMs`, or `connection.deadline` comes. */
  demand(): void {
    this.#scope.after('deadline', this.#limits.handshakeMs, { type: 'connection.deadline' })
  }

  satisfied(): void {
    this.#scope.cancel('deadline')
  }

  /** The account of the client ends then; undefined: it does not. */
  expireAt(at: number | undefined): void {
    this.#expiresAt = at
    if (at === undefined) this.#scope.cancel('expiry')
    else this.#scope.after('expiry', Math.min(longestWaitMs, Math.max(0, at - this.#scope.now())), { type: 'connection.expired' })
  }

  expired(): void {
    if (this.#expiresAt !== undefined && this.#scope.now() < this.#expiresAt) this.expireAt(this.#expiresAt)
    else this.close('auth.expired', '')
  }

  send(output: Output): void {
    if (this.isClosed) return
    this.#sink.send(output)
    const { outboundBytes, outboundMessages } = this.#limits
    if (this.#sink.queuedBytes <= outboundBytes && this.#sink.queuedWrites <= outboundMessages) return
    this.#scope.log.info({ connection: this.#scope.address, queuedBytes: this.#sink.queuedBytes }, 'a slow client is disconnected')
    this.cut() // a close frame would wait behind the queue
  }

  ping(): void {
    this.#lookAtProgress()
    this.isPinging = true
    this.#sink.ping()
    this.#scope.after('pong', this.#limits.pongMs, { type: 'connection.unanswered' })
  }

  #lookAtProgress(): void {
    this.#sentAtPing = this.#sink.sentBytes
    this.#isPingQueued = this.#sink.queuedWrites > 0
  }

  pong(): void {
    this.isPinging = false
    this.#scope.cancel('pong')
    this.#scope.after('ping', this.#limits.pingMs, { type: 'connection.ping' })
  }

  /** The ping may wait behind a large message on a slow link; as long as that moves, the client is alive. */
  unanswered(): void {
    const isMoving = this.isUnheard || (this.#isPingQueued && this.#sink.sentBytes !== this.#sentAtPing)
    if (!isMoving) {
      this.#scope.log.info({ connection: this.#scope.address }, 'a client that answers no ping is disconnected')
      return this.cut()
    }
    this.#lookAtProgress()
    this.#scope.after('pong', this.#limits.pongMs, { type: 'connection.unanswered' })
  }

  cut(): void {
    this.#sink.terminate()
    this.gone()
  }

  close(code: ErrorCode, detail: string): void {
    if (this.isClosed) return
    this.#sink.close(code, detail)
    this.gone()
  }

  /** For what goes on after a promise: there a throw would end the process, and not the actor. Nothing goes on after the end. */
  guarded(code: ErrorCode, run: () => void): void {
    if (this.isClosed) return
    try {
      run()
    } catch (error) {
      this.#scope.log.error({ connection: this.#scope.address, error: String(error) }, 'a connection failed and is closed')
      this.close(code, '')
    }
  }

  /** Whoever watches the connection hears of it. */
  gone(): void {
    this.isClosed = true
    this.#scope.stop()
  }
}

/** The handlers of both kinds of connections for what happens to their socket. */
export const socketHandlers = {
  'connection.pong': ({ life }: Living) => life.pong(),
  'connection.gone': ({ life }: Living) => life.gone(),
  'connection.close': ({ life }: Living, { code, detail }: { code: ErrorCode; detail: string }) => life.close(code, detail),
  'connection.ping': ({ life }: Living) => life.ping(),
  'connection.unanswered': ({ life }: Living) => life.unanswered(),
  'connection.expired': ({ life }: Living) => life.expired(),
}

interface Living {
  readonly life: Omit<SocketLife<never>, 'send'>
}
