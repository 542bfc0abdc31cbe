/**
 * Keeps what one client says in order where one message takes a while: a large change is inspected in the worker, what the client says
 * behind it waits, and all others go on.
 */
import type { Background } from './background.ts'
import type { Address } from './system/address.ts'

/** Of a client with a message that is under way. */
interface Line {
  /** How many promises that message waits for; one may lead to the next. */
  held: number
  /** What waits behind it. */
  readonly later: (() => void)[]
}

export class DocumentIntake {
  readonly #background: Background
  readonly #lines = new Map<Address, Line>()

  constructor(background: Background) {
    this.#background = background
  }

  /** At once, or behind what this client said before. */
  run(client: Address, handle: () => void): void {
    const line = this.#lines.get(client)
    if (line === undefined) handle()
    else line.later.push(handle)
  }

  /** What this client says from now on waits for `promise`. Called from within `run`, or from `done`. */
  hold<T>(client: Address, promise: Promise<T>, done: (value: T) => void, failed: (error: unknown) => void): void {
    const line = this.#lines.get(client) ?? { held: 0, later: [] }
    line.held++
    this.#lines.set(client, line)
    const goOn = () => {
      if (--line.held > 0) return
      this.#lines.delete(client)
      this.#resume(client, line.later)
    }
    this.#background.run(
      promise,
      (value) => {
        done(value)
        goOn()
      },
      (error) => {
        failed(error)
        goOn()
      },
    )
  }

  /** One after the other; as soon as one of them takes a while, the rest waits again. */
  #resume(client: Address, handlers: readonly (() => void)[]): void {
    for (const [at, handle] of handlers.entries()) {
      handle()
      const line = this.#lines.get(client)
      if (line === undefined) continue
      line.later.push(...handlers.slice(at + 1))
      return
    }
  }

  /** Resolves when all that this client said so far was taken in; undefined when it was. */
  taken(client: Address): Promise<void> | undefined {
    if (!this.#lines.has(client)) return undefined
    return new Promise((resolve) => this.run(client, resolve))
  }
}
