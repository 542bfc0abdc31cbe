/**
 * The directory of a tenant: which channels there are, which of them are rooms, and until when.
 *
 * Promises:
 * - A channel is made once; whoever asks for it while it is made gets the same one.
 * - A room ends at its deadline, or when the process is there again after it.
 * - A removal is on disk before it begins, and is gone about until the channel has told its members and its journal is gone,
 *   through crashes too. Until then there is no channel of this name, neither the old one nor a new one.
 * - Channels that nobody uses any more forget their old messages, too: all are woken once a day.
 *
 * Runs under the system as a durable table: `directory/default`, or `directory/~tenant`. A channel costs about 250 bytes in
 * memory and 100 in the snapshot: 100 000 of them 25 MB, and a snapshot of 10 MB that takes about 0.1 s, every 5 000 changes.
 * Should that be too much, split the table by the hash of the name.
 */
import { scopedId } from './account.ts'
import { type DirectoryPage, type DirectoryRequest, inboxOwner } from './channelMessages.ts'
import { isTroupeError, TroupeError } from './errors.ts'
import type { ChannelInfo } from './output.ts'
import type { Address } from './system/address.ts'
import { defineActor } from './system/definition.ts'
import type { Scope } from './system/scope.ts'
import type { EpochMs, MonotonicMs } from './world.ts'

/** Why a channel goes. */
type Reason = 'deleted' | 'expired'

export type DirectoryEvent =
  | readonly ['made', Listed]
  /** From now on it is not there for anybody but the one who clears it away. */
  | readonly ['removing', name: string, reason: Reason]
  | readonly ['removed', name: string]
  /** All channels are being told to forget what is too old. */
  | readonly ['swept', at: EpochMs]

/** As it is stored: [name, description, createdAt, createdBy, isRoom, expiresAt, why it is being removed]. */
type Listed = readonly [string, string, EpochMs, string, 0 | 1, EpochMs | null, Reason | null]

interface Stored {
  readonly channels: readonly Listed[]
  readonly sweptAt: EpochMs
}

type DirectoryMessage =
  | DirectoryRequest
  /** Rooms whose time has come, removals that were interrupted, and the daily sweep. */
  | { readonly type: 'directory.tidy' }

interface Known extends ChannelInfo {
  readonly removing?: Reason
}

type DirectoryScope = Scope<DirectoryEvent>

const snapshotEvery = 5_000
const defaultLimit = 100
const largestLimit = 1_000
/** A channel that does not answer within this is asked again. */
const removeTimeoutMs = 30_000
const retryMs = 5_000
/** Rooms that end are looked for at most so often, and removed so many at a time. */
const tidyGapMs = 50
const tidyMost = 64
/** Messages of a channel that nobody uses stay this much longer. */
const sweepEveryMs = 24 * 3_600_000
/** So many channels are woken each second: 100 000 take 26 minutes. */
const sweepMost = 64
const sweepGapMs = 1_000

const toListed = ({ name, description, createdAt, createdBy, isRoom, expiresAt, removing }: Known): Listed => [
  name,
  description,
  createdAt,
  createdBy,
  isRoom ? 1 : 0,
  expiresAt ?? null,
  removing ?? null,
]

const fromListed = ([name, description, createdAt, createdBy, isRoom, expiresAt, removing]: Listed): Known => ({
  name,
  description,
  createdAt,
  createdBy,
  isRoom: isRoom === 1,
  ...(expiresAt === null ? {} : { expiresAt }),
  ...(removing === null ? {} : { removing }),
})

const publicInfo = ({ removing: _, ...info }: Known): ChannelInfo => info

/** Position of the first name that is not before `name`. */
const positionOf = (names: readonly string[], name: string): number => {
  let low = 0
  let high = names.length
  while (low < high) {
    const middle = (low + high) >> 1
    if ((names[middle] as string) < name)
      low = middle + 1 // middle < length
    else high = middle
  }
  return low
}

class Directory {
  readonly #known = new Map<string, Known>()
  /** Sorted; without inboxes and without those that are being removed. */
  readonly #names: string[] = []
  /** What will have to be removed one day, or is being removed. */
  readonly #ending = new Set<string>()
  /** Removals that go on. Not stored: who loads the table begins them anew. */
  readonly #removals = new Map<string, Promise<void>>()
  /** When the last sweep began; 0: before the first channel. */
  #sweptAt: EpochMs = 0
  /** Names that the present sweep has not come to. Not stored: what a restart interrupts waits for the next day. */
  #unswept: string[] = []
  /** When the timer for `directory.tidy` rings, as far as this incarnation has set it. */
  #tidyAt: MonotonicMs | undefined

  // ── the fold ───────────────────────────────────────────────────────────────────────────────────────────────────

