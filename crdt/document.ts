/**
 * A document as its actor holds it: the last snapshot (one merged update), the tail of updates since, and the state vector
 * of both. Bytes only: 260 000 edits of a paper lie here as 311 KB; as a `Y.Doc` they take 3 MB of heap and 16 ms to open.
 *
 * Promises: an update enters only if it integrates and brings something, so nobody who is answered ever keeps pending
 * structs because of us. `answer` brings the asker to the state of snapshot plus tail; 150 who join at once cost one answer.
 * Bytes that were handed out are never written to again.
 */
import { noBytes } from './cursor.ts'
import { areSameOptions, type CostlyCut, type Cut, type CutOptions, cutUpdate, inspected, isCostly, type MadeCut } from './cut.ts'
import { type Inspected, mergeInspected } from './merge.ts'
import { countRanges, rangesOf } from './ranges.ts'
import type { Rejection } from './rejection.ts'
import {
  advance,
  brings,
  decodeStateVector,
  encodeStateVector,
  hasNewStructs,
  integrable,
  type StateVector,
  type Verdict,
} from './stateVector.ts'
import { emptyUpdate, inspectUpdate, storedLimits, type UpdateInspection, type UpdateLimits, updateLimits } from './update.ts'

export interface Examined {
  readonly ok: true
  readonly verdict: Verdict
  readonly inspection: UpdateInspection
}

export interface Answer {
  readonly ok: true
  /** Each one a valid update; to be applied in this order. None when there is nothing to tell. */
  readonly updates: readonly Uint8Array[]
  /** The first of them stay pending at their reader until the last of those is there (veil.ts): no other update should come in between. */
  readonly isVeiled: boolean
}

/** A stored update that could not be used, by its place in the tail. It stays in the tail as an empty update. */
export interface SetAside {
  readonly index: number
  readonly code: Rejection['code'] | 'missing'
}

export interface CompactionPolicy {
  /** Compact after this many updates (500), provided that they have `share` of the snapshot's bytes ... */
  readonly updates: number
  /** ... (0.02: rewriting 4 MB for each 15 KB of typing would be 280 bytes written for each byte typed) ... */
  readonly share: number
  /** ... and in any case after this many bytes (1 MiB) or 20 × `updates`. */
  readonly bytes: number
}

export const compactionPolicy: CompactionPolicy = { updates: 500, share: 0.02, bytes: 1024 * 1024 }

/** In a state vector. 200 000 take 1.4 MB on the wire. */
const mostForeignClients = 200_000

/** Updates that are joined for newcomers. A closed batch is never joined again; the open one at most once for each change. */
const batchSize = 64
/** ... or bytes: what is large is not joined again with each keystroke that follows it. */
const batchBytes = 64 * 1024

/**
 * A larger snapshot goes out in pieces of this size: 256 KiB, so that a line of 10 kB/s brings one within the 30 s in which
 * y-websocket must hear something. Veiled ones are a sixteenth of the whole if that is more: 20 MB need 45 kB/s.
 */
export const defaultChunkBytes = 256 * 1024

/**
 * Different vectors that are remembered with their cut of the snapshot, the longest vector of these, and what the cuts may have together
 * if that is more than the snapshot, in bytes.
 */
const cachedCuts = 32
const cachedVectorBytes = 2048
const cachedCutBytes = 256 * 1024

export class DocumentState {
  readonly setAside: readonly SetAside[]
  readonly #chunkBytes: number
  #snapshot: Inspected
  /** The snapshot in pieces, from the first answer that needs them until the next snapshot: one more copy of it. */
  #pieces: Cut | undefined
  #tail: Uint8Array[]
  #tailBytes: number
  #vector: StateVector
  #vectorBytes: Uint8Array | undefined
  /** Of snapshot or tail. */
  #hasMarkup: boolean
  /** The deletions of the last answer that was taken, as their bytes. */
  #knownDeletions: Uint8Array | undefined
  #batches: Inspected[] = []
  #openBatch: Inspected | undefined
  /** The batches stand for the tail up to here. */
  #closedTo = 0
  /** Large updates of the tail, with what was found in them when they came. */
  readonly #large: WeakMap<Uint8Array, Inspected>
  /** Of large batches, for as long as these are there. */
  #batchCuts = new WeakMap<Inspected, Cut>()
  #batchCutBytes = 0
  readonly #cuts = new Map<string, Cut>()
  #cutBytes = 0

