/**
 * A cell: the place of one actor in the system, from its first message until it is passivated or stopped.
 * The incarnation (the XState actor) comes and goes; the cell keeps mailbox, timers, failures and position in the journal.
 *
 *   new → loading → running ⇄ committing        (committing: messages of durable XState logic are on their way to disk)
 *    ↑       ↓         ↓   ↘ passivating → gone (a message that arrives meanwhile: back to running)
 *    └──── backoff ←───┘
 *              ↘ stopped                        (failed too often; the address refuses messages until it is restarted)
 *
 * Promises: one incarnation at a time; a message is handled, or refused to its sender, or in the dead letters, never two
 * of these and never none; nothing leaves a durable actor before what it is based on is on disk.
 */
import type { AnyActor } from 'xstate'
import { isTroupeError, TroupeError } from '../errors.ts'
import type { Journals, Offset } from '../journal.ts'
import type { Cancel, EpochMs, Log, MonotonicMs, Random, World } from '../world.ts'
import type { Address } from './address.ts'
import { Ask } from './asks.ts'
import {
  encodeRecord,
  encodeSnapshot,
  type Folded,
  isTimerAction,
  logicFold,
  noteTimerAction,
  type Timer,
  type TimerAction,
  tableFold,
} from './durable.ts'
import { DurableScope } from './durableScope.ts'
import { type CommitOutcome, type Committed, DurableSide, type Uncommitted } from './durableSide.ts'
import { type Host, hasTransition, type Incarnations } from './incarnation.ts'
import type { Kind, LogicKind, TableHandler, TableKind } from './kind.ts'
import type { Linked } from './linkedList.ts'
import { Mailbox } from './mailbox.ts'
import type { Message, Resume } from './message.ts'
import { Internal, isExternal, type Origin, Redirected, senderOf, TimerOrigin } from './origin.ts'
import type { Outbox } from './outbox.ts'
import type { Runnable, RunQueue } from './runQueue.ts'
import { type AskOptions, type Scope, setActive, type TimerOptions } from './scope.ts'
import { decide, recentFailures } from './supervisor.ts'
import { RunningTimers } from './timers.ts'
import type { Wakeups } from './wakeups.ts'
import type { StopReason } from './watch.ts'

/** What a cell needs of its system. */
export interface House {
  readonly world: World
  readonly queue: RunQueue
  readonly incarnations: Incarnations
  readonly journals: Journals | undefined
  readonly wakeups: Wakeups | undefined
  /** `from` is undefined for messages from outside. */
  tell(address: Address, message: Message, from: Address | undefined): boolean
  ask(address: Address, message: Message, options: AskOptions | undefined, from: Address | undefined): Promise<unknown>
  watch(target: Address, watcher: Address): void
  unwatch(target: Address, watcher: Address): void
  spawn(parent: Cell, address: Address, input: unknown): void
  deadLetter(address: Address, message: Message, from: Address | undefined, error: TroupeError): void
  /** The cell has an incarnation that may be passivated, or has none any more. */
  listIdle(cell: Cell): void
  unlistIdle(cell: Cell): void
  /** The cell has left: it is passivated (no reason) or has stopped. */
  left(cell: Cell, reason: StopReason | undefined): void
  /** Counts asynchronous work, so that `close` can wait for it. */
  readonly working: (change: 1 | -1) => void
  /** Writes of an actor that has left; whoever comes after it at this address reads the journal when they are over. */
  settle(address: Address, writes: PromiseLike<unknown>): void
  settling(address: Address): Promise<void> | undefined
  /** The system is closing: actors leave, but what they wait for in their journals stays. */
  readonly isClosing: boolean
}

export type Phase = 'new' | 'loading' | 'running' | 'committing' | 'backoff' | 'passivating' | 'stopped'

/** Wait before a durable actor is folded anew after the disk refused its events; doubles up to `longestRefoldMs` until it accepts some. */
const refoldAfterMs = 50
const longestRefoldMs = 1_000
/** Wait before a timer's message is offered to the disk again. */
const timerRetryMs = 1_000

const isPromise = (value: unknown): value is PromiseLike<unknown> =>
  typeof value === 'object' && value !== null && typeof (value as { then?: unknown }).then === 'function'

/** The write was refused for a reason that lies with the store or with another writer, not with the actor. */
const isRefusal = (error: unknown): boolean =>
  isTroupeError(error) && (error.code.startsWith('storage.') || error.code === 'journal.conflict')

const toTroupeError = (error: unknown, address: Address): TroupeError =>
  isTroupeError(error) ? error : new TroupeError('actor.failed', `${address}: ${textOf(error)}`, { cause: error })

const textOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))

export class Cell implements Scope<unknown>, Host, Runnable, Linked<Cell> {
  readonly address: Address
  readonly id: string
  readonly kind: Kind
  readonly #house: House
  phase: Phase = 'new'
  readonly mailbox = new Mailbox<Message, Origin>()
  handled = 0
  touchedAt: MonotonicMs
  /** Links of the kind's list of least recent use. */
  previous: Cell | undefined
  next: Cell | undefined
  listedAt: MonotonicMs | undefined
  parent: Cell | undefined
  children: Set<Cell> | undefined
  delivering: Message | undefined
  readonly input: unknown
  #queued = false
  #wantsStop: StopReason | undefined
  #wantsPassivation = false
  #actor: AnyActor | undefined
  #state: unknown
  /** Promises of this incarnation that are still open; they keep it in memory. */
  #open = 0
  #generation = 0
  #failures: MonotonicMs[] | undefined
  #rebirth: Cancel | undefined
  #origin: Origin
  #handler: TableHandler | undefined
  #outcome: unknown
  #hasReplied = false
  #failure: { readonly error: unknown } | undefined
  /** What the state comes from, in phase `loading`. */
  #loading: PromiseLike<unknown> | undefined
  #timers: RunningTimers | undefined
  readonly #durable: DurableSide | undefined

