/**
 * Joins and cuts updates as bytes.
 *
 * Promises: `mergeUpdates` is linear in the bytes and does not build structs, because a struct carries no clock of its own:
 * what continues where another update stops is appended as it lies. `Y.mergeUpdates` sorts all its readers for each
 * struct (1 000 updates: 17 ms, 8 000: 364 ms). Neither compacts: only a `Y.Doc` joins structs (`compact`).
 */
import * as encoding from 'lib0/encoding'
import * as Y from 'yjs'
import { Cursor, noBytes } from './cursor.ts'
import { encodeStateVector } from './stateVector.ts'
import { type ClockRange, emptyUpdate, inspectUpdate, storedLimits, type UpdateInspection } from './update.ts'

/** An update and what was found in it. */
export interface Inspected {
  readonly bytes: Uint8Array
  readonly inspection: UpdateInspection
}

/** A range and the update that it lies in. */
export interface Piece extends ClockRange {
  readonly bytes: Uint8Array
}

/** Pieces of each client, ascending and without overlap. */
export type Pieces = ReadonlyMap<number, readonly Piece[]>

const skipInfo = 10

// Field by field: a spread costs a third of a merge.
const pieceOf = ({ client, from, to, structs, start, end }: ClockRange, bytes: Uint8Array): Piece => ({
  client,
  from,
  to,
  structs,
  start,
  end,
  bytes,
})

/**
 * One update that brings what all of them bring together. For updates that passed `inspectUpdate` it never throws: two that
 * overlap in the middle of a struct go through Yjs, and if Yjs cannot cut that struct (forged bytes only), the earlier one wins.
 */
export const mergeInspected = (updates: readonly Inspected[]): Uint8Array => {
  const [only] = updates
  if (only !== undefined && updates.length === 1) return only.bytes
  const clients = new Map<number, Piece[]>()
  for (const { bytes, inspection } of updates) for (const range of inspection.ranges) addPiece(clients, pieceOf(range, bytes))
  return encoding.encode((encoder) => {
    writeSections(encoder, clients)
    writeDeletes(
      encoder,
      updates.filter(({ inspection }) => inspection.deleteRanges > 0),
    )
  })
}

const writeSections = (encoder: encoding.Encoder, clients: Pieces): void => {
  encoding.writeVarUint(encoder, clients.size)
  // Yjs' own merge relies on this order in what it reads.
  for (const client of [...clients.keys()].sort(descending)) writeSection(encoder, client, clients.get(client) ?? [])
}

/** An update of these pieces, and of all deletions of `deletes` (undefined: of none). */
export const writePieces = (clients: Pieces, deletes: Inspected | undefined): Uint8Array =>
  encoding.encode((encoder) => {
    writeSections(encoder, clients)
    writeDeletes(encoder, deletes === undefined ? [] : [deletes])
  })

/** One delete set from all. A client must not appear twice: Yjs would join the two, but yrs keeps only the second. */
const writeDeletes = (encoder: encoding.Encoder, updates: readonly Inspected[]): void => {
  const [only] = updates
  if (only === undefined || updates.length === 1) {
    const { bytes, inspection } = only ?? { bytes: emptyUpdate, inspection: { deletesAt: 1 } }
    encoding.writeUint8Array(encoder, bytes.subarray(inspection.deletesAt, bytes.length))
    return
  }
  const clients = new Map<number, [clock: number, length: number][]>()
  for (const update of updates) readDeletes(update, clients)
  encoding.writeVarUint(encoder, clients.size)
  for (const client of [...clients.keys()].sort(descending)) {
    const ranges = joinRanges(clients.get(client) ?? [])
    encoding.writeVarUint(encoder, client)
    encoding.writeVarUint(encoder, ranges.length)
    for (const [clock, length] of ranges) {
      encoding.writeVarUint(encoder, clock)
      encoding.writeVarUint(encoder, length)
    }
  }
}

const readDeletes = ({ bytes, inspection }: Inspected, clients: Map<number, [number, number][]>): void => {
  const cursor = new Cursor().open(bytes)
  cursor.at = inspection.deletesAt
  for (let rest = cursor.varUint(); rest > 0; rest--) {
    const client = cursor.varUint()
    const ranges = clients.get(client) ?? []
    if (ranges.length === 0) clients.set(client, ranges)
    for (let count = cursor.varUint(); count > 0; count--) ranges.push([cursor.varUint(), cursor.varUint()])
  }
}

/** Ascending, touching and overlapping ones as one. */
const joinRanges = (ranges: [number, number][]): readonly [number, number][] => {
  const joined: [number, number][] = []
  for (const [clock, length] of ranges.sort(([a], [b]) => a - b)) {
    const last = joined.at(-1)
    if (last !== undefined && last[0] + last[1] >= clock) last[1] = Math.max(last[1], clock + length - last[0])
    else joined.push([clock, length])
  }
  return joined
}

const descending = (a: number, b: number): number => b - a

