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
import { type Account, type DocumentAccess, publicName, type Roster } from './account.ts'
import type { Admission } from './admission.ts'
import { Curtain } from './curtain.ts'
import { type AccessOutcome, accessTo } from './documentAccess.ts'
import { isDamage } from './documentDamage.ts'
import type { DocumentRequest, Participation, Refused } from './documentMessages.ts'
import { type ErrorCode, isTroupeError } from './errors.ts'
import { HeldPresence } from './heldPresence.ts'
import type { HookClient, Hooks } from './hooks.ts'
import { Inbound } from './inbound.ts'
import { type PresenceCounts, presenceCounts } from './presenceCounts.ts'
import { type Part, type Publication, publication } from './publication.ts'
import { SlidingWindow } from './rate.ts'
import { type Sink, SocketLife, type SocketLimits, type SocketMessage, socketHandlers, socketLimits } from './socketLife.ts'
import type { Address } from './system/address.ts'
import { defineActor } from './system/definition.ts'
import type { Scope } from './system/scope.ts'
import type { MonotonicMs } from './world.ts'

export type ConnectionMessage =
  /** What the client said, as its door understood it. `bytes`: of the frame in which it came. */
  | { readonly type: 'connection.receive'; readonly message: DocumentRequest; readonly bytes?: number }
  /** The client said something that its door does not understand. */
  | { readonly type: 'connection.garbage'; readonly detail: string; readonly bytes?: number }
  | SocketMessage
  | Publication
  | Refused
  /**
   * An ask: what the client may do is computed anew, for this account if one is given, and applied in place. `document`: only if it
   * has the document of this name open. Resolves with an `AccessOutcome`.
   */
  | { readonly type: 'connection.recheck'; readonly account?: Account; readonly document?: string }
  /** An ask: resolves when the document has taken in what came before. */
  | { readonly type: 'connection.pulse' }
  | { readonly type: 'actor.stopped'; readonly address: Address }
  | { readonly type: 'connection.keepAlive' }
  | { readonly type: 'connection.awareness' }
  | { readonly type: 'connection.question' }
  /** Its turn to join; it has waited since then. */
  | { readonly type: 'connection.turn'; readonly since: MonotonicMs }

export interface ConnectionLimits extends SocketLimits {
  /** Something is said at least this often. Default 20 000. */
  readonly keepAliveMs: number
  /** Presence messages each second, and at once. Default 20 and 40; past it only the latest counts. */
  readonly awarenessPerSecond: number
  readonly awarenessBurst: number
  /** Questions for what is missing that are answered in the long run, each second; ten times as many at once. Default 2. */
  readonly questionsPerSecond: number
  /** Bad messages before the connection is closed. Default 3. */
  readonly strikes: number
}

export const connectionLimits: ConnectionLimits = {
  ...socketLimits,
  keepAliveMs: 20_000,
  awarenessPerSecond: 20,
  awarenessBurst: 40,
  questionsPerSecond: 2,
  strikes: 3,
}

/** What the server gives a new connection. */
export interface ConnectionInput extends Omit<Participation, 'access'> {
  readonly sink: Sink<Publication>
  readonly document: Address
  /** For hooks: `yjs`, `hocuspocus`. */
  readonly door: string
  /** The socket carries other documents, too: whoever made the connection sees to it that its client speaks, answers and hears. */
  readonly sharesSocket?: boolean
}

/** What the application decides about documents. */
export type ConnectionHooks = Pick<Hooks, 'onDocumentAccess' | 'onStateless'>

/** Awareness of nobody: changes nothing at any client. */
const nobody = publication([{ kind: 'awareness', bytes: new Uint8Array([0]) }])
const encoder = new TextEncoder()
const accessBytes: Readonly<Record<DocumentAccess, Uint8Array>> = {
  read: encoder.encode('read'),
  comment: encoder.encode('comment'),
  write: encoder.encode('write'),
}
type Question = Extract<DocumentRequest, { type: 'document.sync' }>

const joinTimeoutMs = 30_000
const questionsWithinMs = 10_000
/** A longer state vector than this, of some 6 000 clients, is not kept: whoever asks again too soon with one gets the whole document. */
const heldVectorBytes = 64 * 1024
const emptyVector = new Uint8Array([0])

