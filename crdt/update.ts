/**
 * Looks into a Yjs update (V1 bytes) without building it.
 *
 * Promises: one pass, a few small objects however many structs there are, time and memory bounded by the number of
 * bytes. What is accepted has no hidden size: every count fits into the bytes behind it. What is accepted can be merged,
 * split and sent on. No input is known that passes and still makes Yjs throw (30 000 bit flips: none); `compact` is ready for one.
 * What is refused here
 * is never written by Yjs: 7 bytes that announce 33 million structs cost `applyUpdate` 0.5 s and 300 MB.
 *
 * It tells which clocks an update adds, which ones it needs, and where the structs lie, so that updates are merged and
 * cut as bytes. It does not judge meaning: a writer can delete everything, and Yjs says so, too (THREAT_MODEL.md).
 * V2 bytes are not accepted; their run-length encoding has no such bound.
 *
 * The format, from yjs 13.6 `encoding.js`, `Item.js`, `DeleteSet.js`; every number a varUint, `id` = client clock:
 *
 *   update   = clients × section, deletes
 *   section  = structs client clock × struct                clients descending; each struct begins where the last one ended
 *   struct   = 00 length                                    garbage collected
 *            | 0a length                                    skipped: unknown here
 *            | info [origin id] [right id] [parent] content
 *   info     = 80 has origin | 40 has right origin | 20 has a key | content number
 *   parent   = (1 rootName | 0 id) [key]                    only when there is neither origin nor right origin
 *   deletes  = clients × (client ranges × (clock length))
 */
import { decodeUtf8 } from 'lib0/string'
import { Cursor, noBytes } from './cursor.ts'
import { checkJson } from './json.ts'
import { Refusal, type Rejection } from './rejection.ts'

export interface UpdateLimits {
  /** Structs that live in memory once applied, ~150 bytes each, and clients' sections. */
  readonly structs: number
  /** Ranges in the delete set. */
  readonly deletes: number
  /** Distinct root types that one update touches by name. */
  readonly roots: number
  /** Each one becomes a `Y.Doc` of ~2.4 KB when the update is applied. */
  readonly subdocuments: number
  /** Nesting of JSON and of `ContentAny` values. */
  readonly depth: number
}

/**
 * For one change and for a whole state alike: whoever imports a document makes all of it in one transaction. The 260 000 edits of a paper
 * are 11 000 structs, a pasted document of 10 000 paragraphs 30 000; a million are a document of ~10 MB that takes Yjs more than a
 * second and 150 MB to open.
 */
export const updateLimits: UpdateLimits = { structs: 1_000_000, deletes: 1_000_000, roots: 1000, subdocuments: 1000, depth: 64 }

/** For bytes that this server has stored itself: only the format counts. */
export const storedLimits: UpdateLimits = {
  structs: Number.POSITIVE_INFINITY,
  deletes: Number.POSITIVE_INFINITY,
  roots: Number.POSITIVE_INFINITY,
  subdocuments: Number.POSITIVE_INFINITY,
  depth: 64,
}

/**
 * Clocks of one client without a hole, and the bytes of their structs: `structs` of them in `[start, end)`. In a large update several
 * ranges follow one another without a hole: the first struct alone, then about 64 KiB each.
 */
export interface ClockRange {
  readonly client: number
  readonly from: number
  /** Exclusive. */
  readonly to: number
  readonly structs: number
  readonly start: number
  readonly end: number
}

/** "All clocks of `client` below `to`." */
export interface Reach {
  readonly client: number
  readonly to: number
}

