/** Who waits for what becomes of a message. */
import type { Address } from './address.ts'
import type { Ask } from './asks.ts'
import type { Timer } from './durable.ts'

/** The system itself brought the message: a child's answer, the news of a watched actor. Never refused for want of room. */
export class Internal {
  readonly from: Address | undefined

  constructor(from: Address | undefined) {
    this.from = from
  }
}

/** A message of XState to its own actor; of no meaning to another incarnation than the one it came to. */
export class Redirected extends Internal {
  readonly generation: number

  constructor(address: Address, generation: number) {
    super(address)
    this.generation = generation
  }
}

/** A timer of the actor itself brought it. */
export class TimerOrigin extends Internal {
  readonly name: string
  readonly timer: Timer

  constructor(name: string, timer: Timer) {
    super(undefined)
    this.name = name
    this.timer = timer
  }
}

/** An ask; the sender's address; the system; nobody. */
export type Origin = Ask | Address | Internal | undefined

export const senderOf = (origin: Origin): Address | undefined => (typeof origin === 'object' ? origin.from : origin)

export const isExternal = (origin: Origin): boolean => !(origin instanceof Internal)
