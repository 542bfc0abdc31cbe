/** What a request is recognised by when it comes again: short, whatever the key and the request are, and nobody else's. */
import { createHash } from 'node:crypto'
import type { RequestKey } from '../../crdt/change.ts'

export interface KeyScope {
  /** Keys of the program are not those of HTTP: else a stranger could use up one that the program is going to need. */
  readonly door: 'program' | 'http'
  readonly document: string
  /** Empty: nobody known. */
  readonly user: string
}

/** `what`: all that the request asks for. */
export const requestKey = ({ door, document, user }: KeyScope, key: string, what: readonly (string | Uint8Array)[]): RequestKey => {
  const id = createHash('sha256')
    .update(JSON.stringify([door, document, user, key]))
    .digest()
    .subarray(0, 16)
    .toString('base64url')
  const hash = createHash('sha256')
  for (const part of what) hash.update(part).update('\0')
  return { id, hash: hash.digest().readUIntBE(0, 6) }
}
