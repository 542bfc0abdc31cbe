/**
 * How a channel is stored: one journal entry for each message, one byte of format and then compact JSON. Channel, offset,
 * epoch and time are the journal's. The snapshot holds no messages, only what would be lost with the process otherwise.
 */
import { guestPrefix } from './account.ts'
import { TroupeError } from './errors.ts'
import type { Entry, Offset } from './journal.ts'
import type { ChannelMessage, Json, JsonObject, Status } from './output.ts'
import type { EpochMs } from './world.ts'

/** What the journal does not know of a message by itself. */
export type Content = Omit<ChannelMessage, 'channel' | 'offset' | 'epoch' | 'time'>

/** Keys are short, for there are as many of them as messages. */
interface Stored {
  /** Id of the client; */
  readonly i?: string
  /** or of the server, which nobody can repeat. */
  readonly g?: string
  readonly u: string
  /** Sender, if it is not the user. */
  readonly s?: string
  readonly c?: string
  /** Kind, if it is not `message`. */
  readonly k?: string
  readonly m?: JsonObject
  readonly r?: string
  readonly b: Json
}

/** U+0001 is the byte 1 in UTF-8. */
const format = '\u0001'
const formatByte = 1
const encoder = new TextEncoder()
const decoder = new TextDecoder()

const sealed = (json: string): Uint8Array => encoder.encode(format + json)
const unsealed = (bytes: Uint8Array, where: string): unknown => {
  if (bytes[0] !== formatByte) throw new TroupeError('storage.newer_format', `${where} has format ${bytes[0]}`)
  return JSON.parse(decoder.decode(bytes.subarray(1))) // written by `sealed`, checksummed by the store
}

/** FNV-1a, 32 bits: tells a retry from another message under the same id, by accident, not against an attacker. */
const hashOf = (text: string): number => {
  let hash = 0x811c9dc5
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193)
  return hash >>> 0
}

export interface Encoded {
  readonly data: Uint8Array
  /** Of the body. */
  readonly hash: number
}

/**
 * `isOwnId`: the publisher chose the id, so that a retry can be recognised by it. Throws `message.malformed` for what is no
 * JSON: in the journal it would keep the channel from being loaded.
 */
export const encodeMessage = ({ id, user, sender, client, kind, metadata, room, body }: Content, isOwnId: boolean): Encoded => {
  const envelope: Omit<Stored, 'b'> = {
    ...(isOwnId ? { i: id } : { g: id }),
    u: user,
    ...(sender === user ? {} : { s: sender }),
    ...(client === '' ? {} : { c: client }),
    ...(kind === 'message' ? {} : { k: kind }),
    ...(metadata === undefined ? {} : { m: metadata }),
    ...(room === undefined ? {} : { r: room }),
  }
  const text = JSON.stringify(body) as string | undefined // undefined where the body is that, which the types do not know
  if (text === undefined) throw new TroupeError('message.malformed', 'there is no body')
  return { data: sealed(`${JSON.stringify(envelope).slice(0, -1)},"b":${text}}`), hash: isOwnId ? hashOf(text) : 0 }
}

export interface Decoded {
  readonly message: ChannelMessage
  readonly isOwnId: boolean
}

/** Errors: `storage.newer_format`. */
export const decodeMessage = ({ offset, time, data }: Entry, channel: string, epoch: string): Decoded => {
  const { i, g, u, s, c, k, m, r, b } = unsealed(data, `message ${offset} of ${channel}`) as Stored
  const message = Object.freeze<ChannelMessage>({
    channel,
    offset,
    epoch,
    time,
    id: i ?? g ?? '',
    user: u,
    sender: s ?? u,
    client: c ?? '',
    body: b,
    kind: k ?? 'message',
    ...(m === undefined ? {} : { metadata: m }),
    ...(r === undefined ? {} : { room: r }),
  })
  return { message, isOwnId: i !== undefined }
}

export const bodyHash = ({ body }: ChannelMessage): number => hashOf(JSON.stringify(body))

/**
 * A retry is known by who publishes and the id. A client without a name is called after its connection, and comes back on
 * another one: all of those share one scope.
 */
export const repeatKey = ({ sender, client, id }: { sender: string; client: string; id: string }): string =>
  `${sender === client || sender === guestPrefix + client ? '' : sender}\n${id}`

/** Who was present when the process ended in good order, and how far the readers of private messages are. */
export interface SideState {
  readonly present: readonly PresentUser[]
  readonly cursors: readonly (readonly [name: string, offset: Offset])[]
}

export interface PresentUser {
  readonly user: string
  readonly status: Status
  readonly joinedAt: EpochMs
  readonly lastSeen: EpochMs
}

export const encodeSideState = (side: SideState): Uint8Array => sealed(JSON.stringify(side))
/** Errors: `storage.newer_format`. */
export const decodeSideState = (data: Uint8Array, where: string): SideState => unsealed(data, where) as SideState
