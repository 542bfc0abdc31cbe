/**
 * What a client said and nobody has taken in yet. Its socket counts that, and is not read while it is too much; this finds out what
 * has been taken in, and tells the socket.
 *
 * Promises: each message is told to the socket once, when whoever got it has taken it in or is gone, and not before, however long that
 * takes: 200 000 small edits in one go, or 200 of 16 MiB, would otherwise fill the memory of the server. Of two documents on one
 * socket, the quick one does not wait for the slow one until the socket is full.
 *
 * It asks now and then, for asking costs as much as a small edit. What it has not asked about is less than any socket may hold, so a
 * socket that is not read always waits for an answer.
 */
import { isTroupeError } from './errors.ts'
import type { Sink } from './socketLife.ts'
import type { Address } from './system/address.ts'

/** It asks after so many messages, or so many bytes: `limits.inboundMessages` and `limits.inboundBytes` are at least that. */
const pulseMessages = 64
const pulseBytes = 256 * 1024

interface Portion {
  messages: number
  bytes: number
}

export class Inbound {
  readonly #sink: Pick<Sink<never>, 'handled'>
  readonly #taken: (by: Address) => Promise<unknown>
  /** By whom it is to be taken in; not there until somebody says something, for most connections are idle. */
  #portions: Map<Address, Portion> | undefined
  #messages = 0
  #bytes = 0

  /** `taken`: asks whether somebody has taken in all that it was told. */
  constructor(sink: Pick<Sink<never>, 'handled'>, taken: (by: Address) => Promise<unknown>) {
    this.#sink = sink
    this.#taken = taken
  }

  /** A message of so many bytes goes on to somebody. */
  passed(to: Address, bytes: number): void {
    this.#portions ??= new Map()
    const portion = this.#portions.get(to)
    if (portion === undefined) this.#portions.set(to, { messages: 1, bytes })
    else {
      portion.messages++
      portion.bytes += bytes
    }
    this.#messages++
    this.#bytes += bytes
    if (this.#messages >= pulseMessages || this.#bytes >= pulseBytes) this.#ask()
  }

  #ask(): void {
    const portions = this.#portions ?? []
    this.#portions = undefined
    this.#messages = 0
    this.#bytes = 0
    for (const [by, { messages, bytes }] of portions) void this.#whenTaken(by).then(() => this.#sink.handled(messages, bytes))
  }

  /** Whoever is gone holds nothing any more. One that is slow holds all of it still. */
  async #whenTaken(by: Address): Promise<void> {
    for (;;) {
      try {
        await this.#taken(by)
        return
      } catch (error) {
        if (!isTroupeError(error, 'actor.ask_timeout')) return
      }
    }
  }
}
