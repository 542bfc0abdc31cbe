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
import type { Material } from '../crdt/historyReplay.ts'
import { isTroupeError, TroupeError } from './errors.ts'
import { type DocumentAt, type Draft, HistoryEntries, type Placed } from './historyEntries.ts'
import type { Compression } from './historyOptions.ts'
import { HistoryVersions, type VersionList } from './historyVersions.ts'
import type { Journals, Offset } from './journal.ts'
import type { EpochMs } from './world.ts'

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

/** A state that is an entry. */
export interface StoredState {
  readonly offset: Offset
  readonly place: number
}

const readBytes = 4 * 1024 * 1024
const pageEntries = 5_000
/** A small document changes much: a view of one with 100 keys may replay some thousand changes, which takes 50 ms. */
const leastSinceBase = 64 * 1024
/** Entries move from one journal to the other while somebody reads: that happens once, as a rule. */
const mostTries = 5
const nothing = new Uint8Array(0)

export class HistoryJournal {
  readonly versions: HistoryVersions
  readonly #entries: HistoryEntries
  readonly #journals: Journals

  constructor(journals: Journals, compression: Compression, id: string) {
    this.#journals = journals
    this.#entries = new HistoryEntries(journals, compression, id)
    this.versions = new HistoryVersions(journals, this.#entries)
  }

  // ── writing ────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Before the document's journal is trimmed: on disk when resolved. Errors: those of the store; then nothing was written. */
  async keep(compacted: Compacted): Promise<void> {
    const { after, upTo, unusable, state, stateBefore } = compacted
    const { epoch } = await this.#journals.head(this.#entries.document)
    const newest = await this.#entries.newest()
    const drafts: Draft[] = []
    const isGap = newest === undefined || newest.to < after
    const from = isGap ? after : newest.to
    if (from >= upTo) return
    const blocks = await this.#changes(from, upTo)
    const firstTime = blocks[0]?.[0]?.time ?? 0
    if (isGap && after > 0) drafts.push(await this.#entries.state({ offset: after, time: firstTime, update: stateBefore }))
    let sinceBase = isGap ? 0 : newest.sinceBase
    let toTime = firstTime
    for (const changes of blocks) {
      const usable = changes.map((change) => (unusable.has(change.offset) ? { ...change, update: nothing } : change))
      const draft = await this.#entries.changes(usable)
      drafts.push(draft)
      sinceBase += draft.compressed.length
      toTime = draft.toTime
    }
    if (sinceBase > Math.max(leastSinceBase, state.length))
      drafts.push(await this.#entries.state({ offset: upTo, time: toTime, update: state }))
    await this.#entries.append(epoch, newest, isGap ? beginning(drafts) : drafts)
  }

  /** Of the document's journal, after `from` up to `to`, in blocks. Errors: `journal.trimmed` when they are no longer there. */
  async #changes(from: Offset, to: Offset): Promise<readonly (readonly PastChange[])[]> {
    const blocks: PastChange[][] = []
    for (let after = from; after < to; ) {
      const entries = await this.#journals.read(this.#entries.document, {
        after,
        limit: Math.min(pageEntries, to - after),
        maxBytes: readBytes,
      })
      if (entries[0]?.offset !== after + 1) throw new TroupeError('journal.trimmed', `${this.#entries.document}#${after + 1}`)
      blocks.push(
        entries.map(({ offset, time, data }) => {
          const change = decodeChange(data)
          if (change === undefined)
            throw new TroupeError('storage.newer_format', `${this.#entries.document}#${offset} has format ${data[0]}`)
          return { offset, time, ...change }
        }),
      )
      after = entries.at(-1)?.offset ?? to
    }
    return blocks
  }

