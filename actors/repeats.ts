/**
 * The ids that a channel remembers, so that a publisher that got no answer can publish again and the message is there once; and
 * those of requests that a document remembers. Bounded by number, age and the bytes of the messages: after a restart the window
 * is read from the journal again, and 10 000 messages of 1 MiB would be 10 GiB to read.
 */
import type { Offset } from './journal.ts'
import type { EpochMs } from './world.ts'

export interface Known {
  readonly offset: Offset
  readonly time: EpochMs
  /** Of the body. */
  readonly hash: number
  readonly bytes: number
}

export interface RepeatLimits {
  readonly messages: number
  readonly ms: number
  readonly bytes: number
}

export class Repeats<Id extends Known = Known> {
  readonly #limits: RepeatLimits
  /** Oldest first. */
  readonly #known = new Map<string, Id>()
  #bytes = 0

  constructor(limits: RepeatLimits) {
    this.#limits = limits
  }

  get size(): number {
    return this.#known.size
  }

  /** So many ids, of messages of so many bytes, would be remembered. */
  mayHold(ids: number, bytes: number): boolean {
    return ids < this.#limits.messages && bytes < this.#limits.bytes
  }

  /** By offset, ascending. */
  add(key: string, known: Id): void {
    this.#forget(key)
    this.#known.set(key, known)
    this.#bytes += known.bytes
    const { messages, ms, bytes } = this.#limits
    for (const [oldest, { time }] of this.#known) {
      if (this.#known.size <= messages && this.#bytes <= bytes && time > known.time - ms) break
      this.#forget(oldest)
    }
  }

  /** Oldest first. */
  get all(): Iterable<Id> {
    return this.#known.values()
  }

  find(key: string, now: EpochMs): Id | undefined {
    const known = this.#known.get(key)
    return known === undefined || known.time <= now - this.#limits.ms ? undefined : known
  }

  #forget(key: string): void {
    const known = this.#known.get(key)
    if (known === undefined) return
    this.#known.delete(key)
    this.#bytes -= known.bytes
  }
}
