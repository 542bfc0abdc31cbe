/**
 * The wire of HocuspocusProvider: many documents on one socket, each under its address; binary messages, one for each frame.
 *
 *   frame   = address type body                    address: text, the name of the document, or the name, NUL, and a session
 *   type    = 0 0 vector | 0 1 update | 0 2 update  sync: what I have; what you lack; a change
 *           | 1 awareness
 *           | 2 0 token version?                    client: who I am. Version: of providers from 4 on
 *           | 2 0                                   server: send your token
 *           | 2 1 reason                            server: you stay out
 *           | 2 2 scope                             server: you are in, `read-write` or `readonly`
 *           | 3                                     who is here?
 *           | 4 sync                                as 0
 *           | 5 text                                a message of the application; of the server itself: `troupe.storage`
 *           | 6 text                                between servers; a client must not
 *           | 7 | 7 reason                          client: I leave; server: you are no longer synchronised
 *           | 8 1 | 8 0                             server: one of your changes is on disk; it was refused
 *   9, 10                                           a frame of one byte: ping of the server, pong of the client
 *
 * Numbers are varUints; text, token, vector, update and awareness are length and bytes. Sources: @hocuspocus/provider 3.4 and 4.8.
 */
import type { LaneOutput, LaneRequest } from '../../actors/laneMessages.ts'
import type { Part, Publication } from '../../actors/publication.ts'
import { Cursor, noBytes } from '../../crdt/cursor.ts'
import { Refusal } from '../../crdt/rejection.ts'
import { documentNameDefect } from '../documents/name.ts'
import { type Framing, frameHeader, joined, messageFrame } from './frames.ts'

export const hocuspocusName = 'hocuspocus'

/** A name of 255 bytes and a session; what is longer is not even answered. */
const maxAddressBytes = 512
const separator = '\0'
const pong = 10

// ── what comes in ──────────────────────────────────────────────────────────────────────────────────────────────────

const cursor = new Cursor()
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

const textOf = (bytes: Uint8Array): string => {
  try {
    return utf8.decode(bytes)
  } catch {
    throw new Refusal('text', 'a string is not UTF-8')
  }
}

const documentOf = (address: string): string => {
  const end = address.indexOf(separator)
  return (end < 0 ? address : address.slice(0, end)).normalize('NFC')
}

export const decodeFrame = (frame: Uint8Array): LaneRequest => {
  if (frame.length === 1 && frame[0] === pong) return { type: 'lane.pong' }
  cursor.open(frame)
  let name: string | undefined
  try {
    const address = cursor.block()
    if (address.length === 0) return { type: 'lane.foreign', detail: 'y-websocket is spoken at /docs/NAME of the main listener' }
    if (address.length > maxAddressBytes) throw new Refusal('too_large', `an address of more than ${maxAddressBytes} bytes`)
    name = textOf(address)
    return read(name, documentOf(name))
  } catch (reason) {
    if (!(reason instanceof Refusal)) throw reason
    const detail = `${reason.code}: ${reason.detail}`
    return name === undefined ? { type: 'lane.unreadable', detail } : { type: 'lane.garbage', name, detail }
  } finally {
    cursor.open(noBytes)
  }
}

const read = (name: string, document: string): LaneRequest => {
  const type = cursor.varUint()
  const detail = documentNameDefect(document)
  if (detail !== undefined) return { type: 'lane.misnamed', name, detail, isToken: type === 2 }
  switch (type) {
    case 0:
    case 4:
      return { type: 'lane.request', name, document, request: readSync(type === 4) }
    case 1:
      return { type: 'lane.request', name, document, request: { type: 'document.awareness', update: lastBlock() } }
    case 2: {
      if (cursor.varUint() !== 0) throw new Refusal('kind', 'an auth message that only servers send')
      const token = textOf(cursor.block())
      return { type: 'lane.token', name, document, token, knowsPing: cursor.left > 0 && cursor.block().length > 0 }
    }
    case 3:
      return { type: 'lane.request', name, document, request: { type: 'document.presence' } }
    case 5:
      return { type: 'lane.request', name, document, request: { type: 'document.stateless', payload: textOf(lastBlock()) } }
    case 7:
      return { type: 'lane.leave', name }
    default:
      throw new Refusal('kind', 'a message that clients do not send')
  }
}

const readSync = (isReply: boolean): Extract<LaneRequest, { type: 'lane.request' }>['request'] => {
  switch (cursor.varUint()) {
    case 0:
      return { type: 'document.sync', stateVector: lastBlock(), ...(isReply ? { isReply } : {}) }
    case 1:
      return { type: 'document.update', update: lastBlock(), isAnswer: true }
    case 2:
      return { type: 'document.update', update: lastBlock(), isAnswer: false }
    default:
      throw new Refusal('kind', 'an unknown sync message')
  }
}

