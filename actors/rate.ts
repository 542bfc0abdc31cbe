/** Rates: at most `count` in any `withinMs`, exactly (a sliding log of times). Costs memory only for what was taken of late. */
import type { MonotonicMs } from './world.ts'

export class SlidingWindow {
  readonly #count: number
  readonly #withinMs: number
  /** When something was taken, oldest first; those before `#first` are over. */
  #times: MonotonicMs[] = []
  #first = 0

  constructor(count: number, withinMs: number) {
    this.#count = count
    this.#withinMs = withinMs
  }

  /** 0: taken. Otherwise nothing is taken, and so many milliseconds later something can be. */
  take(now: MonotonicMs): number {
    this.#forget(now)
    const oldest = this.#times[this.#first]
    if (oldest !== undefined && this.#times.length - this.#first >= this.#count) return oldest + this.#withinMs - now
    this.#times.push(now)
    return 0
  }

  /** Nothing was taken for a whole window: a fresh one would do as well. */
  isIdle(now: MonotonicMs): boolean {
    this.#forget(now)
    return this.#first === this.#times.length
  }

  #forget(now: MonotonicMs): void {
    const over = now - this.#withinMs
    while ((this.#times[this.#first] ?? Number.POSITIVE_INFINITY) <= over) this.#first++
    // Cleared away when it is half of all, so that each time is moved about once.
    if (this.#first === 0 || this.#first * 2 < this.#times.length) return
    this.#times = this.#times.slice(this.#first)
    this.#first = 0
  }
}

/** Windows by name; those that are idle are forgotten once in a window. */
export class SlidingWindows {
  readonly #count: number
  readonly #withinMs: number
  readonly #windows = new Map<string, SlidingWindow>()
  #sweptAt: MonotonicMs = 0

  constructor(count: number, withinMs: number) {
    this.#count = count
    this.#withinMs = withinMs
  }

  get size(): number {
    return this.#windows.size
  }

  take(name: string, now: MonotonicMs): number {
    if (now - this.#sweptAt > this.#withinMs) this.#sweep(now)
    let window = this.#windows.get(name)
    if (window === undefined) this.#windows.set(name, (window = new SlidingWindow(this.#count, this.#withinMs)))
    return window.take(now)
  }

  #sweep(now: MonotonicMs): void {
    this.#sweptAt = now
    for (const [name, window] of this.#windows) if (window.isIdle(now)) this.#windows.delete(name)
  }
}
