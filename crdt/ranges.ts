/**
 * The ranges of an inspection, one after the other, without keeping an object for each: 60 000 clients are as many objects, and the
 * garbage collector takes 60 ms for them. They come from the worker as numbers in a row, and most are only ever counted and compared.
 */
import type { ClockRange, UpdateInspection } from './update.ts'

/** Numbers of one range, in the order of `ClockRange`. */
export const rangeNumbers = 6

export const countRanges = (inspection: UpdateInspection): number =>
  inspection.packedRanges === undefined ? inspection.ranges.length : inspection.packedRanges.length / rangeNumbers

export const rangesOf = (inspection: UpdateInspection): Iterable<ClockRange> =>
  inspection.packedRanges === undefined ? inspection.ranges : unpackRanges(inspection.packedRanges)

export function* unpackRanges(packed: Float64Array): Iterable<ClockRange> {
  for (let at = 0; at < packed.length; at += rangeNumbers) {
    const [client, from, to] = [packed[at] as number, packed[at + 1] as number, packed[at + 2] as number] // six for each
    yield { client, from, to, structs: packed[at + 3] as number, start: packed[at + 4] as number, end: packed[at + 5] as number }
  }
}
