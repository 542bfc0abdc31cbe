/**
 * The outbox of one incarnation of a durable actor: answers and messages that wait until what they are based on is on disk.
 *
 * Each write gets a ticket. An output is held under the latest ticket, and leaves, in order, when that write and all
 * before it are durable. Writes may finish in any order: a timer's wake-up lies in another journal than its actor.
 */
interface Held {
  readonly ticket: number
  readonly send: () => void
  readonly refuse: (error: unknown) => void
}

export class Outbox {
  #newest = 0
  /** Tickets of writes that are not on disk yet, oldest first. */
  readonly #pending: number[] = []
  readonly #held: Held[] = []
  #broken: { readonly error: unknown } | undefined

  get inFlight(): number {
    return this.#pending.length
  }

  issue(): number {
    this.#pending.push(++this.#newest)
    return this.#newest
  }

  /** Sends at once when nothing is in flight. */
  hold(send: () => void, refuse: (error: unknown) => void): void {
    if (this.#broken !== undefined) refuse(this.#broken.error)
    else if (this.#pending.length === 0) send()
    else this.#held.push({ ticket: this.#newest, send, refuse })
  }

  /** The write with this ticket is on disk. */
  settle(ticket: number): void {
    this.#forget(ticket)
    const oldest = this.#pending[0] ?? Number.POSITIVE_INFINITY
    const firstToWait = this.#held.findIndex((held) => held.ticket >= oldest)
    for (const held of this.#held.splice(0, firstToWait < 0 ? this.#held.length : firstToWait)) held.send()
  }

  /** The write with this ticket failed; whatever was based on it, or comes later, is refused. */
  fail(ticket: number, error: unknown): void {
    this.#forget(ticket)
    this.break(error)
    const firstToRefuse = this.#held.findIndex((held) => held.ticket >= ticket)
    if (firstToRefuse >= 0) for (const held of this.#held.splice(firstToRefuse)) held.refuse(error)
  }

  /** The incarnation ends in an error: outputs that come from now on are based on a state that nobody has any more. */
  break(error: unknown): void {
    this.#broken ??= { error }
  }

  #forget(ticket: number): void {
    const at = this.#pending.indexOf(ticket)
    if (at >= 0) this.#pending.splice(at, 1)
  }
}
