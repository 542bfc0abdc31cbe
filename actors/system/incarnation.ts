/**
 * The seam to XState: every actor is an XState v5 actor, and this is the only file that makes one.
 *
 * - Tables and other custom logic live in one XState system under a custom root: cheap, and a failing actor is reported
 *   to the root instead of ending the process.
 * - A machine is the root of an XState system of its own: stopping an actor scans all timers of its system, a `systemId`
 *   inside a machine must not clash with that of its twin, and children that would run on as orphans can be found.
 * - Logic sees exactly the messages that the run queue hands it. Whatever arrives otherwise (a child's answer, an event
 *   to itself) goes through the mailbox first, and `after` goes to the timers of the cell instead of XState's scheduler.
 */
import {
  type ActorLogic,
  type AnyActor,
  type AnyActorLogic,
  type AnyActorRef,
  type AnyActorScope,
  type AnyMachineSnapshot,
  type AnyStateMachine,
  createActor,
  type InspectionEvent,
  type Snapshot,
  StateMachine,
} from 'xstate'
import type { Clock } from '../world.ts'
import type { Address } from './address.ts'
import type { TimerAction } from './durable.ts'
import type { Message } from './message.ts'

/** What the seam needs to know of a cell. */
export interface Host {
  readonly address: Address
  /** The message that is being handed to the logic right now. */
  readonly delivering: Message | undefined
  /** Handles a message of a table; throws what the handler throws. */
  handle(message: Message): void
  /** A message that did not come through the mailbox. */
  redirect(message: Message): void
  /** True when the cell took the action over. */
  takeAction(action: TimerAction): boolean
}

type TableSnapshot = Snapshot<undefined> & { readonly context: unknown; readonly host: Host }

const stopEvent = 'xstate.stop'

const tableLogic: ActorLogic<TableSnapshot, Message, { host: Host; state: unknown }> = {
  getInitialSnapshot: (_scope, { host, state }) => ({ status: 'active', output: undefined, error: undefined, context: state, host }),
  transition(snapshot, message) {
    if (message === snapshot.host.delivering) snapshot.host.handle(message)
    else if (message.type !== stopEvent) snapshot.host.redirect(message)
    else return { ...snapshot, status: 'stopped', error: undefined, output: undefined } as TableSnapshot
    return snapshot
  },
  getPersistedSnapshot: ({ status, output, error, context }) => ({ status, output, error, context }) as Snapshot<undefined>,
}

export const isMachine = (logic: AnyActorLogic): logic is AnyStateMachine => logic instanceof StateMachine

/** Every event that the machine names in any state, with its wildcards. `machine.events` leaves out those it ignores on purpose. */
export const eventDescriptors = (machine: AnyStateMachine): string[] => {
  const found = new Set<string>()
  const visit = (node: AnyStateMachine['root']) => {
    for (const descriptor of node.transitions.keys()) found.add(descriptor)
    for (const child of Object.values(node.states)) visit(child)
  }
  visit(machine.root)
  return [...found]
}

/** True when the state has a transition for the message, be it an empty one: `{}` is how a chart says "I know it, and do nothing". */
export const hasTransition = (snapshot: AnyMachineSnapshot, message: Message): boolean =>
  snapshot.machine.getTransitionData(snapshot, message).length > 0

/** `_stop` is internal to XState but the only way to stop somebody else's child; pinned by the orphan tests. */
const stopTree = (ref: AnyActorRef): void => {
  const children = (ref.getSnapshot() as { children?: { [id: string]: AnyActorRef | undefined } } | undefined)?.children ?? {}
  for (const child of Object.values(children)) {
    if (child === undefined) continue
    stopTree(child)
    ;(child as unknown as { _stop(): void })._stop()
  }
}

const inspected = new WeakSet<object>()

/** A machine that throws leaves its children running; whoever ends in an error takes its subtree along. */
const guardOrphans = (actor: AnyActorRef): void => {
  if (inspected.has(actor.system)) return
  inspected.add(actor.system)
  actor.system.inspect((event: InspectionEvent) => {
    if (event.type === '@xstate.event' && event.event.type.startsWith('xstate.error.actor.') && event.sourceRef !== undefined) {
      stopTree(event.sourceRef as AnyActorRef)
    }
  })
}

const guardChildren = (actor: AnyActorRef, snapshot: unknown): void => {
  for (const _ in (snapshot as { children?: object }).children) {
    guardOrphans(actor)
    return
  }
}

