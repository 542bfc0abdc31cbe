/**
 * The newest messages of a channel, in memory, so that most clients that come back cost no read. Bounded by number and bytes, and
 * by the bytes of all channels together: a client that publishes one large message to each of thousands of channels would
 * otherwise fill the memory. A channel that is over it reads from the disk.
 */
import type { Offset } from './journal.ts'
import type { ChannelMessage } from './output.ts'

/** What the recent messages of all channels may take; the channel that was silent longest forgets its own first. */
export class RecentBudget {
  readonly #mostBytes: number
  /** The one that was silent longest is the first. */
  readonly #holders = new Map<RecentMessages, number>()
  bytes = 0

  constructor(mostBytes: number) {
    this.#mostBytes = mostBytes
  }

  hold(holder: RecentMessages, bytes: number): void {
    this.release(holder)
    this.#holders.set(holder, bytes)
    this.bytes += bytes
    for (const oldest of this.#holders.keys()) {
      if (this.bytes <= this.#mostBytes) return
      oldest.forget()
    }
  }

  release(holder: RecentMessages): void {
    this.bytes -= this.#holders.get(holder) ?? 0
    this.#holders.delete(holder)
  }
}

export class RecentMessages {
  readonly #most: number
  readonly #mostBytes: number
  #messages: ChannelMessage[] = []
  #sizes: number[] = []
  #bytes = 0
  readonly #budget: RecentBudget

  constructor(most: number, mostBytes: number, budget: RecentBudget) {
    this.#most = most
    this.#mostBytes = mostBytes
    this.#budget = budget
  }

  /** Of the oldest that is here; undefined when none is. */
  get first(): Offset | undefined {
    return this.#messages[0]?.offset
  }

  /** By offset, without holes. */
  push(messages: readonly ChannelMessage[], sizes: readonly number[]): void {
    for (const message of messages) this.#messages.push(message)
    for (const size of sizes) {
      this.#sizes.push(size)
      this.#bytes += size
    }
    let excess = 0
    while (this.#messages.length - excess > this.#most || this.#bytes > this.#mostBytes) this.#bytes -= this.#sizes[excess++] ?? 0
    if (excess > 0) {
      this.#messages = this.#messages.slice(excess)
      this.#sizes = this.#sizes.slice(excess)
    }
    this.#budget.hold(this, this.#bytes)
  }

  /** Whoever wants them reads them from the disk. */
  forget(): void {
    this.#messages = []
    this.#sizes = []
    this.#bytes = 0
    this.#budget.release(this)
  }

  at(offset: Offset): ChannelMessage | undefined {
    const { first } = this
    return first === undefined ? undefined : this.#messages[offset - first]
  }

  /** The messages from `low` to `high`, both included; undefined when not all of them are here. */
  slice(low: Offset, high: Offset): readonly ChannelMessage[] | undefined {
    const { first } = this
    if (first === undefined || low < first || high >= first + this.#messages.length) return undefined
    return this.#messages.slice(low - first, high - first + 1)
  }
}
