/**
 * Who is present in a document, and who may say so.
 *
 * Promises: nobody removes or overwrites somebody else's presence; a client that comes back is seen at once; whoever falls
 * silent disappears; memory is bounded by the limits, whatever ids are invented.
 *
 * What stock clients really send (y-websocket 3.1) shapes the rules:
 * - `_awarenessUpdateHandler` does not look where a change came from: each client sends every change that it learns, from the
 *   server or through the BroadcastChannel of its browser, to the server again. So foreign entries are everyday traffic; they
 *   are ignored without a word, never punished.
 * - It also sends `null` for others, at the known clock: after 30 s of silence, or when another tab says so.
 * - On opening it announces itself first, at the clock that it had. Peers that have seen a removal at this clock (or dropped
 *   everybody when their own socket closed) take a state only with a higher clock, so a stock server leaves it unseen until its
 *   next renewal, up to 15 s.
 *
 * Hence:
 * 1. A connection speaks for itself first: the first id that it brings up is its *home*. Later ids are *guests*: other tabs
 *    behind it. A guest yields to whoever calls it home.
 * 2. When a free id is bound, its clock is raised to one above everything known, which every peer takes; the client adopts it from
 *    the echo. (Rule 5 of the compatible server, "no +1", is about removals: these go out at the known clock.)
 * 3. An entry from elsewhere for a bound id is ignored; but if its clock is higher and it comes from the same user, it is
 *    remembered as *heir*. When the owner is released or expires, the heir takes its place without a removal in between: this is
 *    the client whose old socket is half open. With a known user and nothing to call home yet, it takes over at once.
 * 4. After a removal the id is remembered for 30 s, so that an echo still on its way does not bring it back to life.
 *
 * Where clients can log in, what is shown of a state is not what came, but that with the name of the account in it (awarenessIdentity.ts).
 *
 * Time is given: `now` is any clock in ms. Entries come from `decodeAwareness`.
 */
import { type AwarenessEntry, encodeAwareness } from './awareness.ts'
import { stampIdentity } from './awarenessIdentity.ts'

/** One connection. `user` is an authenticated name; undefined is anonymous, and all anonymous are alike. */
export interface AwarenessOwner {
  readonly id: string
  readonly user?: string | undefined
}

export interface AwarenessPolicy {
  /** Ids that one connection may hold: its own and the tabs behind it. 10. */
  readonly idsPerOwner: number
  /** Ids in the document: 500. */
  readonly ids: number
  /** How far a clock may jump: 1000. More would let one message silence an id for ever. */
  readonly clockWindow: number
  /** Removed ids that are remembered, and for how long: 500, 30 s (y-protocols' `outdatedTimeout`). */
  readonly removedIds: number
  readonly removedMs: number
  /** Whether states are shown with the name of the account in them. */
  readonly stampsIdentity: boolean
}

export const awarenessPolicy: AwarenessPolicy = {
  idsPerOwner: 10,
  ids: 500,
  clockWindow: 1000,
  removedIds: 500,
  removedMs: 30_000,
  stampsIdentity: false,
}

/** Clocks start at 0 and grow by one for each movement; 2^32 movements are 136 years at one a second. */
const maxFirstClock = 2 ** 32

/** Bytes of states in one message to a newcomer, who sends it back as one message: half of what `awarenessLimits` allows. */
const messageBytes = 32 * 1024

/** `document_full` says nothing about the sender; the other two deserve a strike. */
export type AwarenessRefusal = 'too_many_ids' | 'document_full' | 'clock_window'

export interface AwarenessChange {
  /** What everybody must hear, the sender included: its watchdog lives on the echo. */
  readonly changed: readonly AwarenessEntry[]
  /** Breaches of a limit. Echoes, forwarded and outdated entries are no breach and not listed. */
  readonly refused: readonly { readonly client: number; readonly code: AwarenessRefusal }[]
  /** Somebody who was removed not long ago is back, and others are here: see `raise`. */
  readonly hasReturned: boolean
}

interface Heir {
  readonly owner: AwarenessOwner
  readonly clock: number
  readonly state: string
  readonly at: number
}

interface Presence {
  owner: AwarenessOwner
  clock: number
  /** As it came: a renewal of the same text is not parsed again. */
  given: string
  /** As it is shown. */
  state: string
  renewedAt: number
  heir: Heir | undefined
}

interface Removed {
  readonly clock: number
  readonly user: string | undefined
  readonly at: number
}

interface Speaker {
  home: number | undefined
  readonly ids: Set<number>
}

export class AwarenessState {
  readonly #policy: AwarenessPolicy
  readonly #present = new Map<number, Presence>()
  readonly #removed = new Map<number, Removed>()
  readonly #speakers = new Map<string, Speaker>()
  #all: readonly Uint8Array[] | undefined

  constructor(policy: AwarenessPolicy = awarenessPolicy) {
    this.#policy = policy
  }

  /** Present ids. */
  get size(): number {
    return this.#present.size
  }

  /** Ids in memory, removed ones included. */
  get remembered(): number {
    return this.#present.size + this.#removed.size
  }

