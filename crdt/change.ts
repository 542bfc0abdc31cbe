/**
 * A change of a document as it is stored: an update, who made it, and by which way.
 *
 *   change   = 01 update                        by nobody known
 *            | 02 user via update               user and via: texts, each as length (varUint) and UTF-8
 *            | 03 user via request update       made by a request that is recognised when it comes again
 *   sealed   = 01 bytes                         a snapshot: one update that stands for all up to its offset
 *            | 02 count (request offset time)* bytes      and the requests that made some of them; numbers are varUints
 *   request  = id hash answer                   id and answer: texts; hash: varUint
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

export const isSameAuthor = (one: Author, other: Author): boolean => one.user === other.user && one.via === other.via

/** What a request is recognised by when it comes again. */
export interface RequestKey {
  /** Chosen by whoever asks, made unique among all who ask, and short. */
  readonly id: string
  /** Of what it asks for: another request must not take this one's answer. */
  readonly hash: number
}

export interface DoneRequest extends RequestKey {
  /** What it was answered, beyond what follows from the place of its change. */
  readonly answer: string
}

/** Its change is on disk there, since then. */
export interface StoredRequest extends DoneRequest {
  readonly offset: number
  readonly time: number
}

export interface Change {
  readonly author: Author
  readonly update: Uint8Array
  readonly request?: DoneRequest | undefined
}

const plain = 1
const authored = 2
const requested = 3
/** Of snapshots. */
const withRequests = 2

const writeRequest = (encoder: encoding.Encoder, { id, hash, answer }: DoneRequest): void => {
  encoding.writeVarString(encoder, id)
  encoding.writeVarUint(encoder, hash)
  encoding.writeVarString(encoder, answer)
}

const readRequest = (decoder: decoding.Decoder): DoneRequest => ({
  id: decoding.readVarString(decoder),
  hash: decoding.readVarUint(decoder),
  answer: decoding.readVarString(decoder),
})

export const encodeChange = ({ author: { user, via }, update, request }: Change): Uint8Array => {
  if (user === '' && via === '' && request === undefined) return seal(update)
  const encoder = encoding.createEncoder()
  encoding.writeUint8(encoder, request === undefined ? authored : requested)
  encoding.writeVarString(encoder, user)
  encoding.writeVarString(encoder, via)
  if (request !== undefined) writeRequest(encoder, request)
  encoding.writeUint8Array(encoder, update)
  return encoding.toUint8Array(encoder)
}

/** The update is a view into what was stored. Undefined: written by a version that knows more. */
export const decodeChange = (stored: Uint8Array): Change | undefined => {
  if (stored[0] === plain) return { author: unknownAuthor, update: stored.subarray(1) }
  if (stored[0] !== authored && stored[0] !== requested) return undefined
  const decoder = decoding.createDecoder(stored)
  decoder.pos = 1
  const author = { user: decoding.readVarString(decoder), via: decoding.readVarString(decoder) }
  const request = stored[0] === requested ? { request: readRequest(decoder) } : {}
  return { author, update: stored.subarray(decoder.pos), ...request }
}

export const seal = (update: Uint8Array): Uint8Array => {
  const bytes = new Uint8Array(update.length + 1)
  bytes[0] = plain
  bytes.set(update, 1)
  return bytes
}

export const sealWith = (update: Uint8Array, requests: readonly StoredRequest[]): Uint8Array => {
  if (requests.length === 0) return seal(update)
  const encoder = encoding.createEncoder()
  encoding.writeUint8(encoder, withRequests)
  encoding.writeVarUint(encoder, requests.length)
  for (const request of requests) {
    writeRequest(encoder, request)
    encoding.writeVarUint(encoder, request.offset)
    encoding.writeVarUint(encoder, request.time)
  }
  encoding.writeUint8Array(encoder, update)
  return encoding.toUint8Array(encoder)
}

/** What was sealed with or without requests; a view into what was stored. Undefined: written by a version that knows more. */
export const unsealAll = (stored: Uint8Array): { readonly update: Uint8Array; readonly requests: readonly StoredRequest[] } | undefined => {
  if (stored[0] === plain) return { update: stored.subarray(1), requests: [] }
  if (stored[0] !== withRequests) return undefined
  const decoder = decoding.createDecoder(stored)
  decoder.pos = 1
  const requests = Array.from({ length: decoding.readVarUint(decoder) }, () => {
    const request = readRequest(decoder)
    return { ...request, offset: decoding.readVarUint(decoder), time: decoding.readVarUint(decoder) }
  })
  return { update: stored.subarray(decoder.pos), requests }
}

export const unseal = (stored: Uint8Array): Uint8Array | undefined => unsealAll(stored)?.update
