/**
 * Asks: requests that wait for an answer, each with a deadline.
 *
 * Asks with the same timeout expire in the order in which they were made, so one list and one running timer
 * for each distinct timeout are enough; a timer for each ask would cost more than the ask.
 */
import { TroupeError } from '../errors.ts'
import type { Cancel, Clock, MonotonicMs } from '../world.ts'
import type { Address } from './address.ts'
import { type Linked, LinkedList } from './linkedList.ts'

export class Ask implements Linked<Ask> {
  previous: Ask | undefined
  next: Ask | undefined
  readonly address: Address
  readonly from: Address | undefined
  readonly deadline: MonotonicMs
  readonly #resolve: (answer: unknown) => void
  readonly #reject: (error: unknown) => void
  #list: LinkedList<Ask> | undefined

  constructor(
    address: Address,
    from: Address | undefined,
    deadline: MonotonicMs,
    list: LinkedList<Ask>,
    resolve: (answer: unknown) => void,
    reject: (error: unknown) => void,
  ) {
    this.address = address
    this.from = from
    this.deadline = deadline
    this.#resolve = resolve
    this.#reject = reject
    this.#list = list
    list.append(this)
  }

  get isSettled(): boolean {
    return this.#list === undefined
  }

  answer(value: unknown): void {
    if (this.#leave()) this.#resolve(value)
  }

  refuse(error: unknown): void {
    if (this.#leave()) this.#reject(error)
  }

  #leave(): boolean {
    if (this.#list === undefined) return false
    this.#list.remove(this)
    this.#list = undefined
    return true
  }
}

export class Asks {
  readonly #clock: Clock
  readonly #lists = new Map<number, LinkedList<Ask>>()
  readonly #armed = new Map<number, Cancel>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  open(
    address: Address,
    from: Address | undefined,
    timeoutMs: number,
    resolve: (answer: unknown) => void,
    reject: (error: unknown) => void,
  ): Ask {
    let list = this.#lists.get(timeoutMs)
    if (list === undefined) {
      list = new LinkedList()
      this.#lists.set(timeoutMs, list)
    }
    const ask = new Ask(address, from, this.#clock.monotonic() + timeoutMs, list, resolve, reject)
    if (!this.#armed.has(timeoutMs)) this.#arm(timeoutMs, list, timeoutMs)
    return ask
  }

  /** Refuses whatever still waits, and stops the timers. */
  close(error: unknown): void {
    for (const cancel of this.#armed.values()) cancel()
    this.#armed.clear()
    for (const list of this.#lists.values()) while (list.first !== undefined) list.first.refuse(error)
  }

  #arm(timeoutMs: number, list: LinkedList<Ask>, waitMs: number): void {
    this.#armed.set(
      timeoutMs,
      this.#clock.after(waitMs, () => {
        const now = this.#clock.monotonic()
        while (list.first !== undefined && list.first.deadline <= now) {
          const ask = list.first
          ask.refuse(new TroupeError('actor.ask_timeout', `${ask.address} within ${timeoutMs} ms`))
        }
        this.#armed.delete(timeoutMs)
        if (list.first === undefined) this.#lists.delete(timeoutMs)
        else this.#arm(timeoutMs, list, Math.max(1, list.first.deadline - now))
      }),
    )
  }
}
