/**
 * A place in bytes that came from outside. Every read is checked against the end; nothing is copied; what does not fit
 * is thrown as a `Refusal`, which the parser that holds the cursor returns.
 *
 * lib0's decoder is not used on foreign bytes: `readUint8` past the end is `undefined` instead of an error, and a count is
 * believed before the bytes behind it are seen.
 */
import { Refusal } from './rejection.ts'

const truncated = new Refusal('truncated', 'the bytes end before what they announce')
const number = new Refusal('number', 'a number is above 2^53 - 1 or longer than 8 bytes')
const count = new Refusal('count', 'more elements are announced than the bytes left can hold')
const text = new Refusal('text', 'a string is not UTF-8')

export const noBytes = new Uint8Array(0)

export class Cursor {
  bytes: Uint8Array = noBytes
  at = 0
  end = 0

  open(bytes: Uint8Array): this {
    this.bytes = bytes
    this.at = 0
    this.end = bytes.length
    return this
  }

  get left(): number {
    return this.end - this.at
  }

  byte(): number {
    const byte = this.bytes[this.at++]
    if (byte === undefined) throw truncated
    return byte
  }

  varUint(): number {
    const byte = this.bytes[this.at++]
    if (byte === undefined) throw truncated
    return byte < 128 ? byte : this.#longVarUint(byte & 127)
  }

  #longVarUint(low: number): number {
    let value = low
    for (let factor = 128; factor <= 2 ** 49; factor *= 128) {
      const byte = this.bytes[this.at++]
      if (byte === undefined) throw truncated
      value += (byte & 127) * factor
      if (value > Number.MAX_SAFE_INTEGER) throw number
      if (byte < 128) return value
    }
    throw number
  }

  /** lib0's signed varint: 6 bits in the first byte, 7 in the others. Only its extent matters here. */
  skipVarInt(): void {
    let byte = this.byte()
    for (let length = 1; byte >= 128; length++) {
      if (length === 8) throw number
      byte = this.byte()
    }
  }

  /** A count of elements that take at least `size` bytes each. */
  count(size: number): number {
    const announced = this.varUint()
    if (announced * size > this.end - this.at) throw count
    return announced
  }

  skip(size: number): void {
    if (size > this.end - this.at) throw truncated
    this.at += size
  }

  /** The bytes behind a length, as a view. */
  block(): Uint8Array {
    const size = this.varUint()
    const from = this.at
    this.skip(size)
    return this.bytes.subarray(from, this.at)
  }

  /** Passes a string of `size` bytes and returns its length in UTF-16 units, which is what Yjs counts clocks in. */
  skipText(size: number): number {
    const start = this.at
    this.skip(size)
    const stop = this.at
    const { bytes } = this
    let i = start
    while (i < stop && (bytes[i] as number) < 128) i++ // in bounds: i < stop <= end
    return i === stop ? size : i - start + utf16Length(bytes, i, stop)
  }
}

const isTail = (byte: number | undefined) => byte !== undefined && (byte & 0xc0) === 0x80

/** UTF-16 length of UTF-8 bytes, refusing overlong forms, surrogates and code points above U+10FFFF (RFC 3629 §4). */
const utf16Length = (bytes: Uint8Array, start: number, stop: number): number => {
  let units = 0
  let i = start
  while (i < stop) {
    const lead = bytes[i] as number // in bounds
    const size = lead < 0x80 ? 1 : lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf5 ? 4 : 0
    if (size === 0 || i + size > stop) throw text
    if (size > 1) {
      const second = bytes[i + 1] as number // in bounds
      const low = lead === 0xe0 ? 0xa0 : lead === 0xf0 ? 0x90 : 0x80
      const high = lead === 0xed ? 0x9f : lead === 0xf4 ? 0x8f : 0xbf
      if (second < low || second > high) throw text
      if (size > 2 && !isTail(bytes[i + 2])) throw text
      if (size > 3 && !isTail(bytes[i + 3])) throw text
    }
    units += size === 4 ? 2 : 1
    i += size
  }
  return units
}
