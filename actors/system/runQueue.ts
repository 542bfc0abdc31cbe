/**
 * The run queue: who is next. Actor-to-actor messages are enqueued, never nested, so a chain of a million hops needs no stack.
 *
 * Fair in two ways: an actor handles at most `batch` messages, then goes to the end of the queue; and after `sliceMs`
 * the whole queue gives the event loop back, so that sockets are read and timers fire however busy the actors are.
 */
import type { Clock, Turns } from '../world.ts'

export interface Runnable {
  /** Handles up to `most` messages; true when it wants another turn. */
  run(most: number): boolean
}

const batch = 64
/** The clock is read once for this many turns: a reading costs about as much as a message. */
const turnsPerReading = 8

export class RunQueue {
  readonly #clock: Clock
  readonly #turns: Turns
  readonly #sliceMs: number
  #waiting: Runnable[] = []
  #next = 0
  #armed = false
  #drain = () => this.#run()
  /** The time at which the present slice began: good enough for idle times, and free. */
  now: number

  constructor(clock: Clock, turns: Turns, sliceMs: number) {
    this.#clock = clock
    this.#turns = turns
    this.#sliceMs = sliceMs
    this.now = clock.now()
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
    const started = this.#clock.now()
    this.now = started
    let turns = 0
    while (this.#next < this.#waiting.length) {
      const runnable = this.#waiting[this.#next++] as Runnable // in range by the condition above
      if (runnable.run(batch)) this.#waiting.push(runnable)
      if (this.#next === 1024) {
        this.#waiting = this.#waiting.slice(1024)
        this.#next = 0
      }
      if (++turns % turnsPerReading === 0) {
        const now = this.#clock.now()
        this.now = now
        if (now - started >= this.#sliceMs) {
          this.#turns.later(this.#drain)
          return
        }
      }
    }
    this.#waiting.length = 0
    this.#next = 0
    this.#armed = false
  }
}
