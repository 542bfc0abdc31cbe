/**
 * What an inspection found, as it crosses from the worker to the main thread: numbers in a row. 100 000 clients are 300 000 small objects,
 * which take half a second to be cloned one by one, and longer than the inspection itself.
 */
import { rangeNumbers, unpackRanges } from './ranges.ts'
import type { Rejection } from './rejection.ts'
import { type ClockRange, inspectUpdate, type Reach, type UpdateInspection, type UpdateLimits } from './update.ts'

export interface PackedInspection extends Omit<UpdateInspection, 'ranges' | 'packedRanges' | 'needs' | 'deletes'> {
  /** `rangeNumbers` for each. */
  readonly ranges: Float64Array
  /** Client and clock. */
  readonly needs: Float64Array
  readonly deletes: Float64Array
}

export const packInspection = (inspection: UpdateInspection): PackedInspection => {
  const ranges = new Float64Array(inspection.ranges.length * rangeNumbers)
  let at = 0
  for (const { client, from, to, structs, start, end } of inspection.ranges) {
    ranges[at++] = client
    ranges[at++] = from
    ranges[at++] = to
    ranges[at++] = structs
    ranges[at++] = start
    ranges[at++] = end
  }
  return { ...inspection, ranges, needs: packReaches(outerNeeds(inspection)), deletes: packReaches(inspection.deletes) }
}

/** What the update itself brings is not needed of others. A hole in what it brings is found by its ranges. */
const outerNeeds = ({ needs, ranges }: UpdateInspection): readonly Reach[] => {
  if (needs.length === 0) return needs
  const own = new Map(ranges.map(({ client, to }) => [client, to])) // ascending: the last range of a client stays
  return needs.filter(({ client, to }) => to > (own.get(client) ?? 0))
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
  let ranges: readonly ClockRange[] | undefined
  return {
    ...packed,
    packedRanges: packed.ranges,
    get ranges() {
      ranges ??= [...unpackRanges(packed.ranges)]
      return ranges
    },
    needs: unpackReaches(packed.needs),
    deletes: unpackReaches(packed.deletes),
  }
}

const unpackReaches = (packed: Float64Array): readonly Reach[] => {
  const reaches: Reach[] = []
  for (let at = 0; at + 1 < packed.length; at += 2) reaches.push({ client: packed[at] as number, to: packed[at + 1] as number })
  return reaches
}

/** An update of more clients takes milliseconds to be inspected, however short it is. */
const mostClients = 2_000

/** Whether an update should be inspected elsewhere: a large one, or one of many clients. It may be anything. */
export const isLongToInspect = (update: Uint8Array, inlineBytes: number): boolean =>
  update.length > inlineBytes || clientsOf(update) > mostClients

/** As far as two bytes of the count tell. */
const clientsOf = ([low = 0, high = 0]: Uint8Array): number => {
  if (low < 128) return low
  return high < 128 ? low - 128 + high * 128 : Number.POSITIVE_INFINITY
}

/** For the worker. */
export const inspect = (update: Uint8Array, limits: UpdateLimits): PackedInspection | Rejection => {
  const inspection = inspectUpdate(update, limits)
  return inspection.ok ? packInspection(inspection) : inspection
}

export const unpacked = (found: PackedInspection | Rejection): UpdateInspection | Rejection => (found.ok ? unpackInspection(found) : found)
