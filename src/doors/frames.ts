/**
 * From publications to WebSocket frames (RFC 6455 §5.2). A frame of a server is not masked, so one buffer serves all
 * sockets: a publication is encoded once for each door, and each socket gets it in one write.
 */
import type { Part, Publication } from '../../actors/publication.ts'
import type { Door } from './door.ts'

const finalBinary = 0x82

/** The header of an unmasked, unfragmented binary frame. */
export const frameHeader = (length: number): Uint8Array => {
  if (length < 126) return Uint8Array.of(finalBinary, length)
  if (length < 65_536) return Uint8Array.of(finalBinary, 126, length >> 8, length & 255)
  const header = new Uint8Array(10)
  const view = new DataView(header.buffer)
  header[0] = finalBinary
  header[1] = 127
  view.setBigUint64(2, BigInt(length))
  return header
}

/** Parts from this size on are written where they lie; below it one buffer is cheaper than two. */
const copyBelow = 16 * 1024

/** The frame of one part: one buffer, or head and bytes. */
const frameOf = (door: Door, part: Part): readonly Uint8Array[] => {
  const head = door.head(part)
  const header = frameHeader(head.length + part.bytes.length)
  if (part.bytes.length >= copyBelow) return [Buffer.concat([header, head]), part.bytes]
  return [Buffer.concat([header, head, part.bytes])]
}

/** Encodes for one door, and keeps what it encoded for as long as the publication lives. */
export class Framer {
  readonly #door: Door
  readonly #whole = new WeakMap<Publication, readonly Uint8Array[]>()

  constructor(door: Door) {
    this.#door = door
  }

  /** All parts for one write: small ones joined. */
  whole(publication: Publication): readonly Uint8Array[] {
    const known = this.#whole.get(publication)
    if (known !== undefined) return known
    const buffers = publication.parts.flatMap((part) => frameOf(this.#door, part))
    const bytes = buffers.reduce((sum, buffer) => sum + buffer.length, 0)
    const frames = bytes < copyBelow ? [Buffer.concat(buffers)] : buffers
    this.#whole.set(publication, frames)
    return frames
  }

  /** One frame for each part, for an answer that is written as the network takes it. */
  apart(publication: Publication): (readonly Uint8Array[])[] {
    return publication.parts.map((part) => frameOf(this.#door, part))
  }
}
