/**
 * Cuts one big update into several that arrive one after the other: y-websocket gives up after 30 s without a message, so one
 * message that takes longer is asked for again for ever.
 *
 * Promises: every piece is an update by itself and integrates at once, so no reader keeps pending structs in between (each
 * further piece would be merged into them, which is quadratic). Together the pieces bring the structs and deletions of the
 * whole, once each. Structs are copied as they lie and never cut. Linear; what is allocated is the pieces, and a few words for each client.
 *
 * Known cost: Yjs joins structs after each piece and cuts them again for the next. 5.6 MB of text by four writers at random places,
 * the worst kind, take a reader 3.5 s in 22 pieces and 1.3 s whole; maps are no slower, and no stall is as long as the whole's.
 *
 * A reader sees the states in between, and nobody has ever written these. Yjs itself tidies them up: a mark that
 * formats nothing *yet* is deleted as superfluous. y-prosemirror deletes an element that its schema does not allow *yet*: a table
 * before its first row. Both deletions go back to everybody. So only updates without markup are for readers who look before
 * the last piece is there (`UpdateInspection.hasMarkup`; `DocumentState.answer` keeps to it).
 */
import { Cursor } from './cursor.ts'
import type { Inspected } from './merge.ts'
import { inspectUpdate, storedLimits, type UpdateInspection } from './update.ts'

/** The structs of one client: how far they are written, and which of them are in the open piece. */
interface Lane {
  readonly client: number
  end: number
  at: number
  clock: number
  /** While it is on the stack: the clock that somebody waits for. */
  until: number
  isOnStack: boolean
  /** In the open piece: bytes from here to `at`, first clock, number. -1 when it has nothing there. */
  start: number
  from: number
  structs: number
}

/** Ranges of one client's deletions in the open piece. */
interface Deletions {
  readonly client: number
  readonly ranges: number
  readonly start: number
  readonly end: number
}

const skipInfo = 10

/**
 * Pieces of about `targetBytes`, to be applied in this order; a larger struct is alone in its piece. The deletions come last, since
 * they reach into all structs. What begins at later clocks (`diffInspected`) is for somebody who has the earlier ones. None
 * when the update is empty; the same bytes when there is nothing to cut. Bytes that `inspectUpdate` refuses throw.
 *
 * Clients that need each other in a circle, which no Yjs client writes, are written on regardless: all is delivered, and pending
 * is what would be pending from the whole.
 */
export const splitUpdate = (update: Inspected | Uint8Array, targetBytes: number): readonly Uint8Array[] => {
  const { bytes, inspection } = update instanceof Uint8Array ? inspected(update) : update
  if (inspection.isEmpty) return []
  if (bytes.length <= targetBytes) return [bytes]
  const pieces = new Splitter(bytes, inspection, targetBytes).split()
  return pieces.length === 1 ? [bytes] : pieces
}

const inspected = (bytes: Uint8Array): Inspected => {
  const inspection = inspectUpdate(bytes, storedLimits)
  if (!inspection.ok) throw new Error(`an update to be split is unreadable: ${inspection.code}`)
  return { bytes, inspection }
}

/** For the worker: each of them by itself. */
export const splitUpdates = (updates: readonly Uint8Array[], targetBytes: number): readonly (readonly Uint8Array[])[] =>
  updates.map((update) => splitUpdate(update, targetBytes))

class Splitter {
  readonly #bytes: Uint8Array
  readonly #cursor: Cursor
  readonly #deletesAt: number
  readonly #target: number
  readonly #lanes: ReadonlyMap<number, Lane>
  readonly #pieces: Uint8Array[] = []
  #open: Lane[] = []
  #deletions: Deletions[] = []
  /** Of the open piece, without the two counts that every piece has. */
  #size = 0

  constructor(bytes: Uint8Array, inspection: UpdateInspection, target: number) {
    this.#bytes = bytes
    this.#cursor = new Cursor().open(bytes)
    this.#deletesAt = inspection.deletesAt
    this.#target = target
    this.#lanes = lanesOf(inspection)
  }

