/**
 * The journals that are in memory: their states only, never their data. Least recently used ones go, but only when all of
 * their changes are on disk; then they can be read from there again.
 */
import type { JournalState } from './journalState.ts'

export interface Slot {
  readonly name: string
  readonly key: Buffer
  /** With every accepted call, on disk or not. Equal to `durable` (the same object) when nothing is on its way. */
  staged: JournalState
  /** As it is on disk. */
  durable: JournalState
  /** While a commit that removes something of this journal is on its way: LMDB shows the removal before it is on disk. */
  removal: Promise<void> | undefined
  wasUsed: boolean
}

export class Slots {
  readonly #slots = new Map<string, Slot>()
  readonly #limit: number
  readonly #load: (name: string) => Slot

  constructor(limit: number, load: (name: string) => Slot) {
    this.#limit = limit
    this.#load = load
  }

  get(name: string): Slot {
    const known = this.#slots.get(name)
    if (known !== undefined) {
      known.wasUsed = true
      return known
    }
    const slot = this.#load(name)
    if (this.#slots.size >= this.#limit) this.#evict()
    this.#slots.set(name, slot)
    return slot
  }

  /** The slot, if it is in memory. */
  peek(name: string): Slot | undefined {
    return this.#slots.get(name)
  }

  all(): Iterable<Slot> {
    return this.#slots.values()
  }

  /** Second chance: a used one goes to the back of the queue once. At most 32 steps, so a full house costs no scan. */
  #evict(): void {
    let steps = 0
    for (const [name, slot] of this.#slots) {
      if (++steps > 32) return
      this.#slots.delete(name)
      if (slot.staged === slot.durable && slot.removal === undefined && !slot.wasUsed) return
      slot.wasUsed = false
      this.#slots.set(name, slot)
    }
  }
}