  private constructor(
    snapshot: Inspected,
    vector: StateVector,
    tail: Uint8Array[],
    hasMarkup: boolean,
    setAside: readonly SetAside[],
    large: WeakMap<Uint8Array, Inspected>,
    chunkBytes: number,
  ) {
    this.#snapshot = snapshot
    this.#vector = vector
    this.#tail = tail
    this.#tailBytes = sum(tail)
    this.#hasMarkup = hasMarkup
    this.setAside = setAside
    this.#large = large
    this.#chunkBytes = chunkBytes
  }

  /**
   * From stored bytes; empty bytes are no snapshot. No `Y.Doc` is made: 300 KB take about a millisecond, and 20 MB 100, so that
   * a large snapshot and large updates come with their inspections, which were made elsewhere. An unreadable
   * snapshot is a rejection; an unusable update in the tail is set aside, and the document opens without it. A snapshot above
   * `chunkBytes` is answered in pieces (Infinity: never).
   */
  static load(
    snapshot: Uint8Array,
    updates: readonly Uint8Array[],
    chunkBytes: number = defaultChunkBytes,
    inspections: ReadonlyMap<Uint8Array, UpdateInspection | Rejection> = new Map(),
  ): DocumentState | Rejection {
    const bytes = snapshot.length === 0 ? emptyUpdate : snapshot
    const inspection = inspections.get(bytes) ?? inspectUpdate(bytes, storedLimits)
    if (!inspection.ok) return inspection
    const vector = vectorOf(inspection)
    let { hasMarkup } = inspection
    const setAside: SetAside[] = []
    const large = new WeakMap<Uint8Array, Inspected>()
    const tail = updates.map((update, index) => {
      const found = inspections.get(update) ?? inspectUpdate(update, storedLimits)
      const verdict = found.ok ? integrable(found, vector) : 'missing'
      if (found.ok && verdict !== 'missing') {
        advance(vector, found)
        hasMarkup ||= found.hasMarkup
        if (update.length >= batchBytes) large.set(update, { bytes: update, inspection: found })
        return update
      }
      setAside.push({ index, code: found.ok ? 'missing' : found.code })
      return emptyUpdate
    })
    return new DocumentState({ bytes, inspection }, vector, tail, hasMarkup, setAside, large, chunkBytes)
  }

  static empty(chunkBytes: number = defaultChunkBytes): DocumentState {
    return DocumentState.load(noBytes, [], chunkBytes) as DocumentState // an empty update is always readable
  }

  /** The snapshot's bytes; empty when there is none. */
  get snapshot(): Uint8Array {
    return this.#snapshot.inspection.isEmpty ? noBytes : this.#snapshot.bytes
  }

  get tail(): readonly Uint8Array[] {
    return this.#tail
  }

  get tailCount(): number {
    return this.#tail.length
  }

  get tailBytes(): number {
    return this.#tailBytes
  }

  /** Of snapshot and tail. */
  get bytes(): number {
    return this.snapshot.length + this.#tailBytes
  }

  get stateVector(): ReadonlyMap<number, number> {
    return this.#vector
  }

  encodeStateVector(): Uint8Array {
    this.#vectorBytes ??= encodeStateVector(this.#vector)
    return this.#vectorBytes
  }

  /** Bytes of answers that are kept for the next who ask, beside the document itself. */
  get cachedBytes(): number {
    const pieces = this.#pieces?.updates ?? []
    return this.#cutBytes + this.#batchCutBytes + (pieces.length > 1 ? sum(pieces) : 0)
  }

  /** They are made again when somebody asks. */
  dropCaches(): void {
    this.#pieces = undefined
    this.#dropCuts()
    this.#dropBatchCuts()
  }

