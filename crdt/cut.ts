/**
 * What an update brings to somebody who has a part of it, in pieces where it is large. For answers to those who synchronise: most take a
 * millisecond, but 20 MB of text, or 60 000 clients, take a hundred, so these are made in the worker.
 */
import { type Inspected, newsFor, writePieces } from './merge.ts'
import { countRanges, rangesOf } from './ranges.ts'
import { splitUpdate } from './split.ts'
import { advance, decodeStateVector, type StateVector } from './stateVector.ts'
import { inspectUpdate, storedLimits } from './update.ts'
import { veilUpdate } from './veil.ts'

export interface Cut {
  /** Each one a valid update; to be applied in this order. */
  readonly updates: readonly Uint8Array[]
  /** The first of them stay pending at their reader until the last of those is there (veil.ts). */
  readonly isVeiled: boolean
}

export interface CutOptions {
  /** Larger ones are cut into pieces of this size. */
  readonly chunkBytes: number
  /** Whether a reader must not see a part: of the whole update, and of what it brings to somebody who has some of it. */
  readonly veilsWhole: boolean
  readonly veilsPart: boolean
}

/** An update that takes long to be cut. */
export interface CostlyCut {
  readonly source: Inspected
  /** Whoever has the same key gets the same cut; undefined: nobody else does. */
  readonly key: string | undefined
  readonly bytes: Uint8Array
  /** What the reader gets first, and has then beside its vector. */
  readonly before: readonly Uint8Array[]
  readonly vector: Uint8Array
  readonly options: CutOptions
}

/** A cut that was made elsewhere. It is of no use any more once it would be made otherwise. */
export interface MadeCut {
  readonly cut: Cut
  readonly options: CutOptions
}

export const areSameOptions = (one: CutOptions, other: CutOptions): boolean =>
  one.chunkBytes === other.chunkBytes && one.veilsWhole === other.veilsWhole && one.veilsPart === other.veilsPart

/** Beyond any of them, a cut takes more than about 10 ms. */
const mostRanges = 4_000
const mostDeletions = 20_000
const mostNewsBytes = 2 * 1024 * 1024

/** An empty vector: somebody with nothing. */
export const cutUpdate = (source: Inspected, vector: ReadonlyMap<number, number>, options: CutOptions): Cut => {
  const { chunkBytes, veilsWhole, veilsPart } = options
  const news = vector.size === 0 ? undefined : newsFor(source, vector)
  if (news === undefined ? veilsWhole : veilsPart) {
    const updates = veilUpdate(source, chunkBytes, news)
    return { updates, isVeiled: updates.length > 1 }
  }
  if (news === undefined) return { updates: splitUpdate(source, chunkBytes), isVeiled: false }
  const hasNews = news.size > 0 || source.inspection.deleteRanges > 0
  return { updates: hasNews ? splitUpdate(writePieces(news, source), chunkBytes) : [], isVeiled: false }
}

/** `others`: ranges that have to be read for it besides its own. */
export const isCostly = ({ bytes, inspection }: Inspected, vector: ReadonlyMap<number, number>, others = 0): boolean => {
  if (inspection.deleteRanges > mostDeletions) return true
  const hasManyRanges = countRanges(inspection) + others > mostRanges
  if (!hasManyRanges && bytes.length <= mostNewsBytes) return false
  let news = 0
  for (const { client, to, start, end } of rangesOf(inspection)) if (to > (vector.get(client) ?? 0)) news += end - start
  // Whoever comes back and has everything costs less than to ask the worker: 1 ms with 5 000 clients, 10 with 60 000.
  return hasManyRanges ? news > 0 : news > mostNewsBytes
}

/** For the worker: a cut for each of these vectors. Reading 4 MB takes longer than cutting them, so it is done once for all. */
export const cutElsewhere = (
  bytes: Uint8Array,
  before: readonly Uint8Array[],
  vectors: readonly Uint8Array[],
  options: CutOptions,
): readonly Cut[] => {
  const source = inspected(bytes)
  const others = before.map((update) => inspected(update).inspection)
  return vectors.map((vectorBytes) => {
    const decoded = decodeStateVector(vectorBytes)
    const vector: StateVector = 'ok' in decoded ? new Map() : decoded // it was decoded before it came here
    for (const inspection of others) advance(vector, inspection)
    return cutUpdate(source, vector, options)
  })
}

/** Only for what was inspected before it came here. */
export const inspected = (bytes: Uint8Array): Inspected => {
  const inspection = inspectUpdate(bytes, storedLimits)
  if (!inspection.ok) throw new Error(`an admitted update is unreadable: ${inspection.code}`)
  return { bytes, inspection }
}
