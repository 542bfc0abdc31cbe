/**
 * The scope that handlers of a durable table see: that of one incarnation.
 *
 * A handler that awaited may come back when its incarnation is gone: the disk refused its events, or another handler
 * threw. The state it decided on is one that nobody has any more, so it may not write, send or stop anything.
 */
import { TroupeError } from '../errors.ts'
import type { Offset } from '../journal.ts'
import type { EpochMs, Log, MonotonicMs, Random } from '../world.ts'
import type { Address } from './address.ts'
import type { Message } from './message.ts'
import type { AskOptions, Scope, TimerOptions } from './scope.ts'

export class DurableScope implements Scope<unknown> {
  readonly #cell: Scope<unknown>
  /** The incarnation has ended. */
  isOver = false

  constructor(cell: Scope<unknown>) {
    this.#cell = cell
  }

  get address(): Address {
    return this.#cell.address
  }

  get id(): string {
    return this.#cell.id
  }

  get from(): Address | undefined {
    return this.#cell.from
  }

  get log(): Log {
    return this.#cell.log
  }

  get random(): Random {
    return this.#cell.random
  }

  now(): EpochMs {
    return this.#cell.now()
  }

  monotonic(): MonotonicMs {
    return this.#cell.monotonic()
  }

  tell(address: Address, message: Message): boolean {
    return this.#live().tell(address, message)
  }

  async ask(address: Address, message: Message, options?: AskOptions): Promise<unknown> {
    return this.#live().ask(address, message, options)
  }

  watch(address: Address): void {
    this.#live().watch(address)
  }

  unwatch(address: Address): void {
    this.#live().unwatch(address)
  }

  spawn(address: Address, input?: unknown): void {
    this.#live().spawn(address, input)
  }

  after<M extends Message>(name: string, ms: number, message: M, options?: TimerOptions): void {
    this.#live().after(name, ms, message, options)
  }

  cancel(name: string): void {
    this.#live().cancel(name)
  }

  persist(...events: unknown[]): Promise<Offset> {
    return this.#live().persist(...events)
  }

  stop(): void {
    this.#live().stop()
  }

  passivate(): void {
    this.#live().passivate()
  }

  #live(): Scope<unknown> {
    if (this.isOver) throw new TroupeError('actor.stopped', `${this.address} was read again from its journal while a handler waited`)
    return this.#cell
  }
}
