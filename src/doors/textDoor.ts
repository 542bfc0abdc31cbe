/**
 * A door of the bus: one wire protocol of JSON text frames. Two pure functions and the manners of the protocol; what they
 * consume and produce are the messages of actors/.
 */
import type { Output } from '../../actors/output.ts'
import type { ClientRequest, Manners } from '../../actors/request.ts'

export interface TextDoor {
  readonly manners: Manners
  /** One WebSocket message of the client. Never throws; what it cannot make sense of is a `request.bad`, or nothing. */
  decode(text: string): readonly ClientRequest[]
  /** The frames that an output is in this protocol; none when the protocol has no word for it. The same output gives the same frames. */
  encode(output: Output): readonly string[]
}
