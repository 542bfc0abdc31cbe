/** The durable side of a cell: the position of its actor in the journal, and what waits for the disk. */
import { isTroupeError, TroupeError } from '../errors.ts'
import type { Appended, Journals, Offset } from '../journal.ts'
import type { EpochMs } from '../world.ts'
import type { Address } from './address.ts'
import { encodeRecord, type Fold, type Folded, fold, type Record, resumedDeadline, type Timer, type Timers } from './durable.ts'
import type { DurableScope } from './durableScope.ts'
import type { Message } from './message.ts'
import type { Origin } from './origin.ts'
import { Outbox } from './outbox.ts'

/** A message to XState logic that is on disk and not yet handled. */
export interface Committed {
  readonly message: Message
  readonly origin: Origin
  readonly offset: Offset
  readonly at: EpochMs
}

/** A message to XState logic on its way to disk. */
export interface Uncommitted {
  readonly message: Message
  readonly origin: Origin
  readonly entry: Uint8Array
}

export interface CommitOutcome {
  readonly refused: readonly (Uncommitted & { readonly error: TroupeError })[]
  /** Somebody else wrote to the journal; the state has to be read again. */
  readonly conflict: TroupeError | undefined
}

interface Staged {
  readonly entries: readonly Uint8Array[]
  readonly resolve: (offset: Offset) => void
  readonly reject: (error: unknown) => void
}

export class DurableSide {
  readonly #journals: Journals
  readonly #address: Address
  readonly #snapshotEvery: number
  /** Counts what is under way, so that `close` can wait for it. */
  readonly #working: (change: 1 | -1) => void
  /** Of the last entry that was appended, on disk or not. */
  offset: Offset = 0
  snapshotOffset: Offset = 0
  /** The snapshot is saved when the journal gets here; further on when the disk refused it. */
  #snapshotDueAt: Offset
  #isSaving = false
  #writing = 0
  #whenWritten: (() => void)[] = []
  /** One after the other, without a success between them. */
  storageFailures = 0
  /** The entry with the input of a new actor, until it is appended. */
  birth: Uint8Array | undefined
  /** The entry that is being handled by XState logic. */
  handling: Offset = 0
  /** Its time. */
  entryAt: EpochMs = 0
  /** Of the present incarnation. */
  outbox = new Outbox()
  readonly committed: Committed[] = []
  /** Messages on disk that were refused to their senders, and whose mark is not on disk yet. */
  readonly refused = new Set<Offset>()
  /** The commit that is under way, and what follows from it. */
  commit: Promise<void> | undefined
  /** Of the present incarnation; undefined for XState logic. */
  scope: DurableScope | undefined
  /** What the present handler of a table persists and sends. */
  readonly staged: Staged[] = []
  readonly outputs: { readonly send: () => void; readonly refuse: (error: unknown) => void }[] = []
  /** Deadlines as they are in the journal, and as they were resumed in this process. Undefined before the first load. */
  #resumed: Map<string, { readonly stored: EpochMs; readonly deadline: EpochMs }> | undefined

  constructor(journals: Journals, address: Address, snapshotEvery: number, working: (change: 1 | -1) => void) {
    this.#journals = journals
    this.#address = address
    this.#snapshotEvery = snapshotEvery
    this.#snapshotDueAt = snapshotEvery
    this.#working = working
  }

  /** Appends after the last entry that this cell knows of. Never throws; errors as in `Journals`. */
  append(entries: readonly Uint8Array[]): Promise<Appended> {
    const expected = this.offset === 0 ? 'none' : this.offset
    this.offset += entries.length
    return this.#track(() => this.#journals.append(this.#address, entries, { expected }))
  }

  stage(...records: readonly Record[]): Promise<Offset> {
    const entries = records.map(encodeRecord)
    const promise = new Promise<Offset>((resolve, reject) => this.staged.push({ entries, resolve, reject }))
    promise.catch(() => {}) // whoever does not wait for it is told through the ask, the dead letter or the log
    return promise
  }

  /** Forgets what the present handler persisted and sent. */
  dropStaged(error: unknown): void {
    for (const { reject } of this.staged.splice(0)) reject(error)
    for (const { refuse } of this.outputs.splice(0)) refuse(error)
  }

  get isSnapshotDue(): boolean {
    return !this.#isSaving && this.committed.length === 0 && this.offset >= this.#snapshotDueAt
  }

  /** Rejects when the disk refuses, or `encode` throws; it is tried again when the journal has grown by as much again. */
  async saveSnapshot(encode: () => Uint8Array): Promise<void> {
    const { offset } = this
    this.#snapshotDueAt = offset + this.#snapshotEvery
    const bytes = encode()
    this.#isSaving = true
    try {
      await this.#track(() => this.#journals.saveSnapshot(this.#address, offset, bytes))
      this.snapshotOffset = offset
    } finally {
      this.#isSaving = false
    }
  }

