/**
 * Dead letters: messages that could not be handled, each with its reason, in a bounded ring.
 *
 * They are evidence, not a queue: the ring lives in memory, the oldest goes first, and replay is asked for by a person.
 */
import type { ErrorCode } from '../errors.ts'
import type { EpochMs } from '../world.ts'
import type { Address } from './address.ts'

export interface DeadLetter {
  /** Counts from 1 in this process. */
  readonly id: number
  readonly at: EpochMs
  readonly address: Address
  readonly from: Address | undefined
  readonly message: { readonly type: string }
  readonly code: ErrorCode
  /** What went wrong, for a person. */
  readonly detail: string | undefined
}

export class DeadLetters {
  readonly #limit: number
  #ring: DeadLetter[] = []
  #oldest = 0
  /** How many there ever were. */
  total = 0
  readonly byCode = new Map<ErrorCode, number>()

  constructor(limit: number) {
    this.#limit = limit
  }

  add(letter: Omit<DeadLetter, 'id'>): DeadLetter {
    const kept = { ...letter, id: ++this.total }
    this.byCode.set(letter.code, (this.byCode.get(letter.code) ?? 0) + 1)
    if (this.#limit === 0) return kept
    if (this.#ring.length < this.#limit) this.#ring.push(kept)
    else {
      this.#ring[this.#oldest] = kept
      this.#oldest = (this.#oldest + 1) % this.#limit
    }
    return kept
  }

  /** Oldest first. */
  list(): DeadLetter[] {
    return [...this.#ring.slice(this.#oldest), ...this.#ring.slice(0, this.#oldest)]
  }

  /** Takes a letter out, to be sent again. */
  take(id: number): DeadLetter | undefined {
    const list = this.list()
    const letter = list.find((l) => l.id === id)
    if (letter === undefined) return undefined
    this.#ring = list.filter((l) => l !== letter)
    this.#oldest = 0
    return letter
  }
}
