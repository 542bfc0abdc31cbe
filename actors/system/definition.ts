/**
 * Definitions of kinds. An actor is either a table of handlers on mutable state (a stream to pump),
 * or plain XState logic: a machine, `fromTransition`, custom logic (a life to chart).
 */
import type { AnyActorLogic } from 'xstate'
import { TroupeError } from '../errors.ts'
import { isKindName } from './address.ts'
import type { MailboxOptions } from './mailbox.ts'
import type { Message, Resume } from './message.ts'
import type { Scope } from './scope.ts'
import type { SupervisionOptions } from './supervisor.ts'

export interface PassivationOptions {
  /** Stop after this long without a message. Default 120 000. */
  readonly idleMs?: number
}

// Whoever defines a kind names its messages in the same breath.
export type { Message, Resume }

interface Common<M extends Message> {
  /** What the actor is: `[a-z][a-z0-9_-]*`, at most 64 characters. */
  readonly kind: string
  readonly mailbox?: MailboxOptions<M>
  readonly supervision?: SupervisionOptions
  /**
   * Durable kinds passivate by default, for their journal brings them back. Other kinds forget their state when they
   * stop, so for them this is off unless given.
   */
  readonly passivation?: PassivationOptions | false
  /** `message` (default): the first message brings the actor to life. `explicit`: only `start` or `spawn` does. */
  readonly activation?: 'message' | 'explicit'
  /**
   * What comes for one that has stopped is a dead letter by default. `drop`: of a socket, which speaks until it hears of its end;
   * a crowd that is sent away would push all other letters out of the list. Who asks is told in any case.
   */
  readonly late?: 'deadLetter' | 'drop'
}

/** One function for each type of message. What it returns (or what its promise brings) answers an ask. */
export type Handlers<State, M extends Message, Event> = {
  readonly [T in M['type']]: (state: State, message: Extract<M, { type: T }>, scope: Scope<Event>) => unknown
}

/** State = fold(snapshot, events). Every event is on disk before anything that follows from it leaves the actor. */
export interface EventSourcing<State, Event> {
  /** Version of `apply` and of the shape of the state; a snapshot of another version is not used, the journal is folded again. */
  readonly version: number
  /** Pure: no clock, no chance, no messages. Changes the state in place, or returns the next one. */
  readonly apply: (state: State, event: Event) => State | void
  /** Entries between snapshots. Default 500. */
  readonly snapshotEvery?: number
  /** State to JSON value and back; default: the state is a JSON value. */
  readonly toJson?: (state: State) => unknown
  readonly fromJson?: (value: unknown) => State
}

export interface TableDefinition<State, M extends Message, Event = unknown> extends Common<M> {
  /** The state of a new incarnation. A promise holds the mailbox back until it is there. */
  readonly state: (scope: Scope<Event>, input: unknown) => State | Promise<State>
  readonly handlers: Handlers<State, M, Event>
  readonly durable?: EventSourcing<State, Event>
  /** False while the actor must not be passivated. Asked in the very turn in which it would be removed. */
  readonly canPassivate?: (state: State) => boolean
  /** Runs before passivation and on close; messages that arrive meanwhile keep the actor alive. */
  readonly beforePassivation?: (state: State, scope: Scope<Event>) => Promise<void> | void
  /**
   * Runs when the incarnation ends, for whatever reason. Must not throw. The next incarnation at this address waits for the
   * promise, if there is one: for writes that are still under way.
   */
  readonly stopped?: (state: State, scope: Scope<Event>) => Promise<unknown> | void
}

export interface WriteAhead {
  /** Version of the logic; a snapshot of another version is not used, the journal is folded again. */
  readonly version: number
  /** Entries between snapshots. Default 500. */
  readonly snapshotEvery?: number
  /** When a timer (`after`) that was running at the end of the last process fires. Default `deadline`. */
  readonly resume?: Resume
}

export interface LogicDefinition<L extends AnyActorLogic = AnyActorLogic> extends Common<Message> {
  readonly logic: L
  /** The `input` of the logic, for an actor that nobody gave one. */
  readonly input?: (id: string) => unknown
  /** Every message is on disk before the logic sees it; state = fold(snapshot, messages). Messages are JSON values. */
  readonly durable?: WriteAhead
}

// A system holds definitions of many states and messages in one table; the types were checked where they were defined.
// biome-ignore lint/suspicious/noExplicitAny: see above
export type AnyTable = TableDefinition<any, any, any>
export type ActorDefinition = AnyTable | LogicDefinition

export const defaultIdleMs = 120_000
export const defaultSnapshotEvery = 500

/**
 * Defines a kind of actor.
 *
 * @example
 * const counter = defineActor<{ n: number }, { type: 'add'; by: number }>({
 *   kind: 'counter',
 *   state: () => ({ n: 0 }),
 *   handlers: { add: (state, message) => (state.n += message.by) },
 * })
 *
 * Errors: `actor.bad_definition`.
 */
export function defineActor<State, M extends Message, Event = unknown>(
  definition: TableDefinition<State, M, Event>,
): TableDefinition<State, M, Event>
export function defineActor<L extends AnyActorLogic>(definition: LogicDefinition<L>): LogicDefinition<L>
export function defineActor(definition: ActorDefinition): ActorDefinition {
  const refuse = (reason: string): never => {
    throw new TroupeError('actor.bad_definition', `kind ${JSON.stringify(definition.kind)}: ${reason}`)
  }
  if (!isKindName(definition.kind)) refuse('`kind` must match [a-z][a-z0-9_-]* and have at most 64 characters')
  if ('logic' in definition === 'handlers' in definition) refuse('give either `logic` or `handlers`')
  const reserved = 'handlers' in definition && Object.keys(definition.handlers).find((type) => type.startsWith('xstate.'))
  if (reserved) refuse(`${JSON.stringify(reserved)} is a name of XState`)
  const limit = definition.mailbox?.limit
  if (limit !== undefined && !(Number.isInteger(limit) && limit > 0)) refuse('`mailbox.limit` must be a positive whole number')
  const version = definition.durable?.version
  if (version !== undefined && !Number.isInteger(version)) refuse('`durable.version` must be a whole number')
  const idleMs = definition.passivation === false ? undefined : definition.passivation?.idleMs
  if (idleMs !== undefined && !(idleMs > 0)) refuse('`passivation.idleMs` must be above 0')
  return definition
}
