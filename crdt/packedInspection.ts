/**
 * What an inspection found, as it crosses from the worker to the main thread: numbers in a row. 100 000 clients are 300 000 small objects,
 * which take half a second to be cloned one by one, and longer than the inspection itself.
 */
import type { Rejection } from './rejection.ts'
import { type ClockRange, inspectUpdate, type Reach, type UpdateInspection, type UpdateLimits } from './update.ts'

export interface PackedInspection extends Omit<UpdateInspection, 'ranges' | 'needs' | 'deletes'> {
  /** Six numbers for each range, in the order of `ClockRange`. */
  readonly ranges: Float64Array
  /** Client and clock. */
  readonly needs: Float64Array
  readonly deletes: Float64Array
}

export const packInspection = (inspection: UpdateInspection): PackedInspection => {
  const ranges = new Float64Array(inspection.ranges.length * 6)
  let at = 0
  for (const { client, from, to, structs, start, end } of inspection.ranges) {
    ranges[at++] = client
    ranges[at++] = from
    ranges[at++] = to
    ranges[at++] = structs
    ranges[at++] = start
    ranges[at++] = end
  }
  return { ...inspection, ranges, needs: packReaches(inspection.needs), deletes: packReaches(inspection.deletes) }
}

const packReaches = (reaches: readonly Reach[]): Float64Array => {
  const packed = new Float64Array(reaches.length * 2)
  let at = 0
  for (const { client, to } of reaches) {
    packed[at++] = client
    packed[at++] = to
  }
  return packed
}

export const unpackInspection = (packed: PackedInspection): UpdateInspection => {
  const ranges: ClockRange[] = []
  const all = packed.ranges
  for (let at = 0; at + 5 < all.length; at += 6) {
    const [client, from, to] = [all[at] as number, all[at + 1] as number, all[at + 2] as number] // six for each
    ranges.push({ client, from, to, structs: all[at + 3] as number, start: all[at + 4] as number, end: all[at + 5] as number })
  }
  return { ...packed, ranges, needs: unpackReaches(packed.needs), deletes: unpackReaches(packed.deletes) }
}

const unpackReaches = (packed: Float64Array): readonly Reach[] => {
  const reaches: Reach[] = []
  for (let at = 0; at + 1 < packed.length; at += 2) reaches.push({ client: packed[at] as number, to: packed[at + 1] as number })
  return reaches
}

/** For the worker. */
export const inspect = (update: Uint8Array, limits: UpdateLimits): PackedInspection | Rejection => {
  const inspection = inspectUpdate(update, limits)
  return inspection.ok ? packInspection(inspection) : inspection
}

export const unpacked = (found: PackedInspection | Rejection): UpdateInspection | Rejection => (found.ok ? unpackInspection(found) : found)