  apply(event: DirectoryEvent): void {
    if (event[0] === 'made') {
      const known = fromListed(event[1])
      this.#add(known)
      if (this.#sweptAt === 0) this.#sweptAt = known.createdAt
    } else if (event[0] === 'swept') this.#sweptAt = event[1]
    else if (event[0] === 'removing') {
      const known = this.#known.get(event[1])
      if (known === undefined) return
      this.#drop(known.name)
      this.#add({ ...known, removing: event[2] })
    } else this.#drop(event[1])
  }

  toJson(): Stored {
    return { channels: Array.from(this.#known.values(), toListed), sweptAt: this.#sweptAt }
  }

  static fromJson({ channels, sweptAt }: Stored): Directory {
    const directory = new Directory()
    directory.#sweptAt = sweptAt
    for (const each of channels) directory.#put(fromListed(each))
    const visible = [...directory.#known.values()].filter(isVisible).map(({ name }) => name)
    // Not spread into the call: 100 000 arguments are too many for the stack.
    for (const name of visible.sort((a, b) => (a < b ? -1 : 1))) directory.#names.push(name)
    return directory
  }

  #put(known: Known): void {
    this.#known.set(known.name, known)
    if (known.expiresAt !== undefined || known.removing !== undefined) this.#ending.add(known.name)
  }

  #add(known: Known): void {
    this.#put(known)
    if (isVisible(known)) this.#names.splice(positionOf(this.#names, known.name), 0, known.name)
  }

  #drop(name: string): void {
    this.#known.delete(name)
    this.#ending.delete(name)
    const at = positionOf(this.#names, name)
    if (this.#names[at] === name) this.#names.splice(at, 1)
  }

  // ── requests ───────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * Asked by a channel while it loads. It does not wait for a removal: that waits for this very channel.
   * Errors: `channel.unknown`, `channel.unavailable`.
   */
  open({ name, create, by }: Extract<DirectoryRequest, { type: 'directory.open' }>, scope: DirectoryScope): ChannelInfo | Promise<never> {
    const known = this.#known.get(name)
    if (known?.removing !== undefined) return refused('channel.unavailable', `${name} is being removed`)
    if (known !== undefined) return publicInfo(known)
    if (!create) return refused('channel.unknown', name)
    return this.#make({ name, description: '', createdAt: scope.now(), createdBy: by, isRoom: false }, scope)
  }

  /** Errors: `channel.exists`, `channel.unavailable`. */
  async create(request: Extract<DirectoryRequest, { type: 'directory.create' }>, scope: DirectoryScope): Promise<ChannelInfo> {
    const { name, description, by, isRoom, ttlMs } = request
    for (let known = this.#known.get(name); known !== undefined; known = this.#known.get(name)) {
      if (known.removing === undefined) throw new TroupeError('channel.exists', name)
      await this.#remove(name, known.removing, scope)
    }
    const createdAt = scope.now()
    const ends = isRoom && ttlMs !== undefined ? { expiresAt: createdAt + ttlMs } : {}
    return this.#make({ name, description, createdAt, createdBy: by, isRoom, ...ends }, scope)
  }

  #make(info: ChannelInfo, scope: DirectoryScope): ChannelInfo {
    // The timer first: a room that is on disk without one would stay for ever.
    this.#planTidy(scope, info.expiresAt ?? info.createdAt + sweepEveryMs)
    // The answer waits for the disk; when it refuses, that is the answer.
    scope.persist(['made', toListed(info)]).catch(() => {})
    return info
  }

  /** Resolves when the channel is gone. Errors: `channel.unknown`, `channel.unavailable`. */
  delete({ name }: Extract<DirectoryRequest, { type: 'directory.delete' }>, scope: DirectoryScope): Promise<void> {
    const known = this.#known.get(name)
    if (known === undefined) return refused('channel.unknown', name)
    return this.#remove(name, known.removing ?? 'deleted', scope)
  }

  /** Errors: `channel.unknown`. */
  describe(name: string): ChannelInfo | Promise<never> {
    const known = this.#known.get(name)
    return known === undefined || known.removing !== undefined ? refused('channel.unknown', name) : publicInfo(known)
  }

  list({ prefix = '', after, limit = defaultLimit, isRoom }: Extract<DirectoryRequest, { type: 'directory.list' }>): DirectoryPage {
    const most = Math.max(1, Math.min(limit, largestLimit))
    const channels: ChannelInfo[] = []
    let at = positionOf(this.#names, after !== undefined && after > prefix ? after : prefix)
    if (this.#names[at] === after) at++
    for (; at < this.#names.length; at++) {
      const known = this.#known.get(this.#names[at] as string) as Known // every name is that of a channel
      if (!known.name.startsWith(prefix)) break
      if (isRoom !== undefined && known.isRoom !== isRoom) continue
      if (channels.length === most) return { channels, hasMore: true }
      channels.push(publicInfo(known))
    }
    return { channels, hasMore: false }
  }

  // ── removal ────────────────────────────────────────────────────────────────────────────────────────────────────

  #remove(name: string, reason: Reason, scope: DirectoryScope): Promise<void> {
    const running = this.#removals.get(name)
    if (running !== undefined) return running
    const known = this.#known.get(name) as Known // whoever calls has looked
    // Should this be interrupted, the timer is in the journal.
    this.#planTidy(scope, scope.now() + retryMs)
    if (known.removing === undefined) scope.persist(['removing', name, reason]).catch(() => {}) // as above
    const forget = () => this.#removals.delete(name)
    const removal = this.#removeChannel(known, reason, scope)
    this.#removals.set(name, removal)
    removal.then(forget, forget)
    return removal
  }

  /** The ask leaves when the intention is on disk. */
  async #removeChannel({ name, isRoom }: Known, reason: Reason, scope: DirectoryScope): Promise<void> {
    try {
      await scope.ask(channelOf(scope.id, name), { type: 'channel.remove', reason, isRoom }, { timeoutMs: removeTimeoutMs })
      await scope.persist(['removed', name])
    } catch (error) {
      if (isTroupeError(error) && error.code.startsWith('storage.')) throw error
      throw new TroupeError('channel.unavailable', `${name} is being removed`, { cause: error })
    }
  }

  tidy(scope: DirectoryScope): void {
    const now = scope.now()
    this.#tidyAt = undefined
    let begun = 0
    for (const name of this.#ending) {
      if (begun === tidyMost) break
      const { removing, expiresAt = Number.POSITIVE_INFINITY } = this.#known.get(name) as Known // as far as it is in the set
      if (this.#removals.has(name) || (removing === undefined && expiresAt > now)) continue
      begun++
      this.#remove(name, removing ?? 'expired', scope).catch((error) =>
        scope.log.warn({ channel: name, error: String(error) }, 'a channel could not be removed; it is tried again'),
      )
    }
    this.#sweep(scope, now)
    this.#planTidy(scope, this.#nextTidy(now))
  }

  #sweep(scope: DirectoryScope, now: EpochMs): void {
    // Swept in the future: the clock was set back.
    if (this.#unswept.length === 0 && (now >= this.#sweptAt + sweepEveryMs || now < this.#sweptAt)) {
      scope.persist(['swept', now]).catch(() => {}) // refused, the timer rings again
      this.#unswept = [...this.#known.keys()]
    }
    for (const name of this.#unswept.splice(-sweepMost)) {
      if (this.#known.has(name)) scope.tell(channelOf(scope.id, name), { type: 'channel.trim' })
    }
  }

  /** Linear in the rooms; with 100 000 of them about 2 ms. */
  #nextTidy(now: EpochMs): EpochMs | undefined {
    if (this.#known.size === 0) return undefined
    let earliest = this.#unswept.length > 0 ? now + sweepGapMs : this.#sweptAt + sweepEveryMs
    for (const name of this.#ending) {
      const { removing, expiresAt = now } = this.#known.get(name) as Known // as above
      const at = removing === undefined ? expiresAt : now + retryMs
      if (at < earliest) earliest = at
    }
    return earliest
  }

  /** One timer for all: it rings at the earliest time that anybody asked for. */
  #planTidy(scope: DirectoryScope, at: EpochMs | undefined): void {
    if (at === undefined) return
    const now = scope.now()
    // After a restart the timer runs, and nobody here knows for when.
    const earliest = this.#tidyAt === undefined ? Math.min(at, this.#nextTidy(now) ?? at) : at
    const waitMs = Math.max(tidyGapMs, earliest - now)
    const tidyAt = scope.monotonic() + waitMs
    if (this.#tidyAt !== undefined && this.#tidyAt <= tidyAt) return
    this.#tidyAt = tidyAt
    scope.after('tidy', waitMs, { type: 'directory.tidy' })
  }
}

const isVisible = ({ name, removing }: Known): boolean => removing === undefined && inboxOwner(name) === undefined

const refused = (...reason: ConstructorParameters<typeof TroupeError>): Promise<never> => Promise.reject(new TroupeError(...reason))

/** The directory of tenant `t` is `~t`. */
const channelOf = (directory: string, name: string): Address =>
  `channel/${scopedId(directory.startsWith('~') ? directory.slice(1) : '', name)}`

export const directoryKind = () =>
  defineActor<Directory, DirectoryMessage, DirectoryEvent>({
    kind: 'directory',
    state: () => new Directory(),
    durable: {
      version: 1,
      snapshotEvery,
      apply: (directory, event) => directory.apply(event),
      toJson: (directory) => directory.toJson(),
      fromJson: (stored) => Directory.fromJson(stored as Stored), // by toJson
    },
    handlers: {
      'directory.open': (directory, message, scope) => directory.open(message, scope),
      'directory.create': (directory, message, scope) => directory.create(message, scope),
      'directory.delete': (directory, message, scope) => directory.delete(message, scope),
      'directory.info': (directory, { name }) => directory.describe(name),
      'directory.list': (directory, message) => directory.list(message),
      'directory.tidy': (directory, _message, scope) => directory.tidy(scope),
    },
  })
