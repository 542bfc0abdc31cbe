/**
 * A channel: an ordered stream of messages, and everybody who listens to it.
 *
 *   channel.publish ─→ repeated? ─→ window ─→ one append for the window ─→ on disk ─→ one publication to all ─→ answers
 *
 * Promises:
 * - Nobody hears a message, and nobody is told its offset, before it is on disk. All members hear all messages in the order
 *   of their offsets, without holes from the offset at which they joined.
 * - A message that its publisher repeats under the same id is there once, across restarts too; the answer is that of the first.
 * - Whoever comes back gets exactly what it missed, or is told that this cannot be had. Never a part of it.
 * - A message that the disk refuses is refused to its publisher; nothing of it stays.
 * - A channel that is removed tells its members; the next one of its name has another epoch.
 *
 * Runs under the system as a durable actor of its own making: its journal holds the messages, its snapshot who was present
 * when the process ended. On a crash it stops; its members watch it, and come back with what they have.
 */
import { publicName, tenantOf } from './account.ts'
import { Background } from './background.ts'
import { type Content, decodeSideState, type Encoded, encodeMessage, encodeSideState, repeatKey, type SideState } from './channelEntry.ts'
import { ChannelHistory } from './channelHistory.ts'
import {
  type ChannelRequest,
  type ChannelState,
  type Draft,
  directoryAddress,
  inboxOwner,
  type Joined,
  type Published,
} from './channelMessages.ts'
import { isTroupeError, TroupeError } from './errors.ts'
import type { Appended, Journals, Offset } from './journal.ts'
import { type ChannelInfo, type ChannelMessage, type ClosedOutput, type CrowdOutput, type Position, type Push, push } from './output.ts'
import { Presence, type PresenceChange } from './presence.ts'
import { PresenceNews } from './presenceNews.ts'
import { type Pending, PublishQueue } from './publishQueue.ts'
import { RecentBudget } from './recentMessages.ts'
import { Repeats } from './repeats.ts'
import type { Address } from './system/address.ts'
import { defineActor } from './system/definition.ts'
import type { Scope } from './system/scope.ts'
import type { EpochMs, MonotonicMs } from './world.ts'

export type ChannelActorMessage =
  | ChannelRequest
  | { readonly type: 'actor.stopped'; readonly address: Address }
  | { readonly type: 'channel.flush' }
  | { readonly type: 'channel.news' }
  | { readonly type: 'channel.expire' }
  | { readonly type: 'channel.save' }
  | { readonly type: 'channel.trim' }

/** The meaning and the defaults of the numbers are those of the section `bus` of the configuration. */
export interface ChannelOptions {
  readonly journals: Journals
  readonly historyMessages: number
  readonly historyMs: number
  readonly replayMessages: number
  readonly repeatMessages: number
  readonly repeatMs: number
  readonly graceMs: number
  readonly maxWindowMs: number
  readonly idleMs: number
  readonly autoCreate: boolean
  /** For metrics. */
  readonly observe?: ChannelObserver
}

export interface ChannelObserver {
  /** A window was stored: so many messages, and how long the first of them waited. */
  published(messages: number, waitedMs: number): void
  /** Messages were handed to members, counted once for each. */
  delivered(messages: number): void
  refused(code: string): void
  /** A client came back: it got what it missed, or has to start anew. */
  recovered(result: 'recovered' | 'lost'): void
}

type Join = Extract<ChannelRequest, { type: 'channel.join' }>
type Replay = Pick<Joined, 'isRecovered' | 'messages'>

/** A write costs about 5 µs, so publishing takes at most a sixteenth of the time: 8 ms for 100 members. */
const windowMsForEachMember = 0.08
/** Messages that are read at load to recognise repeated ids. */
const repeatBytes = 64 * 1024 * 1024
/** The newest messages of all channels together that are kept in memory. */
const recentBytes = 64 * 1024 * 1024
/** Cursors are saved this long after they moved; what was read in the meantime may come again after a crash. */
const saveMs = 1_000
/** Wait before side state that the disk refused is saved again. */
const saveRetryMs = 5_000
/** Readers of an inbox are few; the one that moved longest ago is forgotten first. */
const mostCursors = 1_000
/** Between two looks at the age of the messages. */
const longestTrimMs = 3_600_000
const directoryTimeoutMs = 30_000
const unpresent: SideState = { present: [], cursors: [] }

