/**
 * Versions of a document that have names: the snapshot of the journal `history/ID`. A version is an offset with a name on it; once the
 * history before it is forgotten, it has a state of its own, an entry beside the others.
 */
import { type RequestKey, unseal } from '../crdt/change.ts'
import { TroupeError } from './errors.ts'
import type { HistoryEntries, Placed } from './historyEntries.ts'
import type { Journals, Offset } from './journal.ts'
import type { EpochMs } from './world.ts'

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
  /** By which it was made; that may come again. */
  readonly request?: RequestKey
}

export interface VersionList {
  readonly epoch: string
  readonly next: number
  readonly versions: readonly NamedVersion[]
}

const encoder = new TextEncoder()
const decoder = new TextDecoder()

export const encodeVersions = (list: VersionList): Uint8Array => encoder.encode(JSON.stringify(list))
export const decodeVersions = (stored: Uint8Array): VersionList => JSON.parse(decoder.decode(stored)) as VersionList // written by `encodeVersions`

export class HistoryVersions {
  readonly #journals: Journals
  readonly #entries: HistoryEntries

  constructor(journals: Journals, entries: HistoryEntries) {
    this.#journals = journals
    this.#entries = entries
  }

  /** Of this epoch of the document. */
  async list(): Promise<VersionList> {
    const { journal, document } = this.#entries
    const [snapshot, { epoch }] = await Promise.all([this.#journals.snapshot(journal), this.#journals.head(document)])
    const stored = snapshot && decodeVersions(snapshot.data)
    return stored?.epoch === epoch ? stored : { epoch, next: 1, versions: [] }
  }

  /** On disk when resolved. `before`: entries before this place go with it. */
  async save(list: VersionList, before = 1): Promise<void> {
    if ((await this.#entries.newest()) === undefined) await this.#begin()
    const { journal } = this.#entries
    const { first } = await this.#journals.head(journal)
    await this.#journals.saveSnapshot(journal, Math.max(before, first) - 1, encodeVersions(list), { trim: true })
  }

  /** A journal without entries takes no snapshot: the history begins with what the document's own journal begins with. */
  async #begin(): Promise<void> {
    const { document } = this.#entries
    const [snapshot, { epoch }] = await Promise.all([this.#journals.snapshot(document), this.#journals.head(document)])
    const update = (snapshot && unseal(snapshot.data)) ?? new Uint8Array(0)
    const state = await this.#entries.state({ offset: snapshot?.offset ?? 0, time: snapshot?.time ?? 0, update })
    await this.#entries.append(epoch, undefined, [{ ...state, isBegin: true }])
  }

  /**
   * The state that a version kept for itself. A crash while the history was pruned can leave it in a place that the list does not
   * have; then it is looked for. Errors: `document.pruned`.
   */
  async keptState({ kept, offset }: NamedVersion): Promise<Uint8Array> {
    const isIt = (entry: Placed | undefined): entry is Placed => entry?.kind === 'version' && entry.from === offset
    const listed = kept === undefined ? undefined : await this.#entries.at(kept)
    if (isIt(listed)) return this.#entries.expand(listed)
    const { first, last } = await this.#journals.head(this.#entries.journal)
    for (let place = last; place >= first; place--) {
      const entry = await this.#entries.at(place)
      if (isIt(entry)) return this.#entries.expand(entry)
    }
    throw new TroupeError('document.pruned', `the version at ${offset}`)
  }
}
