/**
 * Who came, went and changed in one window, and from where in it each newcomer hears. Pure.
 *
 * A crowd of 300 that comes in at once would otherwise be 45 000 messages, one for each newcomer at each listener; a user
 * that changes its status 5 000 times in a second would be as many. In a window only the last status of a user counts.
 */
import type { CrowdOutput, PresenceOutput } from './output.ts'
import type { Address } from './system/address.ts'

export class PresenceNews {
  #changes: PresenceOutput[] = []
  #newcomers = new Map<Address, number>()
  /** Where the last status of a user stands. */
  #statuses = new Map<string, number>()
  /** What stands before has been left out for a newcomer, whose list of members has it. */
  #settled = 0

  get isEmpty(): boolean {
    return this.#changes.length === 0
  }

  add(change: PresenceOutput): void {
    const known = change.change === 'status' ? this.#statuses.get(change.user) : undefined
    const earlier = known === undefined || known < this.#settled ? undefined : this.#changes[known]
    if (earlier !== undefined && known !== undefined) {
      this.#changes[known] = Object.freeze({ ...change, before: earlier.before })
      return
    }
    if (change.change === 'status') this.#statuses.set(change.user, this.#changes.length)
    else this.#statuses.delete(change.user)
    this.#changes.push(Object.freeze(change))
  }

  /** Knows everything up to here. */
  arrived(address: Address): void {
    this.#settled = this.#changes.length
    this.#newcomers.set(address, this.#settled)
  }

  /** What each of the listeners is to be told; the next window begins. */
  take(channel: string, listeners: Iterable<Address>): Map<Address, CrowdOutput> {
    const told = new Map<Address, CrowdOutput>()
    const all: CrowdOutput = { type: 'output.crowd', channel, changes: this.#changes }
    for (const address of listeners) {
      const from = this.#newcomers.get(address) ?? 0
      if (from === 0) told.set(address, all)
      else if (from < this.#changes.length) told.set(address, { ...all, changes: this.#changes.slice(from) })
    }
    this.#changes = []
    this.#newcomers = new Map()
    this.#statuses = new Map()
    this.#settled = 0
    return told
  }
}
