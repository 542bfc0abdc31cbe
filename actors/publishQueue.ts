/**
 * The messages of a channel that are not on disk yet: in the order in which they came, at most one batch of them on its way.
 * Pure bookkeeping; the channel stores and answers.
 */
import type { Content } from './channelEntry.ts'
import type { Published } from './channelMessages.ts'
import type { MonotonicMs } from './world.ts'

export interface Pending {
  readonly content: Content
  /** As it will lie in the journal. */
  readonly data: Uint8Array
  /** By which a repetition is recognised; undefined when the publisher gave no id. */
  readonly key: string | undefined
  /** Of the body. */
  readonly hash: number
  readonly since: MonotonicMs
  readonly published: Promise<Published>
  readonly resolve: (published: Published) => void
  readonly reject: (error: unknown) => void
}

/** One append, and one publication, holds at most this. */
const batchMessages = 1_000
const batchBytes = 4 * 1024 * 1024
/** What waits for the disk beyond this is refused. */
const mostBytes = 16 * 1024 * 1024

export class PublishQueue {
  #waiting: Pending[] = []
  readonly #byKey = new Map<string, Pending>()
  #bytes = 0
  /** The first so many are on their way to disk. */
  #committing = 0
  /** The first so many are stored one by one. */
  #singly = 0

  get isEmpty(): boolean {
    return this.#waiting.length === 0
  }

  get isFull(): boolean {
    return this.#bytes > mostBytes
  }

  get isCommitting(): boolean {
    return this.#committing > 0
  }

  find(key: string): Pending | undefined {
    return this.#byKey.get(key)
  }

  add(pending: Pending): void {
    this.#waiting.push(pending)
    this.#bytes += pending.data.length
    if (pending.key !== undefined) this.#byKey.set(pending.key, pending)
  }

  /** The next batch is on its way; empty when nothing waits. One at a time. */
  begin(): readonly Pending[] {
    const most = this.#singly > 0 ? 1 : batchMessages
    let bytes = 0
    for (const { data } of this.#waiting) {
      bytes += data.length
      if (this.#committing === most || (this.#committing > 0 && bytes > batchBytes)) break
      this.#committing++
    }
    return this.#waiting.slice(0, this.#committing)
  }

  /** The batch is dealt with: stored, or refused. */
  settle(): void {
    this.#singly = Math.max(0, this.#singly - this.#committing)
    this.#forget(this.#waiting.splice(0, this.#committing))
    this.#committing = 0
  }

  /** One message of the batch is too large, and the others are not to pay for it: they wait again, each for itself. */
  separate(): void {
    this.#singly = this.#committing
    this.#committing = 0
  }

  /** Takes out what is not on its way. */
  dropLate(): readonly Pending[] {
    const late = this.#waiting.splice(this.#committing)
    this.#forget(late)
    return late
  }

  /** Takes out everything. */
  drop(): readonly Pending[] {
    this.#committing = 0
    return this.dropLate()
  }

  #forget(pending: readonly Pending[]): void {
    for (const { key, data } of pending) {
      this.#bytes -= data.length
      if (key !== undefined) this.#byKey.delete(key)
    }
  }
}
