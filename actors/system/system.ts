/**
 * The actor system: activates, finds, supervises by way of the cells, passivates and inspects actors.
 *
 * Sends go by address and nobody holds an actor. Everything that it needs of the world is given, so a whole system runs
 * in a simulated one. Not a process: it opens no journal and no socket, and it closes neither.
 */
import { TroupeError } from '../errors.ts'
import type { Journals } from '../journal.ts'
import type { MonotonicMs, World } from '../world.ts'
import { type Address, parseAddress } from './address.ts'
import { Asks } from './asks.ts'
import { Cell, type House, type Phase } from './cell.ts'
import { type DeadLetter, DeadLetters } from './deadLetters.ts'
import type { ActorDefinition } from './definition.ts'
import { Incarnations } from './incarnation.ts'
import { compileKind, type Kind } from './kind.ts'
import { LinkedList } from './linkedList.ts'
import type { Message } from './message.ts'
import { RunQueue } from './runQueue.ts'
import type { AskOptions } from './scope.ts'
import { Wakeups } from './wakeups.ts'
import { type Stopped, type StopReason, type Watcher, Watches } from './watch.ts'

export interface SystemOptions {
  readonly world: World
  readonly actors: readonly ActorDefinition[]
  /** Needed by durable kinds. The system does not close them. */
  readonly journals?: Journals
  /** Default 5 000. */
  readonly askTimeoutMs?: number
  /** `close` waits this long for handlers and the disk, then goes on without them. Default 10 000. */
  readonly closeWithinMs?: number
  /** The event loop is given back after this long. Default 8. */
  readonly sliceMs?: number
  /** Most actors of passivatable kinds in memory; past it the least recently used ones are passivated. Default 100 000. */
  readonly maxActive?: number
  /** Dead letters that are kept. Default 1 000. */
  readonly deadLetterLimit?: number
  /** Is told of each dead letter. Must not throw. */
  readonly onDeadLetter?: (letter: DeadLetter) => void
}

export interface ActorInfo {
  readonly address: Address
  readonly kind: string
  readonly phase: Phase
  /** Messages that wait. */
  readonly mailbox: number
  readonly handled: number
  /** Recent failures. */
  readonly failures: number
  readonly touchedAt: MonotonicMs
}

export interface Health {
  /** False as long as an actor is stopped because it failed too often. */
  readonly isHealthy: boolean
  readonly failed: readonly Address[]
}

/** The idle list is looked through this many times within one idle time. */
const sweepsPerIdleTime = 4

/** Actors that are asked to leave for each that comes in over the limit; some of them cannot. */
const evictionTries = 8
/** Addresses of failed actors that are kept; a client that can make actors fail is not to fill the memory. */
const failedLimit = 10_000

interface Idle {
  readonly kind: Kind
  readonly idleMs: number
  readonly cells: LinkedList<Cell>
}

export class ActorSystem implements House {
  readonly world: World
  readonly queue: RunQueue
  readonly incarnations: Incarnations
  readonly journals: Journals | undefined
  readonly wakeups: Wakeups | undefined
  readonly #kinds = new Map<string, Kind>()
  readonly #cells = new Map<Address, Cell>()
  readonly #asks: Asks
  readonly #deadLetters: DeadLetters
  readonly #onDeadLetter: ((letter: DeadLetter) => void) | undefined
  readonly #watches = new Watches()
  readonly #idle = new Map<Kind, Idle>()
  readonly #askTimeoutMs: number
  readonly #maxActive: number
  /** Addresses that failed too often; they refuse messages until `restart`. */
  readonly #failed = new Map<Address, { readonly input: unknown }>()
  /** Writes of actors that have left. */
  readonly #settling = new Map<Address, Promise<void>>()
  /** Whoever waits for the end of all work. */
  #waiting: (() => void)[] = []
  readonly #closeWithinMs: number
  isClosing = false
  #closed: Promise<void> | undefined
  #idleCount = 0
  #working = 0
  #isClosed = false
  #cancelSweep: (() => void) | undefined