class Connection {
  readonly life: SocketLife<Publication>
  readonly #scope: Scope
  readonly #sink: Sink<Publication>
  readonly #document: Address
  #account: Account
  readonly #door: string
  readonly #sharesSocket: boolean
  readonly #participation: Omit<Participation, 'access' | 'account'>
  readonly #hooks: ConnectionHooks
  /** Undefined until it is known for the first time. */
  #access: DocumentAccess | undefined
  /** How often it was asked what the client may do: only the latest answer counts. */
  #accessAsked = 0
  readonly #limits: ConnectionLimits
  /** What went on to the document; of a socket that is shared, its multiplexer counts. */
  readonly #inbound: Inbound | undefined
  #hasSpoken = false
  #hasJoined = false
  #hasLostDocument = false
  #strikes = 0
  #saidAt: number
  /** One answer at a time: a client that asks without reading would otherwise make us hold its document many times over. */
  #isAsking = false
  /** The answer is on its way; before, what the network takes is something else. */
  #isAnswered = false
  #nextQuestion: Question | undefined
  /**
   * What was read before it was its turn to join: the frame that told which wire the client speaks, and what came with it. The socket
   * is paused, so it is no more than one read.
   */
  readonly #early: { readonly message: DocumentRequest; readonly bytes: number }[] = []
  /** An answer may have to cut a large document, so nobody asks all the time. */
  readonly #questions: SlidingWindow
  #tokens: number
  #tokensAt: number
  readonly #heldPresence = new HeldPresence()
  readonly #presence: PresenceCounts
  /** Hooks that have a message of the client. */
  #underWay: Set<Promise<void>> | undefined
  readonly #curtain: Curtain
  readonly #admission: Admission | undefined
  #isAdmitted = false
  /** Parts of the answer that is under way. */
  #answer: readonly Part[] = []

  constructor(
    scope: Scope,
    { sink, document, account, door, sharesSocket = false, ...participation }: ConnectionInput,
    limits: ConnectionLimits,
    hooks: ConnectionHooks,
    admission: Admission | undefined,
    presence: PresenceCounts,
  ) {
    this.#admission = admission
    this.#presence = presence
    this.life = new SocketLife(scope, sink, limits)
    this.#scope = scope
    this.#sink = sink
    this.#document = document
    this.#account = account
    this.#door = door
    this.#sharesSocket = sharesSocket
    if (!sharesSocket) this.#inbound = new Inbound(sink, () => this.pulse())
    this.#hooks = hooks
    this.#participation = participation
    this.#limits = limits
    this.#curtain = new Curtain(limits.outboundBytes)
    this.#saidAt = scope.monotonic()
    this.#tokens = limits.awarenessBurst
    this.#questions = new SlidingWindow(limits.questionsPerSecond * (questionsWithinMs / 1_000), questionsWithinMs)
    this.#tokensAt = scope.monotonic()
  }

