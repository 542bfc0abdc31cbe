/**
 * What an actor has begun outside of its mailbox, journal writes above all.
 *
 * Promises: whoever waits for a promise here goes on in a turn of its own, and never after the incarnation has ended; what is
 * on its way to disk can be waited for, for it gets there even then.
 */
import type { Scope } from './system/scope.ts'

export class Background {
  readonly #scope: Scope
  readonly #writes = new Set<Promise<unknown>>()
  #running = 0
  #isOver = false

  constructor(scope: Scope) {
    this.#scope = scope
  }

  /** The incarnation has ended; the next one may be there already. */
  get isOver(): boolean {
    return this.#isOver
  }

  /** Nobody waits for anything. */
  get isIdle(): boolean {
    return this.#running === 0
  }

  /** On its way to disk until the promise settles. */
  write<T>(write: Promise<T>): Promise<T> {
    this.#writes.add(write)
    const done = () => this.#writes.delete(write)
    write.then(done, done)
    return write
  }

  /** Resolves when all that is on its way now is on disk or refused. */
  settled(): Promise<unknown> {
    return Promise.allSettled(this.#writes)
  }

  /** What `done` or `failed` throws ends the incarnation, and the actor is loaded anew. */
  run<T>(promise: Promise<T>, done: (value: T) => void, failed: (error: unknown) => void): void {
    this.#running++
    const settle = (next: () => void) => {
      this.#running--
      if (this.#isOver) return
      try {
        next()
      } catch (error) {
        this.#scope.log.error({ actor: this.#scope.address, error: String(error) }, 'an actor failed and is loaded anew')
        this.#scope.stop()
      }
    }
    promise.then(
      (value) => settle(() => done(value)),
      (error) => settle(() => failed(error)),
    )
  }

  /** The incarnation ends. The promise, if any, resolves when all that it wrote is on disk or refused. */
  end(): Promise<unknown> | undefined {
    this.#isOver = true
    return this.#writes.size === 0 ? undefined : this.settled()
  }
}
