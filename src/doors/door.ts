/**
 * A door: one wire protocol for documents. Two pure functions; what they produce and consume are the messages of actors/.
 */
import type { DocumentRequest } from '../../actors/documentMessages.ts'
import type { Part } from '../../actors/publication.ts'

export type Decoded = { readonly ok: true; readonly message: DocumentRequest } | { readonly ok: false; readonly detail: string }

export interface Door {
  readonly name: string
  /** One WebSocket message of the client. */
  decode(frame: Uint8Array): Decoded
  /**
   * What stands in front of the bytes of a part in its message; the bytes follow as they are, so large ones are not copied.
   * Undefined: the protocol has no word for it.
   */
  head(part: Part): Uint8Array | undefined
}
