import { describe, expect, it } from 'vitest'
import * as Y from 'yjs'
import { DocumentState } from '../../crdt/document.ts'
import { newsFor } from '../../crdt/merge.ts'
import { decodeStateVector } from '../../crdt/stateVector.ts'
import { inspectUpdate, storedLimits } from '../../crdt/update.ts'
import { veilUpdate } from '../../crdt/veil.ts'
import { contentOf, docOf, random } from './sessions.ts'

const inspected = (bytes: Uint8Array) => {
  const inspection = inspectUpdate(bytes, storedLimits)
  if (!inspection.ok) throw new Error(inspection.code)
  return { bytes, inspection }
}

const KiB = 1024
const words = 'the first thing that anybody wrote about a river and its banks '.repeat(4)

/** Paragraphs with marks, moved, deleted and written into by several who exchange now and then. All their updates, in a valid order. */
const paragraphs = (seed: number, rounds: number, writers: number) => {
  const r = random(seed)
  const updates: Uint8Array[] = []
  const docs = Array.from({ length: writers }, (_, i) => {
    const doc = new Y.Doc()
    doc.clientID = 1_000 + i * 77
    doc.on('update', (update: Uint8Array, origin: unknown) => origin !== 'exchange' && updates.push(update))
    return doc
  })
  const exchange = () => {
    for (const doc of docs)
      for (const other of docs) if (doc !== other) Y.applyUpdate(other, Y.encodeStateAsUpdate(doc, Y.encodeStateVector(other)), 'exchange')
  }
  for (let round = 0; round < rounds; round++) {
    const doc = docs[r.below(writers)] as Y.Doc
    doc.transact(() => {
      const root = doc.getXmlFragment('prosemirror')
      for (let i = 0; i < 20; i++) {
        const paragraph = new Y.XmlElement(r.below(9) === 0 ? 'heading' : 'paragraph')
        const text = new Y.XmlText()
        root.insert(r.below(root.length + 1), [paragraph])
        paragraph.insert(0, [text])
        text.insert(0, words.slice(0, 20 + r.below(150)))
        if (r.below(2) === 0) text.format(2, 9, { bold: true })
        if (r.below(3) === 0) text.insert(r.below(10), 'added ', { italic: {} })
        if (r.below(4) === 0) text.delete(3, 5)
      }
      if (root.length > 60 && r.below(3) === 0) root.delete(r.below(root.length - 3), 3)
    })
    if (round % 5 === 4) exchange()
  }
  exchange()
  return { updates, whole: Y.encodeStateAsUpdate(docs[0] as Y.Doc) }
}

/** What a reader sees of each piece: how often it was told of a change, and what it had written itself. */
const watched = (doc: Y.Doc) => {
  const changes: Uint8Array[] = []
  let events = 0
  doc.on('update', (update: Uint8Array) => changes.push(update))
  doc.getXmlFragment('prosemirror').observeDeep(() => events++)
  return { changes, events: () => events }
}

const shown = (doc: Y.Doc): string => doc.getXmlFragment('prosemirror').toString()

const veiledFor = (whole: Uint8Array, reader: Y.Doc, target: number): readonly Uint8Array[] => {
  const vector = decodeStateVector(Y.encodeStateVector(reader))
  if ('ok' in vector) throw new Error(vector.code)
  const update = inspected(whole)
  return veilUpdate(update, target, newsFor(update, vector))
}

