/**
 * Who is in a channel: users over their connections. Pure: told what happens and when, it says what to announce.
 *
 * Promises:
 * - A user joins with the first of its connections and leaves with the last: announced once each, never for one in between.
 * - A user whose last connection was lost stays for `graceMs`, listed as offline; back within it, nobody hears a word.
 * - A user is as present as the most present of its connections.
 * - Readers are counted as connections and otherwise neither seen nor told.
 */
import type { PresentUser } from './channelEntry.ts'
import type { Member, Status } from './output.ts'
import type { Address } from './system/address.ts'
import type { EpochMs, MonotonicMs } from './world.ts'

export interface Presented {
  readonly user: string
  /** Id of the connection, for those who are told. */
  readonly client: string
  readonly status: Status
  /** False: a reader. */
  readonly isPresent: boolean
}

export interface PresenceChange {
  readonly change: 'joined' | 'left' | 'status'
  readonly user: string
  readonly client: string
  readonly status: Status
  readonly before: Status
  readonly reason?: 'left' | 'lost'
}

interface User {
  readonly name: string
  readonly connections: Map<Address, Status>
  readonly joinedAt: EpochMs
  lastSeen: EpochMs
  /** The status that others know. */
  announced: Status
  /** The connection that was lost last. */
  lost: string
  graceUntil: MonotonicMs
  /** Somebody saw it listed as offline, and has to hear when it is back. */
  isSeenOffline: boolean
}

const rank: Readonly<Record<Status, number>> = { online: 3, busy: 2, away: 1, offline: 0 }

const statusOf = ({ connections }: User): Status => {
  let best: Status = 'offline'
  for (const status of connections.values()) if (rank[status] > rank[best]) best = status
  return best
}

export class Presence {
  readonly #graceMs: number
  readonly #connections = new Map<Address, Presented>()
  readonly #users = new Map<string, User>()
  /** Users without a connection. The grace is the same for all, so the first in is the first out. */
  readonly #lost = new Map<string, User>()
  readonly #present = new Set<Address>()

  constructor(graceMs: number) {
    this.#graceMs = graceMs
  }

  /** Everybody who gets messages. */
  get connections(): Iterable<Address> {
    return this.#connections.keys()
  }

  /** Everybody who is told of the others. */
  get listeners(): Iterable<Address> {
    return this.#present
  }

  get connectionCount(): number {
    return this.#connections.size
  }

  get userCount(): number {
    return this.#users.size
  }

  has(address: Address): boolean {
    return this.#connections.has(address)
  }

  get(address: Address): Presented | undefined {
    return this.#connections.get(address)
  }

