import * as encoding from 'lib0/encoding'
import { describe, expect, it } from 'vitest'
import * as Y from 'yjs'
import { diffInspected } from '../../crdt/merge.ts'
import { splitUpdate } from '../../crdt/split.ts'
import { decodeStateVector } from '../../crdt/stateVector.ts'
import { inspectUpdate, storedLimits } from '../../crdt/update.ts'
import { contentOf, docOf, plainEdits, random, session } from './sessions.ts'
import { trace } from './traces.ts'

const inspected = (bytes: Uint8Array) => {
  const inspection = inspectUpdate(bytes, storedLimits)
  if (!inspection.ok) throw new Error(inspection.code)
  return { bytes, inspection }
}

/** Applies piece by piece; after each one nothing may hang in the air. */
const fed = (pieces: readonly Uint8Array[], doc = new Y.Doc()): Y.Doc => {
  for (const piece of pieces) expect(inspectUpdate(piece, storedLimits)).toMatchObject({ ok: true })
  for (const piece of pieces) {
    Y.applyUpdate(doc, piece)
    expect(doc.store.pendingStructs).toBeNull()
    expect(doc.store.pendingDs).toBeNull()
  }
  return doc
}

/** Every piece is readable and not larger than asked for; deletions follow all structs. */
const check = (pieces: readonly Uint8Array[], target: number): void => {
  let isDeleting = false
  for (const piece of pieces) {
    const { structs, deleteRanges } = inspected(piece).inspection
    if (structs + deleteRanges > 1) expect(piece.length).toBeLessThanOrEqual(target)
    expect(structs + deleteRanges).toBeGreaterThan(0)
    if (isDeleting) expect(structs).toBe(0)
    isDeleting ||= deleteRanges > 0
  }
}

const targets = [1, 20, 64, 300, 2000, 1e9]

