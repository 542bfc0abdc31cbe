/**
 * The mailbox: a bounded FIFO queue in front of an actor.
 *
 * A slot holds a message and its origin (the sender's address, or the ask that waits for the answer).
 * The ring doubles as needed and is given back when it has drained, because most actors are idle most of the time.
 */

/** What happens to a message that meets a full mailbox. */
export type Overflow =
  /** The new message is refused: `tell` returns false, `ask` rejects with `actor.mailbox_full`. */
  | 'reject'
  /** The oldest waiting message goes to the dead letters. */
  | 'drop-oldest'
  /** The actor is stopped: for actors whose owner comes back by itself, such as connections. */
  | 'disconnect'

export interface MailboxOptions<Message = { readonly type: string }> {
  /** Most messages that wait. Default 10 000. */
  readonly limit?: number
  /** Default `reject`. */
  readonly overflow?: Overflow
  /**
   * A waiting message with the same key is replaced in its place by the newer one: for values of which only the latest counts.
   * `undefined` means: never replace. Asks are never replaced.
   */
  readonly coalesceBy?: (message: Message) => string | undefined
}

export const defaultMailboxLimit = 10_000
const smallest = 16

export class Mailbox<Message, Origin> {
  size = 0
  #ring: (Message | Origin | undefined)[] | undefined
  #head = 0
  /** Position (absolute) of the waiting message of each key. */
  #keys: Map<string, number> | undefined
  #absolute = 0

  push(message: Message, origin: Origin, key?: string): void {
    let ring = this.#ring
    if (ring === undefined) ring = this.#ring = new Array(smallest)
    if (this.size * 2 === ring.length) ring = this.#grow(ring)
    const at = (this.#head + this.size * 2) & (ring.length - 1)
    ring[at] = message
    ring[at + 1] = origin
    if (key !== undefined) {
      this.#keys ??= new Map()
      this.#keys.set(key, this.#absolute + this.size)
      // Keys of messages that have left are cleared away now and then: a mailbox that never drains would keep them all.
      if (this.#keys.size > ring.length) for (const [old, at] of this.#keys) if (at < this.#absolute) this.#keys.delete(old)
    }
    this.size++
  }

  /** Replaces the waiting message of this key; false when none waits. */
  replace(key: string, message: Message, origin: Origin): boolean {
    const absolute = this.#keys?.get(key)
    const ring = this.#ring
    if (absolute === undefined || ring === undefined || absolute < this.#absolute) return false
    const at = (this.#head + (absolute - this.#absolute) * 2) & (ring.length - 1)
    ring[at] = message
    ring[at + 1] = origin
    return true
  }

  /** The oldest message; look at `origin` before `drop`. Undefined when empty. */
  peek(): Message | undefined {
    return this.#ring?.[this.#head] as Message | undefined
  }

  peekOrigin(): Origin {
    // The slot after a message always holds its origin.
    return this.#ring?.[this.#head + 1] as Origin
  }

  /** Removes the oldest message. */
  drop(): void {
    const ring = this.#ring
    if (ring === undefined || this.size === 0) return
    ring[this.#head] = undefined
    ring[this.#head + 1] = undefined
    this.#head = (this.#head + 2) & (ring.length - 1)
    this.#absolute++
    if (--this.size === 0) {
      this.#keys = undefined
      this.#head = 0
      if (ring.length > smallest) this.#ring = undefined
    }
  }

  /** Takes out the oldest message whose origin `may` go; those before it keep their order. Undefined when there is none. */
  takeOldest(may: (origin: Origin) => boolean): { readonly message: Message; readonly origin: Origin } | undefined {
    const ring = this.#ring ?? []
    const slot = (index: number) => (this.#head + index * 2) & (ring.length - 1)
    for (let i = 0; i < this.size; i++) {
      const at = slot(i)
      const origin = ring[at + 1] as Origin // as in peekOrigin
      if (!may(origin)) continue
      const message = ring[at] as Message // i < size
      // Only what stands before it moves; a key of the very first goes stale by itself.
      for (const [key, absolute] of i > 0 ? (this.#keys ?? []) : []) {
        if (absolute === this.#absolute + i) this.#keys?.delete(key)
        else if (absolute >= this.#absolute && absolute < this.#absolute + i) this.#keys?.set(key, absolute + 1)
      }
      for (let j = i; j > 0; j--) {
        ring[slot(j)] = ring[slot(j - 1)]
        ring[slot(j) + 1] = ring[slot(j - 1) + 1]
      }
      this.drop()
      return { message, origin }
    }
    return undefined
  }

  #grow(ring: (Message | Origin | undefined)[]): (Message | Origin | undefined)[] {
    const next = new Array<Message | Origin | undefined>(ring.length * 2)
    for (let i = 0; i < ring.length; i++) next[i] = ring[(this.#head + i) & (ring.length - 1)]
    this.#head = 0
    this.#ring = next
    return next
  }
}