/** Pieces of a client, ascending and without overlap. Nearly always the new one simply comes last. */
const addPiece = (clients: Map<number, Piece[]>, piece: Piece): void => {
  const pieces = clients.get(piece.client)
  if (pieces === undefined) {
    clients.set(piece.client, [piece])
    return
  }
  const last = pieces.at(-1)
  if (last !== undefined && last.to <= piece.from) {
    pieces.push(piece)
    return
  }
  let at = pieces.length
  while (at > 0 && (pieces[at - 1]?.from ?? 0) > piece.from) at--
  const before = pieces[at - 1]
  let rest: Piece | undefined = piece
  if (before !== undefined && before.to > rest.from) rest = before.to >= rest.to ? undefined : cutPiece(rest, before.to)
  while (rest !== undefined) {
    const after: Piece | undefined = pieces[at]
    if (after === undefined || after.from >= rest.to) {
      pieces.splice(at, 0, rest)
      return
    }
    if (after.to <= rest.to) pieces.splice(at, 1)
    else {
      const tail = cutPiece(after, rest.to)
      if (tail === undefined) pieces.splice(at, 1)
      else pieces[at] = tail
    }
  }
}

/** The part of a piece from clock `from` on; the struct that spans it is cut by Yjs. */
const cutPiece = (piece: Piece, from: number): Piece | undefined => {
  try {
    const whole = encoding.encode((encoder) => {
      encoding.writeVarUint(encoder, 1)
      writeSection(encoder, piece.client, [piece])
      encoding.writeVarUint(encoder, 0)
    })
    const bytes = Y.diffUpdate(whole, encodeStateVector(new Map([[piece.client, from]])))
    const inspection = inspectUpdate(bytes, storedLimits)
    const range = inspection.ok ? inspection.ranges[0] : undefined
    return range === undefined ? undefined : { ...range, bytes }
  } catch {
    return undefined
  }
}

/** Below ~64 bytes, making a view costs more than copying byte by byte. */
const writeBytes = (encoder: encoding.Encoder, bytes: Uint8Array, start: number, end: number): void => {
  if (end - start > 64) encoding.writeUint8Array(encoder, bytes.subarray(start, end))
  else for (let i = start; i < end; i++) encoding.write(encoder, bytes[i] as number) // in bounds: start and end come from the inspection
}

const writeSection = (encoder: encoding.Encoder, client: number, pieces: readonly Piece[]): void => {
  let structs = 0
  let clock = pieces[0]?.from ?? 0
  for (const piece of pieces) {
    structs += piece.structs + (piece.from > clock ? 1 : 0)
    clock = piece.to
  }
  clock = pieces[0]?.from ?? 0
  encoding.writeVarUint(encoder, structs)
  encoding.writeVarUint(encoder, client)
  encoding.writeVarUint(encoder, clock)
  for (const { from, to, bytes, start, end } of pieces) {
    if (from > clock) {
      encoding.writeUint8(encoder, skipInfo)
      encoding.writeVarUint(encoder, from - clock)
    }
    writeBytes(encoder, bytes, start, end)
    clock = to
  }
}

/**
 * What of an update is news to somebody with this vector: its unknown clocks and all of its deletions (a vector does not tell
 * which ones are known). Empty bytes when there is neither. Structs are touched only where the vector ends inside a range.
 */
export const diffInspected = (update: Inspected, vector: ReadonlyMap<number, number>): Uint8Array => {
  const { bytes, inspection } = update
  const pieces = newsFor(update, vector)
  if (pieces === undefined) return inspection.isEmpty ? noBytes : bytes
  return pieces.size === 0 && inspection.deleteRanges === 0 ? noBytes : writePieces(pieces, update)
}

/** The clocks that this vector does not have; undefined: all of them. */
export const newsFor = ({ bytes, inspection }: Inspected, vector: ReadonlyMap<number, number>): Pieces | undefined => {
  const pieces = new Map<number, Piece[]>()
  let isWhole = true
  for (const range of inspection.ranges) {
    const have = vector.get(range.client) ?? 0
    if (have > range.from) isWhole = false
    if (range.to <= have) continue
    const piece = range.from < have ? cutPiece(pieceOf(range, bytes), have) : pieceOf(range, bytes)
    if (piece !== undefined) addPiece(pieces, piece)
  }
  return isWhole ? undefined : pieces
}

/** Updates that passed `inspectUpdate` once, as one; those that did not are left out. */
export const mergeUpdates = (updates: readonly Uint8Array[]): Uint8Array => {
  const [only] = updates
  if (only !== undefined && updates.length === 1) return only
  const inspected: Inspected[] = []
  for (const bytes of updates) {
    const inspection = inspectUpdate(bytes, storedLimits)
    if (inspection.ok) inspected.push({ bytes, inspection })
  }
  return mergeInspected(inspected)
}

/**
 * The updates of one flush window as one update for everybody: one frame instead of twenty. A single one is returned as it is.
 */
export const mergeWindow = mergeUpdates

/** Joining updates means inspecting them, which takes long for large ones. */
const joinedBytes = 64 * 1024

/** The updates of one flush window for everybody: small ones as one, large ones as they are; in order. */
export const joinWindow = (updates: readonly Uint8Array[]): readonly Uint8Array[] => {
  const joined: Uint8Array[] = []
  let small: Uint8Array[] = []
  const close = () => {
    if (small.length > 0) joined.push(mergeUpdates(small))
    small = []
  }
  for (const update of updates) {
    if (update.length < joinedBytes) {
      small.push(update)
      continue
    }
    close()
    joined.push(update)
  }
  close()
  return joined
}