  open(): void {
    const { keepAliveMs } = this.#limits
    // Until the document is loaded nothing is read, so a slow disk does not fill mailboxes.
    this.#sink.pause()
    this.life.expireAt(this.#account.expiresAt)
    if (!this.#sharesSocket) {
      this.life.begin()
      this.life.demand()
      this.#scope.after('keepAlive', keepAliveMs, { type: 'connection.keepAlive' })
    }
    void this.recheck()
  }

  get account(): Account {
    return this.#account
  }

  /** As its tenant knows it. */
  get documentName(): string {
    return publicName(this.#document.slice('document/'.length))
  }

  get #client(): HookClient {
    return { client: this.#scope.id, account: this.#account, door: this.#door }
  }

  /** Asked when the connection has come (`since`: now), and again after each wait. */
  enter(since: MonotonicMs = this.#scope.monotonic(), hasWaited = false): void {
    if (this.life.isClosed) return
    const at = this.#scope.monotonic()
    const turn = (hasWaited ? this.#admission?.look(at, since) : this.#admission?.arrive(at)) ?? { kind: 'now' }
    if (turn.kind === 'now') return this.#join(this.#access ?? 'read')
    if (turn.kind === 'wait') return this.#scope.after('turn', turn.ms, { type: 'connection.turn', since })
    this.life.close('document.busy', `retry after ${turn.retryAfterMs} ms`)
  }

  #join(access: DocumentAccess): void {
    this.#isAdmitted = true
    this.#scope.watch(this.#document)
    const participation: Participation = { ...this.#participation, account: this.#account, access }
    this.#scope.ask(this.#document, { type: 'document.join', ...participation }, { timeoutMs: joinTimeoutMs }).then(
      () => {
        this.#hasJoined = true
        if (this.#hasLostDocument) this.documentStopped()
        // Not before: a document that has to look something up first passes over what is said by somebody who is not in it yet.
        for (const { message, bytes } of this.#early.splice(0)) this.receive(message, bytes)
        if (!this.life.isClosed) this.#sink.resume()
      },
      (error) => {
        const { code, detail } = isTroupeError(error) ? error : { code: '', detail: '' }
        // What a document refuses by its own rules is told as it is, and that it is damaged; the rest is a document that cannot be had.
        if (isTroupeError(error) && (code.startsWith('document.') || isDamage(error))) this.life.close(error.code, detail)
        else this.life.close('document.unavailable', code)
      },
    )
  }

  /** Before the answer to the join there is still a better reason to come: deleted, renamed. */
  documentStopped(): void {
    this.#hasLostDocument = true
    if (this.#hasJoined) this.life.close('document.unavailable', 'the document was closed')
  }

  // ── what it may do ─────────────────────────────────────────────────────────────────────────────────────────────

  /** At the beginning, and whenever somebody says that it may have changed. Waits for nobody unless a hook does. */
  recheck(account: Account = this.#account): AccessOutcome | Promise<AccessOutcome> {
    if (this.life.isClosed) return 'ended'
    if (account !== this.#account) {
      this.#account = account
      this.life.expireAt(account.expiresAt)
    }
    const asked = ++this.#accessAsked
    const settle = (decide: () => AccessOutcome): AccessOutcome => {
      if (this.life.isClosed) return 'ended'
      return asked === this.#accessAsked ? decide() : 'same' // a later question decides
    }
    try {
      const access = accessTo(this.#hooks, this.#client, this.documentName)
      if (!(access instanceof Promise)) return this.#permit(access)
      return access.then(
        (late) => settle(() => this.#permit(late)),
        (error) => settle(() => this.#deny(error)),
      )
    } catch (error) {
      return this.#deny(error)
    }
  }

  #permit(access: DocumentAccess): AccessOutcome {
    const before = this.#access
    if (access === before) return 'same'
    this.#access = access
    // Told before anything is answered: a client that may only read does not let its user type.
    this.life.send(publication([{ kind: 'access', bytes: accessBytes[access] }]))
    if (before === undefined) this.enter()
    else if (this.#isAdmitted) this.#scope.tell(this.#document, { type: 'document.access', access })
    return 'changed'
  }

  #deny(error: unknown): AccessOutcome {
    if (isTroupeError(error)) this.life.close(error.code, error.detail || (error.rule ?? ''))
    else this.life.close('hook.rejected', '')
    return 'ended'
  }

  // ── what the client says ───────────────────────────────────────────────────────────────────────────────────────

  receive(message: DocumentRequest, bytes: number): void {
    if (this.life.isClosed) return
    if (!this.#hasJoined) {
      this.#early.push({ message, bytes })
      return
    }
    if (!this.#hasSpoken) {
      this.#hasSpoken = true
      this.life.satisfied()
    }
    if (message.type === 'document.sync') this.#ask(message)
    else if (message.type === 'document.awareness') this.#hearPresence(message)
    else if (message.type === 'document.stateless') this.#hearStateless(message.payload)
    else this.#forward(message)
    this.#inbound?.passed(this.#document, bytes)
  }

  /** The application's own protocol. Without a hook, nobody is told: a client does not speak to others past the server. */
  #hearStateless(payload: string): void {
    const { onStateless } = this.#hooks
    if (onStateless === undefined) return
    const tell = (isForAll: boolean | void) => {
      if (isForAll === true && !this.life.isClosed) this.#scope.tell(this.#document, { type: 'document.broadcast', payload })
    }
    const refuse = (error: unknown) => this.strike('connection.bad_message', isTroupeError(error) ? error.detail : 'onStateless')
    try {
      const answer = onStateless(this.#client, this.documentName, payload)
      if (answer instanceof Promise) this.#await(answer.then(tell, refuse))
      else tell(answer)
    } catch (error) {
      refuse(error)
    }
  }

  /** A hook is under way with a message of the client. */
  #await(hook: Promise<void>): void {
    const underWay = (this.#underWay ??= new Set())
    underWay.add(hook)
    void hook.finally(() => underWay.delete(hook))
  }

  garbage(detail: string, bytes: number): void {
    this.strike('connection.bad_message', detail)
    this.#inbound?.passed(this.#document, bytes)
  }

  /** Resolves when hooks and the document have taken in what came before. */
  async pulse(): Promise<void> {
    await Promise.all(this.#underWay ?? [])
    await this.#scope.ask(this.#document, { type: 'document.pulse' }, { timeoutMs: joinTimeoutMs })
  }

  #forward(message: DocumentRequest): void {
    if (!this.#scope.tell(this.#document, message)) this.life.close('document.busy', '')
  }

  #ask(question: Question): void {
    if (this.#isAsking) return this.#askLater(question)
    this.#isAsking = true
    const waitMs = this.#questions.take(this.#scope.monotonic())
    if (waitMs > 0) {
      this.#scope.after('question', waitMs, { type: 'connection.question' })
      return this.#askLater(question)
    }
    this.#isAnswered = false
    this.#forward(question)
  }

  /** The question waits; that the client counts its changes anew from here does not. */
  #askLater(question: Question): void {
    if (question.isCounted !== true && question.isReply !== true) this.#forward({ type: 'document.countAnew' })
    const stateVector = question.stateVector.length > heldVectorBytes ? emptyVector : question.stateVector
    this.#nextQuestion = { ...question, stateVector, isCounted: true }
  }

  /** A question that came too soon after many others. */
  askHeld(): void {
    this.#isAsking = false
    const held = this.#nextQuestion
    this.#nextQuestion = undefined
    if (held !== undefined && !this.life.isClosed) this.#ask(held)
  }

  #answered(): void {
    this.#isAnswered = true
    if (this.#sink.isAnswering) return // goes on when the network has taken it
    this.#isAsking = false
    this.#admission?.ended(this.#answer)
    this.#answer = []
    const kept = this.#curtain.lift()
    if (kept.kind === 'kept') this.life.send(kept.message)
    if (kept.kind === 'lost') this.#nextQuestion ??= { type: 'document.sync', stateVector: kept.stateVector, isCounted: true }
    const next = this.#nextQuestion
    this.#nextQuestion = undefined
    if (next !== undefined) this.#ask(next)
  }

  drained(): void {
    if (!this.#sharesSocket) this.life.drained()
    if (this.#isAsking && this.#isAnswered) this.#answered()
  }

  /** A token bucket; what is too fast is held, and of each client only the latest of it counts. */
  #hearPresence(message: Extract<DocumentRequest, { type: 'document.awareness' }>): void {
    const { awarenessPerSecond, awarenessBurst } = this.#limits
    const now = this.#scope.monotonic()
    this.#tokens = Math.min(awarenessBurst, this.#tokens + ((now - this.#tokensAt) * awarenessPerSecond) / 1_000)
    this.#tokensAt = now
    this.#heldPresence.hear(message)
    this.#presence.received++
    if (this.#tokens >= 1 && this.#heldPresence.isEmpty) {
      this.#tokens--
      this.#forward(message)
      return
    }
    if (this.#heldPresence.isEmpty) this.#releaseLater()
    if (!this.#heldPresence.hold(message)) this.#presence.dropped++
  }

  #releaseLater(): void {
    this.#scope.after('awareness', 1_000 / this.#limits.awarenessPerSecond, { type: 'connection.awareness' })
  }

  releasePresence(): void {
    const held = this.#heldPresence.take()
    if (held === undefined || this.life.isClosed) return
    this.#tokens = Math.max(0, this.#tokens - 1)
    this.#forward(held)
    if (!this.#heldPresence.isEmpty) this.#releaseLater()
  }

  publish(message: Publication): void {
    if (this.life.isClosed) return
    this.#saidAt = this.#scope.monotonic()
    if (message.isAnswer) {
      this.#curtain.draw(message)
      this.#admission?.ended(this.#answer)
      this.#answer = message.parts
      this.#admission?.began(this.#answer)
    }
    const now = message.isAnswer ? message : this.#curtain.pass(message)
    if (now !== undefined) this.life.send(now)
    if (message.isAnswer) this.#answered()
  }

  strike(code: ErrorCode, detail: string): void {
    this.#scope.log.debug({ connection: this.#scope.address, code, detail }, 'a message was refused')
    if (code !== 'connection.bad_message') return this.life.close(code, detail)
    if (++this.#strikes >= this.#limits.strikes) this.life.close(code, detail)
  }

  keepAlive(): void {
    const { keepAliveMs } = this.#limits
    const silence = this.#scope.monotonic() - this.#saidAt
    if (silence >= keepAliveMs) this.publish(nobody)
    this.#scope.after('keepAlive', silence >= keepAliveMs ? keepAliveMs : keepAliveMs - silence, { type: 'connection.keepAlive' })
  }

  deadline(): void {
    if (!this.#hasJoined) return this.life.demand() // what it says is not read yet
    if (!this.#hasSpoken) this.life.close('connection.silent', `${this.#limits.handshakeMs} ms`)
  }

  /** The actor has ended, perhaps for a reason that the client does not know yet. */
  ended(): void {
    // The join may still wait in front of a document that is being loaded; it would watch somebody who has gone already, for ever.
    if (this.#isAdmitted && !this.#hasJoined) this.#scope.tell(this.#document, { type: 'document.leave' })
    this.#admission?.ended(this.#answer)
    this.#answer = []
    if (this.life.isClosed) return
    this.life.isClosed = true
    this.#sink.close('document.busy', '')
  }
}

/** `admission`: one for all connections; without it everybody comes in at once. `presence`: for metrics. */
export const connectionKind = (
  limits: ConnectionLimits = connectionLimits,
  roster: Roster = new Map(),
  hooks: ConnectionHooks = {},
  admission?: Admission,
  presence: PresenceCounts = presenceCounts(),
) =>
  defineActor<Connection, ConnectionMessage>({
    kind: 'connection',
    activation: 'explicit',
    late: 'drop',
    supervision: { onFailure: 'stop' },
    mailbox: { overflow: 'disconnect' },
    state: (scope, input) => {
      const connection = new Connection(scope, input as ConnectionInput, limits, hooks, admission, presence) // the server gives it
      roster.set(scope.address, connection.account)
      connection.open()
      return connection
    },
    stopped: (connection, scope) => {
      roster.delete(scope.address)
      connection.ended()
    },
    handlers: {
      'connection.receive': (connection, { message, bytes = 0 }) => connection.receive(message, bytes),
      'connection.garbage': (connection, { detail, bytes = 0 }) => connection.garbage(detail, bytes),
      'connection.publish': (connection, message) => connection.publish(message),
      'connection.recheck': async (connection, { account, document }, scope) => {
        if (document !== undefined && document !== connection.documentName) return 'elsewhere'
        if (account !== undefined) roster.set(scope.address, account)
        return connection.recheck(account)
      },
      'connection.refused': (connection, { code, detail }) => connection.strike(code, detail),
      ...socketHandlers,
      'connection.drained': (connection) => connection.drained(),
      'connection.turn': (connection, { since }) => connection.enter(since, true),
      'connection.deadline': (connection) => connection.deadline(),
      'connection.pulse': (connection) => connection.pulse(),
      'connection.keepAlive': (connection) => connection.keepAlive(),
      'connection.question': (connection) => connection.askHeld(),
      'connection.awareness': (connection) => connection.releasePresence(),
      'actor.stopped': (connection) => connection.documentStopped(),
    },
  })
