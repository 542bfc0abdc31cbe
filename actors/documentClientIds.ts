/**
 * Under which client ids somebody who may only comment writes. Yjs takes what bears a clock that is there already for a repetition and
 * drops it: whoever wrote comments under the id of another would erase what that one writes next, and it would read "saved".
 *
 * Promises: a commenter writes under ids that nobody else has, and under its own, also after it has come back. It cannot take the id of
 * whoever has written anything but comments, of whoever calls it its own in presence, nor of whoever was the first here to do so.
 * What is remembered is bounded; those who may write are not looked at, for they pass on what others have written.
 */
import type { AwarenessOwner } from '../crdt/awarenessState.ts'
import type { Address } from './system/address.ts'

/** Who writes: a session, or a request without one. */
export interface ClientIdUser {
  /** Empty: nobody known. */
  readonly user: string
  /** Of its connection. */
  readonly address?: Address | undefined
  /** The ids that it has brought something under. */
  readonly wrote?: Set<number> | undefined
}

/** The document, as far as ids concern it. */
export interface ClientIdHost {
  /** Whether anything in it was written under this id. */
  isThere(client: number): boolean
  /** The connection that calls this id its own. */
  holderOf(client: number): AwarenessOwner | undefined
  mayWrite(connection: Address): boolean
  /** Whether all that was written under this id are comments. */
  hasOnlyComments(client: number): boolean
}

/** Ids whose users are remembered. */
const mostUsers = 10_000
/** Ids that are remembered of one session. Stock clients have one or two. */
const mostWritten = 64

export class DocumentClientIds {
  readonly #host: ClientIdHost
  /** Of those who called an id their own before anything was written under it, when nobody else can have known it, and of those who did both. */
  readonly #users = new Map<number, string>()

  constructor(host: ClientIdHost) {
    this.#host = host
  }

  /** In presence, by somebody who has logged in. */
  announced(client: number, user: string): void {
    if (!this.#host.isThere(client)) this.#note(client, user)
  }

  /** It brought something under this id. */
  used(client: number, { user, address, wrote }: ClientIdUser): void {
    if (wrote !== undefined && wrote.size < mostWritten) wrote.add(client)
    if (this.#host.holderOf(client)?.id === address) this.#note(client, user)
  }

  #note(client: number, user: string): void {
    if (user === '' || this.#users.has(client)) return
    this.#users.set(client, user)
    if (this.#users.size <= mostUsers) return
    for (const oldest of this.#users.keys()) {
      this.#users.delete(oldest)
      break
    }
  }

  /** Whether somebody who may only comment may write under this id. */
  isOpen(client: number, { user, address, wrote }: ClientIdUser): boolean {
    if (wrote?.has(client)) return true
    const known = this.#users.get(client)
    if (known !== undefined) return known === user
    return !this.#isHeld(client, user, address) && (!this.#host.isThere(client) || this.#host.hasOnlyComments(client))
  }

  /** By somebody else. A client that comes back may still be held by its own old connection; those who did not log in are all alike. */
  #isHeld(client: number, user: string, address: Address | undefined): boolean {
    const holder = this.#host.holderOf(client)
    if (holder === undefined || holder.id === address) return false
    return holder.user === undefined ? this.#host.mayWrite(holder.id) : holder.user !== user
  }
}