  split(): readonly Uint8Array[] {
    for (const lane of this.#lanes.values()) this.#writeLane(lane)
    this.#writeDeletions()
    this.#close()
    return this.#pieces
  }

  /** All of a lane, each struct after what it needs, as Yjs' integration does it: with a stack of the lanes that wait. */
  #writeLane(first: Lane): void {
    const stack = [first]
    first.until = Number.POSITIVE_INFINITY
    first.isOnStack = true
    for (let lane = stack.at(-1); lane !== undefined; lane = stack.at(-1)) {
      if (lane.at === lane.end || lane.clock > lane.until) {
        lane.isOnStack = false
        stack.pop()
        continue
      }
      this.#cursor.at = lane.at
      const info = this.#cursor.byte()
      const blocker = this.#readHead(lane, info)
      if (blocker === undefined) this.#writeStruct(lane, info)
      else {
        blocker.isOnStack = true
        stack.push(blocker)
      }
    }
  }

  /** Reads up to the content, or returns the lane that has to come first, which then knows how far. */
  #readHead(lane: Lane, info: number): Lane | undefined {
    if (info === 0 || info === skipInfo) return undefined
    let blocker: Lane | undefined
    if (info & 0x80) blocker = this.#readReference(lane)
    if (info & 0x40) blocker ??= this.#readReference(lane)
    if (blocker !== undefined || (info & 0xc0) !== 0) return blocker
    const isRoot = this.#cursor.varUint() === 1
    if (isRoot) this.#skipBlock()
    else blocker = this.#readReference(lane)
    if (info & 0x20) this.#skipBlock()
    return blocker
  }

  #readReference(lane: Lane): Lane | undefined {
    const client = this.#cursor.varUint()
    const clock = this.#cursor.varUint()
    if (client === lane.client) return undefined
    const needed = this.#lanes.get(client)
    // Not there, or at its end: the reader has it. On the stack: a circle.
    if (needed === undefined || needed.clock > clock || needed.at === needed.end || needed.isOnStack) return undefined
    needed.until = clock
    return needed
  }

  #writeStruct(lane: Lane, info: number): void {
    const length = this.#skipContent(info & 0x1f)
    const end = this.#cursor.at
    const isSkip = info === skipInfo
    if (!isSkip) {
      const size = end - lane.at
      if (this.#isFull(size + (lane.start === -1 ? headSize(lane) : 0))) this.#close()
      if (lane.start === -1) {
        lane.start = lane.at
        lane.from = lane.clock
        this.#open.push(lane)
        this.#size += headSize(lane)
      }
      this.#size += size
    }
    if (lane.start !== -1) lane.structs++
    lane.at = end
    lane.clock += length
  }

  #writeDeletions(): void {
    const cursor = this.#cursor
    cursor.at = this.#deletesAt
    for (let clients = cursor.varUint(); clients > 0; clients--) {
      const client = cursor.varUint()
      const head = sizeOf(client) + 2
      let count = cursor.varUint()
      let start = cursor.at
      let ranges = 0
      for (; count > 0; count--) {
        const at = cursor.at
        cursor.varUint()
        cursor.varUint()
        const size = cursor.at - at
        if (this.#isFull(size + (ranges === 0 ? head : 0))) {
          if (ranges > 0) this.#deletions.push({ client, ranges, start, end: at })
          this.#close()
          start = at
          ranges = 0
        }
        this.#size += size + (ranges === 0 ? head : 0)
        ranges++
      }
      if (ranges > 0) this.#deletions.push({ client, ranges, start, end: cursor.at })
    }
  }

  #isFull(more: number): boolean {
    return this.#size > 0 && this.#size + 2 + more > this.#target
  }

  /** Writes the open piece, in one allocation. */
  #close(): void {
    if (this.#size === 0) return
    const open = this.#open.sort((a, b) => b.client - a.client) // Yjs' own merge relies on this order in what it reads
    const deletions = this.#deletions
    let size = sizeOf(open.length) + sizeOf(deletions.length)
    for (const { client, from, structs, start, at } of open) size += sizeOf(structs) + sizeOf(client) + sizeOf(from) + at - start
    for (const { client, ranges, start, end } of deletions) size += sizeOf(client) + sizeOf(ranges) + end - start
    const piece = new Uint8Array(size)
    let to = writeVarUint(piece, 0, open.length)
    for (const lane of open) {
      to = writeVarUint(piece, to, lane.structs)
      to = writeVarUint(piece, to, lane.client)
      to = writeVarUint(piece, to, lane.from)
      to = this.#copy(piece, to, lane.start, lane.at)
      lane.start = -1
      lane.structs = 0
    }
    to = writeVarUint(piece, to, deletions.length)
    for (const { client, ranges, start, end } of deletions) {
      to = writeVarUint(piece, to, client)
      to = writeVarUint(piece, to, ranges)
      to = this.#copy(piece, to, start, end)
    }
    this.#pieces.push(piece)
    this.#open = []
    this.#deletions = []
    this.#size = 0
  }

  /** Below ~64 bytes, making a view costs more than copying byte by byte. */
  #copy(piece: Uint8Array, to: number, start: number, end: number): number {
    if (end - start > 64) piece.set(this.#bytes.subarray(start, end), to)
    else for (let i = start; i < end; i++) piece[to + i - start] = this.#bytes[i] as number // in bounds: both come from the inspection
    return to + end - start
  }

  /** Passes content that was inspected before, and returns its length in clocks. */
  #skipContent(kind: number): number {
    const cursor = this.#cursor
    switch (kind) {
      case 0: // garbage collected
      case 1: // deleted
      case skipInfo:
        return cursor.varUint()
      case 2: {
        const count = cursor.varUint()
        for (let i = 0; i < count; i++) this.#skipBlock()
        return count
      }
      case 4:
        return cursor.skipText(cursor.varUint())
      case 6: // format: key and value
        this.#skipBlock()
        this.#skipBlock()
        return 1
      case 7: {
        const type = cursor.varUint()
        if (type === 3 || type === 5) this.#skipBlock()
        return 1
      }
      case 8: {
        const count = cursor.varUint()
        for (let i = 0; i < count; i++) this.#skipValue()
        return count
      }
      case 9: // subdocument: guid and options
        this.#skipBlock()
        this.#skipValue()
        return 1
      default: // binary, embed
        this.#skipBlock()
        return 1
    }
  }

  #skipBlock(): void {
    this.#cursor.skip(this.#cursor.varUint())
  }

  /** The inspection has bounded the depth. */
  #skipValue(): void {
    const cursor = this.#cursor
    switch (cursor.byte()) {
      case 125:
        cursor.skipVarInt()
        return
      case 124:
        cursor.skip(4)
        return
      case 123:
      case 122:
        cursor.skip(8)
        return
      case 119:
      case 116:
        this.#skipBlock()
        return
      case 118:
        for (let count = cursor.varUint(); count > 0; count--) {
          this.#skipBlock()
          this.#skipValue()
        }
        return
      case 117:
        for (let count = cursor.varUint(); count > 0; count--) this.#skipValue()
    }
  }
}

/** In the order of the bytes: higher clients first, as Yjs integrates them. */
const lanesOf = ({ ranges }: UpdateInspection): ReadonlyMap<number, Lane> => {
  const lanes = new Map<number, Lane>()
  for (const { client, from, start, end } of ranges) {
    const lane = lanes.get(client)
    if (lane !== undefined) lane.end = end
    else lanes.set(client, { client, end, at: start, clock: from, until: 0, isOnStack: false, start: -1, from: 0, structs: 0 })
  }
  return lanes
}

/** What a client costs in a piece besides its structs, with up to 16 383 of them. */
const headSize = ({ client, clock }: Lane): number => sizeOf(client) + sizeOf(clock) + 2

const sizeOf = (value: number): number => {
  let size = 1
  for (let rest = value; rest >= 128; rest = Math.floor(rest / 128)) size++
  return size
}

const writeVarUint = (bytes: Uint8Array, at: number, value: number): number => {
  let to = at
  let rest = value
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes[to++] = (rest % 128) | 128
  bytes[to++] = rest
  return to
}