describe('splitUpdate', () => {
  for (const seed of [101, 102, 103, 104, 105, 106, 107, 108]) {
    it(`gives pieces that integrate one by one and end with the same document (seed ${seed})`, () => {
      const { updates, docs } = session(seed, 200, 2 + (seed % 4), plainEdits)
      const expected = contentOf(docOf(updates))
      // collected by a client, and with everything that was ever deleted
      for (const whole of [Y.encodeStateAsUpdate(docs[0] as Y.Doc), Y.mergeUpdates([...updates])]) {
        expect(inspected(whole).inspection.hasMarkup).toBe(false)
        for (const target of targets) {
          const pieces = splitUpdate(whole, target)
          check(pieces, target)
          const reader = new Y.Doc()
          contentOf(reader) // makes the root types, as an app does before it connects
          expect(contentOf(fed(pieces, reader))).toEqual(expected)
        }
        expect(splitUpdate(whole, 300).length).toBeGreaterThan(whole.length / 600)
      }
    })

    it(`loses nothing of any content, and leaves nothing pending (seed ${seed})`, () => {
      const { updates } = session(seed, 200, 2 + (seed % 4))
      const whole = Y.mergeUpdates([...updates])
      expect(inspected(whole).inspection.hasMarkup).toBe(true)
      for (const target of targets) {
        const pieces = splitUpdate(inspected(whole), target)
        check(pieces, target)
        fed(pieces)
        expect(contentOf(docOf([Y.mergeUpdates([...pieces])]))).toEqual(contentOf(docOf([whole])))
      }
    })

    it(`brings somebody who has a part to the same document (seed ${seed})`, () => {
      const r = random(seed)
      const { updates } = session(seed, 200, 4, plainEdits)
      const whole = inspected(Y.encodeStateAsUpdate(docOf(updates)))
      const expected = contentOf(docOf(updates))
      for (let turn = 0; turn < 12; turn++) {
        const partial = docOf(updates.slice(0, 1 + r.below(updates.length)))
        const vector = decodeStateVector(Y.encodeStateVector(partial))
        if ('ok' in vector) throw new Error(vector.code)
        const cut = diffInspected(whole, vector)
        const target = targets[turn % targets.length] ?? 1
        const pieces = splitUpdate(cut.length === 0 ? new Uint8Array([0, 0]) : cut, target)
        check(pieces, target)
        expect(contentOf(fed(pieces, partial))).toEqual(expected)
      }
    })
  }

  it('has nothing to do for an empty update or one that is small enough, and throws for what is unreadable', () => {
    const doc = new Y.Doc()
    doc.getText('t').insert(0, 'hello')
    const update = Y.encodeStateAsUpdate(doc)
    expect(splitUpdate(new Uint8Array([0, 0]), 1)).toEqual([])
    expect(splitUpdate(update, update.length)[0]).toBe(update)
    expect(splitUpdate(update, 1)[0]).toBe(update) // one struct
    expect(() => splitUpdate(new Uint8Array([1]), 1)).toThrow('count')
  })

  it('leaves a struct larger than the target alone', () => {
    const doc = new Y.Doc()
    const list = doc.getArray('list')
    for (const size of [10, 5000, 10, 10, 7000]) list.push([new Y.Text('x'.repeat(size))])
    const pieces = splitUpdate(Y.encodeStateAsUpdate(doc), 1000)
    const sizes = pieces.filter(({ length }) => length > 1000).map((piece) => inspected(piece).inspection.structs)
    expect(sizes).toEqual([1, 1])
    expect(fed(pieces).getArray('list').toJSON()).toEqual(list.toJSON())
  })

  it('cuts a large set of deletions, within one client and between two', () => {
    const docs = [new Y.Doc(), new Y.Doc()] as const
    for (const doc of docs) {
      doc.getText('t').insert(0, 'x'.repeat(4000))
      for (let i = 0; i < 1500; i++) doc.getText('t').delete(i, 1)
    }
    const whole = Y.mergeUpdates(docs.map((doc) => Y.encodeStateAsUpdate(doc)))
    const structsOnly = Y.encodeStateAsUpdate(docOf([whole]))
    for (const update of [whole, structsOnly]) {
      const pieces = splitUpdate(update, 700)
      check(pieces, 700)
      expect(pieces.filter((piece) => inspected(piece).inspection.deleteRanges > 0).length).toBeGreaterThan(6)
      expect(contentOf(fed(pieces))).toEqual(contentOf(docOf([whole])))
    }
  })

  it('keeps the holes of an update for somebody who can fill them', () => {
    const doc = new Y.Doc()
    const updates: Uint8Array[] = []
    doc.on('update', (update: Uint8Array) => updates.push(update))
    for (let i = 0; i < 60; i++) doc.getText('t').insert(0, `${i} `)
    const known = updates.slice(0, 45) // the reader has more than begins with the first hole
    const holey = Y.mergeUpdates(updates.filter((_, i) => i < 10 || (i > 20 && i < 30) || i > 40))
    for (const target of [1, 50, 150]) {
      const reader = docOf(known)
      expect(fed(splitUpdate(holey, target), reader).getText('t').toString()).toBe(doc.getText('t').toString())
    }
  })

  it('follows 30 000 clients that each build on the one before, without a deep call stack', () => {
    const clients = 30_000
    const chain = encoding.encode((e) => {
      encoding.writeVarUint(e, clients)
      for (let client = clients; client > 0; client--) {
        for (const number of [1, client, 0]) encoding.writeVarUint(e, number)
        encoding.writeUint8(e, client === 1 ? 4 : 0x84)
        if (client === 1) encoding.writeVarUint(e, 1)
        if (client === 1) encoding.writeVarString(e, 't')
        else for (const number of [client - 1, 0]) encoding.writeVarUint(e, number)
        encoding.writeVarString(e, 'x')
      }
      encoding.writeVarUint(e, 0)
    })
    const pieces = splitUpdate(chain, 20_000)
    expect(pieces.length).toBeGreaterThan(10)
    expect(fed(pieces).getText('t').length).toBe(clients)
  })

  it('delivers everything of clients that need each other in a circle, and the others are not held up', () => {
    const other = new Y.Doc()
    other.clientID = 9
    for (let i = 0; i < 20; i++) other.getMap('m').set(`k${i}`, i)
    // 1 and 2 build on each other; 3 builds on 1
    const circle = new Uint8Array([3, 1, 3, 0, 0x84, 1, 0, 1, 67, 1, 2, 0, 0x84, 1, 0, 1, 65, 1, 1, 0, 0x84, 2, 0, 1, 66, 0])
    const whole = Y.mergeUpdates([circle, Y.encodeStateAsUpdate(other)])
    const complete = inspected(whole).inspection
    for (const target of [1, 30, 80]) {
      const pieces = splitUpdate(whole, target)
      const joined = inspected(Y.mergeUpdates([...pieces])).inspection
      expect(joined.ranges.map(({ client, from, to }) => [client, from, to])).toEqual(
        complete.ranges.map(({ client, from, to }) => [client, from, to]),
      )
      const [inPieces, atOnce] = [docOf(pieces), docOf([whole])]
      expect(inPieces.getMap('m').toJSON()).toEqual(other.getMap('m').toJSON())
      expect(Y.encodeStateVector(inPieces)).toEqual(Y.encodeStateVector(atOnce))
      expect([...(inPieces.store.pendingStructs?.missing.keys() ?? [])]).not.toEqual([])
    }
  })

  for (const name of ['sveltecomponent', 'friendsforever'])
    it(`${name}: two writers' history in pieces is the history`, () => {
      const { txns } = trace(name)
      const docs = [new Y.Doc(), new Y.Doc()] as const
      const r = random(7)
      // the recorded changes, at the recorded places as far as they exist, by two who exchange now and then
      for (const [i, { patches, agent = i % 2 }] of txns.entries()) {
        const text = (docs[agent] as Y.Doc).getText('t')
        for (const [position, deleted, inserted] of patches) {
          const at = Math.min(position, text.length)
          if (deleted > 0) text.delete(at, Math.min(deleted, text.length - at))
          if (inserted !== '') text.insert(at, inserted)
        }
        if (r.below(200) > 0) continue
        Y.applyUpdate(docs[0], Y.encodeStateAsUpdate(docs[1], Y.encodeStateVector(docs[0])))
        Y.applyUpdate(docs[1], Y.encodeStateAsUpdate(docs[0], Y.encodeStateVector(docs[1])))
      }
      Y.applyUpdate(docs[0], Y.encodeStateAsUpdate(docs[1]))
      const whole = Y.encodeStateAsUpdate(docs[0])
      for (const target of [500, 4096, 65_536]) {
        const pieces = splitUpdate(whole, target)
        check(pieces, target)
        expect(pieces.length).toBeGreaterThan(whole.length / target / 2)
        expect(contentOf(fed(pieces))).toEqual(contentOf(docs[0]))
      }
    })
})

