/**
 * Group commit: one transaction in flight, everything that arrives meanwhile goes into the next.
 *
 * Promises:
 * - a waiter is told "done" only when its change is on disk, and every waiter is told something;
 * - a failed commit takes along everything queued behind it, so a journal never has holes; the states in memory go back to
 *   what is on disk;
 * - a full disk refuses writes until there is room, and what might not fit is refused before it begins (space.ts). Any other
 *   failure, or a flush that does not come back, ends writing for good: after a failed fsync the kernel calls the lost pages clean,
 *   and a retry would "succeed".
 *
 * One commit costs 0.2 ms of CPU and a put 1 µs (docs/decisions/001-group-commit.md), so waiting for the end of the turn of
 * the event loop, when all sockets that were readable have been read, is the cheapest grouping there is.
 */
import { isTroupeError, TroupeError } from '../../actors/errors.ts'
import type { Cancel, Clock, Log } from '../../actors/world.ts'
import { BlockWriter } from './block.ts'
import type { Slot } from './slots.ts'
import { type Space, spareBytes } from './space.ts'
import type { StatusBoard } from './statusBoard.ts'
import type { Change, Commit, Tables } from './tables.ts'

export interface Waiter {
  done(): void
  failed(error: unknown): void
  /** Calls the operation again: for those that make room, once the ballast was given up. */
  readonly again?: () => void
}

/** What one journal brings into a commit. */
export interface Draft {
  blocks: BlockWriter
  snapshot: Uint8Array | undefined
}

interface Batch {
  readonly drafts: Map<Slot, Draft>
  readonly waiters: Waiter[]
  isProbe: boolean
}

const emptyBatch = (): Batch => ({ drafts: new Map(), waiters: [], isProbe: false })

export interface GroupCommitOptions {
  readonly tables: Tables
  readonly space: Space
  readonly board: StatusBoard
  readonly clock: Clock
  readonly log: Log
  /** What a commit must leave free on the disk, unless it is one that makes room. */
  readonly minFreeBytes: number
  /** A flush that takes longer is a failed disk. */
  readonly commitTimeoutMs: number
  /** Least time between the beginnings of two commits. */
  readonly commitGapMs: number
  /** Called at every change to full, to look for room. */
  readonly onFull: () => void
}

const idsAtOnce = 1_024

/** Rejected, and nobody has to look at it. */
const rejected = (error: Error): Promise<never> => {
  const promise = Promise.reject(error)
  promise.catch(() => undefined)
  return promise
}

export class GroupCommit {
  readonly #options: GroupCommitOptions
  #collecting = emptyBatch()
  #flying: Batch | undefined
  #isScheduled = false
  #lastStart = Number.NEGATIVE_INFINITY
  #hasFailedLast = false
  #nextId: number
  #reservedIds: number
  #idle: (() => void)[] = []

  constructor(options: GroupCommitOptions) {
    this.#options = options
    this.#nextId = options.tables.reservedIds()
    this.#reservedIds = this.#nextId
  }

  newId(): number {
    return this.#nextId++
  }

  /** The part of this journal in the next commit. Whoever asks has a change to make, and then adds a waiter. */
  draft(slot: Slot): Draft {
    let draft = this.#collecting.drafts.get(slot)
    if (draft === undefined) {
      draft = { blocks: new BlockWriter(), snapshot: undefined }
      this.#collecting.drafts.set(slot, draft)
    }
    return draft
  }

  wait(waiter: Waiter): void {
    this.#collecting.waiters.push(waiter)
    this.#schedule()
  }

  /** What was drafted last goes at once: nobody comes after it. On disk when resolved. */
  last(): Promise<void> {
    this.#lastStart = Number.NEGATIVE_INFINITY
    return new Promise((done, failed) => this.wait({ done, failed }))
  }

  /** A small write, to see whether the disk takes one. */
  probe(): Promise<void> {
    this.#collecting.isProbe = true
    return new Promise((done, failed) => this.wait({ done, failed }))
  }

