/**
 * Presence that came faster than it is let through: of each client id the latest message that begins with it, in the order in
 * which the ids came.
 *
 * A stock client sends back what it learns of others. With one place for everything such an echo would push out what the client
 * says of itself, and others would see that only when it is renewed, 15 s later. So the first id that a connection brings
 * up, its own, always has its place; of others the oldest gives way.
 */
import { firstClient } from '../crdt/awareness.ts'
import type { DocumentRequest } from './documentMessages.ts'

type PresenceMessage = Extract<DocumentRequest, { type: 'document.awareness' }>

/** Messages that wait, each at most `limits.messageBytes`. More than this at a time are echoes of a crowd. */
const mostHeld = 16

export class HeldPresence {
  #own: number | undefined
  readonly #held = new Map<number, PresenceMessage>()

  get isEmpty(): boolean {
    return this.#held.size === 0
  }

  /** The first id of all tells whose connection it is. */
  hear({ update }: PresenceMessage): void {
    this.#own ??= firstClient(update)
  }

  /** False: one of those that were held, or this one, is never let through. */
  hold(message: PresenceMessage): boolean {
    const client = firstClient(message.update)
    if (client === undefined) return false // says nothing of anybody
    const isFirst = !this.#held.has(client)
    this.#held.set(client, message) // keeps its place in the order
    if (this.#held.size <= mostHeld) return isFirst
    for (const other of this.#held.keys()) {
      if (other === this.#own) continue
      this.#held.delete(other)
      break
    }
    return false
  }

  /** The one that has waited longest. */
  take(): PresenceMessage | undefined {
    for (const [client, message] of this.#held) {
      this.#held.delete(client)
      return message
    }
    return undefined
  }
}
