import { describe, expect, it } from 'vitest'
import * as Y from 'yjs'
import { deletionsWithin } from '../../crdt/deletions.ts'
import { inspectUpdate } from '../../crdt/update.ts'

const deletionsOf = (update: Uint8Array, vector: ReadonlyMap<number, number>): Uint8Array | undefined => {
  const inspection = inspectUpdate(update)
  if (!inspection.ok) throw new Error(inspection.detail)
  return deletionsWithin(update, inspection.deletesAt, vector)
}

describe('the deletions of an update', () => {
  it('delete what the document has, and bring nothing', () => {
    const [author, server] = [new Y.Doc(), new Y.Doc()]
    author.clientID = 1
    author.getText('text').insert(0, 'hello')
    Y.applyUpdate(server, Y.encodeStateAsUpdate(author))
    author.getText('text').insert(5, ' world, and all the others')
    author.getText('text').delete(3, 20)
    const update = Y.encodeStateAsUpdate(author)
    const deletions = deletionsOf(update, new Map([[1, 5]])) as Uint8Array
    expect(Y.decodeUpdate(deletions).structs).toEqual([])
    Y.applyUpdate(server, deletions)
    expect(server.getText('text').toString()).toBe('hel')
    expect(server.store.pendingDs).toBeNull()
    Y.applyUpdate(server, update)
    expect(server.getText('text').toString()).toBe(author.getText('text').toString())
  })

  it('are none where the document has nothing of what is deleted', () => {
    const author = new Y.Doc()
    author.getText('text').insert(0, 'hello')
    author.getText('text').delete(0, 5)
    expect(deletionsOf(Y.encodeStateAsUpdate(author), new Map())).toBeUndefined()
  })
})
