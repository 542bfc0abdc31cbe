/**
 * The life of a lane: the tokens of its client, the connection behind it, and what becomes of both.
 *
 *              token                    account found             document joined
 *   waiting ──────────→ (being checked) ─────────────→ joining ─────────────────→ open
 *      │                      │                           │  ↑                     │
 *      └──(none in time)──────┴──(refused)─→ denied       └─ resting ←──(must come back)
 *
 * Tokens are checked one at a time; of those that come meanwhile the latest is next. What the client says before the lane is open
 * waits in the lane (lane.ts), which also knows what was lost when a connection ended.
 *
 * Runs within the actor of the multiplexer: what is to happen later comes back as a message of it, and finds out whether the client
 * has left the lane meanwhile.
 */
import { noBytes } from '../crdt/cursor.ts'
import { type Account, scopedId } from './account.ts'
import type { ConnectionInput, ConnectionMessage } from './connection.ts'
import { damageCodes } from './documentDamage.ts'
import type { DocumentRequest } from './documentMessages.ts'
import { type ErrorCode, errorTable, isTroupeError } from './errors.ts'
import { Lane, type LaneLimits, sizeOf, type Waiting } from './lane.ts'
import type { SharedSink } from './laneMessages.ts'
import { LaneSink } from './laneSink.ts'
import type { LaneVoice } from './laneVoice.ts'
import type { SocketLimits } from './socketLife.ts'
import type { Address } from './system/address.ts'
import type { Scope } from './system/scope.ts'
import { type EpochMs, type MonotonicMs, wallLookMs } from './world.ts'

export type LaneLifeMessage =
  | { readonly type: 'multiplexer.identified'; readonly lane: LaneLife; readonly account: Account }
  | { readonly type: 'multiplexer.refused'; readonly lane: LaneLife; readonly code: ErrorCode; readonly detail: string }
  | { readonly type: 'multiplexer.joined'; readonly lane: LaneLife; readonly sink: LaneSink }
  | {
      readonly type: 'multiplexer.ended'
      readonly lane: LaneLife
      readonly sink: LaneSink
      readonly code: ErrorCode
      readonly detail: string
    }
  /** No token came in time. */
  | { readonly type: 'multiplexer.unanswered'; readonly lane: LaneLife }
  /** The token of the lane is about to run out. */
  | { readonly type: 'multiplexer.aging'; readonly lane: LaneLife }
  /** The lane has rested. */
  | { readonly type: 'multiplexer.rested'; readonly lane: LaneLife }

export interface LaneLifeLimits extends LaneLimits, Pick<SocketLimits, 'handshakeMs'> {
  /** A new token is asked for this long before the old one runs out. Default 30 000. */
  readonly tokenRefreshMs: number
}

/** What the server gives with a socket. */
export interface SocketOrigin {
  readonly sink: SharedSink
  /** Whose token it is; for an empty one, who opened the socket. Errors: those of the authenticator, `auth.required`. */
  readonly identify: (token: string) => Promise<Account>
  /** For hooks. */
  readonly door: string
  /** The epoch of the document that the client says it knows, where the token does not say it. */
  readonly epoch?: string
}

/** What all lanes of a socket share. */
export interface LaneHost {
  readonly scope: Scope
  readonly origin: SocketOrigin
  readonly limits: LaneLifeLimits
  readonly voice: LaneVoice
  readonly waiting: Waiting
  readonly isClosed: boolean
  close(code: ErrorCode, detail: string): void
  /** Something that waited in a lane goes on to this connection. */
  released(connection: Address, bytes: number): void
}

type Stage =
  /** For a token, or until the one that came is checked. */
  | { readonly kind: 'waiting' }
  | { readonly kind: 'joining' | 'open'; readonly connection: Address; readonly account: Account; readonly sink: LaneSink }
  /** The document could not be had; it is tried again. Without an account, the client is asked for a token first. */
  | { readonly kind: 'resting'; readonly account: Account | undefined }
  /** Until another token comes, nothing that the client says here is looked at. */
  | { readonly kind: 'denied' }
  /** The client has left. */
  | { readonly kind: 'over' }

