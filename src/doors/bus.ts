/**
 * The wire of the bus: the envelope and the commands of the ArqonBus guide, JSON text frames.
 *
 *   client                                                     server
 *   ── message | event {channel, content, id?, ack?, …} ─────→
 *         ←── message {id, timestamp, sender, channel, content, sequence, epoch} ─   to members, when it is on disk
 *         ←── ack {id, channel, sequence, epoch, repeated} ────────────────   when asked for
 *   ── command {command, request_id?, parameters …} ─────────→
 *         ←── command_response {command, success, data | error, code} ──────   the next frame after it was read
 *         ←── message … ────────────────────────────────────────────────────   replayed ones, after the answer to join_channel
 *   ── batch {messages: [message, …]} ───────────────────────→              as if each had come alone
 *   ── heartbeat ────────────────────────────────────────────→              nothing is answered
 *         ←── event {channel, content: {type: user_joined, …}} ─────────────   from the server itself
 *         ←── error {code, error} ──────────────────────────────────────────   to anything but a command
 *
 * Silent on connect: the guide's clients take the first frame for an answer. Their listeners end for good on a frame that is no
 * object, has no `type`, or has a `content` that is neither an object nor a text of a user, so no such frame leaves.
 * Reference: docs/wire/bus.md.
 */
import type { Manners } from '../../actors/request.ts'
import { type BusOptions, busDecoder } from './busDecode.ts'
import { busEncoder } from './busEncode.ts'
import type { TextDoor } from './textDoor.ts'

const manners: Manners = {
  door: 'bus',
  greets: false,
  echo: 'budget',
  acknowledges: false,
  mustJoinToPublish: false,
  canLogIn: true,
  hasPresence: true,
  hasInbox: true,
  trustsSender: true,
  heartbeatMs: undefined,
  beatsAtOnce: false,
  rate: undefined,
  nameOf: (client) => client,
}

export const busDoor = (options: BusOptions): TextDoor => ({ manners, decode: busDecoder(options), encode: busEncoder(options) })