export interface UpdateInspection {
  readonly ok: true
  /** In the order of the bytes; a client's ranges are ascending. A skipped stretch divides ranges and belongs to none. */
  readonly ranges: readonly ClockRange[]
  /** The same as numbers, where they came from the worker; `ranges` makes objects of them when it is asked (ranges.ts). */
  readonly packedRanges?: Float64Array
  /** What other clients must have written before: origins, right origins and parents. May lie in `ranges`. */
  readonly needs: readonly Reach[]
  /** How far the deletions reach, for each client. */
  readonly deletes: readonly Reach[]
  /** Skipped stretches included. */
  readonly structs: number
  readonly deleteRanges: number
  /** Sum of their lengths; ranges that overlap count twice. */
  readonly deletedLength: number
  /** Where the delete set begins. */
  readonly deletesAt: number
  /** Root types that appear by name. An edit inside of known content names none. */
  readonly roots: readonly string[]
  /**
   * Formatting marks or nested XML types: what editors build documents of, and what must not be shown in parts (split.ts). Those
   * that were deleted and collected do not count.
   */
  readonly hasMarkup: boolean
  /** Neither structs nor deletions. */
  readonly isEmpty: boolean
}

/**
 * An update of this size has its ranges divided into stretches of this size, so that it is cut where a vector ends or in pieces by
 * reading one stretch, and not all that a client ever wrote. The first struct of a client stands alone: veil.ts holds it back.
 */
export const stretchBytes = 64 * 1024

const maxClock = 2 ** 50
const maxLength = 2 ** 31

const trailing = new Refusal('trailing_bytes', 'bytes follow the delete set')
const clockTooHigh = new Refusal('clock', 'a clock is above 2^50 or a length above 2^31')
const emptyStruct = new Refusal('empty_struct', 'a struct, a client or a deletion of length 0')
const ownFuture = new Refusal('reference', 'a struct refers to itself or to a later one of its client')
const unknownStruct = new Refusal('kind', 'an unknown struct')
const unknownParent = new Refusal('kind', 'an unknown kind of parent')
const unknownType = new Refusal('kind', 'an unknown shared type')
const unknownValue = new Refusal('kind', 'an unknown kind of value')
const unknownOptions = new Refusal('kind', 'the options of a subdocument are no object')
const duplicateClient = new Refusal('duplicate_client', 'a client has two sections')
const reservedKey = new Refusal('reserved_key', '__proto__ is no name')
const tooDeep = new Refusal('depth', 'a value is nested too deep')
const tooManyStructs = new Refusal('too_many_structs', 'more structs than the limit')
const tooManyDeletes = new Refusal('too_many_deletes', 'more deletions than the limit')
const tooManyRoots = new Refusal('too_many_roots', 'more root types than the limit')
const tooManySubdocuments = new Refusal('too_many_subdocuments', 'more subdocuments than the limit')

/** No section, no deletion. Also the sync step 2 for somebody who has everything. */
export const emptyUpdate: Uint8Array = new Uint8Array([0, 0])

const none: readonly never[] = []

// One parser, used again for every update: nothing here calls out, so it is never entered twice.
const cursor = new Cursor()
// Nearly every update needs one other client at most: it is kept here, and only further ones in the map.
let neededClient = -1
let neededTo = 0
const needed = new Map<number, number>()
let limits = updateLimits
let roots: Set<string> | undefined
let subdocuments = 0
let hasMarkup = false
let lastRootAt = 0
let lastRootSize = -1

export const inspectUpdate = (update: Uint8Array, within: UpdateLimits = updateLimits): UpdateInspection | Rejection => {
  cursor.open(update)
  limits = within
  try {
    return inspect()
  } catch (reason) {
    if (reason instanceof Refusal) return reason
    throw reason
  } finally {
    cursor.open(noBytes) // keep no client's bytes alive
    neededClient = -1
    if (needed.size > 0) needed.clear()
    roots = undefined
    subdocuments = 0
    hasMarkup = false
    lastRootSize = -1
  }
}

