/**
 * The few moments when bytes become a `Y.Doc`: to compact, to look at content, to find out which part of an update fits.
 *
 * Promises: updates are applied one after the other (apply.ts), never through one big merge (20 000 pushes: 3.4 GB against
 * 8 MB). A document in which Yjs threw is half changed and thrown away. What comes out never has pending structs; the
 * document is destroyed before a function returns, except in `materialize`.
 */
import * as Y from 'yjs'
import { applyOne, inBatches, oneByOne } from './apply.ts'
import { mergeUpdates } from './merge.ts'
import { type PackedInspection, packInspection } from './packedInspection.ts'
import { inspectUpdate, storedLimits } from './update.ts'

/** An update, by its place, that is not in the result: Yjs threw, or something that it builds on is not there. */
export interface Quarantined {
  readonly index: number
  readonly reason: 'throws' | 'missing'
  readonly detail: string
}

export type Compaction =
  | {
      readonly ok: true
      readonly snapshot: Uint8Array
      readonly inspection: PackedInspection
      readonly quarantined: readonly Quarantined[]
    }
  | {
      readonly ok: false
      readonly code: 'snapshot_unreadable' | 'too_many_bad'
      readonly detail: string
      readonly quarantined: readonly Quarantined[]
    }

/**
 * One snapshot from a snapshot (may be empty) and the updates after it. Each throwing update costs one rebuilding from the
 * start, so there are at most `maxRebuilds` of them in one call; after that the caller removes what was found and calls again.
 */
export const compact = (snapshot: Uint8Array, updates: readonly Uint8Array[], maxRebuilds = 16): Compaction => {
  const throwing = new Map<number, string>()
  for (;;) {
    const run = applyAll(snapshot, updates, throwing)
    if ('missing' in run) return finish(run.doc, [...quarantinedBy(throwing), ...run.missing])
    run.doc.destroy()
    if (run.index < 0) return { ok: false, code: 'snapshot_unreadable', detail: run.detail, quarantined: [] }
    throwing.set(run.index, run.detail)
    if (throwing.size > maxRebuilds) {
      const detail = `${throwing.size} updates made Yjs throw`
      return { ok: false, code: 'too_many_bad', detail, quarantined: quarantinedBy(throwing) }
    }
  }
}

const quarantinedBy = (throwing: ReadonlyMap<number, string>): Quarantined[] =>
  Array.from(throwing, ([index, detail]) => ({ index, reason: 'throws', detail }))

const finish = (doc: Y.Doc, quarantined: readonly Quarantined[]): Compaction => {
  try {
    const snapshot = Y.encodeStateAsUpdate(doc)
    const inspection = inspectUpdate(snapshot, storedLimits)
    if (!inspection.ok) return { ok: false, code: 'snapshot_unreadable', detail: `${inspection.code}: ${inspection.detail}`, quarantined }
    return { ok: true, snapshot, inspection: packInspection(inspection), quarantined }
  } catch (reason) {
    return { ok: false, code: 'snapshot_unreadable', detail: String(reason), quarantined }
  } finally {
    doc.destroy()
  }
}

type Run = { doc: Y.Doc; missing: Quarantined[] } | { doc: Y.Doc; index: number; detail: string }

/** Applies what is not known to throw. Should one more throw, each is applied by itself, to find the first that does. */
const applyAll = (snapshot: Uint8Array, updates: readonly Uint8Array[], throwing: ReadonlyMap<number, string>): Run => {
  const run = apply(snapshot, updates, throwing)
  if ('missing' in run) return run
  run.doc.destroy()
  return apply(snapshot, updates, throwing, oneByOne)
}

/** Index -1 is the snapshot. */
const apply = (snapshot: Uint8Array, updates: readonly Uint8Array[], throwing: ReadonlyMap<number, string>, bytesEach?: number): Run => {
  const doc = new Y.Doc({ gc: true })
  const missing: Quarantined[] = []
  let last = -1
  const take = ({ update, index }: { readonly update: Uint8Array; readonly index: number }) => {
    last = index
    if (applyOne(doc, update) && index >= 0) missing.push({ index, reason: 'missing', detail: 'a part builds on something unknown' })
  }
  const all = [snapshot, ...updates].map((update, place) => ({ update, index: place - 1 })).filter(({ index }) => !throwing.has(index))
  try {
    inBatches(doc, all, take, bytesEach)
    return { doc, missing }
  } catch (reason) {
    return { doc, index: last, detail: String(reason) }
  }
}

/** The document as a `Y.Doc`, for reading and for server-side edits. The caller destroys it. Throws if Yjs does. */
export const materialize = (snapshot: Uint8Array, tail: readonly Uint8Array[]): Y.Doc => {
  const run = applyAll(snapshot, tail, new Map())
  if ('missing' in run) return run.doc
  run.doc.destroy()
  throw new Error(`update ${run.index} of the document cannot be applied: ${run.detail}`)
}

/**
 * The part of an update that fits now, as an update of its own; undefined when nothing of it does, or when it makes Yjs throw.
 * For a client that sends half of something: keep what holds, and ask for the rest with sync step 1.
 */
export const integrablePart = (snapshot: Uint8Array, tail: readonly Uint8Array[], update: Uint8Array): Uint8Array | undefined => {
  const run = applyAll(snapshot, tail, new Map())
  const parts: Uint8Array[] = []
  try {
    if (!('missing' in run)) return undefined
    const { doc } = run
    doc.on('update', (part: Uint8Array) => parts.push(part))
    inBatches(doc, [{ update }], () => Y.applyUpdate(doc, update))
  } catch {
    return undefined
  } finally {
    run.doc.destroy()
  }
  if (parts.length === 0) return undefined
  const merged = mergeUpdates(parts)
  const inspection = inspectUpdate(merged, storedLimits)
  return inspection.ok && !inspection.isEmpty ? merged : undefined
}