export class Incarnations {
  readonly #root: AnyActor
  readonly #xstateClock: { setTimeout(fire: () => void, ms: number): unknown; clearTimeout(handle: unknown): void }
  readonly #hostOf: (address: Address) => Host | undefined
  readonly #wrapped = new WeakMap<AnyActorLogic, AnyActorLogic>()
  #rootScope: AnyActorScope | undefined

  constructor(clock: Clock, hostOf: (address: Address) => Host | undefined) {
    this.#hostOf = hostOf
    this.#xstateClock = {
      setTimeout: (fire, ms) => clock.after(ms, fire),
      clearTimeout: (cancel) => (cancel as () => void)(), // what setTimeout above returned
    }
    const rootLogic: ActorLogic<Snapshot<undefined>, Message> = {
      getInitialSnapshot: (scope) => {
        this.#rootScope = scope as AnyActorScope
        return { status: 'active', output: undefined, error: undefined }
      },
      transition: (snapshot) => snapshot,
      getPersistedSnapshot: (snapshot) => snapshot,
    }
    this.#root = createActor(rootLogic, { clock: this.#xstateClock as never })
    this.#root.start()
  }

  table(host: Host, state: unknown): AnyActor {
    const options = { parent: this.#root, id: host.address, systemId: host.address, input: { host, state } }
    // The options type of XState does not know `parent`, which createActor documents and honours.
    return createActor(tableLogic, options as never).start() as AnyActor
  }

  /** `snapshot`: as `persisted` returned it. The actor is not started, so that its entry actions run under the cell. */
  logic(host: Host, logic: AnyActorLogic, input: unknown, snapshot: unknown): AnyActor {
    const options = {
      id: host.address,
      systemId: host.address,
      ...(isMachine(logic) ? { clock: this.#xstateClock } : { parent: this.#root }),
      ...(snapshot === undefined ? { input } : { snapshot }),
    }
    const actor = createActor(this.#wrap(logic), options as never) as AnyActor
    // Without an error observer XState rethrows from a timer, which ends the process. The cell looks at the status itself.
    actor.subscribe({ error: () => {} })
    return actor
  }

  /** Runs what the initial state wants to be done, or what a restored state keeps running. */
  start(actor: AnyActor): void {
    guardChildren(actor, actor.getSnapshot())
    actor.start()
  }

  /** True while it has children at work or events of its own on the way; they would be lost, and begin anew after a restore. */
  isBusy(actor: AnyActor): boolean {
    const { children = {} } = actor.getSnapshot() as { children?: { [id: string]: AnyActorRef | undefined } }
    for (const child of Object.values(children)) if (child?.getSnapshot().status === 'active') return true
    if (actor.system === this.#root.system) return false
    const { _scheduledEvents: scheduled } = actor.system.getSnapshot()
    return Object.keys(scheduled).length > 0
  }

  /** Stops an actor and everything below it; harmless when it has stopped already. */
  stop(actor: AnyActor): void {
    stopTree(actor)
    if (actor.system === this.#root.system) this.#rootScope?.stopChild(actor)
    else actor.stop()
  }

  close(): void {
    this.#root.stop()
  }

  #wrap(logic: AnyActorLogic): AnyActorLogic {
    const known = this.#wrapped.get(logic)
    if (known !== undefined) return known
    // Delayed events to itself belong to the cell's timers; all other actions run as XState means them.
    const within = (scope: AnyActorScope, host: Host | undefined): AnyActorScope => {
      const inner = Object.create(scope) as { actionExecutor: (action: TimerAction & { exec: unknown }) => void }
      inner.actionExecutor = (action) => {
        if (host?.takeAction(action) !== true) scope.actionExecutor(action as never)
      }
      return inner as unknown as AnyActorScope
    }
    const wrapped: AnyActorLogic = Object.create(logic)
    wrapped.getInitialSnapshot = (scope: AnyActorScope, input: unknown) =>
      logic.getInitialSnapshot(within(scope, this.#hostOf(scope.id)), input as never)
    wrapped.transition = (snapshot: Snapshot<unknown>, event: Message, scope: AnyActorScope) => {
      const host = this.#hostOf(scope.id)
      if (event.type !== stopEvent && event !== host?.delivering) {
        host?.redirect(event)
        return snapshot
      }
      const next = logic.transition(snapshot, event as never, within(scope, host))
      guardChildren(scope.self, next)
      return next
    }
    this.#wrapped.set(logic, wrapped)
    return wrapped
  }
}
