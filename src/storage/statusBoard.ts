/** The status of a store and those who want to hear of it. A listener that throws is logged, and the others still hear. */
import type { StorageStatus } from '../../actors/journal.ts'
import type { Log } from '../../actors/world.ts'

export class StatusBoard {
  #status: StorageStatus = { state: 'ready' }
  readonly #listeners = new Set<(status: StorageStatus) => void>()
  readonly #log: Log | undefined

  constructor(log?: Log) {
    this.#log = log
  }

  get status(): StorageStatus {
    return this.#status
  }

  set(status: StorageStatus): void {
    if (status.state === this.#status.state) return
    this.#status = status
    for (const listener of [...this.#listeners]) {
      try {
        listener(status)
      } catch (error) {
        this.#log?.error({ error }, 'a listener for the storage status failed')
      }
    }
  }

  listen(listener: (status: StorageStatus) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }
}
