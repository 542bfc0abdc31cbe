/**
 * Admission: when a connection may have its document. After a restart everybody comes back in the same second; those who are in
 * should not notice.
 *
 *   arrives ──(a burst is free)──→ joins ──→ is answered ──→ (the network has taken the answer)
 *      └──(too many a second, or too many bytes under way)──→ waits, at most `joinWaitMs` ──→ joins
 *      └──(would wait longer)──→ refused, with a hint when to come back
 *
 * Promises: whoever is let in is let in within `joinWaitMs`; nobody else costs more than a socket. No queue is kept: a connection
 * is told how long to wait, by counting on (the generic cell rate algorithm), and asks again when it is its turn.
 */
import type { Part } from './publication.ts'
import type { MonotonicMs } from './world.ts'

export interface AdmissionLimits {
  /** Connections each second that get their document; a quarter of that at once. Default 2 000; 0: no limit. */
  readonly connectionsPerSecond: number
  /** Longest wait of one for its turn. Default 20 000. */
  readonly joinWaitMs: number
  /**
   * Bytes of answers that the network has not taken yet, over all connections; past it newcomers wait. What many are sent is
   * there once and counts once. Default 256 MiB.
   */
  readonly answerBytes: number
}

export type Turn =
  | { readonly kind: 'now' }
  /** Ask again after this. */
  | { readonly kind: 'wait'; readonly ms: number }
  | { readonly kind: 'refused'; readonly retryAfterMs: number }

/** So much of a second's connections may come at once. */
const burstMs = 250
/** Between two looks whether answers have drained; half of it and more is chance. */
const lookMs = 400
const now: Turn = { kind: 'now' }

/** One for the whole process. */
export class Admission {
  readonly #limits: AdmissionLimits
  readonly #chance: () => number
  /** When the next connection may come if they all come as fast as they may; in the past when they do not. */
  #nextAt: MonotonicMs = 0
  /** Parts of answers that are under way, and to how many connections. */
  readonly #underWay = new Map<Uint8Array, number>()
  #bytes = 0

  /** `chance`: from 0 to 1. */
  constructor(limits: AdmissionLimits, chance: () => number) {
    this.#limits = limits
    this.#chance = chance
  }

  get answerBytes(): number {
    return this.#bytes
  }

  /** A connection has come. */
  arrive(at: MonotonicMs): Turn {
    const { connectionsPerSecond, joinWaitMs } = this.#limits
    if (connectionsPerSecond === 0) return this.look(at, at)
    const ms = this.#nextAt - burstMs - at
    if (ms > joinWaitMs) return this.#refuse(ms)
    this.#nextAt = Math.max(this.#nextAt, at) + 1_000 / connectionsPerSecond
    return ms > 0 ? { kind: 'wait', ms } : this.look(at, at)
  }

  /** It is its turn, unless too much is under way. */
  look(at: MonotonicMs, since: MonotonicMs): Turn {
    if (this.#bytes <= this.#limits.answerBytes) return now
    const waited = at - since
    return waited >= this.#limits.joinWaitMs ? this.#refuse(waited) : { kind: 'wait', ms: lookMs * (0.5 + this.#chance()) }
  }

  /** Not all at the same moment again. */
  #refuse(ms: number): Turn {
    return { kind: 'refused', retryAfterMs: Math.round(ms * (0.5 + this.#chance())) }
  }

  /** An answer is handed to the network. */
  began(parts: readonly Part[]): void {
    for (const { bytes } of parts) {
      const readers = this.#underWay.get(bytes) ?? 0
      this.#underWay.set(bytes, readers + 1)
      if (readers === 0) this.#bytes += bytes.length
    }
  }

  /** The network has taken it, or its connection is gone. */
  ended(parts: readonly Part[]): void {
    for (const { bytes } of parts) {
      const readers = this.#underWay.get(bytes) ?? 0
      if (readers > 1) this.#underWay.set(bytes, readers - 1)
      else if (this.#underWay.delete(bytes)) this.#bytes -= bytes.length
    }
  }
}
