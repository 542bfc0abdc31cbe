/** Updates that no editor writes: each was made to break, fill or slow down whoever reads it. All are made here, byte by byte. */
import * as encoding from 'lib0/encoding'

type Encoder = encoding.Encoder
const { writeVarUint, writeUint8, writeVarString } = encoding

const update = (write: (encoder: Encoder) => void): Uint8Array => encoding.encode(write)
const numbers = (encoder: Encoder, ...values: number[]): void => {
  for (const value of values) writeVarUint(encoder, value)
}

/** One text item of one letter at the beginning of the root `text`. */
const letter = (encoder: Encoder): void => {
  writeUint8(encoder, 0x04)
  writeVarUint(encoder, 1)
  writeVarString(encoder, 'text')
  writeVarString(encoder, 'x')
}

/** `count` clients that all write a letter at the same place without having seen one another: Yjs orders each among all others. */
export const crowd = (count: number): Uint8Array =>
  update((e) => {
    writeVarUint(e, count)
    for (let client = count; client > 0; client--) {
      numbers(e, 1, client, 0)
      letter(e)
    }
    writeVarUint(e, 0)
  })

/** Each of `count` clients writes behind the letter of the one before: a chain of origins through all of them. */
export const chain = (count: number): Uint8Array =>
  update((e) => {
    writeVarUint(e, count)
    for (let client = count; client > 0; client--) {
      numbers(e, 1, client, 0)
      if (client === 1) letter(e)
      else {
        writeUint8(e, 0x84)
        numbers(e, client - 1, 0)
        writeVarString(e, 'x')
      }
    }
    writeVarUint(e, 0)
  })

/** One client sets one key of a map `count` times, and every version is there. */
export const versions = (count: number): Uint8Array =>
  update((e) => {
    numbers(e, 1, count, 7, 0)
    for (let clock = 0; clock < count; clock++) {
      writeUint8(e, clock === 0 ? 0x28 : 0xa8)
      if (clock === 0) {
        writeVarUint(e, 1)
        writeVarString(e, 'map')
        writeVarString(e, 'key')
      } else numbers(e, 7, clock - 1)
      writeVarUint(e, 1)
      encoding.writeAny(e, clock)
    }
    writeVarUint(e, 0)
  })

/** A text of `count` letters, and every second one deleted by a range of its own. */
export const tinyDeletions = (count: number): Uint8Array =>
  update((e) => {
    numbers(e, 1, 1, 5, 0)
    writeUint8(e, 0x04)
    writeVarUint(e, 1)
    writeVarString(e, 'text')
    writeVarString(e, 'x'.repeat(count))
    numbers(e, 1, 5, count / 2)
    for (let i = 0; i < count / 2; i++) numbers(e, 2 * i, 1)
  })

/** A stretch of 2^31 - 1 clocks (or more), as garbage (0) or as skipped (10). */
export const longStretch = (info: 0 | 10, length = 2 ** 31 - 1): Uint8Array =>
  update((e) => {
    numbers(e, 1, 1, 9, 0)
    writeUint8(e, info)
    numbers(e, length, 0)
  })

/** Lists within lists. */
export const nested = (depth: number): Uint8Array =>
  update((e) => {
    numbers(e, 1, 1, 3, 0)
    writeUint8(e, 0x08)
    writeVarUint(e, 1)
    writeVarString(e, 'list')
    writeVarUint(e, 1)
    for (let i = 0; i < depth; i++) {
      writeUint8(e, 117)
      writeVarUint(e, 1)
    }
    writeUint8(e, 126)
    writeVarUint(e, 0)
  })

/** XML elements within elements, `depth` of them. */
export const nestedElements = (depth: number): Uint8Array =>
  update((e) => {
    numbers(e, 1, depth, 3, 0)
    for (let clock = 0; clock < depth; clock++) {
      writeUint8(e, 0x07)
      if (clock === 0) {
        writeVarUint(e, 1)
        writeVarString(e, 'prosemirror')
      } else {
        writeVarUint(e, 0)
        numbers(e, 3, clock - 1)
      }
      writeVarUint(e, 3)
      writeVarString(e, 'p')
    }
    writeVarUint(e, 0)
  })

/** Each item at the beginning of a root of its own. */
export const roots = (count: number): Uint8Array =>
  update((e) => {
    numbers(e, 1, count, 4, 0)
    for (let i = 0; i < count; i++) {
      writeUint8(e, 0x04)
      writeVarUint(e, 1)
      writeVarString(e, `root ${i}`)
      writeVarString(e, 'x')
    }
    writeVarUint(e, 0)
  })

export const subdocuments = (count: number): Uint8Array =>
  update((e) => {
    numbers(e, 1, count, 4, 0)
    for (let i = 0; i < count; i++) {
      writeUint8(e, i === 0 ? 0x09 : 0x89)
      if (i === 0) {
        writeVarUint(e, 1)
        writeVarString(e, 'list')
      } else numbers(e, 4, i - 1)
      writeVarString(e, `guid ${i}`)
      encoding.writeAny(e, {})
    }
    writeVarUint(e, 0)
  })

/** Half of a surrogate pair, as three bytes that are no UTF-8. */
export const loneSurrogate = Uint8Array.of(1, 1, 1, 0, 0x04, 1, 4, 0x74, 0x65, 0x78, 0x74, 3, 0xed, 0xa0, 0x80, 0)

/** Counts and lengths far beyond the bytes behind them, at each place where one stands. */
export const hugeLengths: readonly Uint8Array[] = [
  Uint8Array.of(0xff, 0xff, 0xff, 0xff, 0x7f),
  Uint8Array.of(1, 0xff, 0xff, 0xff, 0xff, 0x7f, 1, 0),
  Uint8Array.of(1, 1, 1, 0, 0x04, 1, 1, 0x74, 0xff, 0xff, 0xff, 0xff, 0x0f, 0x78, 0),
  Uint8Array.of(1, 1, 1, 0, 0x08, 1, 1, 0x74, 0xff, 0xff, 0xff, 0xff, 0x0f, 0),
  Uint8Array.of(1, 1, 1, 0, 0x03, 1, 1, 0x74, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f),
  Uint8Array.of(0, 0xff, 0xff, 0xff, 0xff, 0x0f, 1, 1, 0, 1),
  Uint8Array.of(0, 1, 1, 0xff, 0xff, 0xff, 0xff, 0x0f, 0, 1),
  Uint8Array.of(0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01),
]

/** What a client of `count` others claims to have. */
export const stateVector = (count: number): Uint8Array =>
  update((e) => {
    writeVarUint(e, count)
    for (let client = 1; client <= count; client++) numbers(e, client, 1)
  })
