/**
 * An entry of the journal `history/ID`.
 *
 *   entry = 01 kind epoch begin base sinceBase total from to fromTime toTime compressed
 *           kind      01 changes `from` to `to` (history.ts)
 *                     02 the document after the change `to`, as one update
 *                     03 the same for a named version, after the change `from`; `to` is that of the entry before
 *           epoch     text: of the document's journal, whose offsets these are
 *           others    varUints. `to` and `toTime` never decrease, so an entry is found by halving.
 *
 * `begin`: the entry with which the history begins; what lies before was replaced and waits to be trimmed. `base`: the newest entry of
 * kind 02 up to here, 0 for none: then the history begins with the first change. `sinceBase` and `total` are sums of compressed bytes.
 */
import * as decoding from 'lib0/decoding'
import * as encoding from 'lib0/encoding'

export type EntryKind = 'changes' | 'state' | 'version'

export interface EntryHead {
  readonly kind: EntryKind
  readonly epoch: string
  /** Places in the history's own journal. */
  readonly begin: number
  readonly base: number
  /** Of changes that came after the base. */
  readonly sinceBase: number
  readonly total: number
  /** Offsets and times of the document's changes. */
  readonly from: number
  readonly to: number
  readonly fromTime: number
  readonly toTime: number
}

export interface HistoryEntry extends EntryHead {
  /** Of a block of changes, or of an update. */
  readonly compressed: Uint8Array
}

const format = 1
const kinds: readonly EntryKind[] = ['changes', 'state', 'version']
const numbers = ['begin', 'base', 'sinceBase', 'total', 'from', 'to', 'fromTime', 'toTime'] as const

export const encodeEntry = (entry: HistoryEntry): Uint8Array => {
  const encoder = encoding.createEncoder()
  encoding.writeUint8(encoder, format)
  encoding.writeUint8(encoder, 1 + kinds.indexOf(entry.kind))
  encoding.writeVarString(encoder, entry.epoch)
  for (const name of numbers) encoding.writeVarUint(encoder, entry[name])
  encoding.writeUint8Array(encoder, entry.compressed)
  return encoding.toUint8Array(encoder)
}

/** Undefined: written by a version that knows more. */
export const decodeEntry = (stored: Uint8Array): HistoryEntry | undefined => {
  const decoder = decoding.createDecoder(stored)
  if (decoding.readUint8(decoder) !== format) return undefined
  const kind = kinds[decoding.readUint8(decoder) - 1]
  if (kind === undefined) return undefined
  const epoch = decoding.readVarString(decoder)
  const read = Object.fromEntries(numbers.map((name) => [name, decoding.readVarUint(decoder)]))
  const head = read as Record<(typeof numbers)[number], number> // each name has one
  return { kind, epoch, ...head, compressed: stored.subarray(decoder.pos) }
}
