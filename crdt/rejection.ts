/**
 * What this folder answers to bytes that it does not accept. A rejection is returned, never thrown: what a client may
 * send is not exceptional. The codes are stable words; `detail` is for people and carries no bytes of the client.
 */
export type RejectionCode =
  | 'truncated' // the bytes end before what they announce
  | 'trailing_bytes' // something follows the last field; V2 updates end up here, too
  | 'number' // a varint above 2^53 - 1, or longer than 8 bytes
  | 'count' // more elements announced than the bytes left can hold
  | 'text' // a string that is not UTF-8
  | 'json' // a string that should be JSON and is not
  | 'depth' // nested deeper than the limit
  | 'clock' // a clock or a length that no Yjs client reaches
  | 'empty_struct' // a struct, a client or a deletion of length 0
  | 'reference' // a struct that refers to itself or to its own future
  | 'kind' // unknown struct, content, type or message number
  | 'duplicate_client' // one client in two sections: Yjs would drop the first one silently
  | 'reserved_key' // __proto__ as a name
  | 'too_many_structs'
  | 'too_many_deletes'
  | 'too_many_roots'
  | 'too_many_subdocuments'
  | 'too_many_clients'
  | 'too_large'

/** Of bytes that are right, and more or deeper than is taken: what an honest client can send. */
const limits: ReadonlySet<RejectionCode> = new Set([
  'depth',
  'reserved_key',
  'too_many_structs',
  'too_many_deletes',
  'too_many_roots',
  'too_many_subdocuments',
  'too_many_clients',
  'too_large',
])

export const isBeyondLimits = ({ code }: Rejection): boolean => limits.has(code)

export interface Rejection {
  readonly ok: false
  readonly code: RejectionCode
  readonly detail: string
}

/**
 * A rejection on its way from a parser's depth to its boundary, where it is returned as it is. Not an Error: no stack is
 * collected, so refusing garbage costs no more than accepting an update.
 */
export class Refusal implements Rejection {
  readonly ok = false
  readonly code: RejectionCode
  readonly detail: string

  constructor(code: RejectionCode, detail: string) {
    this.code = code
    this.detail = detail
  }
}

/** Runs a parser and turns its refusal into the answer. Anything else that it throws is a bug and goes on. */
export const rejecting = <T>(parse: () => T): T | Rejection => {
  try {
    return parse()
  } catch (reason) {
    if (reason instanceof Refusal) return reason
    throw reason
  }
}
