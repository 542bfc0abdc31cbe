/**
 * What an actor system takes from outside: time, turns of the event loop, ids, chance, a place for log lines.
 * All of it is given, never taken, so that a whole system runs in a simulated world.
 */

/** Milliseconds since 1970-01-01T00:00Z. */
export type EpochMs = number

/**
 * Milliseconds since some moment before the process began. It only goes on, one millisecond in each, whatever is done to the clock of
 * the machine, and means nothing in another process.
 */
export type MonotonicMs = number

export type Cancel = () => void

/**
 * A wait for what the clock of the machine shows is cut into pieces of this, for it may be set on meanwhile, and the time of a machine
 * that sleeps is no time for a timer.
 */
export const wallLookMs = 60_000

export interface Clock {
  /** What the clock of the machine shows: for times that are stored, shown or compared with such. It may be set, back as well as on. */
  now(): EpochMs
  /** For everything that lasts or waits: a wait that is counted by `now()` is an hour longer when the clock is set back by one. */
  monotonic(): MonotonicMs
  /** Calls `fire` once, `ms` from now (0 or more). The returned function cancels; cancelling twice is harmless. */
  after(ms: number, fire: () => void): Cancel
}

/** Turns of the event loop. */
export interface Turns {
  /** Runs `work` before the loop looks at input again (a microtask). */
  soon(work: () => void): void
  /** Runs `work` after the loop has looked at input (setImmediate). */
  later(work: () => void): void
}

export interface Random {
  /** Uniform in [0, 1). */
  next(): number
  /** An id that nobody else has: 22 characters of [A-Za-z0-9_-]. */
  id(): string
}

type Fields = Readonly<Record<string, unknown>>

export interface Log {
  debug(fields: Fields, text: string): void
  info(fields: Fields, text: string): void
  warn(fields: Fields, text: string): void
  error(fields: Fields, text: string): void
}

export interface World {
  readonly clock: Clock
  readonly turns: Turns
  readonly random: Random
  readonly log: Log
}