/** The part of an address after the kind: what others call the client. */
const clientOf = (address: Address): string => address.slice(address.indexOf('/') + 1)

/** One channel in memory. The handlers at the end of the file are its table; they are one line each. */
class OpenChannel {
  readonly #scope: Scope
  readonly #options: ChannelOptions
  readonly #name: string
  readonly #history: ChannelHistory
  readonly #repeats: Repeats
  readonly #presence: Presence
  readonly #news = new PresenceNews()
  #areNewsPlanned = false
  #lastNewsAt: MonotonicMs = 0
  readonly #cursors: Map<string, Offset>
  /** Undefined where the channel may not be used: see `refusal`. */
  readonly #described: ChannelInfo | undefined
  /** Why every request is refused: there is no such channel, or it is being removed. */
  refusal: TroupeError | undefined
  readonly #queue = new PublishQueue()
  #isFlushPlanned = false
  #lastFlushAt: MonotonicMs = 0
  /** The last commit was refused. */
  #isFailing = false
  #isSavePlanned = false
  #trimming: Promise<void> | undefined
  readonly #background: Background

  private constructor(scope: Scope, options: ChannelOptions, info: ChannelInfo | TroupeError, side: SideState, recent: RecentBudget) {
    const { journals, historyMessages, historyMs, replayMessages, repeatMessages, repeatMs, graceMs } = options
    this.#scope = scope
    this.#options = options
    this.#background = new Background(scope)
    this.#name = publicName(scope.id)
    const limits = { messages: historyMessages, ms: historyMs, recent: replayMessages }
    this.#history = new ChannelHistory(journals, scope.address, this.#name, limits, recent)
    this.#repeats = new Repeats({ messages: repeatMessages, ms: repeatMs, bytes: repeatBytes })
    this.#presence = new Presence(graceMs)
    this.#cursors = new Map(side.cursors)
    if (info instanceof TroupeError) this.refusal = info
    else this.#described = info
  }

  /** Asks the directory and reads the tail of the journal. Errors: `channel.unavailable`, those of the journal. */
  static async load(scope: Scope, options: ChannelOptions, recent: RecentBudget): Promise<OpenChannel> {
    const info = await describe(scope, options)
    if (info instanceof TroupeError) {
      // What waits is refused, and then the actor leaves: the next request asks the directory again.
      scope.passivate()
      return new OpenChannel(scope, options, info, unpresent, recent)
    }
    const side = await savedSide(scope, options.journals)
    const channel = new OpenChannel(scope, options, info, side, recent)
    await channel.#history.load(channel.#repeats, options.repeatMs, scope.now())
    channel.#resume(side)
    return channel
  }

