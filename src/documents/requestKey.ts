/** What a request is recognised by when it comes again: short, whatever the key and the request are, and nobody else's. */
import { createHash } from 'node:crypto'
import type { RequestKey } from '../../crdt/change.ts'

/** `user`: keys of two users are never the same. `what`: all that the request asks for; without it anything is taken for a repetition. */
export const requestKey = (document: string, user: string, key: string, what?: readonly (string | Uint8Array)[]): RequestKey => {
  const id = createHash('sha256')
    .update(JSON.stringify([document, user, key]))
    .digest()
    .subarray(0, 16)
    .toString('base64url')
  if (what === undefined) return { id, hash: 0 }
  const hash = createHash('sha256')
  for (const part of what) hash.update(part).update('\0')
  return { id, hash: hash.digest().readUIntBE(0, 6) }
}