  /** The id that this connection calls its own. */
  homeOf({ id }: AwarenessOwner): number | undefined {
    return this.#speakers.get(id)?.home
  }

  /** The connection that calls this id its own; those that speak of it as of a tab behind them are none. */
  holderOf(client: number): AwarenessOwner | undefined {
    const owner = this.#present.get(client)?.owner
    return owner !== undefined && this.homeOf(owner) === client ? owner : undefined
  }

  entries(): readonly AwarenessEntry[] {
    return Array.from(this.#present, ([client, { clock, state }]) => ({ client, clock, state }))
  }

  /** Everybody, as messages for a newcomer. The same bytes until something changes. */
  all(): readonly Uint8Array[] {
    if (this.#all !== undefined) return this.#all
    const messages: Uint8Array[] = []
    let entries: AwarenessEntry[] = []
    let length = 0
    for (const entry of this.entries()) {
      const size = entry.state?.length ?? 0
      if (length > 0 && length + size > messageBytes) {
        messages.push(encodeAwareness(entries))
        entries = []
        length = 0
      }
      entries.push(entry)
      length += size
    }
    if (entries.length > 0) messages.push(encodeAwareness(entries))
    this.#all = messages
    return messages
  }

  /**
   * Raises every clock by one, for everybody to hear. A client whose socket was gone for a moment has dropped all others but kept
   * their clocks, and ignores what `all` tells until they renew (15 s); this ends it at once. One message of everybody to everybody:
   * once after a wave of joins, not once for each.
   */
  raise(): readonly AwarenessEntry[] {
    return Array.from(this.#present, ([client, presence]) => this.#show(client, presence, presence.clock + 1, presence.state))
  }

  /**
   * Whether an entry of this connection is an echo: of an id that another one holds, and nothing newer. `apply` would ignore it, so
   * nobody has to read its state.
   */
  isEcho(client: number, clock: number, owner: AwarenessOwner): boolean {
    const presence = this.#present.get(client)
    return presence !== undefined && presence.owner.id !== owner.id && clock <= presence.clock
  }

  /** Takes what a connection says. The whole message was decoded before, so nothing here fails halfway. */
  apply(entries: readonly AwarenessEntry[], owner: AwarenessOwner, now: number): AwarenessChange {
    const changed: AwarenessEntry[] = []
    const refused: { client: number; code: AwarenessRefusal }[] = []
    let hasReturned = false
    for (const entry of entries) {
      const wasRemoved = this.#removed.has(entry.client)
      const outcome = this.#hear(entry, owner, now)
      if (wasRemoved && this.#present.has(entry.client)) hasReturned = this.#present.size > 1
      if (typeof outcome === 'string') refused.push({ client: entry.client, code: outcome })
      else if (outcome !== undefined) changed.push(outcome)
    }
    return { changed, refused, hasReturned }
  }

  /** The connection is gone. Its ids are removed at their known clock, or go to their heirs. */
  release(owner: AwarenessOwner, now: number): readonly AwarenessEntry[] {
    const speaker = this.#speakers.get(owner.id)
    for (const presence of this.#present.values()) if (presence.heir?.owner.id === owner.id) presence.heir = undefined
    if (speaker === undefined) return []
    const changed = [...speaker.ids].map((client) => this.#vacate(client, now))
    this.#speakers.delete(owner.id)
    return changed
  }

  /** Nobody is here who could still send an echo. */
  forgetRemoved(): void {
    this.#removed.clear()
  }

  /** Removes who has not been renewed for `timeoutMs` (30 000; a living client renews every 15 s), and forgets removed ids. */
  expire(now: number, timeoutMs: number): readonly AwarenessEntry[] {
    for (const [client, { at }] of this.#removed) if (now - at >= this.#policy.removedMs) this.#removed.delete(client)
    const silent = [...this.#present].filter(([, { renewedAt }]) => now - renewedAt >= timeoutMs)
    return silent.map(([client, presence]) => {
      if (presence.heir !== undefined && now - presence.heir.at >= timeoutMs) presence.heir = undefined
      return this.#vacate(client, now)
    })
  }

  #hear(entry: AwarenessEntry, owner: AwarenessOwner, now: number): AwarenessEntry | AwarenessRefusal | undefined {
    const presence = this.#present.get(entry.client)
    if (presence === undefined) return this.#claim(entry, owner, now)
    if (presence.owner.id === owner.id) return this.#update(entry, presence, now)
    return this.#contest(entry, presence, owner, now)
  }

  /** From its owner. */
  #update(entry: AwarenessEntry, presence: Presence, now: number): AwarenessEntry | AwarenessRefusal | undefined {
    const { client, clock, state } = entry
    if (clock > presence.clock + this.#policy.clockWindow) return 'clock_window'
    if (state === null) {
      if (clock < presence.clock) return undefined
      // Somebody who holds it as a guest may call it gone while its own connection has already said more.
      return presence.heir !== undefined && presence.heir.clock > clock ? this.#vacate(client, now) : this.#remove(client, clock, now)
    }
    // At the same clock: either the echo of a raised clock, or a movement made before the raised clock arrived.
    if (clock < presence.clock) return undefined
    const shown = state === presence.given ? presence.state : this.#shown(state, presence.owner)
    const isEcho = clock === presence.clock && shown === presence.state
    // An echo tells nothing of a tab behind the connection: it may be gone since before the connection was.
    if (!isEcho || this.homeOf(presence.owner) === client) presence.renewedAt = now
    presence.given = state
    if (isEcho) return undefined
    return this.#show(client, presence, clock === presence.clock ? clock + 1 : clock, shown)
  }

  #shown(state: string, { user }: AwarenessOwner): string {
    return this.#policy.stampsIdentity ? stampIdentity(state, user) : state
  }

  /** An id that nobody holds. */
  #claim({ client, clock, state }: AwarenessEntry, owner: AwarenessOwner, now: number): AwarenessEntry | AwarenessRefusal | undefined {
    if (state === null) return undefined
    const removed = this.#removed.get(client)
    const speaker = this.#speakers.get(owner.id)
    const isHome = speaker?.home === undefined || speaker.home === client
    if (removed !== undefined) {
      if (removed.user !== owner.user) return undefined
      if (!isHome && clock <= removed.clock) return undefined // an echo that was still on its way
    }
    if (clock > maxFirstClock) return 'clock_window'
    if (this.#present.size >= this.#policy.ids) return 'document_full'
    if ((speaker?.ids.size ?? 0) >= this.#policy.idsPerOwner) return 'too_many_ids'
    const presence: Presence = { owner, clock: 0, given: state, state, renewedAt: now, heir: undefined }
    this.#present.set(client, presence)
    this.#removed.delete(client)
    this.#bind(client, owner)
    return this.#show(client, presence, Math.max(clock, removed?.clock ?? 0) + 1, this.#shown(state, owner))
  }

  /** An id that another connection holds. */
  #contest(
    { client, clock, state }: AwarenessEntry,
    presence: Presence,
    owner: AwarenessOwner,
    now: number,
  ): AwarenessEntry | AwarenessRefusal | undefined {
    if (state === null || clock <= presence.clock || owner.user !== presence.owner.user) return undefined
    if (clock > presence.clock + this.#policy.clockWindow) return undefined
    const heir: Heir = { owner, clock, state, at: now }
    const home = this.#speakers.get(owner.id)?.home
    const isGuest = this.#speakers.get(presence.owner.id)?.home !== client
    const isAtHome = home === client // lost it to another tab that was faster
    if (isAtHome || (home === undefined && (isGuest || owner.user !== undefined))) return this.#take(client, presence, heir)
    presence.heir = heir
    return undefined
  }

  /** The heir, if it still knows more than the owner did; otherwise nobody. */
  #vacate(client: number, now: number): AwarenessEntry {
    const presence = this.#present.get(client)
    const heir = presence?.heir
    const speaker = heir === undefined ? undefined : this.#speakers.get(heir.owner.id)
    if (presence === undefined || heir === undefined || heir.clock <= presence.clock) return this.#remove(client, 0, now)
    return (speaker?.ids.size ?? 0) >= this.#policy.idsPerOwner ? this.#remove(client, 0, now) : this.#take(client, presence, heir)
  }

  #take(client: number, presence: Presence, heir: Heir): AwarenessEntry {
    this.#speakers.get(presence.owner.id)?.ids.delete(client)
    presence.owner = heir.owner
    presence.renewedAt = heir.at
    presence.heir = undefined
    presence.given = heir.state
    this.#bind(client, heir.owner)
    return this.#show(client, presence, heir.clock, this.#shown(heir.state, heir.owner)) // already above all that peers know
  }

  #bind(client: number, owner: AwarenessOwner): void {
    const speaker = this.#speakers.get(owner.id) ?? { home: client, ids: new Set() }
    speaker.home ??= client
    speaker.ids.add(client)
    this.#speakers.set(owner.id, speaker)
  }

  #show(client: number, presence: Presence, clock: number, state: string): AwarenessEntry {
    presence.clock = clock
    presence.state = state
    if (presence.heir !== undefined && presence.heir.clock <= clock) presence.heir = undefined
    this.#all = undefined
    return { client, clock, state }
  }

  /** At the known clock, or the owner's own if that is higher. */
  #remove(client: number, clock: number, now: number): AwarenessEntry {
    const presence = this.#present.get(client)
    const known = Math.max(clock, presence?.clock ?? 0)
    this.#present.delete(client)
    if (presence !== undefined) this.#speakers.get(presence.owner.id)?.ids.delete(client)
    this.#removed.delete(client)
    this.#removed.set(client, { clock: known, user: presence?.owner.user, at: now })
    if (this.#removed.size > this.#policy.removedIds) {
      for (const oldest of this.#removed.keys()) {
        this.#removed.delete(oldest)
        break
      }
    }
    this.#all = undefined
    return { client, clock: known, state: null }
  }
}