describe('veilUpdate', () => {
  for (const seed of [201, 202]) {
    const { updates, whole } = paragraphs(seed, 120, 2 + (seed % 3))
    const expected = shown(docOf([whole]))

    it(`[BIG1] changes nothing at the reader until the last piece, and everything with it (seed ${seed})`, () => {
      const pieces = veilUpdate(inspected(whole), 64 * KiB)
      expect(pieces.length).toBeGreaterThan(3)
      const reader = new Y.Doc()
      const seen = watched(reader)
      for (const piece of pieces.slice(0, -1)) Y.applyUpdate(reader, piece)
      expect([shown(reader), seen.changes.length, seen.events(), reader.store.clients.size]).toEqual(['', 0, 0, 0])
      Y.applyUpdate(reader, pieces.at(-1) as Uint8Array)
      expect([shown(reader), seen.changes.length, seen.events()]).toEqual([expected, 1, 1])
      expect([reader.store.pendingStructs, reader.store.pendingDs]).toEqual([null, null])
      expect(contentOf(docOf([Y.encodeStateAsUpdate(reader)]))).toEqual(contentOf(docOf([whole])))
    })

    it(`[BIG1] in any order of the pieces before the last, and with some of them twice (seed ${seed})`, () => {
      const r = random(seed)
      const pieces = veilUpdate(inspected(whole), 64 * KiB)
      const last = pieces.at(-1) as Uint8Array
      const reader = new Y.Doc()
      const shuffled = pieces
        .slice(0, -1)
        .map((piece) => ({ piece, at: r.below(1_000) }))
        .sort((a, b) => a.at - b.at)
      for (const { piece } of [...shuffled, ...shuffled.slice(0, 2)]) {
        Y.applyUpdate(reader, piece)
        expect(reader.store.clients.size).toBe(0)
      }
      Y.applyUpdate(reader, last)
      expect(shown(reader)).toBe(expected)
      expect(reader.store.pendingStructs).toBeNull()
    })

    it(`[BIG2] for somebody who has a part: sees that part and its own changes until the last piece (seed ${seed})`, () => {
      const r = random(seed)
      for (let turn = 0; turn < 6; turn++) {
        const known = updates.slice(0, r.below(updates.length / 2))
        const [reader, atOnce] = [docOf(known), docOf(known)]
        const pieces = veiledFor(whole, reader, 64 * KiB)
        expect(pieces.length).toBeGreaterThan(1)
        const seen = watched(reader)
        let written = 0
        const write = () => {
          const paragraph = new Y.XmlElement('paragraph')
          reader.getXmlFragment('prosemirror').insert(0, [paragraph])
          paragraph.insert(0, [new Y.XmlText(`mine ${written++}`)])
        }
        for (const [i, piece] of pieces.slice(0, -1).entries()) {
          const before = shown(reader)
          Y.applyUpdate(reader, piece)
          expect(shown(reader)).toBe(before)
          if (i % 2 === 0) reader.transact(write)
        }
        const own = [...seen.changes]
        expect(own.length).toBe(written)
        Y.applyUpdate(reader, pieces.at(-1) as Uint8Array)
        expect(seen.changes.length).toBe(written + 1)
        expect(reader.store.pendingStructs).toBeNull()
        for (const update of [whole, ...own]) Y.applyUpdate(atOnce, update)
        expect(shown(reader)).toBe(shown(atOnce))
      }
    })

    it(`[BIG3] a reader that was cut off in the middle has nothing to give back, and comes to the same document (seed ${seed})`, () => {
      const pieces = veilUpdate(inspected(whole), 64 * KiB)
      const reader = new Y.Doc()
      for (const piece of pieces.slice(0, 2)) Y.applyUpdate(reader, piece)
      expect(Y.encodeStateVector(reader)).toEqual(Uint8Array.of(0))
      // What it answers a server that has everything: nothing new, though Yjs encodes what is pending, too.
      const server = DocumentState.load(whole, [])
      if (!(server instanceof DocumentState)) throw new Error(server.code)
      expect(server.add(Y.encodeStateAsUpdate(reader, server.encodeStateVector()))).toMatchObject({ ok: true, verdict: 'known' })
      // Meanwhile the document has grown, so the pieces are others.
      const grown = docOf([whole])
      const text = new Y.XmlText('later')
      grown.getXmlFragment('prosemirror').insert(3, [text])
      const again = veilUpdate(inspected(Y.encodeStateAsUpdate(grown)), 70 * KiB)
      const seen = watched(reader)
      for (const piece of again) Y.applyUpdate(reader, piece)
      expect(seen.events()).toBe(1)
      expect(shown(reader)).toBe(shown(grown))
      expect(reader.store.pendingStructs).toBeNull()
    })
  }

  it('[BIG1] brings the structs of the whole once each', () => {
    const { whole } = paragraphs(7, 100, 3)
    const pieces = veilUpdate(inspected(whole), 64 * KiB).map(inspected)
    const count = (key: 'structs' | 'deleteRanges') => pieces.reduce((sum, { inspection }) => sum + inspection[key], 0)
    const { inspection } = inspected(whole)
    // Holes that the order of the pieces leaves are skipped stretches in none of them: a piece has ranges without a hole.
    expect([count('structs'), count('deleteRanges')]).toEqual([inspection.structs, inspection.deleteRanges])
  })

  it('[BIG4] makes at most 17 pieces however large it is, and holds little back', () => {
    const { whole } = paragraphs(8, 120, 4)
    const pieces = veilUpdate(inspected(whole), 1)
    expect(pieces.length).toBeLessThanOrEqual(17)
    expect((pieces.at(-1) as Uint8Array).length).toBeLessThan(whole.length / 10)
  })

  it('[BIG2] also of what came since the snapshot, for one who has nothing and for one who has a part', () => {
    const { updates, whole } = paragraphs(9, 120, 3)
    const known = updates.slice(0, 60)
    const state = DocumentState.load(new Uint8Array(0), [Y.mergeUpdates(known), Y.mergeUpdates(updates), whole], 70 * KiB)
    if (!(state instanceof DocumentState)) throw new Error(state.code)
    for (const reader of [new Y.Doc(), docOf(known)]) {
      const before = shown(reader)
      const seen: string[] = []
      reader.on('update', () => seen.push(shown(reader)))
      const answer = state.answer(Y.encodeStateVector(reader))
      if (!answer.ok) throw new Error(answer.code)
      expect([answer.isVeiled, answer.updates.length > 2]).toEqual([true, true])
      for (const update of answer.updates) Y.applyUpdate(reader, update)
      // Each state was one that the document had: the part that it knew, or all of it.
      const others = [...new Set(seen)].filter((state) => ![before, shown(docOf(known)), shown(docOf([whole]))].includes(state))
      expect(others.length).toBe(0)
      expect(shown(reader)).toBe(shown(docOf([whole])))
    }
  })

  it('leaves alone what is small or empty', () => {
    const doc = new Y.Doc()
    doc.getXmlFragment('f').insert(0, [new Y.XmlText('short')])
    const small = Y.encodeStateAsUpdate(doc)
    expect(veilUpdate(inspected(small), 10)).toEqual([small])
    expect(veilUpdate(inspected(Uint8Array.of(0, 0)), 10)).toEqual([])
  })
})
