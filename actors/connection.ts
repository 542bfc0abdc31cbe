/**
 * A connection: one client socket that has one document open.
 *
 *   opening ──(document loaded)──→ joined ──(socket gone, rule broken, server closing)──→ stopped
 *
 * Promises: nothing of a client is lost silently; when its message cannot be taken, the connection is closed with a
 * reason, and the client comes back and synchronises. A client that does not read costs bounded memory and slows nobody.
 * A client that is alive hears something at least every `keepAliveMs`, for some close a socket that is silent for 30 s.
 *
 * Runs as a custom-logic actor, made by the server for each socket and never restarted: its client makes a new one.
 */
import type { DocumentMessage, Refused } from './document.ts'
import { type ErrorCode, isTroupeError } from './errors.ts'
import { type Publication, publication } from './publication.ts'
import type { Address } from './system/address.ts'
import { defineActor } from './system/definition.ts'
import type { Scope } from './system/scope.ts'

/** The socket, as far as a connection needs to know one. */
export interface Sink {
  /** Hands a publication to the network. */
  send(publication: Publication): void
  ping(): void
  /** Stops and goes on reading what the client sends. */
  pause(): void
  resume(): void
  /** So many messages of the client have been dealt with, by the document, too: as many more may be given to us. */
  handled(messages: number): void
  /** Says why, then ends. `terminate`: at once, without waiting for what is queued. */
  close(code: ErrorCode, detail: string): void
  terminate(): void
  /** Bytes and writes that the network has not taken yet, without those of answers and of one large publication. */
  readonly queuedBytes: number
  readonly queuedWrites: number
  /** What the network has taken so far. Another number whenever it took some; it may fall when a large write begins. */
  readonly sentBytes: number
  /** True while the answer to the last request is still queued. */
  readonly isAnswering: boolean
}

export type ConnectionMessage =
  /** What the client said, as its door understood it. */
  | { readonly type: 'connection.receive'; readonly message: ClientMessage }
  /** The client said something that its door does not understand. */
  | { readonly type: 'connection.garbage'; readonly detail: string }
  | { readonly type: 'connection.pong' }
  /** The network has taken everything. */
  | { readonly type: 'connection.drained' }
  | { readonly type: 'connection.gone' }
  | { readonly type: 'connection.close'; readonly code: ErrorCode; readonly detail: string }
  | Publication
  | Refused
  | { readonly type: 'actor.stopped'; readonly address: Address }
  | { readonly type: 'connection.deadline' }
  | { readonly type: 'connection.ping' }
  | { readonly type: 'connection.unanswered' }
  | { readonly type: 'connection.keepAlive' }
  | { readonly type: 'connection.awareness' }

/** What a client of a document may say. */
export type ClientMessage = Extract<
  DocumentMessage,
  { type: 'document.sync' | 'document.update' | 'document.awareness' | 'document.presence' }
>

export interface ConnectionLimits {
  /** The first message must come within this. Default 10 000. */
  readonly handshakeMs: number
  /** Default 25 000. */
  readonly pingMs: number
  /** An answer to a ping, or any progress of what is being sent, must come within this. Default 8 000. */
  readonly pongMs: number
  /** Something is said at least this often. Default 20 000. */
  readonly keepAliveMs: number
  /** Bytes and writes that may wait for a slow client. Default 1 MiB and 1 000. */
  readonly outboundBytes: number
  readonly outboundMessages: number
  /** Presence messages each second, and at once. Default 20 and 40; past it only the latest counts. */
  readonly awarenessPerSecond: number
  readonly awarenessBurst: number
  /** Bad messages before the connection is closed. Default 3. */
  readonly strikes: number
}

export const connectionLimits: ConnectionLimits = {
  handshakeMs: 10_000,
  pingMs: 25_000,
  pongMs: 8_000,
  keepAliveMs: 20_000,
  outboundBytes: 1024 * 1024,
  outboundMessages: 1_000,
  awarenessPerSecond: 20,
  awarenessBurst: 40,
  strikes: 3,
}

/** What the server gives a new connection. */
export interface ConnectionInput {
  readonly sink: Sink
  readonly document: Address
}

/** Awareness of nobody: changes nothing at any client. */
const nobody = publication([{ kind: 'awareness', bytes: new Uint8Array([0]) }])
const joinTimeoutMs = 30_000
/** Messages of the client between two looks whether the document has taken them in. */
const pulseMessages = 64

