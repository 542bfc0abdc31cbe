/**
 * The deletions of an update without its content: what a full document still takes of somebody who wrote too much and then deletes.
 * Deletions of what the document does not have are left out.
 */
import * as decoding from 'lib0/decoding'
import * as encoding from 'lib0/encoding'

/** Undefined: there are none. `deletesAt`: of an update that was inspected. */
export const deletionsWithin = (update: Uint8Array, deletesAt: number, vector: ReadonlyMap<number, number>): Uint8Array | undefined => {
  const decoder = decoding.createDecoder(update.subarray(deletesAt))
  const kept: { readonly client: number; readonly ranges: (readonly [clock: number, length: number])[] }[] = []
  for (let clients = decoding.readVarUint(decoder); clients > 0; clients--) {
    const client = decoding.readVarUint(decoder)
    const have = vector.get(client) ?? 0
    const ranges: [number, number][] = []
    for (let left = decoding.readVarUint(decoder); left > 0; left--) {
      const clock = decoding.readVarUint(decoder)
      const length = Math.min(decoding.readVarUint(decoder), have - clock)
      if (length > 0) ranges.push([clock, length])
    }
    if (ranges.length > 0) kept.push({ client, ranges })
  }
  if (kept.length === 0) return undefined
  const encoder = encoding.createEncoder()
  encoding.writeVarUint(encoder, 0) // no content
  encoding.writeVarUint(encoder, kept.length)
  for (const { client, ranges } of kept) {
    encoding.writeVarUint(encoder, client)
    encoding.writeVarUint(encoder, ranges.length)
    for (const part of ranges.flat()) encoding.writeVarUint(encoder, part)
  }
  return encoding.toUint8Array(encoder)
}
