/** Rates: at most `count` in any `withinMs`, exactly (a sliding log of times). */
import type { EpochMs } from './world.ts'

export class SlidingWindow {
  readonly #times: Float64Array
  readonly #withinMs: number
  #next = 0

  constructor(count: number, withinMs: number) {
    this.#times = new Float64Array(count).fill(Number.NEGATIVE_INFINITY)
    this.#withinMs = withinMs
  }

  /** 0: taken. Otherwise nothing is taken, and so many milliseconds later something can be. */
  take(now: EpochMs): number {
    const oldest = this.#times[this.#next] as number // the ring is never empty
    const wait = oldest + this.#withinMs - now
    if (wait > 0) return wait
    this.#times[this.#next] = now
    this.#next = (this.#next + 1) % this.#times.length
    return 0
  }

  /** Nothing was taken for a whole window: a fresh one would do as well. */
  isIdle(now: EpochMs): boolean {
    const last = this.#times[(this.#next + this.#times.length - 1) % this.#times.length] as number
    return last + this.#withinMs <= now
  }
}

/** Windows by name; those that are idle are forgotten once in a window. */
export class SlidingWindows {
  readonly #count: number
  readonly #withinMs: number
  readonly #windows = new Map<string, SlidingWindow>()
  #sweptAt: EpochMs = 0

  constructor(count: number, withinMs: number) {
    this.#count = count
    this.#withinMs = withinMs
  }

  take(name: string, now: EpochMs): number {
    if (now - this.#sweptAt > this.#withinMs) this.#sweep(now)
    let window = this.#windows.get(name)
    if (window === undefined) this.#windows.set(name, (window = new SlidingWindow(this.#count, this.#withinMs)))
    return window.take(now)
  }

  #sweep(now: EpochMs): void {
    this.#sweptAt = now
    for (const [name, window] of this.#windows) if (window.isIdle(now)) this.#windows.delete(name)
  }
}
