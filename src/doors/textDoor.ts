/**
 * A door of the bus: one wire protocol of JSON text frames. Two pure functions and the manners of the protocol; what they
 * consume and produce are the messages of actors/.
 */
import type { Output, Refusal } from '../../actors/output.ts'
import type { ClientRequest, Manners } from '../../actors/request.ts'

/** How a client is turned away: connected and closed, so that a browser learns why, or with a status of HTTP. */
export type Denial =
  | { readonly close: number; readonly reason: string }
  | { readonly status: string; readonly headers: Readonly<Record<string, string>>; readonly body: string }

export interface TextDoor {
  readonly manners: Manners
  /** One WebSocket message of the client. Never throws; what it cannot make sense of is a `request.bad`, or nothing. */
  decode(text: string): readonly ClientRequest[]
  /** The frames that an output is in this protocol; none when the protocol has no word for it. The same output gives the same frames. */
  encode(output: Output): readonly string[]
  /** For a client that may not connect; default: the close code of the refusal. */
  readonly deny?: (refusal: Refusal) => Denial | undefined
}
