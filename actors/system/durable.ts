/**
 * The durable side of an actor: how its entries and snapshots are written, and how its state is folded from them.
 *
 * An entry is one JSON array. Two styles share the format:
 * - tables append events (`e`) and timers (`t`, `c`) and apply them at once;
 * - XState logic appends each message (`e`, or `x` when a timer brought it) before the logic sees it, so the state is a
 *   pure fold, and so are the running timers: a delayed transition starts at the time of the entry that caused it. A
 *   message at which the logic threw is marked (`f`) and left out of the fold, as the live actor went back to the state before it.
 */
import { type AnyActorLogic, createActor, initialTransition, transition } from 'xstate'
import { TroupeError } from '../errors.ts'
import type { Entry, Journals, Offset } from '../journal.ts'
import type { EpochMs } from '../world.ts'
import type { Address } from './address.ts'
import type { EventSourcing } from './definition.ts'
import type { Message, Resume } from './message.ts'

export type Record =
  /** The actor was made, with this input. */
  | readonly ['i', input: unknown]
  /** An event of a table, or a message to XState logic. */
  | readonly ['e', event: unknown]
  /** A timer of XState logic fired. */
  | readonly ['x', name: string, event: unknown]
  /** A timer of a table was set. */
  | readonly ['t', name: string, deadline: EpochMs, delayMs: number, resume: Resume, message: Message]
  /** A timer of a table was cancelled, or its message was handled. */
  | readonly ['c', name: string]
  /** The message at this offset was refused to its sender after it had been written. */
  | readonly ['f', offset: Offset]

export interface Timer {
  readonly deadline: EpochMs
  readonly delayMs: number
  readonly resume: Resume
  readonly message: Message
  /** It was read from the disk. */
  readonly isResumed?: true
}

export type Timers = Map<string, Timer>

interface StoredSnapshot {
  readonly version: number
  readonly state: unknown
  readonly timers: readonly (readonly [string, Timer])[]
}

const encoder = new TextEncoder()
const decoder = new TextDecoder()

export const encodeRecord = (record: Record): Uint8Array => encoder.encode(JSON.stringify(record))
const decodeRecord = (bytes: Uint8Array): Record => JSON.parse(decoder.decode(bytes)) as Record // written by encodeRecord, checksummed by the store

export const encodeSnapshot = (version: number, state: unknown, timers: Timers): Uint8Array =>
  encoder.encode(JSON.stringify({ version, state, timers: [...timers] } satisfies StoredSnapshot))

/** How one style folds. */
export interface Fold<State> {
  initial(input: unknown, at: EpochMs, timers: Timers): State | Promise<State>
  restore(stored: unknown): State
  next(state: State, record: Record, at: EpochMs, timers: Timers): State
  /** Like `next` for a message that was marked as refused. */
  skip(record: Record, timers: Timers): void
}

export interface Folded<State> {
  readonly state: State
  /** The input that the state was made from, as far as the journal has it. */
  readonly input: unknown
  readonly timers: Timers
  /** Offset of the last entry of the journal, whether it is in the state or after `upTo`. */
  readonly last: Offset
  readonly snapshotOffset: Offset
  /** Time of the last entry or snapshot in the state; 0 when there is none. */
  readonly lastAt: EpochMs
}

const pageEntries = 1_000
/** An `f` comes at most this many entries after the message it is about: the rest of the batch, and a mark for each of it. */
const lookahead = 2 * 64

interface FoldOptions {
  readonly version: number
  readonly input: unknown
  readonly now: EpochMs
  /** Fold entries up to this offset. Default: all. */
  readonly upTo?: Offset | undefined
  /** Messages that were refused, beyond those that the journal tells. */
  readonly refused: ReadonlySet<Offset>
}

/** Reads snapshot and entries, and folds them. Errors: `journal.trimmed`, those of the journal. */
export const fold = async <State>(
  journals: Journals,
  address: Address,
  how: Fold<State>,
  { version, input, now, upTo = Number.POSITIVE_INFINITY, ...options }: FoldOptions,
): Promise<Folded<State>> => {
  const head = await journals.head(address)
  const saved = await journals.snapshot(address)
  const stored = saved === undefined ? undefined : (JSON.parse(decoder.decode(saved.data)) as StoredSnapshot) // by encodeSnapshot
  let timers: Timers = new Map()
  let state: State | undefined
  let offset = 0
  let lastAt = 0
  if (saved !== undefined && stored?.version === version && saved.offset <= upTo) {
    timers = new Map(stored.timers)
    state = how.restore(stored.state)
    offset = saved.offset
    lastAt = saved.time
  }
  const snapshotOffset = offset
  if (head.first > offset + 1) {
    throw new TroupeError('journal.trimmed', `${address}: version ${version} needs the entries before ${head.first}`)
  }

  const refused = new Set(options.refused)
  let madeFrom = input
  const apply = async ({ entry, record }: { entry: Entry; record: Record }) => {
    if (entry.offset > upTo) return
    lastAt = entry.time
    if (record[0] === 'i') {
      madeFrom = record[1]
      state = await how.initial(madeFrom, entry.time, timers)
    } else if (refused.has(entry.offset)) how.skip(record, timers)
    else {
      if (state === undefined) state = await how.initial(input, entry.time, timers)
      state = how.next(state, record, entry.time, timers)
    }
  }
  const ahead: { entry: Entry; record: Record }[] = []
  while (offset < head.last) {
    // A page may end early, by its bytes; it is empty only when somebody removed the journal meanwhile.
    const entries = await journals.read(address, { after: offset, limit: pageEntries })
    if (entries.length === 0) break
    for (const entry of entries) {
      const record = decodeRecord(entry.data)
      if (record[0] === 'f') refused.add(record[1])
      ahead.push({ entry, record })
      offset = entry.offset
    }
    for (const next of ahead.splice(0, ahead.length - lookahead)) await apply(next)
  }
  for (const next of ahead) await apply(next)
  state ??= await how.initial(input, now, timers)
  return { state, input: madeFrom, timers, last: offset, snapshotOffset, lastAt }
}

