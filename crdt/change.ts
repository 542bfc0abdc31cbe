/**
 * A change of a document as it is stored: an update, who made it, and by which way.
 *
 *   change   = 01 update                        by nobody known
 *            | 02 user via update               user and via: texts, each as length (varUint) and UTF-8
 *   sealed   = 01 bytes                         a snapshot: one update that stands for all up to its offset
 */
import * as decoding from 'lib0/decoding'
import * as encoding from 'lib0/encoding'

export interface Author {
  /** Empty: nobody who logged in. */
  readonly user: string
  /** By which way, where it was not an editor: `agent`, `http`, `restore`, `rollback`, `import`, … Empty: an editor. */
  readonly via: string
}

export const unknownAuthor: Author = { user: '', via: '' }

export interface Change {
  readonly author: Author
  readonly update: Uint8Array
}

const plain = 1
const authored = 2

export const encodeChange = ({ author: { user, via }, update }: Change): Uint8Array => {
  if (user === '' && via === '') return seal(update)
  const encoder = encoding.createEncoder()
  encoding.writeUint8(encoder, authored)
  encoding.writeVarString(encoder, user)
  encoding.writeVarString(encoder, via)
  encoding.writeUint8Array(encoder, update)
  return encoding.toUint8Array(encoder)
}

/** The update is a view into what was stored. Undefined: written by a version that knows more. */
export const decodeChange = (stored: Uint8Array): Change | undefined => {
  if (stored[0] === plain) return { author: unknownAuthor, update: stored.subarray(1) }
  if (stored[0] !== authored) return undefined
  const decoder = decoding.createDecoder(stored)
  decoder.pos = 1
  const author = { user: decoding.readVarString(decoder), via: decoding.readVarString(decoder) }
  return { author, update: stored.subarray(decoder.pos) }
}

export const seal = (update: Uint8Array): Uint8Array => {
  const bytes = new Uint8Array(update.length + 1)
  bytes[0] = plain
  bytes.set(update, 1)
  return bytes
}

export const unseal = (stored: Uint8Array): Uint8Array | undefined => (stored[0] === plain ? stored.subarray(1) : undefined)