  /** When the first grace ends. */
  get nextGrace(): MonotonicMs | undefined {
    for (const user of this.#lost.values()) return user.graceUntil
    return undefined
  }

  /** A connection comes, or comes again with another name or status. */
  join(address: Address, presented: Presented, now: EpochMs): PresenceChange[] {
    const known = this.#connections.get(address)
    const moved =
      known !== undefined && (known.user !== presented.user || known.isPresent !== presented.isPresent)
        ? this.#remove(address, known, now)
        : []
    this.#connections.set(address, presented)
    if (!presented.isPresent) return moved
    this.#present.add(address)
    return [...moved, ...this.#appear(address, presented, now)]
  }

  /** The connection said that it leaves. */
  leave(address: Address, now: EpochMs): PresenceChange[] {
    return this.#end(address, now)
  }

  /** The connection is gone without a word. The grace begins at `since`. */
  lose(address: Address, now: EpochMs, since: MonotonicMs): PresenceChange[] {
    return this.#end(address, now, since)
  }

  /** Something was heard of this connection. */
  touch(address: Address, now: EpochMs): void {
    const known = this.#connections.get(address)
    const user = known?.isPresent === true ? this.#users.get(known.user) : undefined
    if (user !== undefined) user.lastSeen = now
  }

  /** Users whose grace is over. */
  expire(now: MonotonicMs): PresenceChange[] {
    const changes: PresenceChange[] = []
    for (const user of this.#lost.values()) {
      if (user.graceUntil > now) break
      changes.push(this.#forget(user, user.lost, 'lost'))
    }
    return changes
  }

  members(): Member[] {
    return Array.from(this.#users.values(), (user) => this.#memberOf(user))
  }

  /**
   * A user in its grace is listed as offline. Not one of the process before, whom nobody has lost yet: after a deploy everybody
   * would otherwise see the others as offline, and hear of each that it is back.
   */
  #memberOf(user: User): Member {
    const { name, connections, joinedAt, lastSeen, announced } = user
    const isAwaited = connections.size === 0 && user.lost === ''
    if (connections.size === 0 && !isAwaited) user.isSeenOffline = true
    return { user: name, status: isAwaited ? announced : statusOf(user), connections: connections.size, joinedAt, lastSeen }
  }

  /** For the next process; users in their grace too, for a deploy ends connections before it ends the process. */
  save(): PresentUser[] {
    return Array.from(this.#users.values(), ({ name, announced, joinedAt, lastSeen }) => ({
      user: name,
      status: announced,
      joinedAt,
      lastSeen,
    }))
  }

  /** Into an empty one: everybody has the grace to come back. */
  restore(present: readonly PresentUser[], since: MonotonicMs): void {
    for (const { user: name, status, joinedAt, lastSeen } of present) {
      const graceUntil = since + this.#graceMs
      const user: User = { name, connections: new Map(), joinedAt, lastSeen, announced: status, lost: '', graceUntil, isSeenOffline: false }
      this.#users.set(name, user)
      this.#lost.set(name, user)
    }
  }

  #appear(address: Address, { user: name, client, status }: Presented, now: EpochMs): PresenceChange[] {
    const known = this.#users.get(name)
    if (known !== undefined) {
      known.connections.set(address, status)
      known.lastSeen = now
      this.#lost.delete(name)
      const { isSeenOffline } = known
      known.isSeenOffline = false
      return this.#restate(known, client, isSeenOffline)
    }
    const connections = new Map([[address, status]])
    this.#users.set(name, {
      name,
      connections,
      joinedAt: now,
      lastSeen: now,
      announced: status,
      lost: '',
      graceUntil: 0,
      isSeenOffline: false,
    })
    return [{ change: 'joined', user: name, client, status, before: 'offline' }]
  }

  #end(address: Address, now: EpochMs, lostAt?: MonotonicMs): PresenceChange[] {
    const known = this.#connections.get(address)
    if (known === undefined) return []
    this.#connections.delete(address)
    return this.#remove(address, known, now, lostAt)
  }

  #remove(address: Address, { user: name, client, isPresent }: Presented, now: EpochMs, lostAt?: MonotonicMs): PresenceChange[] {
    this.#present.delete(address)
    const user = isPresent ? this.#users.get(name) : undefined
    if (user === undefined) return []
    user.connections.delete(address)
    user.lastSeen = now
    if (user.connections.size > 0) return this.#restate(user, client)
    if (lostAt === undefined) return [this.#forget(user, client, 'left')]
    if (this.#graceMs === 0) return [this.#forget(user, client, 'lost')]
    user.lost = client
    user.graceUntil = lostAt + this.#graceMs
    this.#lost.set(name, user)
    return []
  }

  #restate(user: User, client: string, isAnyway = false): PresenceChange[] {
    const status = statusOf(user)
    const before = user.announced
    if (status === before && !isAnyway) return []
    user.announced = status
    return [{ change: 'status', user: user.name, client, status, before }]
  }

  #forget(user: User, client: string, reason: 'left' | 'lost'): PresenceChange {
    this.#users.delete(user.name)
    this.#lost.delete(user.name)
    return { change: 'left', user: user.name, client, status: 'offline', before: user.announced, reason }
  }
}