const inspect = (): UpdateInspection => {
  const ranges: ClockRange[] = []
  const structs = readSections(ranges)
  const deletesAt = cursor.at
  const deleteClients = cursor.count(2)
  let deletes: readonly Reach[] = none
  let deleteRanges = 0
  let deletedLength = 0
  if (deleteClients > 0) {
    const reaches: Reach[] = []
    for (let i = 0; i < deleteClients; i++) {
      const client = cursor.varUint()
      const count = cursor.count(2)
      deleteRanges += count
      if (deleteRanges > limits.deletes) throw tooManyDeletes
      let to = 0
      for (let j = 0; j < count; j++) {
        const clock = cursor.varUint()
        const length = readLength(clock)
        deletedLength += length
        if (clock + length > to) to = clock + length
      }
      if (count > 0) reaches.push({ client, to })
    }
    deletes = reaches
  }
  if (cursor.at !== cursor.end) throw trailing
  return {
    ok: true,
    ranges,
    needs: collectNeeds(),
    deletes,
    structs,
    deleteRanges,
    deletedLength,
    deletesAt,
    roots: roots === undefined ? none : [...roots],
    hasMarkup,
    isEmpty: structs === 0 && deleteRanges === 0,
  }
}

const readSections = (ranges: ClockRange[]): number => {
  const sections = cursor.count(5) // structs, client, clock, and one struct of at least 2 bytes
  let structs = 0
  let previous = Number.POSITIVE_INFINITY
  let seen: Set<number> | undefined
  for (let i = 0; i < sections; i++) {
    const count = cursor.count(2)
    if (count === 0) throw emptyStruct
    structs += count
    if (structs > limits.structs) throw tooManyStructs
    const client = cursor.varUint()
    if (client >= previous && seen === undefined) seen = new Set(ranges.map((range) => range.client))
    if (seen !== undefined) {
      if (seen.has(client)) throw duplicateClient
      seen.add(client)
    }
    previous = client
    readSection(client, count, ranges)
  }
  return structs
}

const readSection = (client: number, count: number, ranges: ClockRange[]): void => {
  let clock = cursor.varUint()
  if (clock > maxClock) throw clockTooHigh
  let from = clock
  let start = cursor.at
  let structs = 0
  let stretch = cursor.end < stretchBytes ? Number.POSITIVE_INFINITY : 0
  for (let i = 0; i < count; i++) {
    const at = cursor.at
    if (at - start > stretch && structs > 0) {
      ranges.push({ client, from, to: clock, structs, start, end: at })
      from = clock
      start = at
      structs = 0
      stretch = stretchBytes
    }
    const info = cursor.byte()
    if (info === 10) {
      if (structs > 0) ranges.push({ client, from, to: clock, structs, start, end: at })
      clock += readLength(clock)
      from = clock
      start = cursor.at
      structs = 0
    } else {
      clock += info === 0 ? readLength(clock) : readItem(client, clock, info)
      if (clock > maxClock) throw clockTooHigh
      structs++
    }
  }
  if (structs > 0) ranges.push({ client, from, to: clock, structs, start, end: cursor.at })
}

const collectNeeds = (): readonly Reach[] => {
  if (neededClient === -1) return none
  const needs = [{ client: neededClient, to: neededTo }]
  for (const [client, to] of needed) needs.push({ client, to })
  return needs
}

/** A length that starts at `clock`. */
const readLength = (clock: number): number => {
  const length = cursor.varUint()
  if (length === 0) throw emptyStruct
  if (length > maxLength || clock + length > maxClock) throw clockTooHigh
  return length
}

/** Passes an item and returns its length in clocks. */
const readItem = (client: number, clock: number, info: number): number => {
  if (info & 0x80) readReference(client, clock)
  if (info & 0x40) readReference(client, clock)
  if ((info & 0xc0) === 0) {
    const parent = cursor.varUint()
    if (parent === 1) readRoot()
    else if (parent === 0) readReference(client, clock)
    else throw unknownParent
    if (info & 0x20) readKey()
  }
  return readContent(info & 0x1f, clock)
}

const readReference = (client: number, clock: number): void => {
  const referred = cursor.varUint()
  const at = cursor.varUint()
  if (at >= maxClock) throw clockTooHigh
  if (referred === client) {
    // Yjs looks its own client up without asking whether the clock exists, and throws in the middle of the transaction.
    if (at >= clock) throw ownFuture
  } else if (referred === neededClient) {
    if (at >= neededTo) neededTo = at + 1
  } else if (neededClient === -1) {
    neededClient = referred
    neededTo = at + 1
  } else if (at >= (needed.get(referred) ?? 0)) needed.set(referred, at + 1)
}

