/**
 * The journals over LMDB: each call is a small step from one state of a journal to the next, taken in memory when it is called
 * and told as done when its commit is on disk. Reads look only at what is on disk.
 *
 * On a full disk: `append` and a snapshot without trim are refused; trim, remove and a snapshot with trim still go (in the
 * room of the ballast), since they make room.
 */
import { TroupeError } from '../../actors/errors.ts'
import type { Appended, Entry, Head, Journals, Offset, ReadOptions, Snapshot, StorageStatus } from '../../actors/journal.ts'
import type { Cancel, Clock, Log, Random } from '../../actors/world.ts'
import { admitEntries, admitExpected, admitSnapshot, defaultListLimit, nameKey, Page, readRange, trimmedFirst } from './admission.ts'
import { BlockWriter } from './block.ts'
import { GroupCommit } from './groupCommit.ts'
import { absent, headless, type JournalState, notedAt } from './journalState.ts'
import { type Slot, Slots } from './slots.ts'
import { type Space, spareBytes } from './space.ts'
import { StatusBoard } from './statusBoard.ts'
import type { Tables } from './tables.ts'

export interface JournalsOptions {
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  readonly maxEntryBytes: number
  /** What a commit must leave free on the disk, unless it makes room. */
  readonly minFreeBytes: number
  /** How often to look for room: while the disk is full, and for `minFreeBytes` while nothing is written. */
  readonly spaceProbeMs: number
  readonly commitTimeoutMs: number
  readonly commitGapMs: number
  /** Journals whose state is kept in memory. */
  readonly cachedJournals: number
  /** There was no room for the ballast: appends are refused from the beginning. */
  readonly startsFull: boolean
}

const refuseDamaged = ({ defect }: JournalState): void => {
  if (defect !== undefined) throw new TroupeError('journal.corrupt', defect)
}

export class LmdbJournals implements Journals {
  readonly #tables: Tables
  readonly #space: Space
  readonly #options: JournalsOptions
  readonly #board: StatusBoard
  readonly #slots: Slots
  readonly #commits: GroupCommit
  readonly #closed: () => Promise<void>
  #cancelProbe: Cancel | undefined
  #closing: Promise<void> | undefined