  /** Resolves when nothing is in flight and nothing waits, or when writing has ended. */
  whenIdle(): Promise<void> {
    if (this.#isIdle) return Promise.resolve()
    return new Promise((resolve) => this.#idle.push(resolve))
  }

  /** True when the commit that was settled last has failed. */
  get hasFailedLast(): boolean {
    return this.#hasFailedLast
  }

  get #isIdle(): boolean {
    return (this.#flying === undefined && this.#collecting.waiters.length === 0) || this.#options.board.status.state === 'failed'
  }

  #schedule(): void {
    if (this.#isScheduled || this.#flying !== undefined || this.#options.board.status.state === 'failed') return
    this.#isScheduled = true
    const { clock, commitGapMs } = this.#options
    const waitMs = commitGapMs === 0 ? 0 : this.#lastStart + commitGapMs - clock.monotonic()
    if (waitMs > 0) clock.after(waitMs, () => this.#start())
    else setImmediate(() => this.#start())
  }

  #start(): void {
    this.#isScheduled = false
    if (this.#flying !== undefined || this.#collecting.waiters.length === 0) return
    const batch = this.#collecting
    this.#collecting = emptyBatch()
    this.#flying = batch
    this.#lastStart = this.#options.clock.monotonic()
    void this.#fly(batch)
  }

  async #fly(batch: Batch): Promise<void> {
    const { tables, clock, commitTimeoutMs } = this.#options
    let cancel: Cancel | undefined
    let commit: Commit | undefined
    try {
      const reserveIds = this.#nextId > this.#reservedIds ? this.#nextId + idsAtOnce : undefined
      const changes: Change[] = []
      for (const [slot, { blocks, snapshot }] of batch.drafts) {
        changes.push({ key: slot.key, from: slot.durable, to: slot.staged, blocks: blocks.blocks, snapshot })
      }
      commit = tables.write(changes, (growthBytes) => this.#admit(growthBytes), {
        ...(reserveIds === undefined ? {} : { reserveIds }),
        probe: batch.isProbe,
      })
      this.#markRemovals(batch, commit.flushed)
      const late = new Promise<never>((_, reject) => {
        cancel = clock.after(commitTimeoutMs, () => reject(new Error(`no answer from the disk for ${commitTimeoutMs} ms`)))
      })
      await Promise.race([commit.flushed, late])
      cancel?.()
      if (reserveIds !== undefined) this.#reservedIds = reserveIds
      this.#succeed(batch, changes)
    } catch (error) {
      cancel?.()
      await this.#fail(batch, commit, error)
    }
  }

  /** While the disk is full, only what makes room comes here, and may use what is left. Errors: `storage.full`. */
  #admit(growthBytes: number): void {
    const { tables, space, board, minFreeBytes } = this.#options
    const keptBytes = board.status.state === 'full' ? 0 : minFreeBytes
    const available = space.availableNow()
    if (available >= growthBytes + keptBytes) return
    if (keptBytes === 0 && available + space.insideBytes(tables.usedBytes()) >= growthBytes + spareBytes) return
    throw new TroupeError('storage.full', `${available} bytes are free, this commit may take ${growthBytes}`)
  }

  #markRemovals(batch: Batch, flushed: Promise<void>): void {
    for (const slot of batch.drafts.keys()) {
      const { durable, staged } = slot
      const removes =
        durable.id !== 0 && (durable.id !== staged.id || durable.first !== staged.first || durable.snapshot !== staged.snapshot)
      if (removes) slot.removal = flushed
    }
  }

  #succeed(batch: Batch, changes: readonly Change[]): void {
    if (changes.length > 0 || batch.isProbe) this.#hasFailedLast = false
    let index = 0
    for (const slot of batch.drafts.keys()) {
      slot.durable = changes[index++]?.to ?? slot.durable
      slot.removal = undefined
    }
    this.#flying = undefined
    for (const waiter of batch.waiters) waiter.done()
    this.#next()
  }

  async #fail(batch: Batch, commit: Commit | undefined, error: unknown): Promise<void> {
    const { board, space, clock, log, onFull } = this.#options
    const isRefused = commit === undefined && isTroupeError(error, 'storage.full')
    if (!isRefused) this.#hasFailedLast = true
    const isFull =
      isRefused || (commit !== undefined && !commit.isVisible() && (await space.explains(error, commit.growthBytes).catch(() => false)))
    const queued = this.#collecting
    this.#collecting = emptyBatch()
    for (const slot of [...batch.drafts.keys(), ...queued.drafts.keys()]) slot.staged = slot.durable
    const waiters = [...batch.waiters, ...queued.waiters]
    if (!isFull) {
      const reason = error instanceof Error ? error.message : String(error)
      const failure = new TroupeError('storage.failed', reason, { cause: error })
      log.error({ error, reason }, 'a commit failed; writing ends until the process is restarted')
      this.#flying = undefined
      board.set({ state: 'failed', since: clock.now(), reason })
      for (const slot of batch.drafts.keys()) if (slot.removal !== undefined) slot.removal = rejected(failure)
      for (const waiter of waiters) waiter.failed(failure)
      this.#next()
      return
    }
    for (const slot of batch.drafts.keys()) slot.removal = undefined
    // Refused for the sake of `minFreeBytes`: the rest of the disk is there for those that make room, and the ballast after it.
    const hasRest = isRefused && board.status.state === 'ready'
    board.set({ state: 'full', since: clock.now() })
    log.error({ error }, 'the disk is full; appends are refused until there is room')
    const hasRoom = hasRest || (await space.release().catch(() => false))
    this.#flying = undefined
    const refused = new TroupeError('storage.full', undefined, { cause: error })
    for (const waiter of waiters) {
      if (hasRoom && waiter.again !== undefined) waiter.again()
      else waiter.failed(refused)
    }
    onFull()
    this.#next()
  }

  #next(): void {
    if (this.#collecting.waiters.length > 0) this.#schedule()
    if (!this.#isIdle) return
    const idle = this.#idle
    this.#idle = []
    for (const resolve of idle) resolve()
  }
}