export const tableFold = <State, Event>(
  options: EventSourcing<State, Event>,
  make: (input: unknown) => State | Promise<State>,
): Fold<State> => ({
  initial: make,
  restore: (stored) => (options.fromJson === undefined ? (stored as State) : options.fromJson(stored)),
  next(state, record, _at, timers) {
    if (record[0] === 'e') return options.apply(state, record[1] as Event) ?? state
    if (record[0] === 't') timers.set(record[1], { deadline: record[2], delayMs: record[3], resume: record[4], message: record[5] })
    if (record[0] === 'c') timers.delete(record[1])
    return state
  },
  skip() {},
})

interface RaiseParams {
  readonly id?: string
  readonly sendId?: string
  readonly delay?: number
  readonly event?: Message
}

/** An action as XState hands it to an executor. */
export interface TimerAction {
  readonly type: string
  // Differs by action; only the two built-in ones below are looked into.
  readonly params: unknown
}

/** A delayed event without an id cannot be cancelled, and two of the same type both come. The name is the same in every fold. */
const freeName = (type: string, timers: Timers): string => {
  let number = 1
  while (timers.has(`${type}#${number}`)) number++
  return `${type}#${number}`
}

export const isTimerAction = ({ type }: TimerAction): boolean => type === 'xstate.raise' || type === 'xstate.cancel'

/**
 * Takes what an XState action means for the timers of its actor. True when the action was one of ours: starting or
 * cancelling a delayed event to itself, which is what `after` becomes.
 */
export const noteTimerAction = (action: TimerAction, at: EpochMs, resume: Resume, timers: Timers): boolean => {
  const params = action.params as RaiseParams | undefined
  if (action.type === 'xstate.raise' && params?.delay !== undefined && params.event !== undefined) {
    timers.set(params.id ?? freeName(params.event.type, timers), {
      deadline: at + params.delay,
      delayMs: params.delay,
      resume,
      message: params.event,
    })
    return true
  }
  if (action.type === 'xstate.cancel' && params?.sendId !== undefined) return timers.delete(params.sendId)
  return false
}

// The state of XState logic is whatever snapshot that logic has.
// biome-ignore lint/suspicious/noExplicitAny: see above
type AnySnapshot = any

export const logicFold = (logic: AnyActorLogic, resume: Resume): Fold<AnySnapshot> => {
  const note = (actions: readonly TimerAction[], at: EpochMs, timers: Timers) => {
    for (const action of actions) noteTimerAction(action, at, resume, timers)
  }
  return {
    initial(input, at, timers) {
      const [state, actions] = initialTransition(logic, input as never)
      note(actions as readonly TimerAction[], at, timers)
      return state
    },
    restore: (stored) => createActor(logic, { snapshot: stored as never }).getSnapshot(),
    next(state, record, at, timers) {
      if (record[0] === 'f') return state
      if (record[0] === 'x') timers.delete(record[1])
      const event = record[0] === 'x' ? record[2] : record[1]
      try {
        const [next, actions] = transition(logic, state, event as never)
        if (next.status === 'error') return state
        note(actions as readonly TimerAction[], at, timers)
        return next
      } catch {
        // The process ended before the mark was on disk. When the message came, the actor went back to the state before it.
        return state
      }
    },
    skip(record, timers) {
      if (record[0] === 'x') timers.delete(record[1])
    },
  }
}

/** When a timer fires in this process. `lastAt`: when the actor was last written by the process before. */
export const resumedDeadline = (timer: Timer, lastAt: EpochMs, now: EpochMs): EpochMs => {
  if (timer.resume === 'restart') return now + timer.delayMs
  if (timer.resume === 'remaining') return now + Math.max(0, timer.deadline - lastAt)
  return timer.deadline
}