  /** `closed` is called once, when LMDB has been closed in good order. */
  constructor(tables: Tables, space: Space, options: JournalsOptions, closed: () => Promise<void>) {
    this.#tables = tables
    this.#space = space
    this.#options = options
    this.#closed = closed
    this.#board = new StatusBoard(options.log)
    this.#slots = new Slots(options.cachedJournals, (name) => this.#load(name))
    const { clock, log, minFreeBytes, commitTimeoutMs, commitGapMs } = options
    this.#commits = new GroupCommit({
      tables,
      space,
      board: this.#board,
      clock,
      log,
      minFreeBytes,
      commitTimeoutMs,
      commitGapMs,
      onFull: () => this.#probeLater(),
    })
    if (options.startsFull) this.#board.set({ state: 'full', since: clock.now() })
    if (options.startsFull || options.minFreeBytes > 0) this.#probeLater()
  }

  append(name: string, entries: readonly Uint8Array[], options?: { readonly expected?: Offset | 'none' }): Promise<Appended> {
    return this.#change(name, undefined, (slot) => {
      const state = slot.staged
      refuseDamaged(state)
      admitEntries(entries, this.#options.maxEntryBytes)
      admitExpected(options?.expected, state.last)
      this.#refuseWhenFull()
      const first = state.last + 1
      if (entries.length === 0) return { first, last: state.last, time: state.lastTime }
      const time = Math.max(this.#options.clock.now(), state.lastTime)
      const { blocks } = this.#commits.draft(slot)
      let last = state.last
      for (const data of entries) blocks.add(data, ++last, time)
      const { id, epoch, first: oldest, snapshot, noted } = this.#existing(state)
      slot.staged = { id, epoch, first: oldest, last, lastTime: time, snapshot, noted: notedAt(last, noted) } // no spread: this is the hot path
      return { first, last, time }
    })
  }

  async read(name: string, options: ReadOptions = {}): Promise<Entry[]> {
    const slot = await this.#readable(name)
    const { id, first, last } = slot.durable
    const page = new Page(options)
    const { low, high } = readRange(options, first, last)
    const isReverse = options.reverse === true
    for (const entries of this.#tables.blocks(id, low, high, isReverse)) {
      if (isReverse) entries.reverse()
      for (const entry of entries) {
        if (entry.offset < low || entry.offset > high) continue
        if (!page.take(entry)) return page.entries
      }
      if (page.isFull) break
    }
    return page.entries
  }

  async head(name: string): Promise<Head> {
    const { durable } = this.#find(name)
    if (durable === headless) refuseDamaged(durable)
    const { epoch, first, last } = durable
    return { epoch, first, last }
  }

  async snapshot(name: string): Promise<Snapshot | undefined> {
    const slot = await this.#readable(name)
    const { id, snapshot } = slot.durable
    if (snapshot === undefined) return undefined
    return { offset: snapshot.offset, time: snapshot.time, data: this.#tables.snapshot(id, snapshot) }
  }

  saveSnapshot(name: string, offset: Offset, data: Uint8Array, options?: { readonly trim?: boolean }): Promise<void> {
    const isTrim = options?.trim === true
    const again = isTrim ? () => this.saveSnapshot(name, offset, data, options) : undefined
    return this.#change(name, again, (slot) => {
      refuseDamaged(slot.staged)
      admitSnapshot(offset, slot.staged.last)
      if (!isTrim) this.#refuseWhenFull()
      const state = this.#existing(slot.staged)
      const time = Math.max(this.#options.clock.now(), state.lastTime)
      this.#commits.draft(slot).snapshot = Uint8Array.from(data)
      const snapshot = { offset, time, length: data.length, generation: (state.snapshot?.generation ?? 0) + 1 }
      slot.staged = {
        ...state,
        snapshot,
        first: isTrim ? trimmedFirst(offset + 1, state.first, state.last) : state.first,
        noted: state.last,
      }
    })
  }

  trim(name: string, before: Offset): Promise<void> {
    return this.#change(
      name,
      () => this.trim(name, before),
      (slot) => {
        refuseDamaged(slot.staged)
        const first = trimmedFirst(before, slot.staged.first, slot.staged.last)
        if (first === slot.staged.first) return
        this.#commits.draft(slot)
        slot.staged = { ...slot.staged, first, noted: slot.staged.last }
      },
    )
  }

  remove(name: string): Promise<void> {
    return this.#change(
      name,
      () => this.remove(name),
      (slot) => {
        if (slot.staged.id === 0) return
        const draft = this.#commits.draft(slot)
        draft.blocks = new BlockWriter()
        draft.snapshot = undefined
        slot.staged = { ...absent } // another object, since `durable` may be `absent` itself while the first commit is in flight
      },
    )
  }

  async list(prefix: string, options: { readonly after?: string; readonly limit?: number } = {}): Promise<string[]> {
    this.#refuseWhenClosed()
    const { after, limit = defaultListLimit } = options
    const first = Buffer.from(prefix)
    const next = Buffer.from(`${after ?? ''}\0`) // the smallest key behind `after`
    const names: string[] = []
    if (limit <= 0) return names
    for (const key of this.#tables.names(after !== undefined && Buffer.compare(next, first) > 0 ? next : first)) {
      const name = key.toString()
      if (!name.startsWith(prefix)) break
      if (this.#slots.peek(name)?.durable.id === 0) continue // visible, not yet on disk
      if (names.push(name) >= limit) break
    }
    return names
  }

  status(): StorageStatus {
    return this.#board.status
  }

  onStatus(changed: (status: StorageStatus) => void): () => void {
    return this.#board.listen(changed)
  }

  /** Copies all journals into an empty directory while writing goes on. */
  async copyTo(directory: string): Promise<void> {
    this.#refuseWhenClosed()
    await this.#tables.backup(directory)
  }

  /** Resolves when the disk answered. After a failed commit nothing is closed: only the end of the process lets go of the directory. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    await this.#commits.whenIdle()
    await this.#noteAll()
    // LMDB's close waits for the flush of the last commit, for ever if that one failed; a small one behind it sets it free.
    if (this.#commits.hasFailedLast && this.#board.status.state === 'full') await this.#commits.probe().catch(() => undefined)
    this.#cancelProbe?.()
    const isStuck = this.#commits.hasFailedLast
    this.#board.set({ state: 'closed' })
    if (isStuck) return
    await this.#tables.close()
    await this.#closed()
  }

  /** Every head says where its journal ends. Without that it is noticed less when a last block is missing, which is no reason to fail. */
  async #noteAll(): Promise<void> {
    if (this.#board.status.state !== 'ready') return
    const behind = [...this.#slots.all()].filter(({ durable: { last, noted, defect } }) => last > noted && defect === undefined)
    if (behind.length === 0) return
    for (const slot of behind) {
      this.#commits.draft(slot)
      slot.staged = { ...slot.durable, noted: slot.durable.last }
    }
    await this.#commits.last().catch(() => undefined)
    await this.#commits.whenIdle()
  }

  /**
   * Takes a step now and resolves with its result when it is on disk. `again` is set for steps that make room.
   */
  #change<T>(name: string, again: (() => Promise<T>) | undefined, step: (slot: Slot) => T): Promise<T> {
    try {
      const slot = this.#find(name)
      this.#refuseWhenFailed()
      if (this.#closing !== undefined) throw new TroupeError('storage.closed')
      const result = step(slot)
      if (slot.staged === slot.durable) return Promise.resolve(result)
      return new Promise<T>((resolve, reject) => {
        const done = (): void => resolve(result)
        const retry = again === undefined ? undefined : (): void => void again().then(resolve, reject)
        this.#commits.wait(retry === undefined ? { done, failed: reject } : { done, failed: reject, again: retry })
      })
    } catch (error) {
      return Promise.reject(error)
    }
  }

  /** The journal, made if need be. */
  #existing(state: JournalState): JournalState {
    return state.id === 0 ? { ...absent, id: this.#commits.newId(), epoch: this.#options.random.id() } : state
  }

  #find(name: string): Slot {
    this.#refuseWhenClosed()
    return this.#slots.get(name)
  }

  #load(name: string): Slot {
    const key = nameKey(name)
    const state = this.#tables.state(key)
    return { name, key, staged: state, durable: state, removal: undefined, wasUsed: false }
  }

  /** As it is on disk. Errors: `journal.corrupt`. */
  async #readable(name: string): Promise<Slot> {
    const slot = this.#find(name)
    // Another removal may have begun meanwhile, and what it takes away must not look like a hole.
    while (slot.removal !== undefined) await this.#settled(slot.removal)
    refuseDamaged(slot.durable)
    return slot
  }

  async #settled(removal: Promise<void>): Promise<void> {
    try {
      await removal
      // The commit tells its waiters and the slot in the next microtasks.
      await new Promise(setImmediate)
    } catch (error) {
      if (this.#board.status.state === 'failed') throw new TroupeError('storage.failed', undefined, { cause: error })
    }
  }

  #refuseWhenClosed(): void {
    if (this.#board.status.state === 'closed') throw new TroupeError('storage.closed')
  }

  #refuseWhenFull(): void {
    if (this.#board.status.state === 'full') throw new TroupeError('storage.full')
  }

  #refuseWhenFailed(): void {
    const status = this.#board.status
    if (status.state === 'failed') throw new TroupeError('storage.failed', status.reason)
  }

  #probeLater(): void {
    this.#cancelProbe?.()
    this.#cancelProbe = this.#options.clock.after(this.#options.spaceProbeMs, () => {
      this.#probe().catch((error: unknown) => this.#options.log.warn({ error }, 'could not look for disk space'))
    })
  }

  /** Full: looks for room and tries a small write. Ready: looks whether enough is free. */
  async #probe(): Promise<void> {
    const { minFreeBytes, clock, log } = this.#options
    try {
      if (this.#board.status.state === 'ready') {
        const available = await this.#space.availableBytes()
        if (available < minFreeBytes && this.#board.status.state === 'ready') {
          log.error({ available, minFreeBytes }, 'too little disk is free; appends are refused until there is more')
          this.#board.set({ state: 'full', since: clock.now() })
        }
      } else if (this.#board.status.state === 'full') {
        const isWhole = await this.#space.reserve(Math.max(minFreeBytes, spareBytes))
        const available = await this.#space.availableBytes()
        const hasRoom =
          (isWhole && available >= minFreeBytes + spareBytes) ||
          (minFreeBytes === 0 && (await this.#space.hasRoom(this.#tables.usedBytes())))
        if (hasRoom && this.#closing === undefined) {
          await this.#commits.probe()
          if (this.#board.status.state !== 'full') return
          log.info({ available }, 'the disk has room again; appends are accepted')
          this.#board.set({ state: 'ready' })
        }
      }
    } catch (error) {
      log.debug({ error }, 'the disk still has no room')
    } finally {
      const { state } = this.#board.status
      if (this.#closing === undefined && (state === 'full' || (state === 'ready' && minFreeBytes > 0))) this.#probeLater()
    }
  }
}