describe('hasMarkup', () => {
  /** Client 2 makes 'xx' bold, client 1 writes 'y' into it, and the 'xx' is deleted: bold 'y' remains. */
  const boldDoc = () => {
    const [a, b] = [new Y.Doc(), new Y.Doc()]
    a.clientID = 1
    b.clientID = 2
    a.getText('t').insert(0, 'xx tail')
    Y.applyUpdate(b, Y.encodeStateAsUpdate(a))
    b.getText('t').format(0, 2, { bold: true })
    Y.applyUpdate(a, Y.encodeStateAsUpdate(b))
    a.getText('t').insert(1, 'y')
    a.getText('t').delete(2, 1)
    a.getText('t').delete(0, 1)
    return a
  }
  const bold = [{ insert: 'y', attributes: { bold: true } }, { insert: ' tail' }]

  it('is told of marks and nested XML types, not of plain shared types', () => {
    const has = (change: (doc: Y.Doc) => void) => {
      const doc = new Y.Doc()
      change(doc)
      return inspected(Y.encodeStateAsUpdate(doc)).inspection.hasMarkup
    }
    expect(has((doc) => doc.getText('t').insert(0, 'b', { bold: true }))).toBe(true)
    expect(has((doc) => doc.getXmlFragment('x').push([new Y.XmlElement('p')]))).toBe(true)
    expect(has((doc) => doc.getXmlFragment('x').push([new Y.XmlText('p')]))).toBe(true)
    expect(has((doc) => doc.getArray('a').push([new Y.Map(), new Y.Array(), new Y.Text('t')]))).toBe(false)
    expect(has((doc) => doc.getText('t').insertEmbed(0, { image: 'i.png' }))).toBe(false)
    expect(has(() => {})).toBe(false)
  })

  it('matters: Yjs deletes marks between whose pieces their text is still missing, and says so to everybody', () => {
    const whole = Y.encodeStateAsUpdate(boldDoc())
    expect(docOf([whole]).getText('t').toDelta()).toEqual(bold)
    const reader = new Y.Doc()
    reader.getText('t') // as an editor has it before the first message
    let own = 0
    reader.on('update', (_update: Uint8Array, _origin: unknown, _doc: Y.Doc, transaction: Y.Transaction) => {
      if (transaction.local) own++
    })
    // What a reader of pieces would do. Should this fail one day, Yjs has become careful, and marks may be cut.
    expect(fed(splitUpdate(whole, 1), reader).getText('t').toDelta()).toEqual([{ insert: 'y tail' }])
    expect(own).toBeGreaterThan(0)
  })
})
