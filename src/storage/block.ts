/**
 * A block: the entries of one journal that one commit brought, in one LMDB record.
 *
 *   envelope | count u16 | time u48 of the first | for each entry: time since the one before, length, data
 *
 * (time and length as varints). The key is `journal id u32 | offset of the last entry u48`, so the end of a journal is known
 * without its data, and the block that holds offset n is the first one at or after n. One record for each 60-byte entry
 * would cost about 30 bytes and 1 µs more each; a full block of 4 072 bytes is one page of LMDB to the byte.
 */
import type { Entry, Offset } from '../../actors/journal.ts'
import { envelopeBytes, seal, verify } from './record.ts'

const headerBytes = envelopeBytes + 2 + 6
const fullBytes = 4_096 - 24 // a value of this length takes one overflow page: page size less the page header
const maxEntries = 0xffff

export const entryKey = (id: number, offset: Offset): Buffer => {
  const key = Buffer.allocUnsafe(10)
  key.writeUInt32BE(id, 0)
  key.writeUIntBE(offset, 4, 6)
  return key
}

export const keyOffset = (key: Buffer): Offset => key.readUIntBE(4, 6)

const varintBytes = (value: number): number => {
  let bytes = 1
  for (let rest = value; rest > 0x7f; rest = Math.floor(rest / 128)) bytes++
  return bytes
}

const writeVarint = (into: Buffer, at: number, value: number): number => {
  let rest = value
  let position = at
  while (rest > 0x7f) {
    into[position++] = (rest % 128) | 0x80
    rest = Math.floor(rest / 128)
  }
  into[position++] = rest
  return position
}

export interface Block {
  readonly last: Offset
  readonly bytes: number
  /** The record under its key. Once; later entries go to another block. */
  record(key: Buffer): Buffer
}

class OpenBlock implements Block {
  last: Offset
  #buffer: Buffer
  #end = headerBytes
  #count = 0
  #time: number

  constructor(firstOffset: Offset, time: number, capacity: number) {
    this.last = firstOffset - 1
    this.#time = time
    this.#buffer = Buffer.allocUnsafe(capacity)
    this.#buffer.writeUIntLE(time, envelopeBytes + 2, 6)
  }

  get bytes(): number {
    return this.#end
  }

  /** False when the block is full. The first entry always fits. */
  add(data: Uint8Array, time: number): boolean {
    const wait = time - this.#time
    const end = this.#end + varintBytes(wait) + varintBytes(data.length) + data.length
    if (this.#count > 0 && (end > fullBytes || this.#count === maxEntries)) return false
    if (end > this.#buffer.length) this.#grow(end)
    const at = writeVarint(this.#buffer, writeVarint(this.#buffer, this.#end, wait), data.length)
    this.#buffer.set(data, at)
    this.#end = end
    this.#time = time
    this.#count++
    this.last++
    return true
  }

  record(key: Buffer): Buffer {
    this.#buffer.writeUInt16LE(this.#count, envelopeBytes)
    return seal(key, this.#buffer.subarray(0, this.#end))
  }

  #grow(needed: number): void {
    const larger = Buffer.allocUnsafe(Math.max(needed, Math.min(fullBytes, this.#buffer.length * 4)))
    this.#buffer.copy(larger, 0, 0, this.#end)
    this.#buffer = larger
  }
}

/** Packs entries into blocks, copying them: the caller may reuse its bytes at once. */
export class BlockWriter {
  readonly blocks: OpenBlock[] = []

  add(data: Uint8Array, offset: Offset, time: number): void {
    const open = this.blocks.at(-1)
    if (open?.add(data, time)) return
    const next = new OpenBlock(offset, time, open === undefined ? headerBytes + 2 + data.length : fullBytes)
    next.add(data, time)
    this.blocks.push(next)
  }
}

/** The entries of a stored block, oldest first. The data are views into `record`. Errors: `journal.corrupt`. */
export const readBlock = (key: Buffer, record: Buffer): Entry[] => {
  const last = keyOffset(key)
  verify(key, record, `the block that ends at offset ${last}`)
  let at = headerBytes
  const varint = (): number => {
    let value = 0
    for (let scale = 1; ; scale *= 128) {
      const byte = record[at++] ?? 0
      value += (byte & 0x7f) * scale
      if (byte < 0x80) return value
    }
  }
  const count = record.readUInt16LE(envelopeBytes)
  let time = record.readUIntLE(envelopeBytes + 2, 6)
  const entries: Entry[] = []
  for (let offset = last - count + 1; offset <= last; offset++) {
    time += varint()
    const length = varint()
    entries.push({ offset, time, data: new Uint8Array(record.buffer, record.byteOffset + at, length) })
    at += length
  }
  return entries
}
