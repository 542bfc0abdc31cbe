/**
 * Who is present in a document, as its actor keeps it: takes presence messages, collects what changed for the next window, and
 * removes who fell silent.
 */
import { type AwarenessEntry, type AwarenessLimits, awarenessLimits, decodeAwareness, encodeAwareness } from '../crdt/awareness.ts'
import { type AwarenessOwner, type AwarenessPolicy, AwarenessState, awarenessPolicy } from '../crdt/awarenessState.ts'
import type { Rejection } from '../crdt/rejection.ts'
import { type PresenceCounts, presenceCounts } from './presenceCounts.ts'
import type { Part } from './publication.ts'
import type { Scope } from './system/scope.ts'
import type { MonotonicMs } from './world.ts'

export interface PresenceOptions {
  /** Presence that was not renewed for this long is removed. Default 30 000. */
  readonly awarenessTimeoutMs?: number
  readonly awareness?: AwarenessPolicy
  /** Presence shows who logged in, and who did not cannot say so. Default false. */
  readonly stampPresence?: boolean
  /**
   * Presence waits this long for company after it was last told. Default 25, and 1 more for each reader up to `maxPresenceWindowMs`
   * (default 500): stock clients send back whatever they learn, so each telling brings one message from every reader.
   */
  readonly presenceWindowMs?: number
  readonly maxPresenceWindowMs?: number
  readonly awarenessLimits?: AwarenessLimits
  /** For metrics. */
  readonly presenceCounts?: PresenceCounts
}

const defaultTimeoutMs = 30_000
const defaultWindowMs = 25
const defaultMaxWindowMs = 500
const windowMsForEachReader = 1
/** After somebody came back all clocks are raised: then so many ms for each reader, for each of them is told all and says all again. */
const raiseMs = 1_000
const raiseMsForEachReader = 50
/** By then all have renewed, at the clocks that follow. */
const renewalMs = 15_000
/** What the name of an account adds to a state that is as large as it may be. */
const stampBytes = 512

export class DocumentPresence {
  readonly #scope: Scope
  readonly #state: AwarenessState
  readonly #limits: AwarenessLimits
  readonly #windowMs: number
  readonly #maxWindowMs: number
  readonly #readers: () => number
  readonly #timeoutMs: number
  /** Something changed: to be told with the next window. */
  readonly #changed: () => void
  readonly #refused: (code: string) => void
  readonly #counts: PresenceCounts
  /** Of the present window: the latest of each client. */
  #news = new Map<number, AwarenessEntry>()
  #isExpiryPlanned = false
  #isTellingPlanned = false
  #isRaisePlanned = false
  #toldAt: MonotonicMs = 0

  constructor(scope: Scope, options: PresenceOptions, readers: () => number, changed: () => void, refused: (code: string) => void) {
    const { stampPresence: stampsIdentity = false, awareness = awarenessPolicy, awarenessLimits: limits = awarenessLimits } = options
    this.#scope = scope
    this.#state = new AwarenessState({ ...awareness, stampsIdentity })
    this.#limits = stampsIdentity ? { ...limits, stateBytes: limits.stateBytes + stampBytes } : limits
    this.#windowMs = options.presenceWindowMs ?? defaultWindowMs
    this.#maxWindowMs = options.maxPresenceWindowMs ?? defaultMaxWindowMs
    this.#readers = readers
    this.#timeoutMs = options.awarenessTimeoutMs ?? defaultTimeoutMs
    this.#changed = changed
    this.#refused = refused
    this.#counts = options.presenceCounts ?? presenceCounts()
  }

  /** Clients that are present. */
  get size(): number {
    return this.#state.size
  }

  /** Something is to be told, and its time has come. */
  get hasNews(): boolean {
    return this.#news.size > 0 && this.#waitMs <= 0
  }

  get #waitMs(): number {
    const windowMs = Math.max(this.#windowMs, Math.min(this.#maxWindowMs, this.#windowMs + this.#readers() * windowMsForEachReader))
    return this.#toldAt + windowMs - this.#scope.monotonic()
  }