  // ── reading ────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Offset of the oldest moment that can be shown, and the compressed bytes of all that came after. */
  async firstMoment(): Promise<{ offset: Offset; bytes: number }> {
    const newest = await this.#entries.newest()
    if (newest === undefined) return { offset: await this.#covered(newest), bytes: 0 }
    const oldest = await this.#entries.oldest(newest)
    const bytes = newest.total - oldest.total + oldest.compressed.length
    return { offset: oldest.kind === 'changes' ? oldest.from - 1 : oldest.to, bytes }
  }

  /** Changes after this offset are in the document's own journal; those up to it are in the history, or forgotten. */
  async #covered(newest: Placed | undefined): Promise<Offset> {
    return newest?.to ?? (await this.#journals.snapshot(this.#entries.document))?.offset ?? 0
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
      const newest = await this.#entries.newest()
      const blocks: Uint8Array[] = []
      let bytes = 0
      const add = (block: Uint8Array) => {
        bytes += block.length
        if (bytes > maxBytes) throw new TroupeError('document.history_too_large', `more than ${maxBytes} bytes of changes`)
        blocks.push(block)
      }
      const { offset: baseAt, update: base, place } = await this.#base(newest, from)
      for await (const entry of this.#entries.between(place + 1, newest?.place ?? 0)) {
        if (entry.kind !== 'changes') continue
        if (entry.from > to) break
        add(await this.#entries.expand(entry, maxBytes))
      }
      const after = Math.max(newest?.to ?? 0, baseAt)
      if (to > after) for (const changes of await this.#changes(after, to)) add(packChanges(changes))
      return { base, baseAt, blocks }
    })
  }

  /** The newest state that is not after `offset`. */
  async #base(newest: Placed | undefined, offset: Offset): Promise<StoredState & Pick<DocumentAt, 'update'>> {
    if (newest === undefined) {
      const snapshot = await this.#journals.snapshot(this.#entries.document)
      const baseAt = snapshot?.offset ?? 0
      if (offset < baseAt) throw new TroupeError('document.pruned', `it begins with ${baseAt}`)
      return { offset: baseAt, update: (snapshot && unseal(snapshot.data)) ?? nothing, place: 0 }
    }
    const state = await this.#stateUpTo(newest, offset)
    if (state !== undefined) return { offset: state.to, update: await this.#entries.expand(state), place: state.place }
    const oldest = await this.#entries.oldest(newest)
    if (oldest.kind !== 'changes' || oldest.from !== 1)
      throw new TroupeError('document.pruned', `it begins with ${oldest.kind === 'changes' ? oldest.from : oldest.to}`)
    return { offset: 0, update: nothing, place: oldest.place - 1 }
  }

  /** The newest entry with a state that is not after `offset`. */
  async #stateUpTo(newest: Placed, offset: Offset): Promise<Placed | undefined> {
    const { place, begin } = await this.#entries.lastPlace(newest, ({ to }) => to <= offset)
    const base = place < begin ? 0 : (await this.#entries.stillAt(place)).base
    return base < begin ? undefined : this.#entries.stillAt(base)
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
    const newest = await this.#entries.newest()
    if (newest === undefined || offset > newest.to) {
      const after = await this.#covered(newest)
      if (offset <= after) return undefined
      const from = Math.max(after, offset - pageEntries)
      const changes = (await this.#changes(from, Math.min(last, offset + pageEntries))).flat()
      return { block: packChanges(changes), from: from + 1, to: changes.at(-1)?.offset ?? offset }
    }
    const { place } = await this.#entries.lastPlace(newest, ({ to }) => to < offset)
    const entry = await this.#entries.at(place + 1)
    if (entry?.kind !== 'changes' || entry.from > offset) return undefined // before the state with which it begins
    return { block: await this.#entries.expand(entry), from: entry.from, to: entry.to }
  }

  /** A block in which, or at whose end, the last change up to this time is; undefined when it is before the history. */
  blockAtTime(time: EpochMs, last: Offset): Promise<{ block: Uint8Array; before: Offset } | undefined> {
    return this.#steadily(async () => {
      const newest = await this.#entries.newest()
      if (newest !== undefined && time < newest.toTime) {
        const { place, begin } = await this.#entries.lastPlace(newest, ({ toTime }) => toTime <= time)
        const before = place < begin ? undefined : await this.#entries.at(place)
        const entry = await this.#entries.stillAt(place + 1)
        if (entry.kind !== 'changes') return before && { block: nothing, before: before.to }
        return { block: await this.#entries.expand(entry), before: before?.to ?? entry.from - 1 }
      }
      const after = await this.#covered(newest)
      const changes = (await this.#changes(after, last)).flat()
      return { block: changes.length === 0 ? nothing : packChanges(changes), before: after }
    })
  }

  // ── pruning ────────────────────────────────────────────────────────────────────────────────────────────────────

  /** The newest state up to `offset` with which the history could begin without being written anew. */
  async stateUpTo(offset: Offset): Promise<StoredState | undefined> {
    const newest = await this.#entries.newest()
    if (newest === undefined) return undefined
    const state = await this.#stateUpTo(newest, offset)
    if (state === undefined || state.place === (await this.#entries.firstPlace(newest))) return undefined
    return { offset: state.to, place: state.place }
  }

  /** Of the oldest change, or state, that is left. */
  async oldestTime(): Promise<EpochMs | undefined> {
    const newest = await this.#entries.newest()
    return newest && (await this.#entries.oldest(newest)).fromTime
  }

  /** The first offset such that what comes from there on has at most so many compressed bytes. */
  async offsetOfBytes(bytes: number): Promise<Offset> {
    const newest = await this.#entries.newest()
    if (newest === undefined) return 0
    const { place, begin } = await this.#entries.lastPlace(newest, ({ total }) => newest.total - total > bytes)
    return place < begin ? 0 : ((await this.#entries.at(place + 1))?.to ?? newest.to)
  }

  /**
   * The history begins with this state. If it is an entry already, what lies before it goes; else what is left is written anew, after it.
   * `kept`: versions, by id, that need a state of their own, in a new place, from now on. Crash before the end: old entries are passed
   * over, or still there.
   */
  async prune(begin: StoredState | DocumentAt, list: VersionList, kept: ReadonlyMap<string, Uint8Array>): Promise<void> {
    const newest = await this.#entries.newest()
    const { epoch } = await this.#journals.head(this.#entries.document)
    const drafts: Draft[] = 'place' in begin ? [] : [...(await this.#anew(newest, begin))]
    const last = drafts.at(-1) ?? newest ?? { to: begin.offset, toTime: 0 }
    const wanted = list.versions.filter(({ id }) => kept.has(id))
    for (const { id, offset } of wanted) drafts.push(await this.#entries.version({ offset, update: kept.get(id) as Uint8Array }, last)) // it was asked for above
    const placed = drafts.length === 0 ? [] : await this.#entries.append(epoch, newest, drafts)
    const ours = placed.filter(({ kind }) => kind === 'version')
    const places = new Map(wanted.map(({ id }, i) => [id, ours[i]?.place]))
    const versions = list.versions.map((version) => {
      const place = places.get(version.id)
      return place === undefined ? version : { ...version, kept: place }
    })
    try {
      await this.versions.save({ ...list, versions }, 'place' in begin ? begin.place : placed[0]?.place)
    } catch (cause) {
      // What was written anew counts already, and what is to be forgotten is still on the disk.
      throw placed.length === 0 ? cause : new TroupeError('document.outcome_unknown', 'it is forgotten in part; ask again', { cause })
    }
  }

  async #anew(newest: Placed | undefined, begin: DocumentAt): Promise<readonly Draft[]> {
    const drafts = [await this.#entries.state(begin)]
    const first = newest === undefined ? 1 : await this.#entries.firstPlace(newest)
    for await (const entry of this.#entries.between(first, newest?.place ?? 0)) {
      if (entry.kind === 'version' || entry.to <= begin.offset) continue
      if (entry.kind === 'state' || entry.from > begin.offset) drafts.push(draftOf(entry))
      else drafts.push(await this.#entries.changes(unpackChanges(await this.#entries.expand(entry), { from: begin.offset + 1 })))
    }
    return beginning(drafts)
  }
}

/** The history begins with the first of them. */
const beginning = ([first, ...rest]: readonly Draft[]): readonly Draft[] =>
  first === undefined ? [] : [{ ...first, isBegin: true }, ...rest]

const draftOf = ({ kind, from, to, fromTime, toTime, compressed }: Placed): Draft => ({ kind, from, to, fromTime, toTime, compressed })
