/**
 * From publications to WebSocket frames (RFC 6455 §5.2). A frame of a server is not masked, so one buffer serves all
 * sockets: a publication is encoded once for each door, and each socket gets it in one write.
 */
import type { Output } from '../../actors/output.ts'
import type { Part, Publication } from '../../actors/publication.ts'
import type { Door } from './door.ts'
import type { TextDoor } from './textDoor.ts'

/** What a sink writes for an output of the actors. */
export interface Framing<Output> {
  /** For one write. */
  whole(output: Output): readonly Uint8Array[]
  /** Frame by frame, written as the network takes them; undefined for what is no long answer. */
  answer(output: Output): (readonly Uint8Array[])[] | undefined
  /** What is said in one turn goes out in one write. False where that is one output anyway. */
  readonly joinsWrites: boolean
}

const finalText = 0x81
const finalBinary = 0x82

/** The header of an unmasked, unfragmented frame. */
export const frameHeader = (length: number, opcode = finalBinary): Uint8Array => {
  if (length < 126) return Uint8Array.of(opcode, length)
  if (length < 65_536) return Uint8Array.of(opcode, 126, length >> 8, length & 255)
  const header = new Uint8Array(10)
  const view = new DataView(header.buffer)
  header[0] = opcode
  header[1] = 127
  view.setBigUint64(2, BigInt(length))
  return header
}

/** Parts from this size on are written where they lie; below it one buffer is cheaper than two. */
const copyBelow = 16 * 1024

/** The frame of one message: one buffer, or head and bytes. */
export const messageFrame = (head: Uint8Array, bytes: Uint8Array): readonly Uint8Array[] => {
  const header = frameHeader(head.length + bytes.length)
  if (bytes.length >= copyBelow) return [Buffer.concat([header, head]), bytes]
  return [Buffer.concat([header, head, bytes])]
}

/** None for what the protocol has no word for. */
const frameOf = (door: Door, part: Part): readonly Uint8Array[] => {
  const head = door.head(part)
  return head === undefined ? [] : messageFrame(head, part.bytes)
}

/** Small frames that are written together are one buffer. */
export const joined = (buffers: readonly Uint8Array[]): readonly Uint8Array[] => {
  if (buffers.length < 2) return buffers
  return buffers.reduce((sum, buffer) => sum + buffer.length, 0) < copyBelow ? [Buffer.concat(buffers)] : buffers
}

const isSomething = ({ length }: readonly Uint8Array[]): boolean => length > 0

/** Encodes for one door, and keeps what it encoded for as long as the publication lives. */
export class Framer implements Framing<Publication> {
  readonly joinsWrites = false
  readonly #door: Door
  readonly #whole = new WeakMap<Publication, readonly Uint8Array[]>()

  constructor(door: Door) {
    this.#door = door
  }

  /** All parts for one write: small ones joined. */
  whole(publication: Publication): readonly Uint8Array[] {
    const known = this.#whole.get(publication)
    if (known !== undefined) return known
    const frames = joined(publication.parts.flatMap((part) => frameOf(this.#door, part)))
    this.#whole.set(publication, frames)
    return frames
  }

  answer(publication: Publication): (readonly Uint8Array[])[] | undefined {
    return publication.isAnswer ? publication.parts.map((part) => frameOf(this.#door, part)).filter(isSomething) : undefined
  }
}

/** Text frames of a door of the bus. */
export class TextFramer implements Framing<Output> {
  readonly joinsWrites = true
  readonly #door: TextDoor
  readonly #whole = new WeakMap<Output, readonly Uint8Array[]>()

  constructor(door: TextDoor) {
    this.#door = door
  }

  whole(output: Output): readonly Uint8Array[] {
    const known = this.#whole.get(output)
    if (known !== undefined) return known
    const buffers = this.#door.encode(output).flatMap((text) => {
      const bytes = Buffer.from(text)
      return [frameHeader(bytes.length, finalText), bytes]
    })
    const frames = buffers.length === 0 ? [] : [Buffer.concat(buffers)]
    this.#whole.set(output, frames)
    return frames
  }

  answer(): undefined {
    return undefined
  }
}
