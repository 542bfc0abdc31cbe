/**
 * What a document tells its connections. One publication goes to everybody in the document; a door encodes it once and
 * keeps the bytes, so its parts are immutable from the moment they are sent.
 */
export type Part =
  /** Changes to apply. */
  | { readonly kind: 'update'; readonly bytes: Uint8Array }
  /** The last of the changes that bring a newcomer up to date; after it the newcomer is synchronised. */
  | { readonly kind: 'state'; readonly bytes: Uint8Array }
  /** What the server has; the client answers with what it has beyond. */
  | { readonly kind: 'vector'; readonly bytes: Uint8Array }
  | { readonly kind: 'awareness'; readonly bytes: Uint8Array }
  /** One update of this client is on disk. No bytes. */
  | { readonly kind: 'saved'; readonly bytes: Uint8Array }
  /** One update of this client will never be: `code: detail`, in UTF-8. */
  | { readonly kind: 'refused'; readonly bytes: Uint8Array }
  /** What the client sent as a barrier: all that came before it is on disk. */
  | { readonly kind: 'barrier'; readonly bytes: Uint8Array }
  /** What this client may do from now on: `write`, `comment` or `read`, as text. */
  | { readonly kind: 'access'; readonly bytes: Uint8Array }
  /** Which history the document has, in UTF-8. */
  | { readonly kind: 'epoch'; readonly bytes: Uint8Array }
  /** The disk refuses what clients write: the error code, in UTF-8. Empty: it takes it again, and everything is stored. */
  | { readonly kind: 'storage'; readonly bytes: Uint8Array }
  /** A text of the application's own protocol, in UTF-8. */
  | { readonly kind: 'stateless'; readonly bytes: Uint8Array }

export interface Publication {
  readonly type: 'connection.publish'
  readonly parts: readonly Part[]
  /** True for the answer to a request of one client, which may be as large as the document. */
  readonly isAnswer: boolean
  /** For an answer whose pieces wait at the client for the last one: changes should not come in between (curtain.ts). */
  readonly isVeiled: boolean
}

export const publication = (parts: readonly Part[], isAnswer = false, isVeiled = false): Publication => ({
  type: 'connection.publish',
  parts,
  isAnswer,
  isVeiled,
})
