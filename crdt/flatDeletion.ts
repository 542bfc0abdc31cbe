/**
 * Lets Yjs delete and collect types that lie deep in each other. Its `ContentType` calls itself for each level, so the deletion of the
 * outermost of some thousand overflows the stack, in the middle of a transaction: editors with a larger stack make it, the document here
 * would refuse it, and what they deleted would come back.
 *
 * Safe because nothing looks at the inner types between the deletion of the outermost and the end of the transaction, and because
 * an item is marked as deleted before its content is: it does not matter which of them goes first.
 */
import { ContentType } from 'yjs'

/** Calls that happen inside the call wait for its end, in the order in which they come. */
const oneAfterTheOther = <Given>(call: (this: ContentType, given: Given) => void): ((this: ContentType, given: Given) => void) => {
  let waiting: ContentType[] | undefined
  return function (this: ContentType, given: Given) {
    if (waiting !== undefined) {
      waiting.push(this)
      return
    }
    waiting = [this]
    try {
      for (const content of waiting) call.call(content, given) // it grows meanwhile
    } finally {
      waiting = undefined
    }
  }
}

let isInstalled = false

/** Affects every document in this process, with equal content. Repeating it does nothing. */
export const installFlatDeletion = (): void => {
  if (isInstalled) return
  isInstalled = true
  const { prototype } = ContentType
  prototype.delete = oneAfterTheOther(prototype.delete)
  prototype.gc = oneAfterTheOther(prototype.gc)
}
