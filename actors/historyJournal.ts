/**
 * The journal `history/ID`: what a document was, packed and compressed. Changes come here when a compaction takes them out of
 * `document/ID`; the newest are still there, so whoever reads the past reads both.
 *
 *   history/ID   state … changes changes changes state changes …   versions (the snapshot)
 *   document/ID                                                  change change change
 *
 * Promises:
 * - A change is in `document/ID` or here at every moment, and never twice here: what a crash left behind is not written again.
 * - Between a state and the next lie about as many compressed bytes of changes as the document has bytes, so that a view never replays
 *   the whole past.
 * - Whoever reads while a compaction moves entries finds them: what is no longer there is looked for here once more.
 * - Another epoch of the document begins another history.
 */
import { decodeChange, unseal } from '../crdt/change.ts'
import { type PastChange, packChanges, unpackChanges } from '../crdt/history.ts'
import { decodeEntry, encodeEntry, type HistoryEntry } from '../crdt/historyEntry.ts'
import { isTroupeError, TroupeError } from './errors.ts'
import type { Journals, Offset } from './journal.ts'
import type { EpochMs } from './world.ts'

/** Works off the main thread. */
export interface Compression {
  compress(bytes: Uint8Array): Promise<Uint8Array>
  /** Rejects when the result would have more than so many bytes. */
  decompress(compressed: Uint8Array, maxBytes: number): Promise<Uint8Array>
}

export interface HistoryOptions {
  readonly compression: Compression
  /** What is older is forgotten. Default 90 days; 0: nothing is. */
  readonly keepMs?: number
  /** Most compressed bytes of one document. Default 64 MiB; 0: no bound. */
  readonly keepBytes?: number
  /** Most bytes of changes that one request replays. Default 64 MiB. */
  readonly replayBytes?: number
  /** Most named versions of one document. Default 1 000. */
  readonly versions?: number
}

/** What a compaction takes out of the document's journal. */
export interface Compacted {
  /** Offset of the last change before. */
  readonly after: Offset
  /** The document at that offset; empty for nothing. */
  readonly stateBefore: Uint8Array
  readonly upTo: Offset
  readonly state: Uint8Array
  /** Offsets of changes that are in no state, since Yjs could not use them. */
  readonly unusable: ReadonlySet<Offset>
}

/** What a view is made of: a state, and changes after it. */
export interface Material {
  readonly base: Uint8Array
  readonly baseAt: Offset
  readonly blocks: readonly Uint8Array[]
}

/** A version of the document that has a name. */
export interface NamedVersion {
  readonly id: string
  readonly name: string
  readonly description: string
  /** Of the version, not of what is in it. */
  readonly user: string
  readonly offset: Offset
  /** Of the change at that offset. */
  readonly time: EpochMs
  readonly createdAt: EpochMs
  /** Place of its own state, once the history before it was pruned. */
  readonly kept?: number
}

export interface VersionList {
  readonly epoch: string
  readonly next: number
  readonly versions: readonly NamedVersion[]
}

interface Placed extends HistoryEntry {
  readonly place: number
}

/** An entry before it has its place. */
interface Draft extends Pick<HistoryEntry, 'kind' | 'from' | 'to' | 'fromTime' | 'toTime' | 'compressed'> {
  /** The history begins here. */
  readonly isBegin?: boolean
}

const readBytes = 4 * 1024 * 1024
const pageEntries = 5_000
/** A small document changes much: a view of one with 100 keys may replay some thousand changes, which takes 50 ms. */
const leastSinceBase = 64 * 1024
/** Entries move from one journal to the other while somebody reads: that happens once, as a rule. */
const mostTries = 5
/** A stored entry expands to what was packed into it; nobody else writes here. */
const noBound = 1024 * 1024 * 1024
const nothing = new Uint8Array(0)
const encoder = new TextEncoder()
const decoder = new TextDecoder()

export class HistoryJournal {
  readonly name: string
  readonly #document: string
  readonly #journals: Journals
  readonly #compression: Compression

  constructor(journals: Journals, compression: Compression, id: string) {
    this.name = `history/${id}`
    this.#document = `document/${id}`
    this.#journals = journals
    this.#compression = compression
  }

  // ── entries ────────────────────────────────────────────────────────────────────────────────────────────────────

