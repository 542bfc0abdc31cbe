/**
 * A world for tests: time moves only when told to, ids and chance come from a seed.
 */
import type { Cancel, Clock, EpochMs, Log, MonotonicMs, Random, Turns, World } from '../../actors/world.ts'

interface Alarm {
  readonly at: MonotonicMs
  readonly order: number
  readonly fire: () => void
}

/** Stops at every deadline on its way, in order of due time and then of scheduling; each callback sees its own time. */
export class SimulatedClock implements Clock {
  #now: MonotonicMs
  /** By how much the wall clock was set. */
  #setMs = 0
  #alarms: Alarm[] = []
  #order = 0

  constructor(start: EpochMs = 1_000_000) {
    this.#now = start
  }

  now(): EpochMs {
    return this.#now + this.#setMs
  }

  monotonic(): MonotonicMs {
    return this.#now
  }

  /** Somebody sets the wall clock, by so much on, or back when it is less than 0. Both readings are equal before. */
  set(ms: number): void {
    this.#setMs += ms
  }

  after(ms: number, fire: () => void): Cancel {
    const alarm = { at: this.#now + Math.max(0, ms), order: this.#order++, fire }
    this.#alarms.push(alarm)
    return () => {
      this.#alarms = this.#alarms.filter((a) => a !== alarm)
    }
  }

  /** When the next alarm rings; undefined when none is set. */
  next(): MonotonicMs | undefined {
    return this.#earliest()?.at
  }

  /** Rings the next alarm, at its time. False when there is none. */
  step(): boolean {
    const alarm = this.#earliest()
    if (alarm === undefined) return false
    this.#alarms = this.#alarms.filter((a) => a !== alarm)
    this.#now = Math.max(this.#now, alarm.at)
    alarm.fire()
    return true
  }

  /** Goes forward by `ms`; after each alarm the event loop runs until it is quiet. */
  async advance(ms: number): Promise<void> {
    const end = this.#now + ms
    await quiet()
    for (let next = this.next(); next !== undefined && next <= end; next = this.next()) {
      this.step()
      await quiet()
    }
    this.#now = end
  }

  /** Alarms that are set. */
  get pending(): number {
    return this.#alarms.length
  }

  /** The process whose alarms these were has ended. */
  forget(): void {
    this.#alarms = []
  }

  /** Time passes while somebody works, and no alarm has the chance to ring. */
  pass(ms: number): void {
    this.#now += ms
  }

  #earliest(): Alarm | undefined {
    let earliest: Alarm | undefined
    for (const alarm of this.#alarms) {
      if (earliest === undefined || alarm.at < earliest.at || (alarm.at === earliest.at && alarm.order < earliest.order)) earliest = alarm
    }
    return earliest
  }
}

/** Lets everything that is ready to run, run. */
export const quiet = async (turns = 8): Promise<void> => {
  for (let i = 0; i < turns; i++) await new Promise<void>((resolve) => setImmediate(resolve))
}

export const realTurns: Turns = { soon: queueMicrotask, later: setImmediate }

/** mulberry32: small, fast, good enough to choose test cases. */
export class SeededRandom implements Random {
  #state: number
  #ids = 0

  constructor(seed: number) {
    this.#state = seed >>> 0
  }

  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let t = this.#state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }

  id(): string {
    return `id${String(++this.#ids).padStart(20, '0')}`
  }

  /** A whole number in [0, below). */
  below(below: number): number {
    return Math.floor(this.next() * below)
  }

  chance(probability: number): boolean {
    return this.next() < probability
  }

  pick<T>(from: readonly T[]): T {
    return from[this.below(from.length)] as T // `from` is not empty
  }
}

export const silentLog: Log = { debug() {}, info() {}, warn() {}, error() {} }

export interface TestWorld extends World {
  readonly clock: SimulatedClock
  readonly random: SeededRandom
}

export const testWorld = (seed = 1): TestWorld => ({
  clock: new SimulatedClock(),
  turns: realTurns,
  random: new SeededRandom(seed),
  log: silentLog,
})
