/** The newest messages of a channel, in memory, so that most clients that come back cost no read. Bounded by number and bytes. */
import type { Offset } from './journal.ts'
import type { ChannelMessage } from './output.ts'

export class RecentMessages {
  readonly #most: number
  readonly #mostBytes: number
  #messages: ChannelMessage[] = []
  #sizes: number[] = []
  #bytes = 0

  constructor(most: number, mostBytes: number) {
    this.#most = most
    this.#mostBytes = mostBytes
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
    if (excess === 0) return
    this.#messages = this.#messages.slice(excess)
    this.#sizes = this.#sizes.slice(excess)
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
