/**
 * The entries of the journal `history/ID` (historyEntry.ts): made, put in their places, and found there again.
 *
 * Offsets and times never decrease from place to place, so an entry is found by halving; each carries the sums of those before it,
 * so nothing is counted anew. An entry of another epoch belongs to a document that is gone.
 */
import { type PastChange, packChanges } from '../crdt/history.ts'
import { decodeEntry, encodeEntry, type HistoryEntry } from '../crdt/historyEntry.ts'
import { TroupeError } from './errors.ts'
import type { Compression } from './historyOptions.ts'
import type { Journals, Offset } from './journal.ts'
import type { EpochMs } from './world.ts'

/** An entry before it has its place. */
export interface Draft extends Pick<HistoryEntry, 'kind' | 'from' | 'to' | 'fromTime' | 'toTime' | 'compressed'> {
  /** The history begins here. */
  readonly isBegin?: boolean
}

export interface Placed extends HistoryEntry {
  readonly place: number
}

/** The document after the change at `offset`, as one update; empty for nothing. */
export interface DocumentAt {
  readonly offset: Offset
  readonly time: EpochMs
  readonly update: Uint8Array
}

/** A stored entry expands to what was packed into it; nobody else writes here. */
const noBound = 1024 * 1024 * 1024

export class HistoryEntries {
  /** Names of the two journals. */
  readonly journal: string
  readonly document: string
  readonly #journals: Journals
  readonly #compression: Compression

  constructor(journals: Journals, compression: Compression, id: string) {
    this.journal = `history/${id}`
    this.document = `document/${id}`
    this.#journals = journals
    this.#compression = compression
  }

  // ── making ─────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Of at least one change. */
  async changes(changes: readonly PastChange[]): Promise<Draft> {
    const [first, last] = [changes[0], changes.at(-1)] as [PastChange, PastChange] // there is one
    const compressed = await this.#compression.compress(packChanges(changes))
    return { kind: 'changes', from: first.offset, to: last.offset, fromTime: first.time, toTime: last.time, compressed }
  }

  async state({ offset, time, update }: DocumentAt): Promise<Draft> {
    const compressed = await this.#compression.compress(update)
    return { kind: 'state', from: offset, to: offset, fromTime: time, toTime: time, compressed }
  }

  /** The state of a named version, kept behind `last`. */
  async version({ offset, update }: Pick<DocumentAt, 'offset' | 'update'>, last: Pick<Draft, 'to' | 'toTime'>): Promise<Draft> {
    const compressed = await this.#compression.compress(update)
    return { kind: 'version', from: offset, to: last.to, fromTime: last.toTime, toTime: last.toTime, compressed }
  }

  /** The block or the update in it. Rejects when it would have more than `maxBytes`. */
  expand({ compressed }: HistoryEntry, maxBytes = noBound): Promise<Uint8Array> {
    return this.#compression.decompress(compressed, maxBytes)
  }

  /** All or none, after `newest`; places and sums are filled in. Errors: `journal.conflict` when somebody wrote meanwhile. */
  async append(epoch: string, newest: Placed | undefined, drafts: readonly Draft[]): Promise<readonly Placed[]> {
    const last = newest?.place ?? (await this.#journals.head(this.journal)).last
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
    await this.#journals.append(this.journal, placed.map(encodeEntry), { expected: last === 0 ? 'none' : last })
    return placed
  }

  // ── finding ────────────────────────────────────────────────────────────────────────────────────────────────────

  async at(place: number): Promise<Placed | undefined> {
    const [found] = await this.#journals.read(this.journal, { after: place - 1, limit: 1 })
    return found?.offset === place ? this.#decoded(place, found.data) : undefined
  }

  /** Errors: `journal.trimmed` when it is no longer there. */
  async stillAt(place: number): Promise<Placed> {
    const entry = await this.at(place)
    if (entry === undefined) throw new TroupeError('journal.trimmed', `${this.journal}#${place}`)
    return entry
  }

  /** From `low` to `high`. Errors: `journal.trimmed`. */
  async *between(low: number, high: number): AsyncIterable<Placed> {
    for (let place = low; place <= high; place++) yield await this.stillAt(place)
  }

  #decoded(place: number, data: Uint8Array): Placed {
    const entry = decodeEntry(data)
    if (entry === undefined) throw new TroupeError('storage.newer_format', `${this.journal}#${place} has format ${data[0]}`)
    return { ...entry, place }
  }

  /** The newest one of this epoch. */
  async newest(): Promise<Placed | undefined> {
    const [[found], { epoch }] = await Promise.all([
      this.#journals.read(this.journal, { reverse: true, limit: 1 }),
      this.#journals.head(this.document),
    ])
    const entry = found && this.#decoded(found.offset, found.data)
    return entry?.epoch === epoch ? entry : undefined
  }

  /** Where the history begins: an entry that is there. */
  async firstPlace({ begin }: Placed): Promise<number> {
    const { first } = await this.#journals.head(this.journal)
    return Math.max(begin, first)
  }

  /** The entry with which the history begins. */
  async oldest(newest: Placed): Promise<Placed> {
    return (await this.at(await this.firstPlace(newest))) ?? newest
  }

  /**
   * The last place up to `newest` whose entry is so, where all that are so come before all that are not; `begin`: the first place.
   * `place` is before `begin` when none is so. Errors: `journal.trimmed`.
   */
  async lastPlace(newest: Placed, isSo: (entry: Placed) => boolean): Promise<{ readonly place: number; readonly begin: number }> {
    const begin = await this.firstPlace(newest)
    let [low, high] = [begin, newest.place + 1]
    while (low < high) {
      const middle = (low + high) >>> 1
      if (isSo(await this.stillAt(middle))) low = middle + 1
      else high = middle
    }
    return { place: low - 1, begin }
  }
}
