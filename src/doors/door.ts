/**
 * A door: one wire protocol for documents. Two pure functions; what they produce and consume are the messages of actors/.
 */
import type { ClientMessage } from '../../actors/connection.ts'
import type { Part } from '../../actors/publication.ts'

export type Decoded = { readonly ok: true; readonly message: ClientMessage } | { readonly ok: false; readonly detail: string }

export interface Door {
  readonly name: string
  /** One WebSocket message of the client. */
  decode(frame: Uint8Array): Decoded
  /** What stands in front of the bytes of a part in its message; the bytes follow as they are, so large ones are not copied. */
  head(part: Part): Uint8Array
}
