/**
 * The outbox of a durable actor: answers and messages that wait until what they are based on is on disk.
 *
 * Each append gets a ticket; an output is held under the latest ticket and leaves, in order, when that append is durable.
 */
interface Held {
  readonly ticket: number
  readonly send: () => void
  readonly refuse: (error: unknown) => void
}

export class Outbox {
  /** The ticket of the newest append. */
  #newest = 0
  #inFlight = 0
  #held: Held[] = []

  get inFlight(): number {
    return this.#inFlight
  }

  issue(): number {
    this.#inFlight++
    return ++this.#newest
  }

  /** Sends at once when nothing is in flight. */
  hold(send: () => void, refuse: (error: unknown) => void): void {
    if (this.#inFlight === 0) send()
    else this.#held.push({ ticket: this.#newest, send, refuse })
  }

  /** The append with this ticket is on disk; appends become durable in their order. */
  settle(ticket: number): void {
    this.#inFlight--
    let sent = 0
    for (const held of this.#held) {
      if (held.ticket > ticket) break
      sent++
    }
    for (const held of this.#held.splice(0, sent)) held.send()
  }

  /** The append with this ticket failed, and with it everything after it. */
  fail(error: unknown): void {
    this.#inFlight--
    for (const held of this.#held.splice(0)) held.refuse(error)
  }
}
