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
import type { Cancel, EpochMs, Log, Random, World } from '../world.ts'
import type { Address } from './address.ts'
import { Ask } from './asks.ts'
import type { Message, Resume } from './definition.ts'
import {
  encodeRecord,
  encodeSnapshot,
  fold,
  logicFold,
  noteTimerAction,
  type Record,
  resumedDeadline,
  type Timer,
  type TimerAction,
  type Timers,
  tableFold,
} from './durable.ts'
import type { Host, Incarnations } from './incarnation.ts'
import type { Kind, LogicKind, TableKind } from './kind.ts'
import type { Linked } from './linkedList.ts'
import { Mailbox } from './mailbox.ts'
import { Outbox } from './outbox.ts'
import type { Runnable, RunQueue } from './runQueue.ts'
import { type AskOptions, type Scope, setActive, type TimerOptions } from './scope.ts'
import { decide } from './supervisor.ts'
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
  working(change: 1 | -1): void
}

export type Phase = 'new' | 'loading' | 'running' | 'committing' | 'backoff' | 'passivating' | 'stopped'

/** The origin of a message that a timer of the actor itself brought. */
class TimerOrigin {
  readonly name: string
  readonly timer: Timer
  constructor(name: string, timer: Timer) {
    this.name = name
    this.timer = timer
  }
}

/** Who waits for what becomes of a message: an ask; the sender's address; a timer; nobody. */
export type Origin = Ask | Address | TimerOrigin | undefined

interface Committed {
  readonly message: Message
  readonly origin: Origin
  readonly offset: Offset
}

interface Staged {
  readonly records: Record[]
  readonly resolve: (offset: Offset) => void
  readonly reject: (error: unknown) => void
}

/** Wait before a durable actor is folded anew after the disk refused its events. */
const refoldAfterMs = 50
/** Wait before a timer's message is offered to the disk again. */
const timerRetryMs = 1_000

const isPromise = (value: unknown): value is PromiseLike<unknown> =>
  typeof value === 'object' && value !== null && typeof (value as { then?: unknown }).then === 'function'

const textOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))

export class Cell implements Scope<unknown>, Host, Runnable, Linked<Cell> {
  readonly address: Address
  readonly id: string
  readonly kind: Kind
  readonly #house: House
  phase: Phase = 'new'
  readonly mailbox = new Mailbox<Message, Origin>()
  handled = 0
  touchedAt: EpochMs
  /** Links of the kind's list of least recent use. */
  previous: Cell | undefined
  next: Cell | undefined
  listedAt: EpochMs | undefined
  parent: Cell | undefined
  children: Set<Cell> | undefined
  delivering: Message | undefined
  #queued = false
  #wantsStop = false
  #wantsPassivation = false
  #input: unknown
  #actor: AnyActor | undefined
  #state: unknown
  /** Promises of this incarnation that are still open; they keep it in memory. */
  #open = 0
  #generation = 0
  #failures: EpochMs[] | undefined
  #origin: Origin
  #outcome: unknown
  #failure: { readonly error: unknown } | undefined
  #wasHandled = false
  #hasReplied = false
  #timers: Timers | undefined
  #armed: Map<string, Cancel> | undefined
  #durable: DurableSide | undefined

  constructor(house: House, kind: Kind, address: Address, id: string, input: unknown, parent: Cell | undefined) {
    this.#house = house
    this.kind = kind
    this.address = address
    this.id = id
    this.#input = input
    this.parent = parent
    this.touchedAt = house.queue.now
    if (parent !== undefined) {
      parent.children ??= new Set()
      parent.children.add(this)
    }
    if (kind.durable !== undefined) this.#durable = new DurableSide()
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
      key = coalesceBy(message)
      if (key !== undefined && this.mailbox.replace(key, message, origin)) return true
    }
    if (this.mailbox.size >= mailboxLimit && !this.#makeRoom(message, origin)) return false
    this.mailbox.push(message, origin, key)
    this.#wake()
    return true
  }