  /** Folds snapshot and journal, up to the first message that is committed and not yet handled. */
  async read<State>(how: Fold<State>, version: number, input: unknown, now: EpochMs): Promise<Folded<State>> {
    await this.settled()
    const [next] = this.committed
    const upTo = next === undefined ? undefined : next.offset - 1
    return fold(this.#journals, this.#address, how, { version, input, now, upTo, refused: this.refused })
  }

  /** Writes the first entry of an actor that the journal does not know. */
  async bear<State>(folded: Folded<State>): Promise<Folded<State>> {
    this.offset = 0
    const { last, time } = await this.append([encodeRecord(['i', folded.input])])
    this.storageFailures = 0
    return { ...folded, last, lastAt: time }
  }

  /** Marks messages that the fold is to leave out. Rejects when the disk refuses; the marks go with the next batch then. */
  async markRefused(offsets: readonly Offset[]): Promise<void> {
    for (const offset of offsets) this.refused.add(offset)
    const before = this.offset
    try {
      await this.append(offsets.map((offset) => encodeRecord(['f', offset])))
      for (const offset of offsets) this.refused.delete(offset)
    } catch (error) {
      this.offset = before
      throw error
    }
  }

  /** Writes a batch; what is on disk is in `committed` then. Never rejects. */
  async write(batch: readonly Uncommitted[]): Promise<CommitOutcome> {
    const before = this.offset
    try {
      const marks = [...this.refused].map((offset) => encodeRecord(['f', offset]))
      const appended = await this.append([...marks, ...batch.map(({ entry }) => entry)])
      this.storageFailures = 0
      this.refused.clear()
      const first = appended.first + marks.length
      for (const [i, { message, origin }] of batch.entries()) this.committed.push({ message, origin, offset: first + i, at: appended.time })
      return { refused: [], conflict: undefined }
    } catch (cause) {
      this.offset = before
      // One of them is too large; the others are not to suffer for it.
      if (isTroupeError(cause, 'journal.too_large') && batch.length > 1) return this.#writeEach(batch)
      const error = isTroupeError(cause) ? cause : new TroupeError('storage.failed', String(cause), { cause })
      return { refused: batch.map((each) => ({ ...each, error })), conflict: error.code === 'journal.conflict' ? error : undefined }
    }
  }

  async #writeEach(batch: readonly Uncommitted[]): Promise<CommitOutcome> {
    const outcomes: CommitOutcome[] = []
    for (const one of batch) outcomes.push(await this.write([one]))
    return {
      refused: outcomes.flatMap(({ refused }) => refused),
      conflict: outcomes.find(({ conflict }) => conflict !== undefined)?.conflict,
    }
  }

  loaded(last: Offset, snapshotOffset: Offset): void {
    this.offset = last
    this.snapshotOffset = snapshotOffset
    this.#snapshotDueAt = snapshotOffset + this.#snapshotEvery
    this.outbox = new Outbox()
  }

  /** The timers of the fold, with the deadlines that they have in this process. */
  resume(folded: Timers, lastAt: EpochMs, now: EpochMs): Timers {
    const resumed = new Map<string, { stored: EpochMs; deadline: EpochMs }>()
    const timers = new Map<string, Timer>()
    for (const [name, timer] of folded) {
      const known = this.#resumed?.get(name)
      // After a restart within this process, timers go on as they were running here.
      const stays = this.#resumed === undefined ? resumedDeadline(timer, lastAt, now) : timer.deadline
      const deadline = known?.stored === timer.deadline ? known.deadline : stays
      resumed.set(name, { stored: timer.deadline, deadline })
      timers.set(name, { ...timer, deadline, isResumed: true })
    }
    this.#resumed = resumed
    return timers
  }

  /** Everything that this cell writes is on disk or refused. */
  async settled(): Promise<void> {
    await this.commit
    await this.whenWritten()
  }

  /** Undefined when nothing is being written. A fold before that would miss what is under way. */
  whenWritten(): Promise<void> | undefined {
    return this.#writing === 0 ? undefined : new Promise((resolve) => this.#whenWritten.push(resolve))
  }

  async #track<T>(write: () => Promise<T>): Promise<T> {
    this.#writing++
    this.#working(1)
    try {
      return await write()
    } finally {
      this.#working(-1)
      if (--this.#writing === 0) for (const resolve of this.#whenWritten.splice(0)) resolve()
    }
  }
}