  constructor(house: House, kind: Kind, address: Address, id: string, input: unknown, parent: Cell | undefined) {
    this.#house = house
    this.kind = kind
    this.address = address
    this.id = id
    this.input = input
    this.parent = parent
    this.touchedAt = house.queue.now
    if (parent !== undefined) {
      parent.children ??= new Set()
      parent.children.add(this)
    }
    if (kind.durable !== undefined && house.journals !== undefined) {
      this.#durable = new DurableSide(house.journals, address, kind.snapshotEvery, house.working)
    }
  }

  // ── messages in ────────────────────────────────────────────────────────────────────────────────────────────────

  /** Puts a message into the mailbox. False when it was refused; then its sender knows, or it is in the dead letters. */
  offer(message: Message, origin: Origin): boolean {
    if (this.phase === 'stopped') {
      this.#refuse(message, origin, new TroupeError('actor.stopped', this.address))
      return false
    }
    const { coalesceBy, mailboxLimit } = this.kind
    let key: string | undefined
    if (coalesceBy !== undefined && !(origin instanceof Ask)) {
      key = this.#keyOf(coalesceBy, message)
      if (key !== undefined && this.mailbox.replace(key, message, origin)) return true
    }
    if (this.mailbox.size >= mailboxLimit && !this.#makeRoom(message, origin)) return false
    this.mailbox.push(message, origin, key)
    this.#wake()
    return true
  }

  /** A message that the system owes the actor: there are few of them, and they are never refused for want of room. */
  notify(message: Message, from: Address): void {
    if (this.phase === 'stopped') return
    this.mailbox.push(message, new Internal(from))
    this.#wake()
  }

  /** A message of the actor to itself that XState brought: bounded by what the logic does, so it is never refused. */
  redirect(message: Message): void {
    if (this.phase === 'stopped') return
    this.mailbox.push(message, new Redirected(this.address, this.#generation))
    this.#wake()
  }

  /** The sender is not to pay for a `coalesceBy` that throws. */
  #keyOf(coalesceBy: (message: Message) => string | undefined, message: Message): string | undefined {
    try {
      return coalesceBy(message)
    } catch (error) {
      this.#house.world.log.error({ actor: this.address, error: textOf(error) }, '`coalesceBy` threw; the message waits by itself')
      return undefined
    }
  }

  /** Activates without a message. */
  begin(): void {
    if (this.phase === 'new') this.#enqueue()
  }

  #wake(): void {
    if (this.phase === 'running' || this.phase === 'new') this.#enqueue()
  }

  #enqueue(): void {
    if (this.#queued) return
    this.#queued = true
    this.#house.queue.push(this)
  }

  #makeRoom(message: Message, origin: Origin): boolean {
    const full = new TroupeError('actor.mailbox_full', this.address)
    if (this.kind.overflow === 'drop-oldest') {
      const oldest = this.mailbox.takeOldest(isExternal)
      if (oldest !== undefined) {
        this.#refuse(oldest.message, oldest.origin, full)
        return true
      }
    }
    this.#refuse(message, origin, full)
    if (this.kind.overflow === 'disconnect') this.terminate('overflow')
    return false
  }

