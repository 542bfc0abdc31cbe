/**
 * Both wires, spelled independently of any server: what a frame says, and how to say it.
 *
 *   yjs         frame = message                       one document for each socket, named by the URL
 *   hocuspocus  frame = address message | 9 | 10      address = document name, or name NUL session; 9 ping, 10 pong
 *
 *   message = 0 sync | 1 block awareness | 2 auth | 5 text stateless | 7 text close | 8 number status | other
 *   sync    = 0 block step 1 | 1 block step 2 | 2 block update
 *
 * Sources: y-protocols `PROTOCOL.md`; the clients y-websocket 3.1 and @hocuspocus/provider 4.8.
 */
import * as decoding from 'lib0/decoding'
import * as encoding from 'lib0/encoding'

export type Wire = 'yjs' | 'hocuspocus'

export interface Presence {
  readonly client: number
  readonly clock: number
  /** null: has gone. */
  readonly state: unknown
}

export type Message =
  | { readonly kind: 'step1'; readonly bytes: Uint8Array }
  | { readonly kind: 'step2'; readonly bytes: Uint8Array }
  | { readonly kind: 'update'; readonly bytes: Uint8Array }
  | { readonly kind: 'awareness'; readonly entries: readonly Presence[] }
  | { readonly kind: 'token.request' }
  | { readonly kind: 'denied'; readonly reason: string }
  | { readonly kind: 'authenticated'; readonly scope: string }
  | { readonly kind: 'stateless'; readonly payload: string }
  | { readonly kind: 'close'; readonly reason: string }
  | { readonly kind: 'status'; readonly isApplied: boolean }
  | { readonly kind: 'other'; readonly type: number }

export interface Frame {
  /** Of the document; empty on the yjs wire. */
  readonly address: string
  readonly message: Message
  /** Bytes behind the first message: y-websocket up to 3.1 never reads them. */
  readonly trailing: number
}

export const ping = 9
export const pong = 10

const syncKinds = ['step1', 'step2', 'update'] as const

const readPresence = (block: Uint8Array): readonly Presence[] => {
  const decoder = decoding.createDecoder(block)
  return Array.from({ length: decoding.readVarUint(decoder) }, () => ({
    client: decoding.readVarUint(decoder),
    clock: decoding.readVarUint(decoder),
    state: JSON.parse(decoding.readVarString(decoder)) as unknown,
  }))
}

const readAuth = (decoder: decoding.Decoder): Message => {
  switch (decoding.readVarUint(decoder)) {
    case 0: // y-protocols: denied, with the reason. Hocuspocus: send your token.
      return decoding.hasContent(decoder) ? { kind: 'denied', reason: decoding.readVarString(decoder) } : { kind: 'token.request' }
    case 1:
      return { kind: 'denied', reason: decoding.readVarString(decoder) }
    default:
      return { kind: 'authenticated', scope: decoding.readVarString(decoder) }
  }
}

const readMessage = (decoder: decoding.Decoder): Message => {
  const type = decoding.readVarUint(decoder)
  switch (type) {
    case 0: {
      const kind = syncKinds[decoding.readVarUint(decoder)]
      return kind === undefined ? { kind: 'other', type } : { kind, bytes: decoding.readVarUint8Array(decoder) }
    }
    case 1:
      return { kind: 'awareness', entries: readPresence(decoding.readVarUint8Array(decoder)) }
    case 2:
      return readAuth(decoder)
    case 5:
      return { kind: 'stateless', payload: decoding.readVarString(decoder) }
    case 7:
      return { kind: 'close', reason: decoding.readVarString(decoder) }
    case 8:
      return { kind: 'status', isApplied: decoding.readVarUint(decoder) === 1 }
    default:
      return { kind: 'other', type }
  }
}

/** Throws when the frame cannot be read. */
export const readFrame = (wire: Wire, bytes: Uint8Array): Frame => {
  const decoder = decoding.createDecoder(bytes)
  const address = wire === 'hocuspocus' ? decoding.readVarString(decoder) : ''
  const message = readMessage(decoder)
  // What follows a type that a client does not know is its own business.
  return { address, message, trailing: message.kind === 'other' ? 0 : bytes.length - decoder.pos }
}

const write = (fill: (encoder: encoding.Encoder) => void): Uint8Array => encoding.encode(fill)
const block = (type: readonly number[], bytes: Uint8Array): Uint8Array =>
  write((encoder) => {
    for (const number of type) encoding.writeVarUint(encoder, number)
    encoding.writeVarUint8Array(encoder, bytes)
  })

export const step1 = (vector: Uint8Array): Uint8Array => block([0, 0], vector)
export const step2 = (update: Uint8Array): Uint8Array => block([0, 1], update)
export const updateMessage = (update: Uint8Array): Uint8Array => block([0, 2], update)

export const presenceMessage = (entries: readonly Presence[]): Uint8Array =>
  block(
    [1],
    write((encoder) => {
      encoding.writeVarUint(encoder, entries.length)
      for (const { client, clock, state } of entries) {
        encoding.writeVarUint(encoder, client)
        encoding.writeVarUint(encoder, clock)
        encoding.writeVarString(encoder, JSON.stringify(state))
      }
    }),
  )

/** As provider 4 says it; a version at the end tells that it answers pings. */
export const tokenMessage = (token: string): Uint8Array =>
  write((encoder) => {
    encoding.writeVarUint(encoder, 2)
    encoding.writeVarUint(encoder, 0)
    encoding.writeVarString(encoder, token)
    encoding.writeVarString(encoder, '4.8.0')
  })

export const closeMessage = (): Uint8Array => Uint8Array.of(7)

/** A message of the wire, addressed. */
export const frameOf = (wire: Wire, address: string, message: Uint8Array): Uint8Array => {
  if (wire === 'yjs') return message
  return write((encoder) => {
    encoding.writeVarString(encoder, address)
    encoding.writeUint8Array(encoder, message)
  })
}