  #dropBatchCuts(): void {
    this.#batchCuts = new WeakMap()
    this.#batchCutBytes = 0
  }

  #dropCuts(): void {
    this.#cuts.clear()
    this.#cutBytes = 0
  }

  /** What an update would be here. Changes nothing, so the caller can ask for permission in between. `inspected`: by whom it was already. */
  examine(
    update: Uint8Array,
    limits: UpdateLimits = updateLimits,
    inspected: UpdateInspection | Rejection = inspectUpdate(update, limits),
  ): Examined | Rejection {
    const inspection = inspected
    if (!inspection.ok) return inspection
    const verdict = integrable(inspection, this.#vector)
    return { ok: true, verdict: verdict === 'new' && this.#repeatsDeletions(update, inspection) ? 'known' : verdict, inspection }
  }

  /**
   * Takes note of a whole answer that was admitted. Every such answer lists all deletions that its client knows of; without this,
   * each of 150 who join would have the same list stored and sent to everybody.
   */
  noteAnswer(update: Uint8Array, { deleteRanges, deletesAt }: UpdateInspection): void {
    if (deleteRanges > 0) this.#knownDeletions = update.slice(deletesAt)
  }

  #repeatsDeletions(update: Uint8Array, inspection: UpdateInspection): boolean {
    const known = this.#knownDeletions
    if (known === undefined || update.length - inspection.deletesAt !== known.length || this.hasNewStructs(inspection)) return false
    return known.every((byte, at) => byte === update[inspection.deletesAt + at])
  }

  /** Whether an update brings content, leaving deletions aside. */
  hasNewStructs(inspection: UpdateInspection): boolean {
    return hasNewStructs(inspection, this.#vector)
  }

  /** Whether so many client ids and more would have written here with this update. */
  hasMoreClientsThan(most: number, inspection: UpdateInspection): boolean {
    if (this.#vector.size + countRanges(inspection) <= most) return false
    const clients = new Set<number>()
    for (const { client } of rangesOf(inspection)) if (!this.#vector.has(client)) clients.add(client)
    return clients.size > 0 && this.#vector.size + clients.size > most
  }

  /** What somebody else has. It may know twice as many clients as there are here: those whose changes were refused, or come with it. */
  vectorOf(bytes: Uint8Array): StateVector | Rejection {
    return decodeStateVector(bytes, Math.max(mostForeignClients, 2 * this.#vector.size))
  }

  /** Client ids under which an update brings content. */
  contributors(inspection: UpdateInspection): readonly number[] {
    const clients: number[] = []
    for (const { client, to } of rangesOf(inspection))
      if (to > (this.#vector.get(client) ?? 0) && clients.at(-1) !== client) clients.push(client)
    return clients
  }

  /**
   * Takes an update that was examined as `new` just now. The bytes are copied: a view into a socket's buffer would keep
   * 64 KiB alive for 20 bytes of typing.
   */
  admit(update: Uint8Array, inspection: UpdateInspection): Uint8Array {
    const own = new Uint8Array(update)
    this.#tail.push(own)
    this.#tailBytes += own.length
    advance(this.#vector, inspection)
    if (inspection.hasMarkup && !this.#hasMarkup) this.dropCaches() // those were cut without a veil
    this.#hasMarkup ||= inspection.hasMarkup
    this.#vectorBytes = undefined
    this.#openBatch = undefined
    if (own.length >= batchBytes) this.#large.set(own, { bytes: own, inspection })
    return own
  }

  /** Examines and, if it is new, admits. */
  add(update: Uint8Array, limits: UpdateLimits = updateLimits): Examined | Rejection {
    const examined = this.examine(update, limits)
    if (examined.ok && examined.verdict === 'new') this.admit(update, examined.inspection)
    return examined
  }

  /**
   * What brings somebody with this vector up to date (no vector: somebody with nothing). The snapshot goes out as it lies
   * or cut by the vector, the tail in batches, those without news left out. A snapshot or a cut above `chunkBytes` goes out
   * in pieces; veiled ones if the document has markup, for half of that is taken for damage and repaired (split.ts).
   * `made`: cuts that were made elsewhere, because they were `costly`.
   */
  answer(vectorBytes?: Uint8Array, made: ReadonlyMap<Inspected, MadeCut> = new Map()): Answer | Rejection {
    const vector = vectorBytes === undefined ? new Map<number, number>() : this.vectorOf(vectorBytes)
    if ('ok' in vector) return vector
    const cuts = [this.#madeOf(this.#snapshot, made) ?? this.#snapshotCut(vectorBytes, vector)]
    const before: Inspected[] = [this.#snapshot]
    for (const batch of this.#joinedTail()) {
      if (brings(batch.inspection, vector)) cuts.push(this.#madeOf(batch, made) ?? this.#batchCut(batch, vector, before))
      before.push(batch)
    }
    return { ok: true, updates: cuts.flatMap(({ updates }) => updates), isVeiled: cuts.some(({ isVeiled }) => isVeiled) }
  }

  /** The next cut that such an answer needs and that takes so long that it should be made elsewhere. */
  costly(vectorBytes: Uint8Array, made: ReadonlyMap<Inspected, MadeCut> = new Map()): CostlyCut | undefined {
    const vector = this.vectorOf(vectorBytes)
    if ('ok' in vector) return undefined
    const source = this.#snapshot
    const key = keyOf(source, vectorBytes, vector)
    if (this.#madeOf(source, made) === undefined && this.#knownCut(key) === undefined && isCostly(source, vector))
      return {
        source,
        key,
        bytes: source.bytes,
        before: [],
        vector: key === '' ? emptyVector : vectorBytes,
        options: this.#snapshotOptions,
      }
    const before: Uint8Array[] = [source.bytes]
    let readBefore = countRanges(source.inspection)
    for (const batch of this.#joinedTail()) {
      const { bytes } = batch
      const isShared = this.#isShared(vector)
      const isKnown =
        this.#madeOf(batch, made) !== undefined || (isShared && this.#batchCuts.has(batch)) || bytes.length <= this.#chunkBytes
      if (!isKnown && isCostly(batch, vector, this.#hasMarkup ? readBefore : 0) && brings(batch.inspection, vector))
        return this.#hasMarkup
          ? { source: batch, key: isShared ? '' : undefined, bytes, before, vector: vectorBytes, options: this.#batchOptions }
          : { source: batch, key: '', bytes, before: [], vector: emptyVector, options: this.#batchOptions }
      before.push(bytes)
      readBefore += countRanges(batch.inspection)
    }
    return undefined
  }

  /** Keeps a costly cut for the next who ask for it. One that was begun before the first markup came has no veil, and is not kept. */
  keep({ source, key, options }: CostlyCut, cut: Cut): void {
    if (key === undefined || !areSameOptions(options, this.#optionsOf(source))) return
    if (source !== this.#snapshot) this.#keepBatchCut(source, cut)
    else if (key === '') this.#pieces = cut
    else this.#keepCut(key, cut)
  }

  #madeOf(source: Inspected, made: ReadonlyMap<Inspected, MadeCut>): Cut | undefined {
    const found = made.get(source)
    return found !== undefined && areSameOptions(found.options, this.#optionsOf(source)) ? found.cut : undefined
  }

  #optionsOf(source: Inspected): CutOptions {
    return source === this.#snapshot ? this.#snapshotOptions : this.#batchOptions
  }

  get #snapshotOptions(): CutOptions {
    // Without markup of its own, a part of it can still fall between marks that its reader has.
    return { chunkBytes: this.#chunkBytes, veilsWhole: this.#snapshot.inspection.hasMarkup, veilsPart: this.#hasMarkup }
  }

  get #batchOptions(): CutOptions {
    return { chunkBytes: this.#chunkBytes, veilsWhole: this.#hasMarkup, veilsPart: this.#hasMarkup }
  }

  /** Whoever has nothing yet gets the same of a batch as all others who have nothing; so does everybody where it needs no veil. */
  #isShared(vector: StateVector): boolean {
    return !this.#hasMarkup || vector.size === 0
  }

  /** An import is in the tail until it is compacted. */
  #batchCut(batch: Inspected, vector: StateVector, before: readonly Inspected[]): Cut {
    if (batch.bytes.length <= this.#chunkBytes) return { updates: [batch.bytes], isVeiled: false }
    const isShared = this.#isShared(vector)
    const known = isShared ? this.#batchCuts.get(batch) : undefined
    if (known !== undefined) return known
    // An update that was sent twice overlaps with what its reader has just got.
    const reached = new Map(this.#hasMarkup ? vector : [])
    if (this.#hasMarkup) for (const { inspection } of before) advance(reached, inspection)
    const cut = cutUpdate(batch, reached, this.#batchOptions)
    if (isShared) this.#keepBatchCut(batch, cut)
    return cut
  }

  #keepBatchCut(batch: Inspected, cut: Cut): void {
    if (this.#batchCuts.has(batch) || (batch !== this.#openBatch && !this.#batches.includes(batch))) return
    this.#batchCuts.set(batch, cut)
    this.#batchCutBytes += sum(cut.updates)
  }

  #whole(): Cut {
    this.#pieces ??= cutUpdate(this.#snapshot, new Map(), this.#snapshotOptions)
    return this.#pieces
  }

  /** Only a new snapshot changes it, so a storm of reconnections pays once for each vector. */
  #snapshotCut(vectorBytes: Uint8Array | undefined, vector: StateVector): Cut {
    const key = vectorBytes === undefined ? '' : keyOf(this.#snapshot, vectorBytes, vector)
    if (key === '') return this.#whole()
    const known = this.#knownCut(key)
    if (known !== undefined) return known
    const cut = cutUpdate(this.#snapshot, vector, this.#snapshotOptions)
    if (key !== undefined) this.#keepCut(key, cut)
    return cut
  }

  #knownCut(key: string | undefined): Cut | undefined {
    if (key === '') return this.#pieces
    return key === undefined ? undefined : this.#cuts.get(key)
  }

  #keepCut(key: string, cut: Cut): void {
    const bytes = sum(cut.updates)
    const mostBytes = Math.max(cachedCutBytes, this.snapshot.length)
    if (bytes > mostBytes || this.#cuts.has(key)) return
    if (this.#cuts.size >= cachedCuts || this.#cutBytes + bytes > mostBytes) this.#dropCuts()
    this.#cuts.set(key, cut)
    this.#cutBytes += bytes
  }

  /** The tail in closed batches and one open batch. */
  #joinedTail(): readonly Inspected[] {
    for (let end = this.#batchEnd(); end !== undefined; end = this.#batchEnd()) {
      this.#batches.push(this.#join(end))
      this.#closedTo = end
    }
    if (this.#closedTo === this.#tail.length) return this.#batches
    this.#openBatch ??= this.#join(this.#tail.length)
    return [...this.#batches, this.#openBatch]
  }

  /** Where the batch ends that begins at `#closedTo`; undefined while it is open. A large update is one by itself. */
  #batchEnd(): number | undefined {
    let bytes = 0
    for (let end = this.#closedTo; end < this.#tail.length; end++) {
      const size = (this.#tail[end] as Uint8Array).length // end is in bounds
      if (size >= batchBytes && end > this.#closedTo) return end
      bytes += size
      if (bytes >= batchBytes || end + 1 - this.#closedTo === batchSize) return end + 1
    }
    return undefined
  }

  #join(end: number): Inspected {
    const known = (bytes: Uint8Array) => this.#large.get(bytes) ?? inspected(bytes)
    const updates = this.#tail.slice(this.#closedTo, end).map(known)
    const [only] = updates
    return only !== undefined && updates.length === 1 ? only : inspected(mergeInspected(updates))
  }

  needsCompaction(policy: CompactionPolicy = compactionPolicy): boolean {
    const count = this.#tail.length
    if (this.#tailBytes >= policy.bytes || count >= policy.updates * 20) return true
    return count >= policy.updates && this.#tailBytes >= policy.share * this.snapshot.length
  }

  /**
   * Installs what a compaction made of the snapshot and the first `upTo` updates of the tail; those that came since stay. The
   * vector is made anew, since a compaction may have quarantined something. Unreadable bytes change nothing.
   */
  replace(
    compacted: Uint8Array,
    upTo: number,
    inspection?: UpdateInspection,
  ): { readonly ok: true; readonly setAside: readonly SetAside[] } | Rejection {
    const inspections = new Map<Uint8Array, UpdateInspection>()
    if (inspection !== undefined) inspections.set(compacted, inspection)
    const tail = this.#tail.slice(upTo)
    for (const update of tail) {
      const known = this.#large.get(update)
      if (known !== undefined) inspections.set(update, known.inspection)
    }
    const next = DocumentState.load(compacted, tail, this.#chunkBytes, inspections)
    if (!(next instanceof DocumentState)) return next
    this.#snapshot = next.#snapshot
    this.dropCaches()
    this.#hasMarkup = next.#hasMarkup
    this.#tail = next.#tail
    this.#tailBytes = next.#tailBytes
    this.#vector = next.#vector
    this.#vectorBytes = undefined
    this.#knownDeletions = undefined
    this.#batches = []
    this.#closedTo = 0
    this.#openBatch = undefined
    return { ok: true, setAside: next.setAside }
  }
}

/** Under which a cut of the snapshot is remembered: '' for somebody who has nothing of it; undefined: not at all. */
const keyOf = ({ inspection }: Inspected, vectorBytes: Uint8Array, vector: StateVector): string | undefined => {
  if (vector.size === 0 || !hasSome(inspection, vector)) return ''
  return vectorBytes.length > cachedVectorBytes ? undefined : String.fromCharCode(...vectorBytes)
}

const hasSome = (inspection: UpdateInspection, vector: StateVector): boolean => {
  for (const { client, from } of rangesOf(inspection)) if ((vector.get(client) ?? 0) > from) return true
  return false
}

const emptyVector = Uint8Array.of(0)

const sum = (updates: readonly Uint8Array[]): number => updates.reduce((bytes, update) => bytes + update.length, 0)

/** The clocks of a snapshot that a client can build on: those from 0 on without a hole. */
const vectorOf = (inspection: UpdateInspection): StateVector => {
  const vector: StateVector = new Map()
  for (const { client, from, to } of rangesOf(inspection)) if (from <= (vector.get(client) ?? 0)) vector.set(client, to)
  return vector
}