/** A map key, an attribute, a name. `__proto__` vanishes from `toJSON()` or becomes its prototype. */
const readKey = (): void => {
  const size = cursor.varUint()
  const start = cursor.at
  cursor.skipText(size)
  if (size === 9 && reads('__proto__', start)) throw reservedKey
}

const reads = (word: string, start: number): boolean => {
  for (let i = 0; i < word.length; i++) if (cursor.bytes[start + i] !== word.charCodeAt(i)) return false
  return true
}

const readRoot = (): void => {
  const start = cursor.at
  readKey()
  const size = cursor.at - start
  if (size === lastRootSize && isSame(start, lastRootAt, size)) return
  lastRootAt = start
  lastRootSize = size
  cursor.at = start
  roots ??= new Set()
  roots.add(decodeUtf8(cursor.block()))
  if (roots.size > limits.roots) throw tooManyRoots
}

const isSame = (a: number, b: number, size: number): boolean => {
  for (let i = 0; i < size; i++) if (cursor.bytes[a + i] !== cursor.bytes[b + i]) return false
  return true
}

const readContent = (kind: number, clock: number): number => {
  switch (kind) {
    case 1: // deleted
      return readLength(clock)
    case 2: {
      // JSON: the predecessor of 8, still in old documents
      const count = cursor.count(1)
      if (count === 0) throw emptyStruct
      for (let i = 0; i < count; i++) readJson(true)
      return count
    }
    case 3: // binary
      cursor.skip(cursor.varUint())
      return 1
    case 4: {
      const length = cursor.skipText(cursor.varUint())
      if (length === 0) throw emptyStruct
      return length
    }
    case 5: // embed
      readJson(false)
      return 1
    case 6: // format
      hasMarkup = true
      readKey()
      readJson(false)
      return 1
    case 7: {
      const type = cursor.varUint()
      if (type > 6) throw unknownType
      if (type > 2) hasMarkup = true
      if (type === 3 || type === 5) readKey() // XML element and hook carry a name
      return 1
    }
    case 8: {
      const count = cursor.count(1)
      if (count === 0) throw emptyStruct
      for (let i = 0; i < count; i++) readValue(0)
      return count
    }
    case 9: // subdocument: guid and options, which Yjs reads as an object
      if (++subdocuments > limits.subdocuments) throw tooManySubdocuments
      cursor.skipText(cursor.varUint())
      if (cursor.bytes[cursor.at] !== 118) throw unknownOptions
      readValue(0)
      return 1
    default:
      throw unknownStruct
  }
}

/** One JSON text. `ContentJSON` writes undefined as the word, which is no JSON. */
const readJson = (mayBeUndefined: boolean): void => {
  const size = cursor.varUint()
  const start = cursor.at
  cursor.skip(size)
  if (size === 4 && (reads('null', start) || reads('true', start))) return // nearly every format
  if (mayBeUndefined && size === 9 && reads('undefined', start)) return
  cursor.at = start
  cursor.skipText(size)
  checkJson(cursor.bytes, start, cursor.at, limits.depth)
}

/** One value of `ContentAny`, as lib0's `readAny` reads it. */
const readValue = (depth: number): void => {
  if (depth > limits.depth) throw tooDeep
  switch (cursor.byte()) {
    case 127: // undefined
    case 126: // null
    case 121: // false
    case 120: // true
      return
    case 125:
      cursor.skipVarInt()
      return
    case 124: // float32
      cursor.skip(4)
      return
    case 123: // float64
    case 122: // bigint
      cursor.skip(8)
      return
    case 119:
      cursor.skipText(cursor.varUint())
      return
    case 118: {
      const count = cursor.count(2)
      for (let i = 0; i < count; i++) {
        readKey()
        readValue(depth + 1)
      }
      return
    }
    case 117: {
      const count = cursor.count(1)
      for (let i = 0; i < count; i++) readValue(depth + 1)
      return
    }
    case 116: // bytes
      cursor.skip(cursor.varUint())
      return
    default:
      throw unknownValue
  }
}
