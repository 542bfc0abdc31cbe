import { describe, expect, it } from 'vitest'
import * as Y from 'yjs'
import { applyOne, inBatches, oneByOne } from '../../crdt/apply.ts'
import { rootsOf } from '../../crdt/content.ts'
import { docOf, session } from './sessions.ts'

const taken = (updates: readonly Uint8Array[], gc: boolean, bytesEach?: number) => {
  const doc = new Y.Doc({ gc })
  let [transactions, partial] = [0, 0]
  doc.on('afterTransaction', () => transactions++)
  inBatches(
    doc,
    updates.map((update) => ({ update })),
    ({ update }) => {
      if (applyOne(doc, update)) partial++
    },
    bytesEach,
  )
  return { doc, transactions, partial }
}

/** What is there, what was deleted, and how far each client got. */
const stateOf = (doc: Y.Doc) => {
  const { clients } = Y.createDeleteSetFromStructStore(doc.store)
  const deleted = [...clients].map(([client, ranges]) => [client, ranges.map(({ clock, len }) => [clock, len])] as const)
  return { roots: rootsOf(doc), vector: Y.decodeStateVector(Y.encodeStateVector(doc)), deleted: new Map(deleted) }
}

describe('updates in batches', () => {
  for (const seed of [91, 92, 93, 94, 95, 96])
    it(`make what each of them makes by itself (seed ${seed})`, () => {
      const { updates } = session(seed, 160)
      for (const gc of [true, false]) {
        const { doc } = taken(updates, gc)
        expect(stateOf(doc)).toEqual(stateOf(taken(updates, gc, oneByOne).doc))
        expect(rootsOf(doc)).toEqual(rootsOf(docOf(updates)))
      }
    })

  it('do the same where half of them is missing', () => {
    for (let seed = 1; seed <= 20; seed++) {
      const updates = session(seed, 80).updates.filter((_, at) => at % 7 !== seed % 7)
      const [many, each] = [taken(updates, true), taken(updates, true, oneByOne)]
      expect([many.partial, stateOf(many.doc)]).toEqual([each.partial, stateOf(each.doc)])
      expect(many.partial).toBeGreaterThan(0)
    }
  })

  it('[HIS6] are few transactions, however many clients made them', () => {
    const doc = new Y.Doc()
    const updates: Uint8Array[] = []
    doc.on('update', (update: Uint8Array) => updates.push(update))
    for (let client = 1; client <= 2_000; client++) {
      doc.clientID = client
      doc.getText('t').insert(doc.getText('t').length, 'abc ')
    }
    const found = taken(updates, true)
    expect(found.transactions).toBeLessThan(20)
    expect(found.doc.getText('t').toString()).toBe('abc '.repeat(2_000))
  })

  it('delete no mark that no update deletes, as one that says what another says may be needed when that is taken away', () => {
    const start = new Y.Doc()
    start.getXmlFragment('x').insert(0, [new Y.XmlText('some words')])
    const base = Y.encodeStateAsUpdate(start)
    const updates = [1, 2].map((client) => {
      const doc = docOf([base])
      doc.clientID = client
      ;(doc.getXmlFragment('x').get(0) as Y.XmlText).format(0, 4, { bold: true })
      return Y.encodeStateAsUpdate(doc, Y.encodeStateVector(start))
    })
    const deletions = ({ doc }: { readonly doc: Y.Doc }) => stateOf(doc).deleted
    expect(stateOf(docOf([base, ...updates])).deleted.size).toBeGreaterThan(0) // what a reader sweeps up
    expect(deletions(taken([base, ...updates], true)).size).toBe(0)
    expect(deletions(taken([base, ...updates], true, oneByOne)).size).toBe(0)
  })
})
