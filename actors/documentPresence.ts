/**
 * Who is present in a document, as its actor keeps it: takes presence messages, collects what changed for the next window, and
 * removes who fell silent.
 */
import { type AwarenessEntry, type AwarenessLimits, decodeAwareness, encodeAwareness } from '../crdt/awareness.ts'
import { type AwarenessOwner, type AwarenessPolicy, AwarenessState } from '../crdt/awarenessState.ts'
import type { Rejection } from '../crdt/rejection.ts'
import type { Part } from './publication.ts'
import type { Scope } from './system/scope.ts'

export interface PresenceOptions {
  /** Presence that was not renewed for this long is removed. Default 30 000. */
  readonly awarenessTimeoutMs?: number
  readonly awareness?: AwarenessPolicy
  readonly awarenessLimits?: AwarenessLimits
}

const defaultTimeoutMs = 30_000

export class DocumentPresence {
  readonly #scope: Scope
  readonly #state: AwarenessState
  readonly #limits: AwarenessLimits | undefined
  readonly #timeoutMs: number
  /** Something changed: to be told with the next window. */
  readonly #changed: () => void
  readonly #refused: (code: string) => void
  /** Of the present window: the latest of each client. */
  #news = new Map<number, AwarenessEntry>()
  #isExpiryPlanned = false

  constructor(scope: Scope, options: PresenceOptions, changed: () => void, refused: (code: string) => void) {
    this.#scope = scope
    this.#state = new AwarenessState(options.awareness)
    this.#limits = options.awarenessLimits
    this.#timeoutMs = options.awarenessTimeoutMs ?? defaultTimeoutMs
    this.#changed = changed
    this.#refused = refused
  }

  get hasNews(): boolean {
    return this.#news.size > 0
  }

  /** Everybody, for a newcomer. */
  all(): Part[] {
    return this.#state.all().map((bytes): Part => ({ kind: 'awareness', bytes }))
  }

  /** What changed since it was last taken. */
  takeNews(): Part | undefined {
    if (this.#news.size === 0) return undefined
    const bytes = encodeAwareness([...this.#news.values()])
    this.#news = new Map()
    return { kind: 'awareness', bytes }
  }

  /** A rejection when the message is none. */
  hear(owner: AwarenessOwner, update: Uint8Array): Rejection | undefined {
    const entries = decodeAwareness(update, this.#limits)
    if (!('length' in entries)) {
      // A stock client also sends on what it learned from others, so size and number are not always its fault.
      if (entries.code !== 'too_large' && entries.code !== 'too_many_clients') return entries
      this.#refused(`awareness.${entries.code}`)
      return undefined
    }
    const { changed, refused } = this.#state.apply(entries, owner, this.#scope.now())
    for (const { code } of refused) this.#refused(`awareness.${code}`)
    this.#announce(changed)
    if (!this.#isExpiryPlanned && this.#state.remembered > 0) this.#planExpiry()
    return undefined
  }

  /** The connection is gone. */
  release(owner: AwarenessOwner): void {
    this.#announce(this.#state.release(owner, this.#scope.now()))
  }

  expire(): void {
    this.#isExpiryPlanned = false
    this.#announce(this.#state.expire(this.#scope.now(), this.#timeoutMs))
    if (this.#state.remembered > 0) this.#planExpiry()
  }

  #planExpiry(): void {
    this.#isExpiryPlanned = true
    this.#scope.after('expire', this.#timeoutMs / 4, { type: 'document.expire' })
  }

  #announce(changed: readonly AwarenessEntry[]): void {
    for (const entry of changed) this.#news.set(entry.client, entry)
    if (changed.length > 0) this.#changed()
  }
}