const emptyVector = new Uint8Array([0])
/** A document that fails again and again is tried ever more rarely, up to this. */
const firstRestMs = 500
const longestRestMs = 30_000
/** A damaged document does not come back by itself, so its clients are told and stay out; until somebody has restored it. */
const damagedRestMs = 60_000
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

export class LaneLife {
  readonly #host: LaneHost
  readonly #scope: Scope
  readonly #lane: Lane
  /** As its tenant knows it. */
  readonly #document: string
  #stage: Stage = { kind: 'waiting' }
  /** A token is being looked at; the latest that came meanwhile is looked at next. */
  #isChecking = false
  #nextToken: string | undefined
  /** Expiry for which a new token was asked. */
  #askedFor: EpochMs | undefined
  #refreshAt: EpochMs = 0
  /** In a row. */
  #failures = 0
  #openedAt: MonotonicMs = 0

  constructor(host: LaneHost, { name, document }: { readonly name: string; readonly document: string }) {
    this.#host = host
    this.#scope = host.scope
    this.#lane = new Lane(name, host.limits, host.waiting)
    this.#document = document
    this.#awaitToken()
  }

  // ── what the client says ───────────────────────────────────────────────────────────────────────────────────────

  /** The connection that it goes on to; undefined: nobody has to deal with it now. */
  hear(request: DocumentRequest): Address | undefined {
    this.#lane.hear(request)
    if (this.#stage.kind === 'open') {
      this.#pass(this.#stage.connection, request)
      return this.#stage.connection
    }
    if (this.#stage.kind !== 'denied') this.#lane.wait(request)
    return undefined
  }

  #pass(connection: Address, request: DocumentRequest): void {
    this.#tell(connection, { type: 'connection.receive', message: request })
    if (request.type === 'document.update' && request.isAnswer && this.#lane.answered())
      this.#tell(connection, { type: 'connection.receive', message: { type: 'document.barrier', payload: noBytes } })
  }

  #tell(connection: Address, message: ConnectionMessage): void {
    this.#scope.tell(connection, message)
  }

  /** True: it is accounted for, by the connection or by the denial. */
  garbage(detail: string): boolean {
    const { kind } = this.#stage
    if (kind === 'open') this.#tell(this.#stage.connection, { type: 'connection.garbage', detail })
    return kind === 'open' || kind === 'denied'
  }

  drained(): void {
    if (this.#stage.kind === 'open') this.#tell(this.#stage.connection, { type: 'connection.drained' })
  }

  /** The client has no more to say or to hear here. */
  leave(): void {
    this.#disconnect()
    this.#stage = { kind: 'over' }
  }

  // ── tokens ─────────────────────────────────────────────────────────────────────────────────────────────────────

  #awaitToken(): void {
    this.#stage = { kind: 'waiting' }
    this.#after('token', this.#host.limits.handshakeMs, { type: 'multiplexer.unanswered', lane: this })
  }

