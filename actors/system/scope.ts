/**
 * What an actor may do while it handles a message, and the same for actions of plain XState machines.
 */
import type { Offset } from '../journal.ts'
import type { EpochMs, Log, MonotonicMs, Random } from '../world.ts'
import type { Address } from './address.ts'
import type { Message, Resume } from './message.ts'

export interface AskOptions {
  /** Default 5 000. */
  readonly timeoutMs?: number
}

export interface TimerOptions {
  /** For durable kinds. Default `deadline`. */
  readonly resume?: Resume
}

export interface Scope<Event = unknown> {
  readonly address: Address
  /** The part of the address after the kind. */
  readonly id: string
  /** Who sent the present message; undefined when it came from outside of the system. After an `await` it is another's. */
  readonly from: Address | undefined
  readonly log: Log
  readonly random: Random
  /** What the clock shows: for times that are stored, shown or compared with such. */
  now(): EpochMs
  /** For everything that lasts or waits: the clock may be set meanwhile. */
  monotonic(): MonotonicMs
  /**
   * Puts a message into a mailbox. False when it was refused; it then lies in the dead letters. In durable kinds it leaves
   * when the events before it are on disk, so it is always true.
   */
  tell<M extends Message>(address: Address, message: M): boolean
  /** Errors: those of the handler, `actor.ask_timeout`, `actor.ask_self`, `actor.mailbox_full`, `actor.stopped`, … */
  ask<M extends Message>(address: Address, message: M, options?: AskOptions): Promise<unknown>
  /** From now on this actor is told `{ type: 'actor.stopped', address, reason }` when that one stops (passivation is not stopping). */
  watch(address: Address): void
  unwatch(address: Address): void
  /** Starts a child, which stops when this actor stops, fails or restarts. No effect on an actor that lives: it keeps its own parent. */
  spawn(address: Address, input?: unknown): void
  /** Sends `message` to this actor after `ms`. Another timer of the same name is replaced. Durable in durable kinds. */
  after<M extends Message>(name: string, ms: number, message: M, options?: TimerOptions): void
  cancel(name: string): void
  /**
   * Durable kinds: appends events to the journal and applies them to the state at once. Answers and messages that follow
   * are held back until the events are on disk. Resolves then, with the offset of the last.
   * When the disk refuses, the promise rejects, the asker gets the storage error and the state is folded anew. A handler
   * that awaited before can find that it was: then its scope throws `actor.stopped`, for it decided on a state that is gone.
   */
  persist(...events: Event[]): Promise<Offset>
  /** Stops this actor after the present message. */
  stop(): void
  /** Passivates this actor as soon as it may be, without waiting for idle time. */
  passivate(): void
}

/** Set by the cell while one of its messages is handled; everything in between is synchronous. */
let active: (Scope & { reply(value: unknown): void }) | undefined

export const setActive = (scope: typeof active): void => {
  active = scope
}

/** The scope of the actor whose message is being handled. For actions of XState machines. Throws outside of one. */
export const currentScope = (): Scope & { reply(value: unknown): void } => {
  if (active === undefined) throw new Error('currentScope() is only there while an actor handles a message')
  return active
}

type Args = { readonly context: never; readonly event: never }
type Value<T> = T | ((args: Args) => T)
const resolve = <T>(value: Value<T>, args: unknown): T => (typeof value === 'function' ? (value as (args: unknown) => T)(args) : value)

/** Action for XState machines: sends a message to another actor. For actions of the actor's own machine, not of those that it invokes. */
export const tell =
  <M extends Message>(address: Value<Address>, message: Value<M>) =>
  (args: unknown) => {
    currentScope().tell(resolve(address, args), resolve(message, args))
  }

/** Action for XState machines: answers the ask that is being handled. Without it, the answer is the state after the message. */
export const reply = (value: unknown) => (args: unknown) => {
  currentScope().reply(resolve(value, args))
}