  /** A message of the actor to itself that XState brought: bounded by what the logic does, so it is never refused. */
  redirect(message: Message): void {
    if (this.phase === 'stopped') return
    this.mailbox.push(message, this.address)
    this.#wake()
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
      const oldest = this.mailbox.peek() as Message // full, so not empty
      const oldestOrigin = this.mailbox.peekOrigin()
      this.mailbox.drop()
      this.#refuse(oldest, oldestOrigin, full)
      return true
    }
    this.#refuse(message, origin, full)
    if (this.kind.overflow === 'disconnect') this.terminate('overflow')
    return false
  }

  /** Tells the asker, or keeps the message as a dead letter. */
  #refuse(message: Message, origin: Origin, error: TroupeError): void {
    const from = origin instanceof Ask ? origin.from : typeof origin === 'string' ? origin : undefined
    this.#house.deadLetter(this.address, message, from, error)
    if (origin instanceof Ask) origin.refuse(error)
  }

  // ── a turn ─────────────────────────────────────────────────────────────────────────────────────────────────────

  run(most: number): boolean {
    setActive(this)
    if (this.phase === 'new') this.#activate()
    if (this.phase === 'running') {
      this.touchedAt = this.#house.queue.now
      if (this.kind.style === 'logic' && this.kind.durable !== undefined) this.#runWriteAhead(most)
      else this.#runMailbox(most)
    }
    setActive(undefined)
    if (this.phase === 'running') {
      if (this.#durable !== undefined && this.#isSnapshotDue(this.#durable)) {
        // The snapshot is of what is on disk; handlers wait until the appends under way are.
        if (this.#durable.outbox.inFlight > 0) {
          this.#queued = false
          return false
        }
        this.#saveInBackground(this.#durable)
      }
      if (this.mailbox.size > 0 || this.#durable?.committed.length) return true
    }
    this.#queued = false
    if (this.#wantsPassivation && this.phase === 'running') this.tryPassivate()
    return false
  }

  #runMailbox(most: number): void {
    const mailbox = this.mailbox
    for (let left = most; left > 0 && mailbox.size > 0 && this.phase === 'running'; left--) {
      const message = mailbox.peek() as Message // size > 0
      const origin = mailbox.peekOrigin()
      mailbox.drop()
      if (origin instanceof TimerOrigin && !this.#takeTimer(origin)) continue
      if (this.kind.style === 'table') this.#deliverToTable(message, origin)
      else this.#deliverToLogic(this.kind, message, origin)
    }
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
    const kind = this.kind as TableKind // only tables call this
    const handler = kind.handlers.get(message.type)
    if (handler === undefined) return
    this.#wasHandled = true
    try {
      this.#outcome = handler(this.#state, message, this)
    } catch (error) {
      this.#failure = { error }
      throw error
    }
  }

  #deliverToTable(message: Message, origin: Origin): void {
    this.#wasHandled = false
    this.#begin(message, origin).send(message)
    this.delivering = undefined
    const failure = this.#failure
    if (failure !== undefined) {
      this.#failure = undefined
      this.#durable?.dropStaged(failure.error)
      this.#fail(message, origin, failure.error)
      return
    }
    if (!this.#wasHandled) {
      this.#refuse(
        message,
        origin,
        new TroupeError('actor.unhandled', `${this.address} has no handler for ${JSON.stringify(message.type)}`),
      )
    } else {
      if (this.#durable !== undefined) this.#flushStaged(message, origin)
      const outcome = this.#outcome
      if (isPromise(outcome)) this.#answerLater(outcome, message, origin)
      else if (origin instanceof Ask) this.#answer(origin, outcome)
    }
    if (this.#wantsStop) this.terminate('stopped')
  }

  #deliverToLogic(kind: LogicKind, message: Message, origin: Origin): boolean {
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
    const isIgnored = kind.isMachine && after === before && !before.can(message)
    if (isIgnored && !message.type.startsWith('xstate.')) {
      const state = JSON.stringify(before.value)
      this.#refuse(
        message,
        origin,
        new TroupeError('actor.unhandled', `${this.address} does not handle ${JSON.stringify(message.type)} in state ${state}`),
      )
    } else if (origin instanceof Ask) {
      this.#answer(origin, this.#hasReplied ? this.#outcome : viewOf(kind, after))
    }
    if (after.status === 'done') this.terminate('done')
    else if (this.#wantsStop) this.terminate('stopped')
    return true
  }

  #answer(ask: Ask, value: unknown): void {
    if (this.#durable === undefined) ask.answer(value)
    else
      this.#durable.outbox.hold(
        () => ask.answer(value),
        (error) => ask.refuse(error),
      )
  }

  #answerLater(outcome: PromiseLike<unknown>, message: Message, origin: Origin): void {
    const generation = this.#generation
    this.#open++
    const settle = () => {
      if (generation === this.#generation) this.#open--
    }
    outcome.then(
      (value) => {
        settle()
        if (origin instanceof Ask) this.#answer(origin, value)
      },
      (error) => {
        settle()
        this.#refuse(message, origin, isTroupeError(error) ? error : new TroupeError('actor.failed', textOf(error), { cause: error }))
      },
    )
  }

  // ── life ───────────────────────────────────────────────────────────────────────────────────────────────────────

  #activate(): void {
    this.phase = 'loading'
    this.#house.wakeups?.awake(this.address)
    try {
      if (this.#durable !== undefined) this.#loadDurable(this.#durable)
      else if (this.kind.style === 'logic') this.#incarnate(this.kind.logic, this.#givenInput(this.kind), undefined)
      else {
        const state = this.kind.definition.state(this, this.#input)
        if (isPromise(state)) this.#await(state, (loaded) => this.#incarnateTable(loaded))
        else this.#incarnateTable(state)
      }
    } catch (error) {
      this.#failActivation(error)
    }
  }

  #givenInput(kind: LogicKind): unknown {
    return this.#input ?? kind.definition.input?.(this.id)
  }

  /** Carries on when the promise is there, unless the cell has gone on to something else meanwhile. */
  #await<T>(promise: PromiseLike<T>, done: (value: T) => void): void {
    const generation = this.#generation
    this.#house.working(1)
    promise.then(
      (value) => {
        this.#house.working(-1)
        if (generation !== this.#generation || this.phase !== 'loading') return
        setActive(this)
        try {
          done(value)
        } catch (error) {
          this.#failActivation(error)
        }
        setActive(undefined)
      },
      (error) => {
        this.#house.working(-1)
        if (generation === this.#generation && this.phase === 'loading') this.#failActivation(error)
      },
    )
  }

  #incarnateTable(state: unknown): void {
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
    this.#running()
    if (snapshot.status === 'done') this.terminate('done')
  }

  #running(): void {
    this.phase = 'running'
    this.touchedAt = this.#house.world.clock.now()
    this.#house.listIdle(this)
    if (this.#wantsStop) this.terminate('stopped')
    else if (this.mailbox.size > 0 || this.#durable?.committed.length) this.#enqueue()
  }

  #failActivation(error: unknown): void {
    this.#endIncarnation()
    this.#house.world.log.warn({ actor: this.address, error: textOf(error) }, 'an actor could not be activated')
    this.#restartOrStop(error)
  }

  /** The message goes to the dead letters, not round again. */
  #fail(message: Message, origin: Origin, error: unknown): void {
    const failed = isTroupeError(error) ? error : new TroupeError('actor.failed', `${this.address}: ${textOf(error)}`, { cause: error })
    this.#endIncarnation()
    this.#house.world.log.warn({ actor: this.address, message: message.type, error: textOf(error) }, 'an actor failed and is restarted')
    this.#refuse(message, origin, failed)
    this.#restartOrStop(error)
  }

  #restartOrStop(error: unknown): void {
    const now = this.#house.world.clock.now()
    const failures = this.#failures ?? []
    const verdict = decide(this.kind.supervision, failures, now, this.#house.world.random.next())
    if (verdict === 'stop') {
      this.terminate('failed', isTroupeError(error) ? error : undefined)
      return
    }
    this.#failures = [...failures.slice(-15), now]
    this.#rebirthAfter(verdict.restartAfterMs)
  }

  #rebirthAfter(ms: number): void {
    this.phase = 'backoff'
    const generation = this.#generation
    this.#house.world.clock.after(ms, () => {
      if (this.phase !== 'backoff' || generation !== this.#generation) return
      this.phase = 'new'
      this.#enqueue()
    })
  }

  #endIncarnation(): void {
    this.#generation++
    this.#open = 0
    if (this.children !== undefined) for (const child of [...this.children]) child.terminate('stopped')
    for (const cancel of this.#armed?.values() ?? []) cancel()
    this.#armed = undefined
    this.#timers = undefined
    this.#house.unlistIdle(this)
    const actor = this.#actor
    if (actor === undefined) return
    this.#actor = undefined
    if (this.kind.style === 'table') this.kind.definition.stopped?.(this.#state, this)
    this.#state = undefined
    this.#house.incarnations.stop(actor)
  }

  /** Ends the actor and everything below it. What waits in the mailbox is refused. */
  terminate(reason: StopReason, cause?: TroupeError): void {
    if (this.phase === 'stopped') return
    this.#endIncarnation()
    this.phase = 'stopped'
    const refusal = cause ?? new TroupeError('actor.stopped', this.address)
    for (const { message, origin } of this.#durable?.committed.splice(0) ?? []) this.#refuse(message, origin, refusal)
    while (this.mailbox.size > 0) {
      const message = this.mailbox.peek() as Message // size > 0
      const origin = this.mailbox.peekOrigin()
      this.mailbox.drop()
      this.#refuse(message, origin, refusal)
    }
    this.parent?.children?.delete(this)
    if (this.#durable !== undefined) this.#house.wakeups?.sleep(this.address, undefined)
    this.#house.left(this, reason)
  }

  /** Leaves memory if nothing speaks against it in this very turn. False when it stays. */
  tryPassivate(): boolean {
    if (!this.#mayLeave()) return false
    this.#wantsPassivation = false
    const before = this.kind.style === 'table' ? this.kind.definition.beforePassivation?.(this.#state, this) : undefined
    const saved =
      this.#durable !== undefined && this.#durable.offset > this.#durable.snapshotOffset ? this.#saveSnapshot(this.#durable) : undefined
    if (!isPromise(before) && saved === undefined) {
      this.#leave()
      return true
    }
    this.phase = 'passivating'
    const generation = this.#generation
    this.#house.working(1)
    // A snapshot that cannot be saved is no reason to stay: the journal has everything.
    Promise.all([before, saved?.catch(() => {})]).then(
      () => this.#afterSaving(generation, true),
      (error) => {
        this.#house.world.log.warn({ actor: this.address, error: textOf(error) }, 'an actor could not be passivated')
        this.#afterSaving(generation, false)
      },
    )
    return true
  }

  #mayLeave(): boolean {
    if (this.phase !== 'running' || this.#queued || this.mailbox.size > 0 || this.#open > 0) return false
    if (this.children !== undefined && this.children.size > 0) return false
    if (this.#durable !== undefined && (this.#durable.outbox.inFlight > 0 || this.#durable.committed.length > 0)) return false
    const timers = [...(this.#timers?.values() ?? [])]
    if (timers.length > 0 && (this.#durable === undefined || timers.some((t) => t.resume !== 'deadline'))) return false
    return this.kind.style === 'logic' || (this.kind.definition.canPassivate?.(this.#state) ?? true)
  }

  #afterSaving(generation: number, isSaved: boolean): void {
    this.#house.working(-1)
    if (generation !== this.#generation || this.phase !== 'passivating') return
    this.phase = 'running'
    if (isSaved && this.#mayLeave()) this.#leave()
    else if (this.mailbox.size > 0) this.#enqueue()
  }

  #leave(): void {
    const earliest = this.#earliest()
    this.#endIncarnation()
    this.phase = 'stopped'
    this.parent?.children?.delete(this)
    if (this.#durable !== undefined) this.#house.wakeups?.sleep(this.address, earliest)
    this.#house.left(this, undefined)
  }

  // ── timers ─────────────────────────────────────────────────────────────────────────────────────────────────────

  takeAction(action: TimerAction): boolean {
    const timers = (this.#timers ??= new Map())
    const resume = (this.kind.durable as { resume?: Resume } | undefined)?.resume ?? 'deadline'
    if (!noteTimerAction(action, this.#house.world.clock.now(), resume, timers)) return false
    this.#armAll()
    return true
  }

  #armAll(): void {
    const timers = this.#timers ?? new Map<string, Timer>()
    const armed = (this.#armed ??= new Map())
    for (const [name, cancel] of armed) {
      if (timers.has(name)) continue
      cancel()
      armed.delete(name)
    }
    for (const [name, timer] of timers) {
      if (!armed.has(name)) armed.set(name, this.#arm(name, timer))
    }
    if (this.#durable !== undefined) this.#house.wakeups?.note(this.address, this.#earliest())
  }

  #arm(name: string, timer: Timer): Cancel {
    const generation = this.#generation
    const { clock } = this.#house.world
    return clock.after(Math.max(0, timer.deadline - clock.now()), () => {
      if (generation !== this.#generation) return
      this.#armed?.delete(name)
      this.mailbox.push(timer.message, new TimerOrigin(name, timer))
      this.#wake()
    })
  }

  #setTimer(name: string, timer: Timer | undefined): void {
    const timers = (this.#timers ??= new Map())
    this.#armed?.get(name)?.()
    this.#armed?.delete(name)
    if (timer === undefined) timers.delete(name)
    else timers.set(name, timer)
    this.#armAll()
  }

  /** False when the timer was cancelled or set anew after it had fired into the mailbox. */
  #takeTimer({ name, timer }: TimerOrigin): boolean {
    if (this.#timers?.get(name) !== timer) return false
    this.#timers.delete(name)
    if (this.kind.style === 'table' && this.#durable !== undefined) this.#stage([['c', name]])
    if (this.#durable !== undefined) this.#house.wakeups?.note(this.address, this.#earliest())
    return true
  }

  #earliest(): EpochMs | undefined {
    let earliest: EpochMs | undefined
    for (const { deadline } of this.#timers?.values() ?? []) if (earliest === undefined || deadline < earliest) earliest = deadline
    return earliest
  }

  // ── durable kinds ──────────────────────────────────────────────────────────────────────────────────────────────

  #loadDurable(durable: DurableSide): void {
    const journals = this.#house.journals
    if (journals === undefined)
      throw new TroupeError('actor.bad_definition', `kind ${this.kind.name} is durable, but the system has no journals`)
    const { kind } = this
    const now = this.#house.world.clock.now()
    const upTo = durable.committed[0] === undefined ? undefined : durable.committed[0].offset - 1
    const isRestart = durable.wasLoaded
    const how =
      kind.style === 'table'
        ? tableFold(kind.durable as NonNullable<typeof kind.durable>, (input) => kind.definition.state(this, input)) // durable, or we were not here
        : logicFold(kind.logic, kind.durable?.resume ?? 'deadline')
    const input = kind.style === 'table' ? this.#input : this.#givenInput(kind)
    const version = (kind.durable as { version: number }).version
    this.#await(fold<unknown>(journals, this.address, version, how, input, now, upTo), (folded) => {
      durable.wasLoaded = true
      durable.offset = durable.committed.at(-1)?.offset ?? folded.offset
      durable.snapshotOffset = folded.snapshotOffset
      durable.isNew = folded.isNew
      this.#timers = new Map()
      const loadedAt = this.#house.world.clock.now()
      for (const [name, timer] of folded.timers) {
        const deadline = isRestart ? timer.deadline : resumedDeadline(timer, folded.lastAt, loadedAt)
        this.#timers.set(name, { ...timer, deadline })
      }
      if (kind.style === 'table') this.#incarnateTable(folded.state)
      else if (folded.isNew) {
        // Nothing is known of it yet: a first life, whose entry actions run and whose timers start now.
        this.#timers = new Map()
        this.#incarnate(kind.logic, input, undefined)
      } else this.#incarnate(kind.logic, undefined, kind.logic.getPersistedSnapshot(folded.state as never))
      this.#armAll()
    })
  }

  persist(...events: unknown[]): Promise<Offset> {
    const { kind } = this
    if (kind.style !== 'table' || kind.durable === undefined) {
      throw new TroupeError('actor.bad_definition', `kind ${kind.name} has no \`durable\`, so it cannot persist`)
    }
    const promise = this.#stage(events.map((event) => ['e', event] as const))
    for (const event of events) {
      const next = kind.durable.apply(this.#state, event)
      if (next !== undefined) this.#state = next
    }
    if (this.delivering === undefined) this.#flushStaged(undefined, undefined)
    return promise
  }

  #stage(records: readonly Record[]): Promise<Offset> {
    const durable = this.#durable as DurableSide // only called for durable kinds
    const promise = new Promise<Offset>((resolve, reject) => durable.staged.push({ records: [...records], resolve, reject }))
    promise.catch(() => {}) // whoever does not wait for it is told through the ask, the dead letter or the log
    return promise
  }

  /** One append for everything the handler persisted: all of it or nothing is on disk. */
  #flushStaged(message: Message | undefined, origin: Origin): void {
    const durable = this.#durable as DurableSide // only called for durable kinds
    const outputs = durable.outputs.splice(0)
    if (durable.staged.length > 0) {
      const staged = durable.staged.splice(0)
      const records = staged.flatMap(({ records }) => records)
      if (durable.isNew && this.#input !== undefined) records.unshift(['i', this.#input])
      durable.isNew = false
      const first = durable.offset
      durable.offset += records.length
      const ticket = durable.outbox.issue()
      const generation = this.#generation
      this.#append(records, first).then(
        ({ last }) => {
          for (const { resolve } of staged) resolve(last)
          durable.outbox.settle(ticket)
          if (generation === this.#generation && durable.outbox.inFlight === 0) this.#enqueueIfRunning()
        },
        (error) => {
          for (const { reject } of staged) reject(error)
          durable.outbox.fail(error)
          if (generation === this.#generation) this.#storageFailed(error)
        },
      )
      if (message !== undefined && !(origin instanceof Ask)) {
        durable.outbox.hold(
          () => {},
          (error) =>
            this.#refuse(message, origin, isTroupeError(error) ? error : new TroupeError('actor.failed', textOf(error), { cause: error })),
        )
      }
    }
    for (const { send, refuse } of outputs) durable.outbox.hold(send, refuse)
  }

  #append(records: readonly Record[], expected: Offset) {
    this.#house.working(1)
    const journals = this.#house.journals as Journals // a durable actor was loaded from them
    const appended = journals.append(this.address, records.map(encodeRecord), { expected: expected === 0 ? 'none' : expected })
    appended.then(
      () => this.#house.working(-1),
      () => this.#house.working(-1),
    )
    return appended
  }

  /** The state in memory is ahead of the disk: forget it and fold again. Not the actor's fault, so it does not count as a failure. */
  #storageFailed(error: unknown): void {
    if (this.phase === 'stopped') return
    this.#house.world.log.error(
      { actor: this.address, error: textOf(error) },
      'the events of an actor could not be stored; its state is read again',
    )
    this.#endIncarnation()
    if (this.#durable !== undefined) this.#durable.staged.length = 0
    this.#rebirthAfter(refoldAfterMs)
  }

  #isSnapshotDue(durable: DurableSide): boolean {
    return !durable.isSaving && durable.committed.length === 0 && durable.offset - durable.snapshotOffset >= this.kind.snapshotEvery
  }

  #saveInBackground(durable: DurableSide): void {
    this.#saveSnapshot(durable).catch((error) =>
      this.#house.world.log.warn({ actor: this.address, error: textOf(error) }, 'a snapshot could not be saved'),
    )
  }

  /** For what was put off until the appends under way were on disk: handlers, a snapshot, passivation. */
  #enqueueIfRunning(): void {
    if (this.phase === 'running' && (this.mailbox.size > 0 || this.#wantsPassivation)) this.#enqueue()
  }

  #saveSnapshot(durable: DurableSide): Promise<void> {
    const { kind } = this
    const offset = durable.offset
    const state =
      kind.style === 'logic'
        ? kind.logic.getPersistedSnapshot((this.#actor as AnyActor).getSnapshot()) // running
        : kind.durable?.toJson === undefined
          ? this.#state
          : kind.durable.toJson(this.#state)
    const bytes = encodeSnapshot((kind.durable as { version: number }).version, state, this.#timers ?? new Map())
    durable.isSaving = true
    this.#house.working(1)
    const journals = this.#house.journals as Journals // a durable actor was loaded from them
    return journals.saveSnapshot(this.address, offset, bytes).then(
      () => {
        this.#house.working(-1)
        durable.isSaving = false
        durable.snapshotOffset = offset
      },
      (error) => {
        this.#house.working(-1)
        durable.isSaving = false
        throw error
      },
    )
  }

  /** Journals what waits in the mailbox, in one append; the logic sees it when it is on disk. */
  #runWriteAhead(most: number): void {
    const durable = this.#durable as DurableSide // write-ahead kinds are durable
    const kind = this.kind as LogicKind
    if (durable.committed.length > 0) return this.#applyCommitted(kind, durable)
    const records: Record[] = []
    const batch: { message: Message; origin: Origin }[] = []
    for (let left = most; left > 0 && this.mailbox.size > 0; left--) {
      const message = this.mailbox.peek() as Message // size > 0
      const origin = this.mailbox.peekOrigin()
      this.mailbox.drop()
      if (origin instanceof TimerOrigin) {
        if (this.#timers?.get(origin.name) !== origin.timer) continue
        records.push(['x', origin.name, message])
      } else if (kind.mayHandle(message.type)) records.push(['e', message])
      else {
        this.#refuse(message, origin, new TroupeError('actor.unhandled', `${this.address} does not handle ${JSON.stringify(message.type)}`))
        continue
      }
      batch.push({ message, origin })
    }
    if (batch.length === 0) return
    if (durable.isNew) records.unshift(['i', this.#givenInput(kind)])
    this.phase = 'committing'
    const generation = this.#generation
    this.#append(records, durable.offset).then(
      ({ last }) => {
        durable.isNew = false
        durable.offset = last
        const first = last - batch.length + 1
        durable.committed.push(...batch.map((entry, i) => ({ ...entry, offset: first + i })))
        this.#afterCommit(generation)
      },
      (error) => {
        const refusal = isTroupeError(error) ? error : new TroupeError('storage.failed', textOf(error), { cause: error })
        for (const { message, origin } of batch) {
          if (origin instanceof TimerOrigin)
            this.#setTimer(origin.name, { ...origin.timer, deadline: this.#house.world.clock.now() + timerRetryMs })
          else this.#refuse(message, origin, refusal)
        }
        this.#afterCommit(generation)
      },
    )
  }

  #afterCommit(generation: number): void {
    if (generation !== this.#generation || this.phase !== 'committing') return
    this.phase = 'running'
    if (this.mailbox.size > 0 || this.#durable?.committed.length) this.#enqueue()
  }

  #applyCommitted(kind: LogicKind, durable: DurableSide): void {
    for (;;) {
      const committed = durable.committed.shift()
      if (committed === undefined) return
      if (committed.origin instanceof TimerOrigin) this.#timers?.delete(committed.origin.name)
      if (!this.#deliverToLogic(kind, committed.message, committed.origin) || this.phase !== 'running') return
    }
  }

  // ── the scope that handlers see ────────────────────────────────────────────────────────────────────────────────

  get from(): Address | undefined {
    const origin = this.#origin
    return origin instanceof Ask ? origin.from : typeof origin === 'string' ? origin : undefined
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

  reply(value: unknown): void {
    this.#hasReplied = true
    this.#outcome = value
  }

  tell(address: Address, message: Message): boolean {
    if (this.#durable === undefined) return this.#house.tell(address, message, this.address)
    this.#output(
      () => this.#house.tell(address, message, this.address),
      () => {},
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
    this.#house.spawn(this, address, input)
  }

  after(name: string, ms: number, message: Message, options?: TimerOptions): void {
    const timer: Timer = { deadline: this.now() + ms, delayMs: ms, resume: options?.resume ?? 'deadline', message }
    this.#setTimer(name, timer)
    if (this.#durable === undefined || this.kind.style !== 'table') return
    this.#stage([['t', name, timer.deadline, ms, timer.resume, message]])
    if (this.delivering === undefined) this.#flushStaged(undefined, undefined)
  }

  cancel(name: string): void {
    if (this.#timers?.has(name) !== true) return
    this.#setTimer(name, undefined)
    if (this.#durable === undefined || this.kind.style !== 'table') return
    this.#stage([['c', name]])
    if (this.delivering === undefined) this.#flushStaged(undefined, undefined)
  }

  stop(): void {
    this.#wantsStop = true
    if (this.delivering === undefined && this.phase === 'running') this.terminate('stopped')
  }

  passivate(): void {
    this.#wantsPassivation = true
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

/** The position of a durable actor in its journal, and what waits for the disk. */
class DurableSide {
  /** Of the last entry that was appended, on disk or not. */
  offset: Offset = 0
  snapshotOffset: Offset = 0
  /** The journal has no entry yet. */
  isNew = true
  isSaving = false
  wasLoaded = false
  readonly outbox = new Outbox()
  /** Messages to XState logic that are on disk and not yet handled. */
  readonly committed: Committed[] = []
  /** What the present handler of a table persists and sends. */
  readonly staged: Staged[] = []
  readonly outputs: { send: () => void; refuse: (error: unknown) => void }[] = []

  dropStaged(error: unknown): void {
    for (const { reject } of this.staged.splice(0)) reject(error)
    for (const { refuse } of this.outputs.splice(0)) refuse(error)
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