class Connection {
  readonly #scope: Scope
  readonly #sink: Sink
  readonly #document: Address
  readonly #limits: ConnectionLimits
  #received = 0
  #hasSpoken = false
  #hasJoined = false
  #isClosed = false
  #strikes = 0
  #saidAt: number
  /** One answer at a time: a client that asks without reading would otherwise make us hold its document many times over. */
  #isAsking = false
  #nextQuestion: ClientMessage | undefined
  #sentAtPing = 0
  /** The ping waits behind something that the network had not taken when we last looked. */
  #isPingQueued = false
  #tokens: number
  #tokensAt: number
  #heldPresence: ClientMessage | undefined

  constructor(scope: Scope, { sink, document }: ConnectionInput, limits: ConnectionLimits) {
    this.#scope = scope
    this.#sink = sink
    this.#document = document
    this.#limits = limits
    this.#saidAt = scope.now()
    this.#tokens = limits.awarenessBurst
    this.#tokensAt = scope.now()
  }

  open(): void {
    const { handshakeMs, pingMs, keepAliveMs } = this.#limits
    // Until the document is loaded nothing is read, so a slow disk does not fill mailboxes.
    this.#sink.pause()
    this.#scope.watch(this.#document)
    this.#scope.ask(this.#document, { type: 'document.join' }, { timeoutMs: joinTimeoutMs }).then(
      () => {
        this.#hasJoined = true
        if (!this.#isClosed) this.#sink.resume()
      },
      (error) => this.close('document.unavailable', isTroupeError(error) ? error.code : ''),
    )
    this.#scope.after('deadline', handshakeMs, { type: 'connection.deadline' })
    this.#scope.after('ping', pingMs, { type: 'connection.ping' })
    this.#scope.after('keepAlive', keepAliveMs, { type: 'connection.keepAlive' })
  }

