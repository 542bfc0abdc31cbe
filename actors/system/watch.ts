/** Watches: who wants to know when an actor stops. Kept apart from the cells, because few actors are watched. */
import type { Address } from './address.ts'

/** `done`: the logic reached its end. `failed`: it failed more often than allowed. `overflow`: its mailbox overflowed (`disconnect`). */
export type StopReason = 'stopped' | 'done' | 'failed' | 'overflow'

export interface Stopped {
  readonly type: 'actor.stopped'
  readonly address: Address
  readonly reason: StopReason
}

export type Watcher = Address | ((stopped: Stopped) => void)

export class Watches {
  readonly #byTarget = new Map<Address, Set<Watcher>>()
  /** What each actor watches, so that it is forgotten with it. */
  readonly #byWatcher = new Map<Address, Set<Address>>()

  add(target: Address, watcher: Watcher): void {
    const watchers = this.#byTarget.get(target)
    if (watchers === undefined) this.#byTarget.set(target, new Set([watcher]))
    else watchers.add(watcher)
    if (typeof watcher !== 'string') return
    const targets = this.#byWatcher.get(watcher)
    if (targets === undefined) this.#byWatcher.set(watcher, new Set([target]))
    else targets.add(target)
  }

  remove(target: Address, watcher: Watcher): void {
    const watchers = this.#byTarget.get(target)
    watchers?.delete(watcher)
    if (watchers?.size === 0) this.#byTarget.delete(target)
    if (typeof watcher !== 'string') return
    const targets = this.#byWatcher.get(watcher)
    targets?.delete(target)
    if (targets?.size === 0) this.#byWatcher.delete(watcher)
  }

  /** Ends all watches of and by `address`; returns who watched it. */
  end(address: Address): Watcher[] {
    const watchers = [...(this.#byTarget.get(address) ?? [])]
    for (const watcher of watchers) this.remove(address, watcher)
    for (const target of [...(this.#byWatcher.get(address) ?? [])]) this.remove(target, address)
    return watchers
  }
}