  /** Whoever was present has the grace to come back. The list is of use once: a later process must not find it again. */
  #resume({ present }: SideState): void {
    void this.trim()
    if (present.length === 0) return
    this.#presence.restore(present, this.#scope.monotonic())
    this.#planExpiry()
    this.#planSave(saveMs)
  }

  get isClean(): boolean {
    return this.#presence.connectionCount === 0 && this.#queue.isEmpty && this.#background.isIdle && this.#trimming === undefined
  }

  refuse(error: TroupeError): Promise<never> {
    this.#options.observe?.refused(error.code)
    return Promise.reject(error)
  }

  // ── publishing ─────────────────────────────────────────────────────────────────────────────────────────────────

  /** Errors: `message.malformed`, `message.id_reused`, `channel.unavailable`, `channel.closed`, those of the disk. */
  publish(draft: Draft, from: Address | undefined): Published | Promise<Published> {
    const now = this.#scope.now()
    if (from !== undefined) this.#presence.touch(from, now)
    if (this.#queue.isFull) return this.refuse(new TroupeError('channel.unavailable', 'too much waits for the disk'))
    const { id = this.#scope.random.id(), ...rest } = draft
    const content: Content = { ...rest, id }
    const key = draft.id === undefined ? undefined : repeatKey(content)
    const encoded = encode(content, key !== undefined)
    if (encoded instanceof TroupeError) return this.refuse(encoded)
    const repeated = key === undefined ? undefined : this.#repeated(key, encoded.hash, content, now)
    if (repeated !== undefined) return repeated
    const answer = promised<Published>()
    this.#queue.add({ content, ...encoded, key, since: this.#scope.monotonic(), ...answer })
    this.#plan()
    return answer.published
  }

  /** The answer to a message that is there already, or is on its way to disk. */
  #repeated(key: string, hash: number, content: Content, now: EpochMs): Published | Promise<Published> | undefined {
    const pending = this.#queue.find(key)
    const known = pending ?? this.#repeats.find(key, now)
    if (known === undefined) return undefined
    if (known.hash !== hash) return this.refuse(new TroupeError('message.id_reused', content.id))
    if (pending !== undefined) return pending.published.then(({ message }) => ({ message, isRepeated: true }))
    const { offset, time } = known as { offset: Offset; time: EpochMs } // not pending, so it is on disk
    return { message: this.#message(content, offset, time), isRepeated: true }
  }

  #message(content: Content, offset: Offset, time: EpochMs): ChannelMessage {
    return Object.freeze({ channel: this.#name, offset, epoch: this.#history.epoch, time, ...content })
  }

  get #windowMs(): number {
    return Math.min(this.#options.maxWindowMs, this.#presence.connectionCount * windowMsForEachMember)
  }

  /** An idle channel flushes after the messages that already wait in the mailbox; a busy one once in a window. */
  #plan(): void {
    if (this.#isFlushPlanned || this.#queue.isCommitting) return
    this.#isFlushPlanned = true
    const wait = this.#lastFlushAt + this.#windowMs - this.#scope.monotonic()
    if (wait >= 1 || !this.#scope.tell(this.#scope.address, { type: 'channel.flush' }))
      this.#scope.after('flush', Math.max(1, wait), { type: 'channel.flush' })
  }

  flush(): void {
    this.#isFlushPlanned = false
    if (this.#queue.isCommitting) return
    const batch = this.#queue.begin()
    const [first] = batch
    if (first === undefined) return
    this.#lastFlushAt = this.#scope.monotonic()
    this.#background.run(
      this.#background.write(this.#history.append(batch.map(({ data }) => data))),
      (appended) => this.#committed(batch, appended, first.since),
      (error) => this.#commitFailed(batch, error),
    )
  }

  #committed(batch: readonly Pending[], { first, time }: Appended, since: MonotonicMs): void {
    const answers = batch.map(({ content }, index) => ({ message: this.#message(content, first + index, time), isRepeated: false }))
    const messages = Object.freeze(answers.map(({ message }) => message))
    this.#history.published(
      messages,
      batch.map(({ data }) => data.length),
    )
    for (const [index, { key, hash, data }] of batch.entries())
      if (key !== undefined) this.#repeats.add(key, { offset: first + index, time, hash, bytes: data.length })
    this.#queue.settle()
    this.#isFailing = false
    this.tellNews() // who came before a message is told before it
    const output = Object.freeze(push(Object.freeze({ type: 'output.messages', channel: this.#name, messages })))
    for (const address of this.#presence.connections) this.#scope.tell(address, output)
    const { observe } = this.#options
    observe?.published(batch.length, this.#scope.monotonic() - since)
    observe?.delivered(batch.length * this.#presence.connectionCount)
    // Only now: whoever publishes and listens finds its own message in the mailbox before the answer.
    for (const [index, { resolve }] of batch.entries()) resolve(answers[index] as Published) // as many as in the batch
    if (this.#history.hasTooMany) void this.trim()
    if (!this.#queue.isEmpty) this.#plan()
  }

  #commitFailed(batch: readonly Pending[], error: unknown): void {
    if (isTroupeError(error, 'journal.conflict')) {
      // Somebody else wrote, or an append that was reported as failed had worked: what the disk says is right.
      this.#scope.log.error({ channel: this.#scope.address }, 'the journal is not where the channel left it; it is loaded anew')
      this.#scope.stop()
      return
    }
    if (isTroupeError(error, 'journal.too_large') && batch.length > 1) {
      this.#queue.separate()
      this.#plan()
      return
    }
    if (!this.#isFailing) this.#scope.log.error({ channel: this.#scope.address, error: String(error) }, 'messages could not be stored')
    this.#isFailing = true
    this.#queue.settle()
    for (const { reject } of batch) {
      this.#options.observe?.refused(isTroupeError(error) ? error.code : 'storage.failed')
      reject(error)
    }
    if (!this.#queue.isEmpty) this.#plan()
  }

  // ── who is here ────────────────────────────────────────────────────────────────────────────────────────────────

  /** From now on the sender is told everything after `offset`; the answer has what it missed before. */
  join(request: Join, address: Address): Joined | Promise<Joined> {
    const { user, status, isPresent } = request
    const isNew = !this.#presence.has(address)
    const changes = this.#presence.join(address, { user, client: clientOf(address), status, isPresent }, this.#scope.now())
    if (isNew) this.#entered(address)
    this.#announce(changes)
    if (isNew && isPresent) this.#news.arrived(address)
    const { epoch, offset } = this.#history
    const isAnnounced = changes.some(({ change }) => change === 'joined')
    const joined = { info: this.#info, epoch, offset, members: this.#presence.members(), isNew, isAnnounced }
    const answer = (replay: Replay): Joined => {
      if (replay.isRecovered !== undefined) this.#options.observe?.recovered(replay.isRecovered ? 'recovered' : 'lost')
      return { ...joined, ...replay }
    }
    const failed = (error: unknown): never => {
      if (isNew) this.leave(address)
      throw error
    }
    const replay = this.#replay(request, offset)
    return replay instanceof Promise ? replay.then(answer, failed) : answer(replay)
  }

  #entered(address: Address): void {
    this.#scope.watch(address)
    if (this.#presence.connectionCount === 1) this.#planTrim()
  }

  leave(address: Address): boolean {
    if (!this.#presence.has(address)) return false
    this.#scope.unwatch(address)
    this.#announce(this.#presence.leave(address, this.#scope.now()))
    this.#departed()
    return true
  }

  lose(address: Address): void {
    if (!this.#presence.has(address)) return
    this.#announce(this.#presence.lose(address, this.#scope.now(), this.#scope.monotonic()))
    this.#departed()
    this.#planExpiry()
  }

  #departed(): void {
    // A running timer keeps an actor in memory; what is too old then goes when it is loaded again.
    if (this.#presence.connectionCount === 0) this.#scope.cancel('trim')
  }

  /** Errors: `channel.not_joined`. */
  restate(address: Address, { status, user }: Extract<ChannelRequest, { type: 'channel.status' }>): Promise<never> | undefined {
    const known = this.#presence.get(address)
    if (known === undefined) return this.refuse(new TroupeError('channel.not_joined'))
    this.#announce(this.#presence.join(address, { ...known, status, user: user ?? known.user }, this.#scope.now()))
    return undefined
  }

  expire(): void {
    this.#announce(this.#presence.expire(this.#scope.monotonic()))
    this.#planExpiry()
  }

  #planExpiry(): void {
    const { nextGrace } = this.#presence
    if (nextGrace === undefined) this.#scope.cancel('expire')
    else this.#scope.after('expire', Math.max(0, nextGrace - this.#scope.monotonic()), { type: 'channel.expire' })
  }

  #announce(changes: readonly PresenceChange[]): void {
    const { offset } = this.#history
    const at = this.#scope.now()
    for (const change of changes)
      this.#news.add({ type: 'output.presence', id: this.#scope.random.id(), channel: this.#name, ...change, at, offset })
    if (!this.#news.isEmpty) this.#planNews()
  }

  /** In a quiet channel after the messages that already wait in the mailbox; in a busy one once in a window. */
  #planNews(): void {
    if (this.#areNewsPlanned) return
    this.#areNewsPlanned = true
    const wait = this.#lastNewsAt + this.#windowMs - this.#scope.monotonic()
    if (wait >= 1 || !this.#scope.tell(this.#scope.address, { type: 'channel.news' }))
      this.#scope.after('news', Math.max(1, wait), { type: 'channel.news' })
  }

  tellNews(): void {
    if (!this.#areNewsPlanned) return
    this.#areNewsPlanned = false
    this.#scope.cancel('news')
    this.#lastNewsAt = this.#scope.monotonic()
    const pushes = new Map<CrowdOutput, Push>() // what many are told is one object
    for (const [address, crowd] of this.#news.take(this.#name, this.#presence.listeners)) {
      let message = pushes.get(crowd)
      if (message === undefined) pushes.set(crowd, (message = Object.freeze(push(Object.freeze(crowd)))))
      this.#scope.tell(address, message)
    }
  }

  get members(): Joined['members'] {
    return this.#presence.members()
  }

  get state(): ChannelState {
    const { epoch, first, offset } = this.#history
    return { ...this.#info, epoch, first, offset, members: this.#presence.userCount, connections: this.#presence.connectionCount }
  }

  get #info(): ChannelInfo {
    return this.#described as ChannelInfo // there, or every request is refused before it comes here
  }

  // ── what was missed ────────────────────────────────────────────────────────────────────────────────────────────

  #replay({ recover, rewind, cursor }: Join, offset: Offset): Replay | Promise<Replay> {
    if (recover !== undefined) return this.#recover(recover, offset)
    if (cursor !== undefined) return this.#last((this.#cursors.get(cursor) ?? 0) + 1, offset)
    if (rewind === undefined) return { isRecovered: undefined, messages: [] }
    if ('count' in rewind) return this.#last(offset - Math.min(rewind.count, this.#options.replayMessages) + 1, offset)
    return this.#history.firstWhere((time) => time >= rewind.since).then((since) => this.#last(since, offset))
  }

  /** All of it or nothing. Who has seen nothing of a channel without messages was at the beginning of whatever came later. */
  #recover({ epoch, offset: known }: Position, offset: Offset): Replay | Promise<Replay> {
    const isSameEpoch = epoch === this.#history.epoch || (epoch === '' && known === 0)
    const isKept = known <= offset && known >= this.#history.first - 1 && offset - known <= this.#options.replayMessages
    if (!isSameEpoch || !isKept) return lost
    const stretch = this.#history.stretch(known + 1, offset, offset - known, 'last')
    const judge = ({ messages, isWhole }: { messages: readonly ChannelMessage[]; isWhole: boolean }): Replay =>
      isWhole && messages.length === offset - known ? { isRecovered: true, messages } : lost
    return stretch instanceof Promise ? stretch.then(judge) : judge(stretch)
  }

  #last(low: Offset, high: Offset): Replay | Promise<Replay> {
    const stretch = this.#history.stretch(low, high, this.#options.replayMessages, 'last')
    if (stretch instanceof Promise) return stretch.then(({ messages }) => ({ isRecovered: undefined, messages }))
    return { isRecovered: undefined, messages: stretch.messages }
  }

  history({ range }: Extract<ChannelRequest, { type: 'channel.history' }>): ReturnType<ChannelHistory['page']> {
    return this.#history.page(range)
  }

  /** Moves a cursor, forwards only. */
  seen(cursor: string, offset: Offset): void {
    const upTo = Math.min(offset, this.#history.offset)
    if (upTo <= (this.#cursors.get(cursor) ?? 0)) return
    this.#cursors.delete(cursor)
    this.#cursors.set(cursor, upTo)
    for (const oldest of this.#cursors.keys()) {
      if (this.#cursors.size <= mostCursors) break
      this.#cursors.delete(oldest)
    }
    this.#planSave(saveMs)
  }

  // ── side state and retention ───────────────────────────────────────────────────────────────────────────────────

  #planSave(ms: number): void {
    if (this.#isSavePlanned) return
    this.#isSavePlanned = true
    this.#scope.after('save', ms, { type: 'channel.save' })
  }

  /** Cursors only: who is present is of use to the next process only if this one ends in good order, right after. */
  save(): void {
    this.#isSavePlanned = false
    if (this.refusal !== undefined) return
    this.#background.run(
      this.#saveSide({ present: [], cursors: [...this.#cursors] }),
      () => {},
      (error) => {
        this.#scope.log.warn({ channel: this.#scope.address, error: String(error) }, 'cursors could not be saved')
        this.#planSave(saveRetryMs)
      },
    )
  }

  /** The process ends in good order, or nobody is here any more. */
  saveAll(): Promise<void> | undefined {
    const present = this.#presence.save()
    if (this.refusal !== undefined || (present.length === 0 && !this.#isSavePlanned)) return undefined
    return this.#saveSide({ present, cursors: [...this.#cursors] })
  }

  #saveSide(side: SideState): Promise<void> {
    const { offset } = this.#history
    if (offset === 0) return Promise.resolve() // there is no journal, and a snapshot would make one
    return this.#background.write(this.#options.journals.saveSnapshot(this.#scope.address, offset, encodeSideState(side)))
  }

  /** Messages that are too many or too old are forgotten. Never rejects. */
  trim(): Promise<void> {
    this.#trimming ??= this.#trim().finally(() => {
      this.#trimming = undefined
    })
    return this.#trimming
  }

  async #trim(): Promise<void> {
    if (this.refusal !== undefined) return
    try {
      await this.#history.age(this.#scope.now())
      // The next one of this name may have a journal of its own by now.
      if (!this.#background.isOver && this.refusal === undefined) await this.#background.write(this.#history.trim())
    } catch (error) {
      this.#scope.log.warn({ channel: this.#scope.address, error: String(error) }, 'old messages could not be removed')
    }
  }

  /** By the timer, or by the directory, which wakes channels that nobody uses. */
  trimInTime(): Promise<void> {
    if (this.#presence.connectionCount > 0) this.#planTrim()
    else this.#scope.passivate()
    return this.trim()
  }

  #planTrim(): void {
    this.#scope.after('trim', Math.max(1_000, Math.min(longestTrimMs, this.#options.historyMs / 10)), { type: 'channel.trim' })
  }

  // ── the end ────────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * The history goes, everybody is told, the actor stops; the next one of this name begins anew. Refused by the disk, it stops
   * all the same, and whoever asked tries again. Errors: those of the journal.
   */
  async remove(reason: ClosedOutput['reason'], isRoom: boolean): Promise<void> {
    const closed = new TroupeError('channel.closed', this.#name)
    this.refusal ??= closed
    // Those on their way to disk are published first.
    for (const { reject } of this.#queue.dropLate()) reject(closed)
    await this.#background.settled()
    if (this.#background.isOver) throw closed
    try {
      await this.#background.write(this.#options.journals.remove(this.#scope.address))
    } finally {
      if (!this.#background.isOver) this.#close(reason, isRoom)
    }
  }

  /** Told when the history is gone, and answered when the actor is: whoever joins as soon as he hears it finds the next one. */
  #close(reason: ClosedOutput['reason'], isRoom: boolean): void {
    const at = this.#scope.now()
    this.tellNews()
    const output = Object.freeze(push(Object.freeze({ type: 'output.closed', channel: this.#name, isRoom, reason, at })))
    for (const address of this.#presence.connections) this.#scope.tell(address, output)
    this.#scope.stop()
  }

  /** The incarnation ends, for whatever reason. The promise, if any, resolves when all that it wrote is on disk or refused. */
  end(): Promise<unknown> | undefined {
    this.#history.close()
    const ended = this.#background.end()
    const gone = this.refusal ?? new TroupeError('channel.unavailable', 'it is not known whether the message was stored; publish it again')
    for (const { reject } of this.#queue.drop()) reject(gone)
    return ended
  }
}

const lost: Replay = { isRecovered: false, messages: [] }

/** A program that publishes what is no JSON costs itself the message, not everybody the channel. */
const encode = (content: Content, isOwnId: boolean): Encoded | TroupeError => {
  try {
    return encodeMessage(content, isOwnId)
  } catch (error) {
    return isTroupeError(error) ? error : new TroupeError('message.malformed', String(error))
  }
}

const promised = <T>() => {
  let resolve!: (value: T) => void // set by the constructor of the promise, before it returns
  let reject!: (error: unknown) => void
  const published = new Promise<T>((keep, break_) => {
    resolve = keep
    reject = break_
  })
  return { published, resolve, reject }
}

/** What the directory knows of the channel, or why it may not be used. Errors: `channel.unavailable`. */
const describe = async (scope: Scope, { autoCreate }: ChannelOptions): Promise<ChannelInfo | TroupeError> => {
  const name = publicName(scope.id)
  const create = autoCreate || inboxOwner(name) !== undefined
  const request = { type: 'directory.open', name, create, by: '' }
  try {
    return (await scope.ask(directoryAddress(tenantOf(scope.id)), request, { timeoutMs: directoryTimeoutMs })) as ChannelInfo
  } catch (error) {
    if (isTroupeError(error, 'channel.unknown') || isTroupeError(error, 'channel.unavailable')) return error
    if (isTroupeError(error) && error.code.startsWith('storage.')) throw error
    throw new TroupeError('channel.unavailable', name, { cause: error })
  }
}

/** Side state that cannot be read is not worth a channel that cannot be opened. */
const savedSide = async (scope: Scope, journals: Journals): Promise<SideState> => {
  try {
    const snapshot = await journals.snapshot(scope.address)
    return snapshot === undefined ? unpresent : decodeSideState(snapshot.data, scope.address)
  } catch (error) {
    scope.log.warn({ channel: scope.address, error: String(error) }, 'who was present, and cursors, could not be read')
    return unpresent
  }
}

/** Only actors listen. */
const nobody = (): Promise<never> => Promise.reject(new TroupeError('channel.not_joined'))

/** What asks for something of a channel that may be used. */
const open =
  <M>(handle: (channel: OpenChannel, message: M, scope: Scope) => unknown) =>
  (channel: OpenChannel, message: M, scope: Scope): unknown =>
    channel.refusal === undefined ? handle(channel, message, scope) : channel.refuse(channel.refusal)

export const channelKind = (options: ChannelOptions, recent = new RecentBudget(recentBytes)) =>
  defineActor<OpenChannel, ChannelActorMessage>({
    kind: 'channel',
    supervision: { onFailure: 'stop' },
    passivation: { idleMs: options.idleMs },
    state: (scope) => OpenChannel.load(scope, options, recent),
    canPassivate: (channel) => channel.isClean,
    beforePassivation: (channel) => channel.saveAll(),
    stopped: (channel) => channel.end(),
    handlers: {
      'channel.join': open((channel, message, { from }) => (from === undefined ? nobody() : channel.join(message, from))),
      'channel.publish': open((channel, { draft }, { from }) => channel.publish(draft, from)),
      'channel.history': open((channel, message) => channel.history(message)),
      'channel.members': open((channel) => channel.members),
      'channel.info': open((channel) => channel.state),
      'channel.status': open((channel, message, { from }) => (from === undefined ? nobody() : channel.restate(from, message))),
      'channel.leave': (channel, _message, { from }) => from !== undefined && channel.leave(from),
      'channel.seen': (channel, { cursor, offset }) => channel.seen(cursor, offset),
      'channel.remove': (channel, { reason, isRoom }) => channel.remove(reason, isRoom),
      'actor.stopped': (channel, { address }) => channel.lose(address),
      'channel.flush': (channel) => channel.flush(),
      'channel.news': (channel) => channel.tellNews(),
      'channel.expire': (channel) => channel.expire(),
      'channel.save': (channel) => channel.save(),
      'channel.trim': (channel) => channel.trimInTime(),
    },
  })
