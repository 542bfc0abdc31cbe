/**
 * Simulated time: one list of what will happen, in order of due time and then of scheduling. Between two happenings all
 * promises settle, so whatever the product does with them has the same order in every run of a seed.
 */
import type { Cancel, Clock, EpochMs, MonotonicMs } from '../../actors/world.ts'

interface Happening {
  readonly at: number
  readonly order: number
  readonly happen: () => void
  isCancelled: boolean
}

const isBefore = (a: Happening, b: Happening): boolean => a.at < b.at || (a.at === b.at && a.order < b.order)

/** Everything that is ready to run as a microtask has run when it resolves. */
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

const epoch: EpochMs = 1_700_000_000_000

export class Events {
  /** Milliseconds since the beginning, with fractions. */
  now = 0
  steps = 0
  /** A binary heap. */
  readonly #heap: Happening[] = []
  #soon: (() => void)[] = []
  #order = 0
  /** By how much the clock on the wall was set. */
  #setMs = 0
  readonly clock: Clock = {
    now: () => this.time,
    monotonic: () => this.monotonic,
    after: (ms, fire) => this.after(ms, fire),
  }

  /** What a clock on the wall shows. */
  get time(): EpochMs {
    return this.monotonic + this.#setMs
  }

  get monotonic(): MonotonicMs {
    return epoch + Math.floor(this.now)
  }

  /** Somebody sets the clock on the wall, by so much on, or back when it is less than 0. */
  set(ms: number): void {
    this.#setMs += ms
  }

  after(ms: number, happen: () => void): Cancel {
    const happening = { at: this.now + Math.max(0, ms), order: this.#order++, happen, isCancelled: false }
    this.#push(happening)
    return () => {
      happening.isCancelled = true
    }
  }

  /** Before the next happening, after the promises that are ready now. */
  soon(work: () => void): void {
    this.#soon.push(work)
  }

  /** One happening and all that follows from it at once. False when there is none before `until`. */
  async step(until: number): Promise<boolean> {
    for (;;) {
      const first = this.#heap[0]
      if (first === undefined || first.at > until) {
        this.now = Math.max(this.now, until)
        return false
      }
      this.#pop()
      if (first.isCancelled) continue
      this.now = Math.max(this.now, first.at)
      this.steps++
      first.happen()
      await this.settle()
      return true
    }
  }

  async settle(): Promise<void> {
    await settled()
    while (this.#soon.length > 0) {
      for (const work of this.#soon.splice(0)) work()
      await settled()
    }
  }

  #push(happening: Happening): void {
    const heap = this.#heap
    let at = heap.length
    heap.push(happening)
    while (at > 0) {
      const up = (at - 1) >> 1
      const above = heap[up] as Happening // up < at
      if (!isBefore(happening, above)) break
      heap[at] = above
      at = up
    }
    heap[at] = happening
  }

  #pop(): void {
    const heap = this.#heap
    const last = heap.pop() as Happening // the caller has looked at the first
    if (heap.length === 0) return
    let at = 0
    for (;;) {
      let down = 2 * at + 1
      let below = heap[down]
      if (below === undefined) break
      const other = heap[down + 1]
      if (other !== undefined && isBefore(other, below)) {
        below = other
        down++
      }
      if (!isBefore(below, last)) break
      heap[at] = below
      at = down
    }
    heap[at] = last
  }
}

/** What happened, as text and as one number: two runs of a seed must have the same. */
export class Trace {
  readonly lines: string[] = []
  readonly #events: Events
  readonly #isVerbose: boolean
  #hash = 0x811c9dc5

  constructor(events: Events, isVerbose: boolean) {
    this.#events = events
    this.#isVerbose = isVerbose
  }

  note(text: string): void {
    const line = `${this.#events.now.toFixed(2).padStart(10)} ${text}`
    this.lines.push(line)
    for (let i = 0; i < line.length; i++) this.#add(line.charCodeAt(i))
    if (this.#isVerbose) process.stdout.write(`${line}\n`)
  }

  bytes(bytes: Uint8Array): void {
    for (const byte of bytes) this.#add(byte)
  }

  get hash(): string {
    return (this.#hash >>> 0).toString(16).padStart(8, '0')
  }

  #add(value: number): void {
    this.#hash = Math.imul(this.#hash ^ value, 0x01000193)
  }
}
