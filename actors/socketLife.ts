/**
 * The life of a client socket, whatever its protocol: it must speak, answer pings and read what it is sent, or it ends.
 *
 * Promises: a client that does not read costs bounded memory and slows nobody; one that reads slowly but reads is alive; one whose
 * network is gone ends within `pingMs + pongMs`, and the time that a slow line would take for what is under way to it.
 *
 *   us ── queue of Node ── buffers of kernels and proxies ── line ──→ client
 *         sentBytes tells    megabytes, and nobody tells              answers the ping that came behind them
 *
 * So how far a client has come only the last ping that it answered says. What the network took since may be under way still, and
 * the next ping waits behind it.
 */
import type { ErrorCode } from './errors.ts'
import type { Scope } from './system/scope.ts'
import { wallLookMs } from './world.ts'

/** The socket, as far as a connection needs to know one. */
export interface Sink<Output> {
  /** Hands it to the network. */
  send(output: Output): void
  ping(): void
  /** Stops and goes on reading what the client sends. */
  pause(): void
  resume(): void
  /** So many messages of the client, of so many bytes, have been dealt with: as many more may be given to us. */
  handled(messages: number, bytes: number): void
  /** Says why, then ends. `terminate`: at once, without waiting for what is queued. */
  close(code: ErrorCode, detail: string): void
  terminate(): void
  /** Bytes and writes that the network has not taken yet, without those of answers and of large publications. */
  readonly queuedBytes: number
  readonly queuedWrites: number
  /** What the network has taken so far. Another number whenever it took some; it may fall when a large write begins. */
  readonly sentBytes: number
  /** What came from the client, halves of messages too. Whoever sends is alive. */
  readonly receivedBytes: number
  /** True while the answer to the last request is still queued. */
  readonly isAnswering: boolean
  /** It is not read for the moment, so that no answer of the client can be heard. */
  readonly isPaused: boolean
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
  /** An answer to a ping, or any other sign of life, must come within this, and the time for what is under way. Default 8 000. */
  readonly pongMs: number
  /** What is under way may take as long as at this rate. Default 42 000. */
  readonly minimumBytesPerSecond: number
  /** Longest wait for a sign of life, however much is under way. Default 480 000. */
  readonly longestPongMs: number
  /** Bytes and writes that may wait for a slow client. Default 1 MiB and 1 000. */
  readonly outboundBytes: number
  readonly outboundMessages: number
}

export const socketLimits: SocketLimits = {
  handshakeMs: 10_000,
  pingMs: 25_000,
  pongMs: 8_000,
  minimumBytesPerSecond: 42_000,
  longestPongMs: 480_000,
  outboundBytes: 1024 * 1024,
  outboundMessages: 1_000,
}

/** When so much more is under way, the client is asked how far it is: on a fast line little of it is, and its end is noticed soon. */
const probeBytes = 256 * 1024

export class SocketLife<Output> {
  readonly #scope: Scope
  readonly #sink: Sink<Output>
  readonly #limits: SocketLimits
  /** What the network had taken before the ping, and before the last one that was answered. */
  #sentAtPing = 0
  #delivered = 0
  /** What it had taken, and what had come, when we last looked. */
  #sent = 0
  #received = 0
  /** What it had taken when the ping left the queue, as far as we know. */
  #sentAhead = 0
  /** The ping waits behind something that the network had not taken when we last looked. */
  #isPingQueued = false
  /** Since the last sign of life, and until the next look. */
  #silentMs = 0
  #lookMs = 0
  #expiresAt: number | undefined
  isClosed = false
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
    else this.#scope.after('expiry', Math.min(wallLookMs, Math.max(0, at - this.#scope.now())), { type: 'connection.expired' })
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

  /** One at a time, or the answer to one would count for the next. */
  ping(): void {
    this.#scope.cancel('ping')
    this.isPinging = true
    this.#sentAtPing = this.#sink.sentBytes
    this.#sentAhead = this.#sentAtPing
    this.#silentMs = 0
    this.#sink.ping()
    this.#look()
  }

  pong(): void {
    this.#delivered = this.#sentAtPing
    this.isPinging = false
    this.#scope.cancel('pong')
    this.#scope.after('ping', this.#limits.pingMs, { type: 'connection.ping' })
  }

  /** The network has taken everything. */
  drained(): void {
    if (!this.isPinging && this.#sink.sentBytes - this.#delivered >= probeBytes) this.ping()
  }

  #look(): void {
    const { sentBytes, receivedBytes, queuedWrites } = this.#sink
    this.#sent = sentBytes
    this.#received = receivedBytes
    this.#isPingQueued = queuedWrites > 0
    this.#lookMs = Math.min(this.#limits.pongMs, Math.ceil(this.#patienceMs - this.#silentMs))
    this.#scope.after('pong', this.#lookMs, { type: 'connection.unanswered' })
  }

  get #patienceMs(): number {
    const { pongMs, minimumBytesPerSecond, longestPongMs } = this.#limits
    const underWay = Math.max(0, this.#sentAhead - this.#delivered)
    return Math.min(longestPongMs, pongMs + (underWay / minimumBytesPerSecond) * 1_000)
  }

  /** Signs of life: something came from the client, though not the answer; the network takes more of what is before the ping. */
  unanswered(): void {
    const isHeard = this.#sink.isPaused || this.#sink.receivedBytes !== this.#received
    const isMoving = this.#isPingQueued && this.#sink.sentBytes !== this.#sent
    if (isMoving) this.#sentAhead = this.#sink.sentBytes
    this.#silentMs = isHeard || isMoving ? 0 : this.#silentMs + this.#lookMs
    if (this.#silentMs < this.#patienceMs) return this.#look()
    this.#scope.log.info({ connection: this.#scope.address }, 'a client that answers no ping is disconnected')
    this.cut()
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
