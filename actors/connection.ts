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
import type { Account, Roster } from './account.ts'
import type { DocumentRequest, Participation, Refused } from './documentMessages.ts'
import { type ErrorCode, isTroupeError } from './errors.ts'
import { type Publication, publication } from './publication.ts'
import { type Sink, SocketLife, type SocketLimits, type SocketMessage, socketHandlers, socketLimits } from './socketLife.ts'
import type { Address } from './system/address.ts'
import { defineActor } from './system/definition.ts'
import type { Scope } from './system/scope.ts'

export type ConnectionMessage =
  /** What the client said, as its door understood it. */
  | { readonly type: 'connection.receive'; readonly message: DocumentRequest }
  /** The client said something that its door does not understand. */
  | { readonly type: 'connection.garbage'; readonly detail: string }
  | SocketMessage
  | Publication
  | Refused
  | { readonly type: 'actor.stopped'; readonly address: Address }
  | { readonly type: 'connection.keepAlive' }
  | { readonly type: 'connection.awareness' }

export interface ConnectionLimits extends SocketLimits {
  /** Something is said at least this often. Default 20 000. */
  readonly keepAliveMs: number
  /** Presence messages each second, and at once. Default 20 and 40; past it only the latest counts. */
  readonly awarenessPerSecond: number
  readonly awarenessBurst: number
  /** Bad messages before the connection is closed. Default 3. */
  readonly strikes: number
}

export const connectionLimits: ConnectionLimits = {
  ...socketLimits,
  keepAliveMs: 20_000,
  awarenessPerSecond: 20,
  awarenessBurst: 40,
  strikes: 3,
}

/** What the server gives a new connection. */
export interface ConnectionInput extends Participation {
  readonly sink: Sink<Publication>
  readonly document: Address
}

/** Awareness of nobody: changes nothing at any client. */
const nobody = publication([{ kind: 'awareness', bytes: new Uint8Array([0]) }])
const joinTimeoutMs = 30_000
/** Messages of the client between two looks whether the document has taken them in. */
const pulseMessages = 64

class Connection {
  readonly life: SocketLife<Publication>
  readonly #scope: Scope
  readonly #sink: Sink<Publication>
  readonly #document: Address
  readonly account: Account
  readonly #participation: Participation
  readonly #limits: ConnectionLimits
  #received = 0
  #hasSpoken = false
  #hasJoined = false
  #strikes = 0
  #saidAt: number
  /** One answer at a time: a client that asks without reading would otherwise make us hold its document many times over. */
  #isAsking = false
  #nextQuestion: DocumentRequest | undefined
  #tokens: number
  #tokensAt: number
  #heldPresence: DocumentRequest | undefined

  constructor(scope: Scope, { sink, document, ...participation }: ConnectionInput, limits: ConnectionLimits) {
    this.life = new SocketLife(scope, sink, limits)
    this.#scope = scope
    this.#sink = sink
    this.#document = document
    this.account = participation.account
    this.#participation = participation
    this.#limits = limits
    this.#saidAt = scope.now()
    this.#tokens = limits.awarenessBurst
    this.#tokensAt = scope.now()
  }

