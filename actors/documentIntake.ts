/**
 * Keeps what one client says in order where one message takes a while: a large change is inspected in the worker, what the client says
 * behind it waits, and all others go on.
 */
import type { Background } from './background.ts'
import type { Address } from './system/address.ts'

export class DocumentIntake {
  readonly #background: Background
  /** What waits behind a message that is under way, for each client that has one. */
  readonly #waiting = new Map<Address, (() => void)[]>()

  constructor(background: Background) {
    this.#background = background
  }

  /** At once, or behind what this client said before. */
  run(client: Address, handle: () => void): void {
    const waiting = this.#waiting.get(client)
    if (waiting === undefined) handle()
    else waiting.push(handle)
  }

  /** What this client says from now on waits for `promise`. Called from within `run`. */
  hold<T>(client: Address, promise: Promise<T>, done: (value: T) => void, failed: (error: unknown) => void): void {
    this.#waiting.set(client, [])
    const goOn = () => {
      const later = this.#waiting.get(client) ?? []
      this.#waiting.delete(client)
      this.#resume(client, later)
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
      const waiting = this.#waiting.get(client)
      if (waiting === undefined) continue
      waiting.push(...handlers.slice(at + 1))
      return
    }
  }

  /** Resolves when all that this client said so far was taken in; undefined when it was. */
  taken(client: Address): Promise<void> | undefined {
    if (!this.#waiting.has(client)) return undefined
    return new Promise((resolve) => this.run(client, resolve))
  }
}