  homeOf(owner: AwarenessOwner): number | undefined {
    return this.#state.homeOf(owner)
  }

  holderOf(client: number): AwarenessOwner | undefined {
    return this.#state.holderOf(client)
  }

  /** Everybody, for a newcomer. */
  all(): Part[] {
    return this.#state.all().map((bytes): Part => ({ kind: 'awareness', bytes }))
  }

  /** What changed since it was last taken, once the window is over. */
  takeNews(): Part | undefined {
    if (!this.hasNews) return undefined
    this.#toldAt = this.#scope.monotonic()
    const bytes = encodeAwareness([...this.#news.values()])
    this.#news = new Map()
    this.#counts.windows++
    this.#counts.sent += this.#readers()
    return { kind: 'awareness', bytes }
  }

  /** A rejection when the message is none. */
  hear(owner: AwarenessOwner, update: Uint8Array): Rejection | undefined {
    let echoes = 0
    const entries = decodeAwareness(update, this.#limits, (client, clock) => {
      const isEcho = this.#state.isEcho(client, clock, owner)
      if (isEcho) echoes++
      return isEcho
    })
    this.#counts.known += echoes
    if ('length' in entries && entries.length === 0) return undefined
    if (!('length' in entries)) {
      // A stock client also sends on what it learned from others, so size and number are not always its fault.
      if (entries.code !== 'too_large' && entries.code !== 'too_many_clients') return entries
      this.#refused(`awareness.${entries.code}`)
      return undefined
    }
    const { changed, refused, hasReturned } = this.#state.apply(entries, owner, this.#scope.monotonic())
    for (const { code } of refused) this.#refused(`awareness.${code}`)
    this.#counts.news += changed.length
    this.#counts.known += entries.length - changed.length - refused.length
    this.#announce(changed)
    if (hasReturned) this.#planRaise()
    if (!this.#isExpiryPlanned && this.#state.remembered > 0) this.#planExpiry()
    return undefined
  }

  /** The connection is gone. */
  release(owner: AwarenessOwner): void {
    this.#announce(this.#state.release(owner, this.#scope.monotonic()))
    if (this.#readers() > 0) return
    // Nobody is left whose echo could bring somebody back to life; remembering them would keep the document in memory.
    this.#state.forgetRemoved()
    this.#scope.cancel('expire')
    this.#isExpiryPlanned = false
    this.#scope.cancel('raise')
    this.#isRaisePlanned = false
  }

  expire(): void {
    this.#isExpiryPlanned = false
    this.#announce(this.#state.expire(this.#scope.monotonic(), this.#timeoutMs))
    if (this.#state.remembered > 0) this.#planExpiry()
  }

  #planExpiry(): void {
    this.#isExpiryPlanned = true
    this.#scope.after('expire', this.#timeoutMs / 4, { type: 'document.expire' })
  }

  /** Whoever was away for a moment does not see the others before they renew. */
  #planRaise(): void {
    const waitMs = raiseMs + this.#readers() * raiseMsForEachReader
    if (this.#isRaisePlanned || waitMs >= renewalMs) return
    this.#isRaisePlanned = true
    this.#scope.after('raise', waitMs, { type: 'document.raisePresence' })
  }

  raise(): void {
    this.#isRaisePlanned = false
    this.#announce(this.#state.raise())
  }

  #announce(changed: readonly AwarenessEntry[]): void {
    const before = this.#news.size
    for (const entry of changed) this.#news.set(entry.client, entry)
    this.#counts.collapsed += before + changed.length - this.#news.size
    this.tell()
  }

  /** News go out with the next window of changes if their own is over, otherwise when that is. */
  tell(): void {
    if (this.#news.size === 0 || this.#isTellingPlanned) return
    const wait = this.#waitMs
    if (wait <= 0) return this.#changed()
    this.#isTellingPlanned = true
    this.#scope.after('presence', wait, { type: 'document.tellPresence' })
  }

  /** The window is over. */
  due(): void {
    this.#isTellingPlanned = false
    this.tell()
  }
}