  async #entry(place: number): Promise<Placed | undefined> {
    const [found] = await this.#journals.read(this.name, { after: place - 1, limit: 1 })
    return found?.offset === place ? this.#decoded(place, found.data) : undefined
  }

  #decoded(place: number, data: Uint8Array): Placed {
    const entry = decodeEntry(data)
    if (entry === undefined) throw new TroupeError('storage.newer_format', `${this.name}#${place} has format ${data[0]}`)
    return { ...entry, place }
  }

  /** The newest entry of this epoch. */
  async newest(): Promise<Placed | undefined> {
    const [[found], { epoch }] = await Promise.all([
      this.#journals.read(this.name, { reverse: true, limit: 1 }),
      this.#journals.head(this.#document),
    ])
    const entry = found && this.#decoded(found.offset, found.data)
    return entry?.epoch === epoch ? entry : undefined
  }

  /** Where the history begins: an entry that is there. */
  async #firstPlace({ begin }: HistoryEntry): Promise<number> {
    const { first } = await this.#journals.head(this.name)
    return Math.max(begin, first)
  }

  /** The entry with which the history begins. */
  async #oldest(newest: Placed): Promise<Placed> {
    return (await this.#entry(await this.#firstPlace(newest))) ?? newest
  }

  /** Offset of the oldest moment that can be shown. */
  async firstMoment(): Promise<{ offset: Offset; bytes: number }> {
    const newest = await this.newest()
    if (newest === undefined) return { offset: (await this.#journals.snapshot(this.#document))?.offset ?? 0, bytes: 0 }
    const oldest = await this.#oldest(newest)
    const bytes = newest.total - oldest.total + oldest.compressed.length
    return { offset: oldest.kind === 'changes' ? oldest.from - 1 : oldest.to, bytes }
  }

  /** The last place from `low` to `high` whose entry is so; `low - 1` when none is. Entries that are so come first. */
  async #lastPlace(low: number, high: number, isSo: (entry: Placed) => boolean): Promise<number> {
    let [from, to] = [low, high + 1]
    while (from < to) {
      const middle = (from + to) >>> 1
      const entry = await this.#entry(middle)
      if (entry === undefined) throw new TroupeError('journal.trimmed', `${this.name}#${middle}`)
      if (isSo(entry)) from = middle + 1
      else to = middle
    }
    return from - 1
  }

  /** All or none, after `newest`; places and sums are filled in. Errors: `journal.conflict` when somebody wrote meanwhile. */
  async #append(newest: Placed | undefined, epoch: string, drafts: readonly Draft[]): Promise<readonly Placed[]> {
    const last = newest?.place ?? (await this.#journals.head(this.name)).last
    const placed: Placed[] = []
    let before: Pick<Placed, 'begin' | 'base' | 'sinceBase' | 'total'> = newest ?? { begin: last + 1, base: 0, sinceBase: 0, total: 0 }
    for (const { isBegin, ...draft } of drafts) {
      const place = last + 1 + placed.length
      if (isBegin) before = { ...before, begin: place, base: 0, sinceBase: 0 }
      const { length } = draft.compressed
      const isState = draft.kind === 'state'
      before = {
        begin: before.begin,
        base: isState ? place : before.base,
        sinceBase: isState ? 0 : before.sinceBase + (draft.kind === 'changes' ? length : 0),
        total: before.total + length,
      }
      placed.push({ ...draft, ...before, epoch, place })
    }
    await this.#journals.append(this.name, placed.map(encodeEntry), { expected: last === 0 ? 'none' : last })
    return placed
  }

  // ── writing ────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Before the document's journal is trimmed: on disk when resolved. Errors: those of the store; then nothing was written. */
  async keep(compacted: Compacted): Promise<void> {
    const { after, upTo, unusable, state, stateBefore } = compacted
    const { epoch } = await this.#journals.head(this.#document)
    const newest = await this.newest()
    const drafts: Draft[] = []
    const isGap = newest === undefined || newest.to < after
    const from = isGap ? after : newest.to
    if (from >= upTo) return
    const blocks = await this.#changes(from, upTo)
    const firstTime = blocks[0]?.[0]?.time ?? 0
    if (isGap && after > 0)
      drafts.push({ ...at(after, firstTime), kind: 'state', isBegin: true, compressed: await this.#compression.compress(stateBefore) })
    let sinceBase = isGap ? 0 : newest.sinceBase
    let toTime = firstTime
    for (const changes of blocks) {
      const usable = changes.map((change) => (unusable.has(change.offset) ? { ...change, update: nothing } : change))
      const draft = { ...(await this.#block(usable)), ...(isGap && drafts.length === 0 ? { isBegin: true } : {}) }
      drafts.push(draft)
      sinceBase += draft.compressed.length
      toTime = draft.toTime
    }
    if (sinceBase > Math.max(leastSinceBase, state.length))
      drafts.push({ ...at(upTo, toTime), kind: 'state', compressed: await this.#compression.compress(state) })
    await this.#append(newest, epoch, drafts)
  }

  async #block(changes: readonly PastChange[]): Promise<Draft> {
    const [first, last] = [changes[0], changes.at(-1)] as [PastChange, PastChange] // a block has at least one
    const compressed = await this.#compression.compress(packChanges(changes))
    return { kind: 'changes', from: first.offset, to: last.offset, fromTime: first.time, toTime: last.time, compressed }
  }

  /** Of the document's journal, after `from` up to `to`, in blocks. Errors: `journal.trimmed` when they are no longer there. */
  async #changes(from: Offset, to: Offset): Promise<readonly (readonly PastChange[])[]> {
    const blocks: PastChange[][] = []
    for (let after = from; after < to; ) {
      const entries = await this.#journals.read(this.#document, {
        after,
        limit: Math.min(pageEntries, to - after),
        maxBytes: readBytes,
      })
      if (entries[0]?.offset !== after + 1) throw new TroupeError('journal.trimmed', `${this.#document}#${after + 1}`)
      blocks.push(
        entries.map(({ offset, time, data }) => {
          const change = decodeChange(data)
          if (change === undefined) throw new TroupeError('storage.newer_format', `${this.#document}#${offset} has format ${data[0]}`)
          return { offset, time, ...change }
        }),
      )
      after = entries.at(-1)?.offset ?? to
    }
    return blocks
  }

  // ── reading ────────────────────────────────────────────────────────────────────────────────────────────────────

  expand({ compressed }: HistoryEntry): Promise<Uint8Array> {
    return this.#compression.decompress(compressed, noBound)
  }

  /** Does it again when entries moved to the other journal, or were pruned, while it read. */
  async #steadily<Result>(read: () => Promise<Result>): Promise<Result> {
    for (let left = mostTries; ; left--) {
      try {
        return await read()
      } catch (error) {
        if (left === 1 || !isTroupeError(error, 'journal.trimmed')) throw error
      }
    }
  }

  /**
   * A state at `from` or before, and the changes from there to `to`. Errors: `document.pruned` when `from` is no longer there,
   * `document.history_too_large` when that are more than `maxBytes`.
   */
  material(from: Offset, to: Offset, maxBytes: number): Promise<Material> {
    return this.#steadily(async () => {
      const newest = await this.newest()
      const covered = newest?.to ?? 0
      const blocks: Uint8Array[] = []
      let bytes = 0
      const add = (block: Uint8Array) => {
        bytes += block.length
        if (bytes > maxBytes) throw new TroupeError('document.history_too_large', `more than ${maxBytes} bytes`)
        blocks.push(block)
      }
      const base = await this.#base(newest, from)
      if (newest !== undefined)
        for (let place = base.place + 1; place <= newest.place; place++) {
          const entry = await this.#entry(place)
          if (entry === undefined) throw new TroupeError('journal.trimmed', `${this.name}#${place}`)
          if (entry.kind === 'changes') {
            if (entry.from > to) break
            add(await this.#compression.decompress(entry.compressed, maxBytes))
          }
        }
      const after = Math.max(covered, base.baseAt)
      if (to > after) for (const changes of await this.#changes(after, to)) add(packChanges(changes))
      return { base: base.bytes, baseAt: base.baseAt, blocks }
    })
  }

  /** The newest state that is not after `offset`, and its place. */
  async #base(newest: Placed | undefined, offset: Offset): Promise<{ bytes: Uint8Array; baseAt: Offset; place: number }> {
    if (newest === undefined) {
      const snapshot = await this.#journals.snapshot(this.#document)
      const baseAt = snapshot?.offset ?? 0
      if (offset < baseAt) throw new TroupeError('document.pruned', `it begins with ${baseAt}`)
      return { bytes: (snapshot && unseal(snapshot.data)) ?? nothing, baseAt, place: 0 }
    }
    const begin = await this.#firstPlace(newest)
    const place = await this.#lastPlace(begin, newest.place, ({ to }) => to <= offset)
    const last = place < begin ? undefined : await this.#entry(place)
    if (last !== undefined && last.base >= begin) {
      const state = await this.#entry(last.base)
      if (state === undefined) throw new TroupeError('journal.trimmed', `${this.name}#${last.base}`)
      return { bytes: await this.expand(state), baseAt: state.to, place: state.place }
    }
    const oldest = await this.#oldest(newest)
    if (oldest.kind !== 'changes' || oldest.from !== 1)
      throw new TroupeError('document.pruned', `it begins with ${oldest.kind === 'changes' ? oldest.from : oldest.to}`)
    return { bytes: nothing, baseAt: 0, place: oldest.place - 1 }
  }

  /** Blocks of changes beside each other, from `offset` on: forwards those after it, backwards those before it. */
  async *blocks(offset: Offset, isForwards: boolean, last: Offset): AsyncIterable<Uint8Array> {
    let at = offset
    for (;;) {
      const found = await this.#steadily(() => this.#blockAt(isForwards ? at + 1 : at - 1, last))
      if (found === undefined) return
      yield found.block
      at = isForwards ? found.to : found.from
    }
  }

  /** The block that has this change; undefined when there is no such change, or none any more. */
  async #blockAt(offset: Offset, last: Offset): Promise<{ block: Uint8Array; from: Offset; to: Offset } | undefined> {
    if (offset < 1 || offset > last) return undefined
    const newest = await this.newest()
    if (newest === undefined || offset > newest.to) {
      const after = newest?.to ?? (await this.#journals.snapshot(this.#document))?.offset ?? 0
      if (offset <= after) return undefined
      const from = Math.max(after, offset - pageEntries)
      const changes = (await this.#changes(from, Math.min(last, offset + pageEntries))).flat()
      return { block: packChanges(changes), from: from + 1, to: changes.at(-1)?.offset ?? offset }
    }
    const begin = await this.#firstPlace(newest)
    const place = 1 + (await this.#lastPlace(begin, newest.place, ({ to }) => to < offset))
    const entry = await this.#entry(place)
    if (entry?.kind !== 'changes' || entry.from > offset) return undefined // before the state with which it begins
    return { block: await this.expand(entry), from: entry.from, to: entry.to }
  }

  /** A block in which, or at whose end, the last change up to this time is; undefined when it is before the history. */
  blockAtTime(time: EpochMs, last: Offset): Promise<{ block: Uint8Array; before: Offset } | undefined> {
    return this.#steadily(async () => {
      const newest = await this.newest()
      if (newest !== undefined && time < newest.toTime) {
        const begin = await this.#firstPlace(newest)
        const place = await this.#lastPlace(begin, newest.place, ({ toTime }) => toTime <= time)
        const before = place < begin ? undefined : await this.#entry(place)
        const entry = await this.#entry(place + 1)
        if (entry === undefined) throw new TroupeError('journal.trimmed', `${this.name}#${place + 1}`)
        if (entry.kind !== 'changes') return before && { block: nothing, before: before.to }
        return { block: await this.expand(entry), before: before?.to ?? entry.from - 1 }
      }
      const after = newest?.to ?? (await this.#journals.snapshot(this.#document))?.offset ?? 0
      const changes = (await this.#changes(after, last)).flat()
      return { block: changes.length === 0 ? nothing : packChanges(changes), before: after }
    })
  }

  // ── versions ───────────────────────────────────────────────────────────────────────────────────────────────────

  /** Of this epoch of the document. */
  async versions(): Promise<VersionList> {
    const [snapshot, { epoch }] = await Promise.all([this.#journals.snapshot(this.name), this.#journals.head(this.#document)])
    const stored = snapshot && (JSON.parse(decoder.decode(snapshot.data)) as VersionList) // written below
    return stored?.epoch === epoch ? stored : { epoch, next: 1, versions: [] }
  }

  /** On disk when resolved. `before`: entries before this place go with it. */
  async saveVersions(list: VersionList, before = 1): Promise<void> {
    const data = encoder.encode(JSON.stringify(list))
    if ((await this.newest()) === undefined) await this.#begin()
    const { first } = await this.#journals.head(this.name)
    await this.#journals.saveSnapshot(this.name, Math.max(before, first) - 1, data, { trim: true })
  }

  /** A journal without entries takes no snapshot: the history begins with what the document's own journal begins with. */
  async #begin(): Promise<void> {
    const [snapshot, { epoch }] = await Promise.all([this.#journals.snapshot(this.#document), this.#journals.head(this.#document)])
    const state = (snapshot && unseal(snapshot.data)) ?? nothing
    const moment = at(snapshot?.offset ?? 0, snapshot?.time ?? 0)
    await this.#append(undefined, epoch, [{ ...moment, kind: 'state', isBegin: true, compressed: await this.#compression.compress(state) }])
  }

  /**
   * The state that a version kept for itself. A crash while the history was pruned can leave it in a place that the list does not
   * have; then it is looked for. Errors: `document.pruned`.
   */
  async keptState({ kept, offset }: NamedVersion): Promise<Uint8Array> {
    const isIt = (entry: Placed | undefined): entry is Placed => entry?.kind === 'version' && entry.from === offset
    const listed = kept === undefined ? undefined : await this.#entry(kept)
    if (isIt(listed)) return this.expand(listed)
    const { first, last } = await this.#journals.head(this.name)
    for (let place = last; place >= first; place--) {
      const entry = await this.#entry(place)
      if (isIt(entry)) return this.expand(entry)
    }
    throw new TroupeError('document.pruned', `the version at ${offset}`)
  }

  // ── pruning ────────────────────────────────────────────────────────────────────────────────────────────────────

  /** The newest state up to `offset` with which the history could begin without being written anew; its offset and place. */
  async stateUpTo(offset: Offset): Promise<{ offset: Offset; place: number } | undefined> {
    const newest = await this.newest()
    if (newest === undefined) return undefined
    const begin = await this.#firstPlace(newest)
    const place = await this.#lastPlace(begin, newest.place, ({ to }) => to <= offset)
    const base = place < begin ? 0 : ((await this.#entry(place))?.base ?? 0)
    const state = base > begin ? await this.#entry(base) : undefined
    return state && { offset: state.to, place: state.place }
  }

  /** When the last change up to `offset` in the history, and the oldest that is left, was made. */
  async oldestTime(): Promise<EpochMs | undefined> {
    const newest = await this.newest()
    return newest && (await this.#oldest(newest)).fromTime
  }

  /** The first offset such that what comes from there on has at most so many compressed bytes. */
  async offsetOfBytes(bytes: number): Promise<Offset> {
    const newest = await this.newest()
    if (newest === undefined) return 0
    const begin = await this.#firstPlace(newest)
    const place = await this.#lastPlace(begin, newest.place, ({ total }) => newest.total - total > bytes)
    return place < begin ? 0 : ((await this.#entry(place + 1))?.to ?? newest.to)
  }

  /**
   * The history begins with `offset`. With `place`, an entry that is a state at that offset, what lies before it goes; else what is left
   * is written anew, after `state`. `kept`: versions, by id, that need a state of their own, in a new place, from now on. Crash before
   * the end: old entries are passed over, or still there.
   */
  async prune(
    offset: Offset,
    begin: { readonly place: number } | { readonly state: Uint8Array; readonly time: EpochMs },
    list: VersionList,
    kept: ReadonlyMap<string, Uint8Array>,
  ): Promise<void> {
    const newest = await this.newest()
    const { epoch } = await this.#journals.head(this.#document)
    const drafts: Draft[] = 'state' in begin ? [...(await this.#anew(newest, offset, begin.state, begin.time))] : []
    const last = drafts.at(-1) ?? newest
    const wanted = list.versions.filter(({ id }) => kept.has(id))
    for (const { id, offset: from } of wanted) {
      const compressed = await this.#compression.compress(kept.get(id) as Uint8Array) // it was asked for above
      drafts.push({ ...at(last?.to ?? offset, last?.toTime ?? 0), kind: 'version', from, compressed })
    }
    const placed = drafts.length === 0 ? [] : await this.#append(newest, epoch, drafts)
    const ours = placed.filter(({ kind }) => kind === 'version')
    const places = new Map(wanted.map(({ id }, i) => [id, ours[i]?.place]))
    const versions = list.versions.map((version) => {
      const place = places.get(version.id)
      return place === undefined ? version : { ...version, kept: place }
    })
    await this.saveVersions({ ...list, versions }, 'place' in begin ? begin.place : placed[0]?.place)
  }

  async #anew(newest: Placed | undefined, offset: Offset, state: Uint8Array, time: EpochMs): Promise<readonly Draft[]> {
    const drafts: Draft[] = [{ ...at(offset, time), kind: 'state', isBegin: true, compressed: await this.#compression.compress(state) }]
    if (newest === undefined) return drafts
    const first = await this.#firstPlace(newest)
    for (let place = first; place <= newest.place; place++) {
      const entry = await this.#entry(place)
      if (entry === undefined || entry.kind === 'version' || entry.to <= offset) continue
      if (entry.kind === 'state' || entry.from > offset) drafts.push(draftOf(entry))
      else drafts.push(await this.#block(unpackChanges(await this.expand(entry), offset + 1)))
    }
    return drafts
  }
}

const at = (offset: Offset, time: EpochMs) => ({ from: offset, to: offset, fromTime: time, toTime: time })

const draftOf = ({ kind, from, to, fromTime, toTime, compressed }: HistoryEntry): Draft => ({
  kind,
  from,
  to,
  fromTime,
  toTime,
  compressed,
})