  receive(message: ClientMessage): void {
    if (this.#isClosed) return
    if (!this.#hasSpoken) {
      this.#hasSpoken = true
      this.#scope.cancel('deadline')
    }
    if (message.type === 'document.sync') this.#ask(message)
    else if (message.type === 'document.awareness') this.#hearPresence(message)
    else this.#forward(message)
    this.#count()
  }

  garbage(detail: string): void {
    this.strike('connection.bad_message', detail)
    if (!this.#isClosed) this.#count()
  }

  /** Without this, 200 000 small edits in one go would fill the mailbox of the document, and end in `document.busy`. */
  #count(): void {
    if (++this.#received < pulseMessages) return
    this.#received = 0
    const handled = () => this.#sink.handled(pulseMessages)
    // Whatever keeps the document from an answer ends this connection, too.
    this.#scope.ask(this.#document, { type: 'document.pulse' }, { timeoutMs: joinTimeoutMs }).then(handled, handled)
  }

  #forward(message: ClientMessage): void {
    if (!this.#scope.tell(this.#document, message)) this.close('document.busy', '')
  }

  #ask(question: ClientMessage): void {
    if (this.#isAsking) {
      this.#nextQuestion = question
      return
    }
    this.#isAsking = true
    this.#forward(question)
  }

  #answered(): void {
    if (this.#sink.isAnswering) return // goes on when the network has taken it
    this.#isAsking = false
    const next = this.#nextQuestion
    this.#nextQuestion = undefined
    if (next !== undefined) this.#ask(next)
  }

  drained(): void {
    if (this.#isAsking) this.#answered()
  }

  /** A token bucket; what is too fast is held, and only the latest of it counts. */
  #hearPresence(message: ClientMessage): void {
    const { awarenessPerSecond, awarenessBurst } = this.#limits
    const now = this.#scope.now()
    this.#tokens = Math.min(awarenessBurst, this.#tokens + ((now - this.#tokensAt) * awarenessPerSecond) / 1_000)
    this.#tokensAt = now
    if (this.#tokens >= 1 && this.#heldPresence === undefined) {
      this.#tokens--
      this.#forward(message)
      return
    }
    if (this.#heldPresence === undefined) this.#scope.after('awareness', 1_000 / awarenessPerSecond, { type: 'connection.awareness' })
    this.#heldPresence = message
  }

  releasePresence(): void {
    const held = this.#heldPresence
    this.#heldPresence = undefined
    if (held !== undefined && !this.#isClosed) this.#forward(held)
  }

  publish(message: Publication): void {
    if (this.#isClosed) return
    this.#sink.send(message)
    this.#saidAt = this.#scope.now()
    if (message.isAnswer) this.#answered()
    const { outboundBytes, outboundMessages } = this.#limits
    if (this.#sink.queuedBytes > outboundBytes || this.#sink.queuedWrites > outboundMessages) {
      this.#scope.log.info({ connection: this.#scope.address, queuedBytes: this.#sink.queuedBytes }, 'a slow client is disconnected')
      // A close frame would wait behind the queue.
      this.#sink.terminate()
      this.gone()
    }
  }

  strike(code: ErrorCode, detail: string): void {
    this.#scope.log.debug({ connection: this.#scope.address, code, detail }, 'a message was refused')
    if (code !== 'connection.bad_message') return this.close(code, detail)
    if (++this.#strikes >= this.#limits.strikes) this.close(code, detail)
  }

  keepAlive(): void {
    const { keepAliveMs } = this.#limits
    const silence = this.#scope.now() - this.#saidAt
    if (silence >= keepAliveMs) this.publish(nobody)
    this.#scope.after('keepAlive', silence >= keepAliveMs ? keepAliveMs : keepAliveMs - silence, { type: 'connection.keepAlive' })
  }

  ping(): void {
    this.#lookAtProgress()
    this.#sink.ping()
    this.#scope.after('pong', this.#limits.pongMs, { type: 'connection.unanswered' })
  }

  #lookAtProgress(): void {
    this.#sentAtPing = this.#sink.sentBytes
    this.#isPingQueued = this.#sink.queuedWrites > 0
  }

  pong(): void {
    this.#scope.cancel('pong')
    this.#scope.after('ping', this.#limits.pingMs, { type: 'connection.ping' })
  }

  /** The ping may wait behind a large message on a slow link; as long as that moves, the client is alive. */
  unanswered(): void {
    const isMoving = this.#isPingQueued && this.#sink.sentBytes !== this.#sentAtPing
    if (!isMoving) {
      this.#sink.terminate()
      this.gone()
      return
    }
    this.#lookAtProgress()
    this.#scope.after('pong', this.#limits.pongMs, { type: 'connection.unanswered' })
  }

  deadline(): void {
    if (!this.#hasSpoken) this.close('connection.silent', `${this.#limits.handshakeMs} ms`)
  }

  close(code: ErrorCode, detail: string): void {
    if (this.#isClosed) return
    this.#sink.close(code, detail)
    this.gone()
  }

  /** The document hears of it by its watch. */
  gone(): void {
    this.#isClosed = true
    this.#scope.stop()
  }

  /** The actor has ended, perhaps for a reason that the client does not know yet. */
  ended(): void {
    // The join may still wait in front of a document that is being loaded; it would watch somebody who has gone already, for ever.
    if (!this.#hasJoined) this.#scope.tell(this.#document, { type: 'document.leave' })
    if (this.#isClosed) return
    this.#isClosed = true
    this.#sink.close('document.busy', '')
  }
}

export const connectionKind = (limits: ConnectionLimits = connectionLimits) =>
  defineActor<Connection, ConnectionMessage>({
    kind: 'connection',
    activation: 'explicit',
    supervision: { onFailure: 'stop' },
    mailbox: { overflow: 'disconnect' },
    state: (scope, input) => {
      const connection = new Connection(scope, input as ConnectionInput, limits) // the server gives it
      connection.open()
      return connection
    },
    stopped: (connection) => connection.ended(),
    handlers: {
      'connection.receive': (connection, { message }) => connection.receive(message),
      'connection.garbage': (connection, { detail }) => connection.garbage(detail),
      'connection.publish': (connection, message) => connection.publish(message),
      'connection.refused': (connection, { code, detail }) => connection.strike(code, detail),
      'connection.pong': (connection) => connection.pong(),
      'connection.drained': (connection) => connection.drained(),
      'connection.gone': (connection) => connection.gone(),
      'connection.close': (connection, { code, detail }) => connection.close(code, detail),
      'connection.deadline': (connection) => connection.deadline(),
      'connection.ping': (connection) => connection.ping(),
      'connection.unanswered': (connection) => connection.unanswered(),
      'connection.keepAlive': (connection) => connection.keepAlive(),
      'connection.awareness': (connection) => connection.releasePresence(),
      'actor.stopped': (connection) => connection.close('document.unavailable', 'the document was closed'),
    },
  })