  open(): void {
    const { keepAliveMs } = this.#limits
    // Until the document is loaded nothing is read, so a slow disk does not fill mailboxes.
    this.#sink.pause()
    this.#scope.watch(this.#document)
    this.#scope.ask(this.#document, { type: 'document.join', ...this.#participation }, { timeoutMs: joinTimeoutMs }).then(
      () => {
        this.#hasJoined = true
        if (!this.life.isClosed) this.#sink.resume()
      },
      (error) => this.life.close('document.unavailable', isTroupeError(error) ? error.code : ''),
    )
    this.life.begin()
    this.life.demand()
    this.life.expireAt(this.account.expiresAt)
    this.#scope.after('keepAlive', keepAliveMs, { type: 'connection.keepAlive' })
  }

  receive(message: DocumentRequest): void {
    if (this.life.isClosed) return
    if (!this.#hasSpoken) {
      this.#hasSpoken = true
      this.life.satisfied()
    }
    if (message.type === 'document.sync') this.#ask(message)
    else if (message.type === 'document.awareness') this.#hearPresence(message)
    else this.#forward(message)
    this.#count()
  }

  garbage(detail: string): void {
    this.strike('connection.bad_message', detail)
    if (!this.life.isClosed) this.#count()
  }

  /** Without this, 200 000 small edits in one go would fill the mailbox of the document, and end in `document.busy`. */
  #count(): void {
    if (++this.#received < pulseMessages) return
    this.#received = 0
    const handled = () => this.#sink.handled(pulseMessages)
    // Whatever keeps the document from an answer ends this connection, too.
    this.#scope.ask(this.#document, { type: 'document.pulse' }, { timeoutMs: joinTimeoutMs }).then(handled, handled)
  }

  #forward(message: DocumentRequest): void {
    if (!this.#scope.tell(this.#document, message)) this.life.close('document.busy', '')
  }

  #ask(question: DocumentRequest): void {
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
  #hearPresence(message: DocumentRequest): void {
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
    if (held !== undefined && !this.life.isClosed) this.#forward(held)
  }

  publish(message: Publication): void {
    if (this.life.isClosed) return
    this.#saidAt = this.#scope.now()
    this.life.send(message)
    if (message.isAnswer) this.#answered()
  }

  strike(code: ErrorCode, detail: string): void {
    this.#scope.log.debug({ connection: this.#scope.address, code, detail }, 'a message was refused')
    if (code !== 'connection.bad_message') return this.life.close(code, detail)
    if (++this.#strikes >= this.#limits.strikes) this.life.close(code, detail)
  }

  keepAlive(): void {
    const { keepAliveMs } = this.#limits
    const silence = this.#scope.now() - this.#saidAt
    if (silence >= keepAliveMs) this.publish(nobody)
    this.#scope.after('keepAlive', silence >= keepAliveMs ? keepAliveMs : keepAliveMs - silence, { type: 'connection.keepAlive' })
  }

  deadline(): void {
    if (!this.#hasSpoken) this.life.close('connection.silent', `${this.#limits.handshakeMs} ms`)
  }

  /** The actor has ended, perhaps for a reason that the client does not know yet. */
  ended(): void {
    // The join may still wait in front of a document that is being loaded; it would watch somebody who has gone already, for ever.
    if (!this.#hasJoined) this.#scope.tell(this.#document, { type: 'document.leave' })
    if (this.life.isClosed) return
    this.life.isClosed = true
    this.#sink.close('document.busy', '')
  }
}

export const connectionKind = (limits: ConnectionLimits = connectionLimits, roster: Roster = new Map()) =>
  defineActor<Connection, ConnectionMessage>({
    kind: 'connection',
    activation: 'explicit',
    supervision: { onFailure: 'stop' },
    mailbox: { overflow: 'disconnect' },
    state: (scope, input) => {
      const connection = new Connection(scope, input as ConnectionInput, limits) // the server gives it
      roster.set(scope.address, connection.account)
      connection.open()
      return connection
    },
    stopped: (connection, scope) => {
      roster.delete(scope.address)
      connection.ended()
    },
    handlers: {
      'connection.receive': (connection, { message }) => connection.receive(message),
      'connection.garbage': (connection, { detail }) => connection.garbage(detail),
      'connection.publish': (connection, message) => connection.publish(message),
      'connection.refused': (connection, { code, detail }) => connection.strike(code, detail),
      ...socketHandlers,
      'connection.drained': (connection) => connection.drained(),
      'connection.deadline': (connection) => connection.deadline(),
      'connection.keepAlive': (connection) => connection.keepAlive(),
      'connection.awareness': (connection) => connection.releasePresence(),
      'actor.stopped': (connection) => connection.life.close('document.unavailable', 'the document was closed'),
    },
  })
