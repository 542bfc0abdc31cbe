/** Lets so many through at a time; others wait, and when too many wait, they are refused. */
import { TroupeError } from '../../actors/errors.ts'

export class Gate {
  readonly #width: number
  readonly #limit: number
  readonly #waiting: (() => void)[] = []
  #inside = 0

  constructor(width: number, limit: number) {
    this.#width = width
    this.#limit = limit
  }

  /** Errors: `rate.limited`, and those of `work`. */
  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#inside < this.#width) this.#inside++
    else if (this.#waiting.length >= this.#limit)
      throw new TroupeError('rate.limited', 'too many logins wait', { rule: `logins that wait ${this.#limit}`, retryAfterMs: 1_000 })
    else await new Promise<void>((pass) => this.#waiting.push(pass)) // whoever leaves hands over the place
    try {
      return await work()
    } finally {
      const next = this.#waiting.shift()
      if (next === undefined) this.#inside--
      else next()
    }
  }
}
