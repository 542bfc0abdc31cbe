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

/** Messages that wait. More than this at a time are echoes of a crowd. */
const mostHeld = 16
/** All of them together: one of `limits.messageBytes` is more than any document takes for presence, and sixteen would be 256 MiB. */
const mostBytes = 1024 * 1024

export class HeldPresence {
  #own: number | undefined
  readonly #held = new Map<number, PresenceMessage>()
  #bytes = 0

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
    if (message.update.length > mostBytes) return false
    const before = this.#held.get(client)
    this.#held.set(client, message) // keeps its place in the order
    this.#bytes += message.update.length - (before?.update.length ?? 0)
    let isNobodysLoss = before === undefined
    while (this.#held.size > mostHeld || this.#bytes > mostBytes) {
      this.#remove([...this.#held.keys()].find((other) => other !== this.#own) ?? client)
      isNobodysLoss = false
    }
    return isNobodysLoss
  }

  #remove(client: number): PresenceMessage | undefined {
    const message = this.#held.get(client)
    this.#held.delete(client)
    this.#bytes -= message?.update.length ?? 0
    return message
  }

  /** The one that has waited longest. */
  take(): PresenceMessage | undefined {
    const [client] = this.#held.keys()
    return client === undefined ? undefined : this.#remove(client)
  }
}