  hearToken(token: string): void {
    const { kind } = this.#stage
    if (kind === 'denied' || kind === 'resting') {
      this.#forgetTimers()
      this.#stage = { kind: 'waiting' }
      // What the client said meanwhile was not listened to.
      if (kind === 'denied') this.#lane.breakOff()
    }
    if (kind === 'waiting') this.#cancel('token')
    if (this.#isChecking) this.#nextToken = token
    else this.#check(token)
  }

  #check(token: string): void {
    this.#isChecking = true
    this.#host.origin.identify(token).then(
      (account) => this.#later({ type: 'multiplexer.identified', lane: this, account }),
      (error) => {
        if (!isTroupeError(error)) this.#scope.log.error({ error: String(error) }, 'a token could not be checked')
        const [code, detail] = isTroupeError(error) ? [error.code, error.detail] : (['auth.unavailable', ''] as const)
        this.#later({ type: 'multiplexer.refused', lane: this, code, detail })
      },
    )
  }

  /** False when another token came meanwhile, or the client left. */
  #checked(): boolean {
    this.#isChecking = false
    if (this.#stage.kind === 'over') return false
    const nextToken = this.#nextToken
    this.#nextToken = undefined
    if (nextToken !== undefined) this.#check(nextToken)
    return nextToken === undefined
  }

  identified(account: Account): void {
    if (!this.#checked()) return
    const stage = this.#stage
    if (stage.kind === 'waiting') return this.#join(account)
    if (stage.kind !== 'joining' && stage.kind !== 'open') return
    if (isSame(stage.account, account)) this.#renew({ ...stage, account })
    // What it sees and what it wrote belongs to somebody else. It comes back, as the new one from the beginning.
    else this.#host.close('auth.expired', 'the new token is of another account')
  }

  #renew(stage: Extract<Stage, { account: Account; connection: Address }>): void {
    const { connection, account, sink } = stage
    this.#stage = stage
    this.#planRefresh(account)
    this.#scope.ask(connection, { type: 'connection.recheck', account } satisfies ConnectionMessage).then(
      (outcome) => {
        if (outcome === 'same') sink.greetAgain()
      },
      () => {}, // the connection has ended, and said why
    )
  }

  refused(code: ErrorCode, detail: string): void {
    if (!this.#checked() || this.#stage.kind === 'denied') return
    if (!errorTable[code].retry) return this.#deny(code, detail)
    if (this.#stage.kind === 'waiting') return this.#rest(undefined)
    // An open one has its old token still, and is asked once more.
    this.#after('refresh', this.#nextRest(), { type: 'multiplexer.aging', lane: this })
  }

  unanswered(): void {
    if (this.#stage.kind !== 'waiting' || this.#isChecking) return
    this.#deny('auth.required', `no token within ${this.#host.limits.handshakeMs} ms`)
  }

  #planRefresh({ expiresAt }: Account): void {
    this.#cancel('refresh')
    // The same token again: it was asked for, and there is no newer one.
    if (expiresAt === undefined || expiresAt === this.#askedFor) return
    const now = this.#scope.now()
    this.#refreshAt = now + refreshIn(now, expiresAt, this.#host.limits.tokenRefreshMs)
    this.#awaitRefresh(now)
  }

  #awaitRefresh(now: EpochMs): void {
    this.#after('refresh', Math.min(wallLookMs, this.#refreshAt - now), { type: 'multiplexer.aging', lane: this })
  }

  aging(): void {
    if (this.#stage.kind !== 'open' && this.#stage.kind !== 'joining') return
    const now = this.#scope.now()
    if (now < this.#refreshAt) return this.#awaitRefresh(now)
    this.#askedFor = this.#stage.account.expiresAt
    this.#host.voice.wantToken(this.#lane.name)
  }

  // ── the connection behind it ───────────────────────────────────────────────────────────────────────────────────

  #join(account: Account): void {
    if (account.expiresAt !== undefined && account.expiresAt <= this.#scope.now()) return this.#deny('auth.expired', '')
    const { origin } = this.#host
    const connection: Address = `connection/${this.#scope.random.id()}`
    const sink = new LaneSink(this.#lane, origin.sink, this)
    this.#stage = { kind: 'joining', connection, account, sink }
    const epoch = account.epoch ?? origin.epoch
    this.#scope.spawn(connection, {
      sink,
      document: `document/${scopedId(account.tenant, this.#document)}`,
      account,
      door: origin.door,
      wantsReceipts: true,
      wantsStorageNews: true,
      sharesSocket: true,
      ...(epoch === undefined ? {} : { epoch }),
    } satisfies ConnectionInput)
    this.#planRefresh(account)
  }

  /** Something goes out. */
  said(): void {
    this.#host.voice.said()
  }

  /** This and `ended` come from the turn of the connection: only told on. */
  joined(sink: LaneSink): void {
    this.#scope.tell(this.#scope.address, { type: 'multiplexer.joined', lane: this, sink } satisfies LaneLifeMessage)
  }

  ended(sink: LaneSink, code: ErrorCode, detail: string): void {
    this.#later({ type: 'multiplexer.ended', lane: this, sink, code, detail })
  }

  hasJoined(sink: LaneSink): void {
    const stage = this.#stage
    if (stage.kind !== 'joining' || stage.sink !== sink) return
    this.#stage = { ...stage, kind: 'open' }
    this.#openedAt = this.#scope.monotonic()
    for (const request of this.#lane.takePending()) {
      this.#host.released(stage.connection, sizeOf(request))
      this.#pass(stage.connection, request)
    }
    if (this.#lane.hasGap) this.#closeGap(stage.connection)
  }

  /** The client does not know that it has to synchronise; so the server asks, and tells it everything that it may lack. */
  #closeGap(connection: Address): void {
    this.#lane.asked()
    this.#host.voice.wantPresence(this.#lane.name)
    // Its client does not count the answer to it: the receipts that it waits for are those that were lost.
    this.#pass(connection, { type: 'document.sync', stateVector: this.#lane.vector ?? emptyVector, isCounted: true })
  }

  hasEnded(sink: LaneSink, code: ErrorCode, detail: string): void {
    const stage = this.#stage
    if ((stage.kind !== 'joining' && stage.kind !== 'open') || stage.sink !== sink) return
    if (!errorTable[code].retry) return this.#deny(code, detail)
    if (stage.kind === 'open') {
      this.#lane.breakOff()
      if (this.#scope.monotonic() - this.#openedAt >= steadyMs) this.#failures = 0
    }
    this.#cancel('refresh')
    if (sink.hasGreeted) this.#host.voice.closed(this.#lane.name, code, detail)
    // Who was in is asked for a token: what it may do can have changed since the last one.
    this.#rest(stage.kind === 'open' ? undefined : stage.account)
  }

  #rest(account: Account | undefined): void {
    this.#stage = { kind: 'resting', account }
    this.#after('rest', this.#nextRest(), { type: 'multiplexer.rested', lane: this })
  }

  #nextRest(): number {
    return restMs(this.#failures++, this.#scope.random.next())
  }

  rested(): void {
    const stage = this.#stage
    if (stage.kind === 'denied')
      this.#lane.breakOff() // what the client said meanwhile was not listened to
    else if (stage.kind !== 'resting') return
    else if (stage.account !== undefined) return this.#join(stage.account)
    this.#awaitToken()
    this.#host.voice.wantToken(this.#lane.name)
  }

  #deny(code: ErrorCode, detail: string): void {
    const stage = this.#stage
    const hasGreeted = (stage.kind === 'joining' || stage.kind === 'open') && stage.sink.hasGreeted
    this.#disconnect()
    this.#stage = { kind: 'denied' }
    const { voice } = this.#host
    // First that it is no longer synchronised, so that it takes the others off the screen.
    if (hasGreeted) voice.closed(this.#lane.name, code, detail)
    voice.denied(this.#lane.name, code, detail)
    if (damageCodes.includes(code))
      this.#after('rest', damagedRestMs * (0.5 + this.#scope.random.next()), { type: 'multiplexer.rested', lane: this })
  }

  #disconnect(): void {
    const stage = this.#stage
    if (stage.kind === 'joining' || stage.kind === 'open') {
      stage.sink.end()
      this.#tell(stage.connection, { type: 'connection.gone' })
    }
    this.#forgetTimers()
    this.#lane.takePending()
  }

  // ── later ──────────────────────────────────────────────────────────────────────────────────────────────────────

  #later(message: LaneLifeMessage): void {
    if (!this.#host.isClosed) this.#scope.tell(this.#scope.address, message)
  }

  #after(timer: Timer, ms: number, message: LaneLifeMessage): void {
    this.#scope.after(`${timer} ${this.#lane.name}`, ms, message)
  }

  #cancel(timer: Timer): void {
    this.#scope.cancel(`${timer} ${this.#lane.name}`)
  }

  #forgetTimers(): void {
    for (const timer of timers) this.#cancel(timer)
  }
}

const timers = ['token', 'refresh', 'rest'] as const
type Timer = (typeof timers)[number]
