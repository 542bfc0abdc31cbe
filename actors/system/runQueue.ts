/**
 * The run queue: who is next. Actor-to-actor messages are enqueued, never nested, so a chain of a million hops needs no stack.
 *
 * Fair in two ways: an actor handles a batch of messages, then goes to the end of the queue; and after `sliceMs`
 * the whole queue gives the event loop back, so that sockets are read and timers fire however busy the actors are.
 */
import type { Clock, MonotonicMs, Turns } from '../world.ts'

export interface Runnable {
  /** Handles up to `most` messages; true when it wants another turn. Must not throw. */
  run(most: number): boolean
}

const batch = 64
/** For handlers that take long: 64 messages of 1 ms each would be eight slices. */
const slowBatch = 8
/**
 * A reading of the clock costs about as much as a message, so there is one for up to this many turns. Each slice begins
 * with one reading for each turn, and goes back to that when a millisecond has passed between two of them.
 */
const mostTurnsPerReading = 8

export class RunQueue {
  readonly #clock: Clock
  readonly #turns: Turns
  readonly #sliceMs: number
  #waiting: Runnable[] = []
  #next = 0
  #armed = false
  #drain = () => this.#run()
  /** The time of the last reading in the present slice: good enough for idle times, and free. */
  now: MonotonicMs

  constructor(clock: Clock, turns: Turns, sliceMs: number) {
    this.#clock = clock
    this.#turns = turns
    this.#sliceMs = sliceMs
    this.now = clock.monotonic()
  }

  get length(): number {
    return this.#waiting.length - this.#next
  }

  push(runnable: Runnable): void {
    this.#waiting.push(runnable)
    if (!this.#armed) {
      this.#armed = true
      this.#turns.soon(this.#drain)
    }
  }

  #run(): void {
    const started = this.#clock.monotonic()
    this.now = started
    let turnsPerReading = 1
    let turns = 0
    let most = slowBatch
    while (this.#next < this.#waiting.length) {
      const runnable = this.#waiting[this.#next++] as Runnable // in range by the condition above
      if (runnable.run(most)) this.#waiting.push(runnable)
      if (this.#next >= 1024 && this.#next * 2 >= this.#waiting.length) {
        this.#waiting = this.#waiting.slice(this.#next)
        this.#next = 0
      }
      if (++turns < turnsPerReading || this.#next >= this.#waiting.length) continue
      turns = 0
      const now = this.#clock.monotonic()
      const isSlow = now > this.now
      turnsPerReading = isSlow ? 1 : Math.min(mostTurnsPerReading, turnsPerReading * 2)
      most = isSlow ? slowBatch : batch
      this.now = now
      if (now - started >= this.#sliceMs) {
        this.#turns.later(this.#drain)
        return
      }
    }
    this.#waiting.length = 0
    this.#next = 0
    this.#armed = false
  }
}