  /** Tells the asker, and keeps the message as a dead letter. */
  #refuse(message: Message, origin: Origin, error: TroupeError): void {
    this.#house.deadLetter(this.address, message, senderOf(origin), error)
    if (origin instanceof Ask) origin.refuse(error)
  }

  #refuseUnhandled(message: Message, origin: Origin, where: string): void {
    const text = `${this.address} does not handle ${JSON.stringify(message.type)}${where}`
    this.#refuse(message, origin, new TroupeError('actor.unhandled', text))
  }

  // ── a turn ─────────────────────────────────────────────────────────────────────────────────────────────────────

  run(most: number): boolean {
    setActive(this)
    try {
      return this.#turn(most)
    } catch (error) {
      // Handlers, logic and hooks are guarded where they are called; whatever else throws must not stop the run queue.
      this.#queued = false
      this.delivering = undefined
      if (this.phase !== 'stopped') this.#failActivation(error)
      return false
    } finally {
      setActive(undefined)
    }
  }

  #turn(most: number): boolean {
    const durable = this.#durable
    if (this.phase === 'new') this.#activate()
    if (this.phase === 'running') {
      this.touchedAt = this.#house.queue.now
      if (durable?.isSnapshotDue === true) {
        // The snapshot is of what is on disk; handlers wait until the appends under way are.
        if (durable.outbox.inFlight > 0) {
          this.#queued = false
          return false
        }
        this.#saveSnapshot(durable)
      }
      if (durable !== undefined && this.kind.style === 'logic') this.#runWriteAhead(durable, this.kind, most)
      else this.#runMailbox(most)
    }
    if (this.phase === 'running' && (this.mailbox.size > 0 || (durable !== undefined && durable.committed.length > 0))) return true
    this.#queued = false
    if (this.phase === 'running') {
      if (durable?.isSnapshotDue === true && durable.outbox.inFlight === 0) this.#saveSnapshot(durable)
      if (this.#wantsPassivation) this.tryPassivate()
    }
    return false
  }

  #runMailbox(most: number): void {
    const mailbox = this.mailbox
    for (let left = most; left > 0 && mailbox.size > 0 && this.phase === 'running'; left--) {
      const message = mailbox.peek() as Message // size > 0
      const origin = mailbox.peekOrigin()
      mailbox.drop()
      if (origin instanceof Internal && !this.#isStillMeant(origin)) continue
      if (this.kind.style === 'table') this.#deliverToTable(this.kind, message, origin)
      else {
        if (origin instanceof TimerOrigin) this.#timers?.delete(origin.name)
        this.#deliverToLogic(this.kind, message, origin)
      }
    }
  }

  /** False for a timer that was cancelled or set anew after it had rung, and for what XState sent to an earlier incarnation. */
  #isStillMeant(origin: Internal): boolean {
    if (origin instanceof TimerOrigin) return this.#timers?.isCurrent(origin.name, origin.timer) === true
    return !(origin instanceof Redirected) || origin.generation === this.#generation
  }

  #begin(message: Message, origin: Origin): AnyActor {
    this.handled++
    this.kind.handled++
    this.#origin = origin
    this.#outcome = undefined
    this.delivering = message
    return this.#actor as AnyActor // set in phase `running`
  }

  /** Called back by the table logic inside XState. */
  handle(message: Message): void {
    const handler = this.#handler as TableHandler // set by #deliverToTable, which is the only way here
    try {
      this.#outcome = handler(this.#state, message, this.#durable?.scope ?? this)
    } catch (error) {
      this.#failure = { error }
      throw error
    }
  }

  #deliverToTable(kind: TableKind, message: Message, origin: Origin): void {
    const durable = this.#durable
    if (origin instanceof TimerOrigin) {
      this.#timers?.delete(origin.name)
      durable?.stage(['c', origin.name])
    }
    this.#handler = kind.handlers.get(message.type)
    if (this.#handler === undefined) {
      this.#refuseUnhandled(message, origin, '')
      if (durable !== undefined) this.#flushStaged(durable)
      return
    }
    this.#begin(message, origin).send(message)
    this.delivering = undefined
    const failure = this.#failure
    if (failure !== undefined) {
      this.#failure = undefined
      if (durable !== undefined) {
        durable.dropStaged(failure.error)
        // The message goes to the dead letters; a timer left in the journal would bring it again after every restart.
        if (origin instanceof TimerOrigin) {
          durable.stage(['c', origin.name])
          this.#flushStaged(durable)
        }
      }
      this.#fail(message, origin, failure.error)
      return
    }
    if (durable !== undefined) this.#flushStaged(durable, message, origin)
    const outcome = this.#outcome
    this.#outcome = undefined
    if (isPromise(outcome)) this.#answerLater(outcome, message, origin)
    else if (origin instanceof Ask) this.#answer(origin, outcome, durable?.outbox)
    if (this.#wantsStop !== undefined) this.terminate(this.#wantsStop)
  }

  /** False when the logic failed. */
  #deliverToLogic(kind: LogicKind, message: Message, origin: Origin): boolean {
    const isOfXState = message.type.startsWith('xstate.')
    if (isOfXState && isExternal(origin)) {
      this.#refuseUnhandled(message, origin, ', which is a name of XState')
      return true
    }
    const actor = this.#begin(message, origin)
    const before = actor.getSnapshot()
    this.#hasReplied = false
    actor.send(message)
    this.delivering = undefined
    const after = actor.getSnapshot()
    if (after.status === 'error') {
      this.#fail(message, origin, after.error)
      return false
    }
    const outcome = this.#outcome
    this.#outcome = undefined
    if (!isOfXState && kind.isMachine && after === before && !hasTransition(before, message)) {
      this.#refuseUnhandled(message, origin, ` in state ${JSON.stringify(before.value)}`)
    } else if (origin instanceof Ask) {
      this.#answer(origin, this.#hasReplied ? outcome : viewOf(kind, after), this.#durable?.outbox)
    }
    if (after.status === 'done') this.terminate('done')
    else if (this.#wantsStop !== undefined) this.terminate(this.#wantsStop)
    return true
  }

  /** `outbox` is that of the incarnation which handled the message. */
  #answer(ask: Ask, value: unknown, outbox: Outbox | undefined): void {
    if (outbox === undefined) ask.answer(value)
    else
      outbox.hold(
        () => ask.answer(value),
        (error) => ask.refuse(error),
      )
  }

  #answerLater(outcome: PromiseLike<unknown>, message: Message, origin: Origin): void {
    const generation = this.#generation
    const outbox = this.#durable?.outbox
    this.#open++
    this.#house.working(1)
    const settle = () => {
      this.#house.working(-1)
      if (generation !== this.#generation) return
      this.#open--
      if (this.#wantsPassivation && this.phase === 'running') this.#enqueue()
    }
    outcome.then(
      (value) => {
        if (origin instanceof Ask) this.#answer(origin, value, outbox)
        settle()
      },
      (error) => {
        // A refusal that its asker hears is an answer; only what nobody hears, or nobody meant, is a dead letter.
        if (origin instanceof Ask && isTroupeError(error)) origin.refuse(error)
        else this.#refuse(message, origin, toTroupeError(error, this.address))
        settle()
      },
    )
  }

  // ── life ───────────────────────────────────────────────────────────────────────────────────────────────────────

  #activate(): void {
    this.phase = 'loading'
    this.#house.wakeups?.awake(this.address)
    const { kind } = this
    try {
      if (this.#durable !== undefined) this.#loadDurable(this.#durable)
      else if (kind.style === 'logic') {
        this.#incarnate(kind.logic, this.#givenInput(kind), undefined)
        this.#running()
      } else {
        const settling = this.#house.settling(this.address)
        const state =
          settling === undefined ? kind.definition.state(this, this.input) : settling.then(() => kind.definition.state(this, this.input))
        if (isPromise(state)) this.#await(state, (loaded) => this.#incarnateTable(loaded))
        else this.#incarnateTable(state)
      }
    } catch (error) {
      this.#failActivation(error)
    }
  }

  #givenInput(kind: LogicKind): unknown {
    return this.input ?? kind.definition.input?.(this.id)
  }

  /** Carries on when the promise is there, unless the cell has gone on to something else meanwhile. */
  #await<T>(promise: PromiseLike<T>, done: (value: T) => void): void {
    const generation = this.#generation
    const isStill = () => generation === this.#generation && this.phase === 'loading'
    this.#loading = promise
    this.#house.working(1)
    promise.then(
      (value) => {
        this.#house.working(-1)
        if (!isStill()) return
        setActive(this)
        try {
          done(value)
        } catch (error) {
          this.#failActivation(error)
        } finally {
          setActive(undefined)
        }
      },
      (error) => {
        this.#house.working(-1)
        if (isStill()) this.#failActivation(error)
      },
    )
  }

  #incarnateTable(state: unknown): void {
    if (this.phase !== 'loading') return // `state` stopped its own actor
    this.#state = state
    this.#actor = this.#house.incarnations.table(this, state)
    this.#running()
  }

  #incarnate(logic: LogicKind['logic'], input: unknown, persisted: unknown): void {
    const actor = this.#house.incarnations.logic(this, logic, input, persisted)
    this.#actor = actor
    this.#house.incarnations.start(actor)
    const snapshot = actor.getSnapshot()
    if (snapshot.status === 'error') throw snapshot.error
  }

  #running(): void {
    if (this.phase !== 'loading') return // an entry action stopped its own actor
    this.phase = 'running'
    this.touchedAt = this.#house.world.clock.monotonic()
    this.#house.listIdle(this)
    if (this.#wantsStop !== undefined) this.terminate(this.#wantsStop)
    else if (this.kind.style === 'logic' && this.#actor?.getSnapshot().status === 'done') this.terminate('done')
    else if (this.mailbox.size > 0 || this.#wantsPassivation || this.#durable?.committed.length) this.#enqueue()
  }

  #failActivation(error: unknown): void {
    if (this.phase === 'stopped') return
    this.#endIncarnation(error)
    if (this.#durable !== undefined && isRefusal(error)) {
      this.#refuseWaiting(toTroupeError(error, this.address))
      this.#refold(this.#durable, error)
      return
    }
    this.#house.world.log.warn({ actor: this.address, error: textOf(error) }, 'an actor could not be activated')
    this.#restartOrStop(error)
  }

  /** The message goes to the dead letters, not round again. */
  #fail(message: Message, origin: Origin, error: unknown): void {
    const failed = toTroupeError(error, this.address)
    this.#house.world.log.warn({ actor: this.address, message: message.type, error: textOf(error) }, 'an actor failed and is restarted')
    this.#endIncarnation(error)
    if (this.#durable !== undefined && this.kind.style === 'logic') {
      this.#refuseCommitted(this.#durable, [{ message, origin, offset: this.#durable.handling, at: this.#durable.entryAt }], failed)
    } else this.#refuse(message, origin, failed)
    if (this.#wantsStop !== undefined) this.terminate(this.#wantsStop)
    else this.#restartOrStop(error)
  }

  #restartOrStop(error: unknown): void {
    const { clock, random } = this.#house.world
    const now = clock.monotonic()
    const failures = recentFailures(this.kind.supervision, this.#failures ?? [], now)
    const verdict = decide(this.kind.supervision, failures, now, random.next())
    if (verdict === 'stop') {
      this.terminate('failed', isTroupeError(error) ? error : undefined)
      return
    }
    this.#failures = [...failures, now]
    this.#rebirthAfter(verdict.restartAfterMs)
  }

  #rebirthAfter(ms: number): void {
    this.phase = 'backoff'
    this.#house.working(1)
    this.#rebirth = this.#house.world.clock.after(ms, () => {
      this.#rebirth = undefined
      this.#house.working(-1)
      this.phase = 'new'
      this.#enqueue()
    })
  }

  /** `error`: what it ended in; undefined when it was told to. */
  #endIncarnation(error?: unknown): void {
    this.#generation++
    this.#open = 0
    this.#wantsPassivation = false
    if (this.children !== undefined) for (const child of [...this.children]) child.terminate('stopped')
    this.#timers?.stop()
    this.#timers = undefined
    const durable = this.#durable
    if (durable !== undefined && error !== undefined) {
      durable.dropStaged(error)
      durable.outbox.break(error)
      if (durable.scope !== undefined) durable.scope.isOver = true
    }
    this.#house.unlistIdle(this)
    const actor = this.#actor
    if (actor === undefined) return
    this.#actor = undefined
    const state = this.#state
    this.#state = undefined
    if (this.kind.style === 'table' && this.kind.definition.stopped !== undefined) {
      const { stopped } = this.kind.definition
      this.#guarded('`stopped`', () => {
        const writes = stopped(state, this)
        if (isPromise(writes)) this.#house.settle(this.address, writes)
      })
    }
    this.#guarded('the end of an incarnation', () => this.#house.incarnations.stop(actor))
  }

  /** For code of others that must not keep an actor from ending. */
  #guarded(what: string, run: () => void): void {
    try {
      run()
    } catch (error) {
      this.#house.world.log.error({ actor: this.address, error: textOf(error) }, `${what} threw`)
    }
  }

  /** Ends the actor and everything below it, after the message that it is handling. What waits in the mailbox is refused. */
  terminate(reason: StopReason, cause?: TroupeError): void {
    if (this.phase === 'stopped') return
    if (this.delivering !== undefined) {
      this.#wantsStop ??= reason
      return
    }
    if (this.#rebirth !== undefined) {
      this.#rebirth()
      this.#rebirth = undefined
      this.#house.working(-1)
    }
    if (this.phase === 'loading' && this.#loading !== undefined) this.#house.settle(this.address, this.#abandon(this.#loading))
    this.phase = 'stopped'
    this.#endIncarnation()
    const refusal = cause ?? new TroupeError('actor.stopped', this.address)
    const durable = this.#durable
    if (durable !== undefined) {
      this.#refuseCommitted(durable, durable.committed.splice(0), refusal)
      this.#house.settle(this.address, durable.settled())
      // Who failed, or leaves because the process ends, is still to be woken for its timers.
      if (reason !== 'failed' && !this.#house.isClosing) this.#house.wakeups?.sleep(this.address, undefined)
    }
    this.#refuseWaiting(refusal)
    this.parent?.children?.delete(this)
    this.#house.left(this, reason)
  }

  /**
   * Whoever comes next at this address loads when this load is over and what it made has ended: a state may begin work as soon as it
   * is made, and the compaction of a document that nobody has would change the journal under the next load.
   */
  async #abandon(loading: PromiseLike<unknown>): Promise<void> {
    const state = await loading
    if (this.kind.style === 'table' && this.#durable === undefined) await this.kind.definition.stopped?.(state, this)
  }

  #refuseWaiting(error: TroupeError): void {
    for (let next = this.mailbox.takeOldest(isExternal); next !== undefined; next = this.mailbox.takeOldest(isExternal)) {
      this.#refuse(next.message, next.origin, error)
    }
  }

  // ── passivation ────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * Leaves memory if nothing speaks against it in this very turn. False when it stays.
   * `isClosing`: what only speaks against passivation is no reason to stay, for everybody leaves.
   */
  tryPassivate(isClosing = false): boolean {
    if (this.phase !== 'running' || this.#queued || !this.#mayLeave(isClosing)) return false
    this.#wantsPassivation = false
    const generation = this.#generation
    let before: unknown
    try {
      before = this.kind.style === 'table' ? this.kind.definition.beforePassivation?.(this.#state, this) : undefined
    } catch (error) {
      before = Promise.reject(error)
    }
    if (generation !== this.#generation) return true // it stopped itself
    if (isPromise(before) || this.#isAheadOfSnapshot()) {
      this.phase = 'passivating'
      void this.#leaveWhenSaved(before, isClosing)
      return true
    }
    if (!this.#mayLeave(isClosing)) return false
    this.#leave()
    return true
  }

  #isAheadOfSnapshot(): boolean {
    return this.#durable !== undefined && this.#durable.offset > this.#durable.snapshotOffset
  }

  #mayLeave(isClosing: boolean): boolean {
    const durable = this.#durable
    if (this.mailbox.size > 0 || this.#open > 0) return false
    if (durable !== undefined && (durable.outbox.inFlight > 0 || durable.committed.length > 0)) return false
    if (isClosing) return true
    if (this.children !== undefined && this.children.size > 0) return false
    const timers = this.#timers
    if (timers !== undefined && timers.all.size > 0 && (durable === undefined || !timers.mayWaitElsewhere)) return false
    if (this.kind.style === 'table') return this.#canPassivate(this.kind)
    return this.#actor !== undefined && !this.#house.incarnations.isBusy(this.#actor)
  }

  #canPassivate({ definition }: TableKind): boolean {
    if (definition.canPassivate === undefined) return true
    try {
      return definition.canPassivate(this.#state)
    } catch (error) {
      this.#house.world.log.error({ actor: this.address, error: textOf(error) }, '`canPassivate` threw; the actor stays')
      return false
    }
  }

  async #leaveWhenSaved(before: unknown, isClosing: boolean): Promise<void> {
    const generation = this.#generation
    const durable = this.#durable
    const isStill = () => generation === this.#generation && this.phase === 'passivating'
    let mayGo = true
    this.#house.working(1)
    try {
      await before
    } catch (error) {
      this.#house.world.log.warn({ actor: this.address, error: textOf(error) }, 'an actor could not be passivated')
      mayGo = isClosing
    }
    await durable?.whenWritten()
    if (isStill() && mayGo && durable !== undefined && this.mailbox.size === 0 && this.#isAheadOfSnapshot()) {
      await this.#saveSnapshot(durable)
    }
    this.#house.working(-1)
    if (!isStill()) return
    this.phase = 'running'
    if (this.#wantsStop !== undefined) this.terminate(this.#wantsStop)
    else if (mayGo && this.#mayLeave(isClosing)) this.#leave()
    else if (this.mailbox.size > 0) this.#enqueue()
  }

  #leave(): void {
    const wakeAt = this.#timers?.wakeAt()
    // From here on it takes no message, so that none that `stopped` sends to itself is lost without a word.
    this.phase = 'stopped'
    this.#endIncarnation()
    this.parent?.children?.delete(this)
    if (this.#durable !== undefined) this.#house.wakeups?.sleep(this.address, wakeAt)
    this.#house.left(this, undefined)
  }

  // ── timers ─────────────────────────────────────────────────────────────────────────────────────────────────────

  takeAction(action: TimerAction): boolean {
    if (!isTimerAction(action)) return false
    const timers = this.#runningTimers()
    const resume = (this.kind.durable as { resume?: Resume } | undefined)?.resume ?? 'deadline'
    if (!noteTimerAction(action, this.#durable?.entryAt ?? this.now(), resume, timers.all)) return false
    timers.sync()
    this.#noteWakeup()
    return true
  }

  #runningTimers(all?: Map<string, Timer>): RunningTimers {
    this.#timers ??= new RunningTimers(
      this.#house.world.clock,
      (name, timer) => {
        this.mailbox.push(timer.message, new TimerOrigin(name, timer))
        this.#wake()
      },
      all,
    )
    return this.#timers
  }

  /** Nothing that follows leaves before the wake-up is on disk: a timer that nobody wakes the actor for is no timer. */
  #noteWakeup(): void {
    const durable = this.#durable
    const stored = durable === undefined ? undefined : this.#house.wakeups?.note(this.address, this.#timers?.wakeAt())
    if (durable === undefined || stored === undefined) return
    const { outbox } = durable
    const ticket = outbox.issue()
    this.#house.working(1)
    stored.then(() => {
      this.#house.working(-1)
      outbox.settle(ticket)
      this.#carryOn(durable, outbox)
    })
  }

  // ── durable kinds ──────────────────────────────────────────────────────────────────────────────────────────────

  #loadDurable(durable: DurableSide): void {
    const { kind } = this
    this.#await(this.#read(durable), (folded) => {
      const now = this.#house.world.clock.now()
      durable.loaded(folded.last, folded.snapshotOffset)
      durable.entryAt = folded.lastAt
      if (kind.style === 'table') {
        durable.birth = folded.last === 0 && this.input !== undefined ? encodeRecord(['i', this.input]) : undefined
        durable.scope = new DurableScope(this)
        this.#runningTimers(durable.resume(folded.timers, folded.lastAt, now)).sync()
        this.#noteWakeup()
        this.#incarnateTable(folded.state)
        return
      }
      if (folded.last === 1 && folded.snapshotOffset === 0) {
        // Born, and nothing else happened: the entry actions run, perhaps once more than before a crash.
        this.#incarnate(kind.logic, folded.input, undefined)
        const timers = this.#timers?.all ?? new Map<string, Timer>()
        for (const [name, timer] of durable.resume(timers, folded.lastAt, now)) timers.set(name, timer)
        this.#timers?.sync()
      } else {
        const timers = durable.resume(folded.timers, folded.lastAt, now)
        this.#incarnate(kind.logic, undefined, kind.logic.getPersistedSnapshot(folded.state as never))
        for (const [name, timer] of timers) this.#runningTimers().set(name, timer)
      }
      this.#noteWakeup()
      this.#running()
    })
  }

  async #read(durable: DurableSide): Promise<Folded<unknown>> {
    const { kind } = this
    await this.#house.settling(this.address)
    const how =
      kind.style === 'table'
        ? tableFold(kind.durable as NonNullable<typeof kind.durable>, (input) => kind.definition.state(this, input)) // only called for durable kinds
        : logicFold(kind.logic, kind.durable?.resume ?? 'deadline')
    const { version } = kind.durable as { version: number } // as above
    const input = kind.style === 'table' ? this.input : this.#givenInput(kind)
    const folded = await durable.read(how, version, input, this.now())
    // The beginning of logic is on disk before the first entry action runs, so that its timers keep their time.
    return kind.style === 'logic' && folded.last === 0 ? durable.bear(folded) : folded
  }

  persist(...events: unknown[]): Promise<Offset> {
    const { kind } = this
    const durable = this.#durable
    if (kind.style !== 'table' || kind.durable === undefined || durable === undefined) {
      throw new TroupeError('actor.bad_definition', `kind ${kind.name} has no \`durable\`, so it cannot persist`)
    }
    this.#mustBeAwake('persist')
    const promise = durable.stage(...events.map((event) => ['e', event] as const))
    try {
      for (const event of events) {
        const next = kind.durable.apply(this.#state, event)
        if (next !== undefined) this.#state = next
      }
    } catch (error) {
      // In a handler, its failure takes care of it. Later, nobody would: the state is half changed.
      if (this.delivering === undefined) {
        this.#endIncarnation(error)
        this.#restartOrStop(error)
      }
      throw error
    }
    if (this.delivering === undefined) this.#flushStaged(durable)
    return promise
  }

  /** `state` is folded, perhaps more than once; and an actor that has gone writes nothing. */
  #mustBeAwake(what: string): void {
    if (this.phase === 'running' || this.phase === 'passivating') return
    if (this.phase === 'loading') throw new TroupeError('actor.bad_definition', `\`state\` of kind ${this.kind.name} calls ${what}`)
    throw new TroupeError('actor.stopped', this.address)
  }

  /** One append for everything the handler persisted: all of it or nothing is on disk. */
  #flushStaged(durable: DurableSide, message?: Message, origin?: Origin): void {
    const { outbox } = durable
    if (durable.staged.length > 0) {
      const staged = durable.staged.splice(0)
      const entries = staged.flatMap((each) => each.entries)
      if (durable.birth !== undefined) entries.unshift(durable.birth)
      durable.birth = undefined
      const ticket = outbox.issue()
      durable.append(entries).then(
        ({ last }) => {
          durable.storageFailures = 0
          for (const { resolve } of staged) resolve(last)
          outbox.settle(ticket)
          this.#carryOn(durable, outbox)
        },
        (error) => {
          for (const { reject } of staged) reject(error)
          outbox.fail(ticket, error)
          this.#storageFailed(durable, outbox, error)
        },
      )
      // An asker is told by its answer, and a timer is still in the journal.
      if (message !== undefined && !(origin instanceof Ask) && !(origin instanceof TimerOrigin)) {
        outbox.hold(
          () => {},
          (error) => this.#refuse(message, origin, toTroupeError(error, this.address)),
        )
      }
    }
    if (durable.outputs.length > 0) for (const { send, refuse } of durable.outputs.splice(0)) outbox.hold(send, refuse)
  }

  /** For what was put off until the writes under way were on disk: handlers, a snapshot, passivation. */
  #carryOn(durable: DurableSide, outbox: Outbox): void {
    if (this.phase !== 'running' || outbox !== durable.outbox || outbox.inFlight > 0) return
    if (this.mailbox.size > 0 || this.#wantsPassivation || durable.isSnapshotDue) this.#enqueue()
  }

  /** The state in memory is ahead of the disk: forget it and fold again. Not the actor's fault, so it does not count as a failure. */
  #storageFailed(durable: DurableSide, outbox: Outbox, error: unknown): void {
    if (outbox !== durable.outbox || (this.phase !== 'running' && this.phase !== 'passivating')) return
    this.#endIncarnation(error)
    this.#refold(durable, error)
  }

  #refold(durable: DurableSide, error: unknown): void {
    // Once: on a full disk every actor with a timer that is due would say so each second.
    if (durable.storageFailures === 0)
      this.#house.world.log.error({ actor: this.address, error: textOf(error) }, 'an actor could not be stored; its state is read again')
    this.#rebirthAfter(Math.min(longestRefoldMs, refoldAfterMs * 2 ** durable.storageFailures++))
  }

  /** A snapshot that cannot be saved is no failure: the journal has everything. */
  #saveSnapshot(durable: DurableSide): Promise<void> {
    const { kind } = this
    const state = () => {
      if (kind.style === 'logic') return kind.logic.getPersistedSnapshot((this.#actor as AnyActor).getSnapshot()) // running
      return kind.durable?.toJson === undefined ? this.#state : kind.durable.toJson(this.#state)
    }
    const { version } = kind.durable as { version: number } // there is a durable side
    return durable
      .saveSnapshot(() => encodeSnapshot(version, state(), this.#timers?.all ?? new Map()))
      .catch((error) => this.#house.world.log.warn({ actor: this.address, error: textOf(error) }, 'a snapshot could not be saved'))
  }

  // ── durable XState logic ───────────────────────────────────────────────────────────────────────────────────────

  /** Journals what waits in the mailbox, in one append; the logic sees it when it is on disk. */
  #runWriteAhead(durable: DurableSide, kind: LogicKind, most: number): void {
    if (durable.committed.length > 0) return this.#applyCommitted(durable, kind)
    const batch: Uncommitted[] = []
    for (let left = most; left > 0 && this.mailbox.size > 0; left--) {
      const message = this.mailbox.peek() as Message // size > 0
      const origin = this.mailbox.peekOrigin()
      // A timer comes first in its batch: a message before it could still cancel the timer when both are on disk.
      if (origin instanceof TimerOrigin && batch.length > 0) break
      this.mailbox.drop()
      if (origin instanceof Internal && !this.#isStillMeant(origin)) continue
      const entry = this.#encode(kind, message, origin)
      if (entry !== undefined) batch.push({ message, origin, entry })
    }
    if (batch.length === 0) return
    this.phase = 'committing'
    durable.commit = durable.write(batch).then((outcome) => this.#afterCommit(durable, outcome))
  }

  /** Undefined when the message was refused. */
  #encode(kind: LogicKind, message: Message, origin: Origin): Uint8Array | undefined {
    try {
      if (origin instanceof TimerOrigin) return encodeRecord(['x', origin.name, message])
      const isForged = message.type.startsWith('xstate.') && isExternal(origin)
      if (!isForged && kind.mayHandle(message.type)) return encodeRecord(['e', message])
      this.#refuseUnhandled(message, origin, '')
    } catch (error) {
      this.#refuse(message, origin, toTroupeError(error, this.address)) // not a JSON value
    }
    return undefined
  }

  #afterCommit(durable: DurableSide, { refused, conflict }: CommitOutcome): void {
    durable.commit = undefined
    for (const { message, origin, error } of refused) {
      if (!(origin instanceof TimerOrigin)) this.#refuse(message, origin, error)
      else this.#timers?.set(origin.name, { ...origin.timer, deadline: this.now() + timerRetryMs }, timerRetryMs)
    }
    if (this.phase === 'stopped') {
      this.#refuseCommitted(durable, durable.committed.splice(0), new TroupeError('actor.stopped', this.address))
      return
    }
    this.phase = 'running'
    if (conflict !== undefined) this.#storageFailed(durable, durable.outbox, conflict)
    else if (this.#wantsStop !== undefined && durable.committed.length === 0) this.terminate(this.#wantsStop)
    else if (this.mailbox.size > 0 || durable.committed.length > 0 || this.#wantsPassivation) this.#enqueue()
  }

  #applyCommitted(durable: DurableSide, kind: LogicKind): void {
    while (this.phase === 'running') {
      const committed = durable.committed.shift()
      if (committed === undefined) return
      durable.handling = committed.offset
      durable.entryAt = committed.at
      if (committed.origin instanceof TimerOrigin) this.#timers?.delete(committed.origin.name)
      if (!this.#deliverToLogic(kind, committed.message, committed.origin)) return
    }
  }

  /** Messages that are on disk and that the logic did not take: marked there first, so that no fold takes them either. */
  #refuseCommitted(durable: DurableSide, refused: readonly Committed[], error: TroupeError): void {
    if (refused.length === 0) return
    durable
      .markRefused(refused.map(({ offset }) => offset))
      .catch((failure) =>
        this.#house.world.log.error({ actor: this.address, error: textOf(failure) }, 'refused messages could not be marked'),
      )
      .then(() => {
        for (const { message, origin } of refused) this.#refuse(message, origin, error)
      })
  }

  // ── the scope that handlers see ────────────────────────────────────────────────────────────────────────────────

  get from(): Address | undefined {
    return senderOf(this.#origin)
  }

  get log(): Log {
    return this.#house.world.log
  }

  get random(): Random {
    return this.#house.world.random
  }

  now(): EpochMs {
    return this.#house.world.clock.now()
  }

  monotonic(): MonotonicMs {
    return this.#house.world.clock.monotonic()
  }

  reply(value: unknown): void {
    this.#hasReplied = true
    this.#outcome = value
  }

  tell(address: Address, message: Message): boolean {
    if (this.#durable === undefined) return this.#house.tell(address, message, this.address)
    this.#output(
      () => this.#house.tell(address, message, this.address),
      (error) => this.#house.deadLetter(address, message, this.address, toTroupeError(error, this.address)),
    )
    return true
  }

  ask(address: Address, message: Message, options?: AskOptions): Promise<unknown> {
    if (address === this.address) return Promise.reject(new TroupeError('actor.ask_self', address))
    if (this.#durable === undefined) return this.#house.ask(address, message, options, this.address)
    return new Promise((resolve, reject) => {
      this.#output(() => this.#house.ask(address, message, options, this.address).then(resolve, reject), reject)
    })
  }

  /** What a handler of a durable table sends leaves when the handler has returned and its events are on disk. */
  #output(send: () => void, refuse: (error: unknown) => void): void {
    const durable = this.#durable as DurableSide // only called for durable kinds
    if (this.delivering !== undefined && this.kind.style === 'table') durable.outputs.push({ send, refuse })
    else durable.outbox.hold(send, refuse)
  }

  watch(address: Address): void {
    this.#house.watch(address, this.address)
  }

  unwatch(address: Address): void {
    this.#house.unwatch(address, this.address)
  }

  spawn(address: Address, input?: unknown): void {
    if (this.phase === 'stopped' || this.phase === 'backoff') throw new TroupeError('actor.stopped', this.address)
    this.#house.spawn(this, address, input)
  }

  after<M extends Message>(name: string, ms: number, message: M, options?: TimerOptions): void {
    const timer: Timer = { deadline: this.now() + ms, delayMs: ms, resume: options?.resume ?? 'deadline', message }
    const durable = this.#durable
    if (durable !== undefined) {
      this.#mustBeTable()
      this.#mustBeAwake('after')
      durable.stage(['t', name, timer.deadline, ms, timer.resume, message])
    } else if (this.phase === 'stopped' || this.phase === 'backoff') return
    this.#runningTimers().set(name, timer)
    if (durable === undefined) return
    this.#noteWakeup()
    if (this.delivering === undefined) this.#flushStaged(durable)
  }

  cancel(name: string): void {
    if (this.#timers?.all.has(name) !== true) return
    const durable = this.#durable
    if (durable !== undefined) {
      this.#mustBeTable()
      durable.stage(['c', name])
    }
    this.#timers.delete(name)
    if (durable !== undefined && this.delivering === undefined) this.#flushStaged(durable)
  }

  /** The timers of durable logic are part of its fold, which runs no actions. */
  #mustBeTable(): void {
    if (this.kind.style === 'table') return
    throw new TroupeError('actor.bad_definition', `kind ${this.kind.name}: durable logic has its own \`after\` and \`raise\` for timers`)
  }

  stop(): void {
    this.#wantsStop = 'stopped'
    if (this.delivering === undefined && this.phase === 'running') this.terminate('stopped')
  }

  passivate(): void {
    this.#wantsPassivation = true
    if (this.delivering === undefined && this.phase === 'running') this.#enqueue()
  }

  /** For inspection. */
  get stateView(): unknown {
    if (this.kind.style === 'table') return this.#state
    return this.#actor === undefined ? undefined : viewOf(this.kind, this.#actor.getSnapshot())
  }

  get failureCount(): number {
    return this.#failures?.length ?? 0
  }
}

interface SnapshotShape {
  readonly status: string
  readonly value?: unknown
  readonly context?: unknown
  readonly output?: unknown
}

/** What the world sees of the state of XState logic. */
const viewOf = (kind: LogicKind, snapshot: SnapshotShape): unknown => {
  if (!kind.isMachine) return snapshot.context
  const { status, value, context, output } = snapshot
  return output === undefined ? { status, value, context } : { status, value, context, output }
}
