/**
 * Updates into a `Y.Doc`, one after the other, but many of them in one transaction: each transaction goes through all clients that
 * ever wrote. 40 000 keystrokes of 4 000 page loads take 13 s with one for each, and 0.1 s this way.
 *
 * Promises: of well-formed updates, the content is that of applying each by itself. Nothing is deleted that no update deletes: Yjs sweeps up the formatting
 * marks of others that have no effect, and one may have an effect again when an update comes that was made at the same time.
 */
import * as Y from 'yjs'
import { installFlatDeletion } from './flatDeletion.ts'
import { installLinearMerge } from './linearMerge.ts'

/**
 * About 700 keystrokes. Structs are joined when a transaction ends, and what is not joined yet makes all that follows slower: 260 000
 * keystrokes take 0.6 s so, 1.7 s in batches of 256 KiB.
 */
const batchBytes = 16 * 1024

/** Each by itself: what Yjs throws belongs to the one that was taken last. */
export const oneByOne = 1

/**
 * Calls `take` for each, which applies it with `applyOne`. What Yjs throws ends it, with the document half changed. Nobody should
 * listen to the document's events: a batch is one of them.
 */
export const inBatches = <Given extends { readonly update: Uint8Array }>(
  doc: Y.Doc,
  all: Iterable<Given>,
  take: (given: Given, transaction: Y.Transaction) => void,
  bytesEach: number = batchBytes,
): void => {
  installLinearMerge()
  installFlatDeletion()
  const rest = all[Symbol.iterator]()
  for (let next = rest.next(); next.done !== true; ) {
    Y.transact(doc, (transaction) => {
      for (let bytes = 0; next.done !== true && bytes < bytesEach; next = rest.next()) {
        bytes += Math.max(1, next.value.update.length)
        take(next.value, transaction)
      }
      // Marks of others would be swept up. Search markers stay, too: nobody may have read a text by index before.
      transaction.local = true
    })
  }
}

/** Returns whether a part could not be integrated. It is dropped, as it builds on something unknown. */
export const applyOne = (doc: Y.Doc, update: Uint8Array): boolean => {
  if (update.length > 0) Y.applyUpdate(doc, update)
  return dropPending(doc)
}

/**
 * Forgets what could not be integrated, at once: kept, it is merged again with each update (4 000 updates with a hole:
 * 1.3 s for each 1 000) and becomes part of every encoding. Returns whether there was anything.
 */
export const dropPending = ({ store }: Y.Doc): boolean => {
  if (store.pendingStructs === null && store.pendingDs === null) return false
  store.pendingStructs = null
  store.pendingDs = null
  return true
}