  constructor(options: SystemOptions) {
    const { world, journals } = options
    this.world = world
    this.journals = journals
    this.queue = new RunQueue(world.clock, world.turns, options.sliceMs ?? 8)
    this.incarnations = new Incarnations(world.clock, (address) => this.#cells.get(address))
    this.#asks = new Asks(world.clock)
    this.#deadLetters = new DeadLetters(options.deadLetterLimit ?? 1_000)
    this.#onDeadLetter = options.onDeadLetter
    this.#askTimeoutMs = options.askTimeoutMs ?? 5_000
    this.#closeWithinMs = options.closeWithinMs ?? 10_000
    this.#maxActive = options.maxActive ?? 100_000
    for (const definition of options.actors) {
      if (this.#kinds.has(definition.kind)) throw new TroupeError('actor.bad_definition', `kind ${definition.kind} is defined twice`)
      if (definition.durable !== undefined && journals === undefined) {
        throw new TroupeError('actor.bad_definition', `kind ${definition.kind} is durable, but the system has no journals`)
      }
      const kind = compileKind(definition)
      this.#kinds.set(definition.kind, kind)
      if (kind.idleMs !== undefined) this.#idle.set(kind, { kind, idleMs: kind.idleMs, cells: new LinkedList() })
    }
    const failed = (error: unknown) => world.log.error({ error: String(error) }, 'wake-ups could not be stored')
    this.wakeups = journals === undefined ? undefined : new Wakeups(journals, world.clock, (address) => this.#wakeUp(address), failed)
    this.#armSweep()
  }

  /** Reads which durable actors have timers to fire. Call once, before the first message. */
  async start(): Promise<void> {
    await this.wakeups?.load()
  }

  // ── messages ───────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * Puts a message into the mailbox of an actor; the actor is activated if need be. Returns when it is in the mailbox,
   * not when it is handled. False when it was refused; it then lies in the dead letters with the reason.
   */
  tell<M extends Message>(address: Address, message: M, from?: Address): boolean {
    const cell = this.#cellFor(address, from)
    if (cell instanceof Cell) return cell.offer(message, from)
    this.deadLetter(address, message, from, cell)
    return false
  }

  /**
   * Sends a message and waits for the answer of its handler; of a durable actor, until what the answer is based on is on disk.
   * Errors: `actor.failed` (the handler threw), `actor.unhandled`, `actor.ask_timeout`, `actor.mailbox_full`,
   * `actor.stopped`, `actor.unknown_kind`, `actor.bad_address`, `system.closed`, and TroupeErrors of the handler.
   */
  ask<M extends Message>(address: Address, message: M, options?: AskOptions, from?: Address): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const cell = this.#cellFor(address, from)
      if (!(cell instanceof Cell)) {
        this.deadLetter(address, message, from, cell)
        reject(cell)
        return
      }
      cell.offer(message, this.#asks.open(address, from, options?.timeoutMs ?? this.#askTimeoutMs, resolve, reject))
    })
  }

  /** Brings an actor to life with `input`, without a message. No effect on one that lives. Errors as for `tell`. */
  begin(address: Address, input?: unknown): void {
    this.spawn(undefined, address, input)
  }

  spawn(parent: Cell | undefined, address: Address, input: unknown): void {
    if (this.isClosing && parent === undefined) throw new TroupeError('system.closed')
    if (this.#cells.has(address)) return
    const found = this.#activate(address, { input, parent })
    if (!(found instanceof Cell)) throw found
    found.begin()
  }

  /**
   * Calls back, or tells the watching actor, when the actor stops for good: told to, done, or failed too often.
   * Passivation is not stopping. Returns a function that ends the watch.
   */
  watch(target: Address, watcher: Watcher): () => void {
    this.#watches.add(target, watcher)
    if (this.#failed.has(target)) this.#tellWatchers(target, 'failed')
    else if (this.#isGone(target)) this.#tellWatchers(target, 'stopped')
    return () => this.#watches.remove(target, watcher)
  }

  /** No message brings it to life, so whoever waited for its end would wait for ever. */
  #isGone(target: Address): boolean {
    return !this.#cells.has(target) && this.#kindOf(target)?.isExplicit === true
  }

  #kindOf(address: Address): Kind | undefined {
    return this.#kinds.get(address.slice(0, address.indexOf('/')))
  }

  unwatch(target: Address, watcher: Address): void {
    this.#watches.remove(target, watcher)
  }

  /** Stops an actor and its children; waiting messages are refused. A next message activates it anew. */
  stop(address: Address): void {
    this.#cells.get(address)?.terminate('stopped')
  }

  /** Brings an actor back that failed too often, with the input that it had. False when it had not. Errors as for `tell`. */
  restart(address: Address): boolean {
    const failed = this.#failed.get(address)
    if (failed === undefined) return false
    this.#failed.delete(address)
    this.begin(address, failed.input)
    return true
  }

  // ── inspection ─────────────────────────────────────────────────────────────────────────────────────────────────

  /** The actors in memory whose address begins with `prefix`, at most `limit` (default 1 000). */
  actors(prefix = '', limit = 1_000): ActorInfo[] {
    const found: ActorInfo[] = []
    for (const cell of this.#cells.values()) {
      if (found.length >= limit) break
      if (!cell.address.startsWith(prefix)) continue
      const { address, phase, handled, touchedAt } = cell
      found.push({ address, kind: cell.kind.name, phase, mailbox: cell.mailbox.size, handled, failures: cell.failureCount, touchedAt })
    }
    return found
  }

  /** How many actors are in memory, by kind. */
  counts(): Map<string, number> {
    const counts = new Map<string, number>()
    for (const name of this.#kinds.keys()) counts.set(name, 0)
    for (const cell of this.#cells.values()) counts.set(cell.kind.name, (counts.get(cell.kind.name) ?? 0) + 1)
    return counts
  }

  /** Messages handled since the start, by kind. */
  handled(): Map<string, number> {
    return new Map([...this.#kinds.values()].map((kind) => [kind.name, kind.handled]))
  }

  /** The state of a live actor; undefined when it is not in memory. For inspection: it may be ahead of the disk. */
  inspect(address: Address): unknown {
    return this.#cells.get(address)?.stateView
  }

  /** Oldest first. */
  deadLetters(): DeadLetter[] {
    return this.#deadLetters.list()
  }

  deadLettersByCode(): ReadonlyMap<string, number> {
    return this.#deadLetters.byCode
  }

  /** Sends a dead letter again and takes it out of the list. False when there is none of this id, or it was refused again. */
  replay(id: number): boolean {
    const letter = this.#deadLetters.take(id)
    return letter !== undefined && this.tell(letter.address, letter.message, letter.from)
  }

  health(): Health {
    return { isHealthy: this.#failed.size === 0, failed: [...this.#failed.keys()] }
  }

  // ── closing ────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Waits until every message is handled, every promise of a handler has settled and every append is on disk. */
  async quiesce(): Promise<void> {
    await this.#quiesce(() => false)
  }

  /**
   * Takes no more messages from outside, waits for those it has and what follows from them, saves snapshots, stops every
   * actor. After `closeWithinMs` it waits no longer. Resolves when all is on disk.
   * Errors: none; an actor that cannot be saved is logged, and its journal has everything.
   */
  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close(): Promise<void> {
    this.isClosing = true
    let isLate = false
    const cancel = this.world.clock.after(this.#closeWithinMs, () => {
      isLate = true
      this.world.log.warn({ working: this.#working }, 'the system is closed while actors are at work')
      this.#wakeWaiting()
    })
    await this.#quiesce(() => isLate)
    this.#isClosed = true
    this.#cancelSweep?.()
    // Children were made after their parents, and leave before them: a parent that leaves would stop them unsaved.
    for (const cell of [...this.#cells.values()].reverse()) cell.tryPassivate(true)
    await this.#quiesce(() => isLate)
    for (const cell of [...this.#cells.values()].reverse()) cell.terminate('stopped')
    await this.#quiesce(() => isLate)
    cancel()
    this.#asks.close(new TroupeError('system.closed'))
    await this.wakeups?.close()
    this.incarnations.close()
  }

  async #quiesce(isEnough: () => boolean): Promise<void> {
    while (!isEnough() && (this.queue.length > 0 || this.#working > 0)) {
      await new Promise<void>((resolve) => {
        if (this.queue.length > 0) this.world.turns.later(resolve)
        else this.#waiting.push(resolve)
      })
    }
  }

  #wakeWaiting(): void {
    for (const resolve of this.#waiting.splice(0)) resolve()
  }

  // ── what cells need ────────────────────────────────────────────────────────────────────────────────────────────

  deadLetter(address: Address, message: Message, from: Address | undefined, error: TroupeError): void {
    if (error.code === 'actor.stopped' && this.#kindOf(address)?.dropsLate) return
    const at = this.world.clock.now()
    const letter = this.#deadLetters.add({ at, address, from, message, code: error.code, detail: error.message })
    this.#onDeadLetter?.(letter)
  }

  readonly working = (change: 1 | -1): void => {
    this.#working += change
    // In a turn of its own: what the finished work brings next may already be on its way.
    if (this.#working === 0 && this.#waiting.length > 0) this.world.turns.later(() => this.#wakeWaiting())
  }

  settle(address: Address, writes: PromiseLike<unknown>): void {
    const done = () => {
      if (this.#settling.get(address) === settling) this.#settling.delete(address)
    }
    const settling: Promise<void> = Promise.all([this.#settling.get(address), writes]).then(done, done)
    this.#settling.set(address, settling)
  }

  settling(address: Address): Promise<void> | undefined {
    return this.#settling.get(address)
  }

  listIdle(cell: Cell): void {
    const idle = this.#idle.get(cell.kind)
    if (idle === undefined || cell.listedAt !== undefined) return
    cell.listedAt = cell.touchedAt
    idle.cells.append(cell)
    this.#idleCount++
    for (let tries = evictionTries; tries > 0 && this.#idleCount > this.#maxActive; tries--) this.#evict()
  }

  unlistIdle(cell: Cell): void {
    if (cell.listedAt === undefined) return
    cell.listedAt = undefined
    this.#idle.get(cell.kind)?.cells.remove(cell)
    this.#idleCount--
  }

  left(cell: Cell, reason: StopReason | undefined): void {
    this.#cells.delete(cell.address)
    if (reason === 'failed' && cell.kind.supervision.onFailure !== 'stop') {
      this.#failed.set(cell.address, { input: cell.input })
      this.world.log.error({ actor: cell.address }, 'an actor failed too often and is stopped')
      if (this.#failed.size > failedLimit) this.#forgetOldestFailed()
    }
    if (reason !== undefined || this.#isClosed) this.#tellWatchers(cell.address, reason ?? 'stopped')
  }

  #forgetOldestFailed(): void {
    for (const address of this.#failed.keys()) {
      this.#failed.delete(address)
      this.world.log.warn({ actor: address }, 'too many failed actors; this one may receive messages again')
      return
    }
  }

  #tellWatchers(address: Address, reason: StopReason): void {
    const stopped: Stopped = { type: 'actor.stopped', address, reason }
    for (const watcher of this.#watches.end(address)) {
      if (typeof watcher !== 'string') {
        try {
          watcher(stopped)
        } catch (error) {
          this.world.log.error({ actor: address, error: String(error) }, 'a watch threw')
        }
      } else if (!this.#isClosed) {
        const cell = this.#cells.get(watcher) ?? this.#activate(watcher, {})
        if (cell instanceof Cell) cell.notify(stopped, address)
        else this.deadLetter(watcher, stopped, address, cell)
      }
    }
  }

  // ── activation and passivation ─────────────────────────────────────────────────────────────────────────────────

  /** `from` is undefined for messages from outside, which a closing system does not take. */
  #cellFor(address: Address, from: Address | undefined): Cell | TroupeError {
    if (this.isClosing && from === undefined) return new TroupeError('system.closed')
    return this.#cells.get(address) ?? this.#activate(address)
  }

  /** `given` is there when somebody asked for the actor, and not merely sent it a message. */
  #activate(address: Address, given?: { readonly input?: unknown; readonly parent?: Cell | undefined }): Cell | TroupeError {
    if (this.#isClosed) return new TroupeError('system.closed')
    if (this.#failed.has(address)) return new TroupeError('actor.stopped', address)
    try {
      const { kind: name, id } = parseAddress(address)
      const kind = this.#kinds.get(name)
      if (kind === undefined) return new TroupeError('actor.unknown_kind', name)
      if (kind.isExplicit && given === undefined) return new TroupeError('actor.stopped', address)
      const cell = new Cell(this, kind, address, id, given?.input, given?.parent)
      this.#cells.set(address, cell)
      return cell
    } catch (error) {
      if (error instanceof TroupeError) return error
      throw error
    }
  }

  #wakeUp(address: Address): void {
    if (this.isClosing || this.#cells.has(address)) return
    const found = this.#activate(address, {})
    if (found instanceof Cell) found.begin()
    else this.world.log.warn({ actor: address, error: found.message }, 'an actor with a timer could not be woken')
  }

  /** A second chance for whoever was used since it was listed: the list is put in order only where it is looked at. */
  #leastRecent(idle: Idle): Cell | undefined {
    for (;;) {
      const cell = idle.cells.first
      if (cell?.listedAt === undefined || cell.touchedAt <= cell.listedAt) return cell
      idle.cells.remove(cell)
      cell.listedAt = cell.touchedAt
      idle.cells.append(cell)
    }
  }

  #evict(): void {
    let oldest: Cell | undefined
    for (const idle of this.#idle.values()) {
      const cell = this.#leastRecent(idle)
      if (cell !== undefined && (oldest === undefined || cell.touchedAt < oldest.touchedAt)) oldest = cell
    }
    if (oldest === undefined) return
    // Whoever cannot leave now goes to the end of the line, so that the next one is looked at next time.
    if (!oldest.tryPassivate()) this.#relist(oldest)
  }

  #relist(cell: Cell): void {
    const idle = this.#idle.get(cell.kind)
    if (idle === undefined || cell.listedAt === undefined) return
    idle.cells.remove(cell)
    cell.listedAt = this.world.clock.monotonic()
    idle.cells.append(cell)
  }

  #armSweep(): void {
    const shortest = Math.min(...[...this.#idle.values()].map((idle) => idle.idleMs))
    if (shortest === Number.POSITIVE_INFINITY) return
    this.#cancelSweep = this.world.clock.after(Math.max(1, shortest / sweepsPerIdleTime), () => {
      this.#sweep()
      this.#armSweep()
    })
  }

  #sweep(): void {
    const now = this.world.clock.monotonic()
    for (const idle of this.#idle.values()) {
      for (let left = idle.cells.size; left > 0; left--) {
        const cell = this.#leastRecent(idle)
        if (cell === undefined || now - cell.touchedAt < idle.idleMs) break
        if (!cell.tryPassivate()) this.#relist(cell)
      }
    }
  }
}