/** Stock clients send one message a frame; of several, the rest would be lost without a word. */
const lastBlock = (): Uint8Array => {
  const block = cursor.block()
  if (cursor.left > 0) throw new Refusal('trailing_bytes', 'bytes follow the message')
  return block
}

// ── what goes out ──────────────────────────────────────────────────────────────────────────────────────────────────

const numbers: Readonly<Partial<Record<Part['kind'], readonly number[]>>> = {
  vector: [0, 0],
  state: [0, 1],
  update: [0, 2],
  awareness: [1],
  stateless: [5],
}

const varUint = (value: number): number[] => {
  const bytes: number[] = []
  let rest = value
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 128)
  bytes.push(rest)
  return bytes
}

const text = (value: string): Uint8Array => {
  const bytes = Buffer.from(value)
  return Buffer.concat([Uint8Array.from(varUint(bytes.length)), bytes])
}

const authenticated = Buffer.concat([Uint8Array.of(2, 2), text('read-write')])
const authenticatedReader = Buffer.concat([Uint8Array.of(2, 2), text('readonly')])

/** As a message of the application, for stock clients hand those on: `{"type":"troupe.storage","error":"storage.full"}`, later `null`. */
const storageNews = (code: string): Uint8Array => text(JSON.stringify({ type: 'troupe.storage', error: code === '' ? null : code }))

/** Type and body of a part, the large bytes apart; undefined: the protocol has no word for it. */
const bodyOf = ({ kind, bytes }: Part): readonly [head: Uint8Array, bytes: Uint8Array] | undefined => {
  if (kind === 'saved') return [Uint8Array.of(8, 1), noBytes]
  if (kind === 'refused') return [Uint8Array.of(8, 0), noBytes]
  if (kind === 'storage') return [Uint8Array.of(5), storageNews(Buffer.from(bytes).toString())]
  // Who may comment types; what the document does not take of it is refused change by change.
  if (kind === 'access') return [Buffer.from(bytes).toString() === 'read' ? authenticatedReader : authenticated, noBytes]
  const number = numbers[kind]
  return number === undefined ? undefined : [Uint8Array.from([...number, ...varUint(bytes.length)]), bytes]
}

const ping = [Buffer.concat([frameHeader(1), Uint8Array.of(9)])]
/** Addresses whose bytes are kept. */
const maxKnown = 10_000

/**
 * Encodes for all sockets. A publication is encoded once for each address, not once for each socket; with sessions in the
 * addresses no two sockets have the same one, and nothing is kept.
 */
export class HocuspocusFramer implements Framing<LaneOutput> {
  readonly joinsWrites = false
  readonly #whole = new WeakMap<Publication, Map<string, readonly Uint8Array[]>>()
  readonly #addresses = new Map<string, Uint8Array>()

  whole(output: LaneOutput): readonly Uint8Array[] {
    switch (output.type) {
      case 'lane.publish':
        return this.#publication(output.name, output.publication)
      case 'lane.tokenWanted':
        return this.#plain(output.name, Uint8Array.of(2, 0))
      case 'lane.denied':
        return this.#plain(output.name, Buffer.concat([Uint8Array.of(2, 1), text(output.reason)]))
      case 'lane.closed':
        return this.#plain(output.name, Buffer.concat([Uint8Array.of(7), text(output.reason)]))
      case 'lane.presenceWanted':
        return this.#plain(output.name, Uint8Array.of(3))
      case 'lane.ping':
        return ping
    }
  }

  answer(output: LaneOutput): (readonly Uint8Array[])[] | undefined {
    if (output.type !== 'lane.publish' || !output.publication.isAnswer) return undefined
    return output.publication.parts.map((part) => this.#part(output.name, part)).filter(({ length }) => length > 0)
  }

  #publication(name: string, publication: Publication): readonly Uint8Array[] {
    const encode = () => joined(publication.parts.flatMap((part) => this.#part(name, part)))
    if (name.includes(separator)) return encode()
    let known = this.#whole.get(publication)
    if (known === undefined) this.#whole.set(publication, (known = new Map()))
    const frames = known.get(name) ?? encode()
    known.set(name, frames)
    return frames
  }

  #part(name: string, part: Part): readonly Uint8Array[] {
    const body = bodyOf(part)
    return body === undefined ? [] : messageFrame(Buffer.concat([this.#address(name), body[0]]), body[1])
  }

  #plain(name: string, body: Uint8Array): readonly Uint8Array[] {
    return messageFrame(Buffer.concat([this.#address(name), body]), noBytes)
  }

  #address(name: string): Uint8Array {
    const known = this.#addresses.get(name)
    if (known !== undefined) return known
    if (this.#addresses.size >= maxKnown) this.#addresses.clear()
    const bytes = text(name)
    this.#addresses.set(name, bytes)
    return bytes
  }
}
