/** Differences over HTTP: authors and times in the words of the API, the content of the document in its own. */
import { describe, expect, it } from 'vitest'
import * as Y from 'yjs'
import { packChanges } from '../../crdt/history.ts'
import { diff } from '../../crdt/historyDiff.ts'
import { TooLarge } from '../../crdt/jsonValue.ts'
import { differencesBody } from '../../src/http/documentDifference.ts'

/** Looks like what a difference says of itself. */
const mine = { author: { user: 'x', via: 'y' }, began: 1, ended: 2 }

describe('a difference over HTTP', () => {
  it('says who and when, and leaves what the document holds as it is, whatever its fields are called', () => {
    const doc = new Y.Doc()
    doc.getText('text').insert(0, 'old')
    doc.getMap('map').set('inner', new Y.Map([['by', mine]]))
    const base = Y.encodeStateAsUpdate(doc)
    const vector = Y.encodeStateVector(doc)
    doc.transact(() => {
      const text = doc.getText('text')
      text.format(0, 3, { by: mine })
      text.insert(3, 'new', { by: mine, bold: true })
      text.insertEmbed(6, { by: mine }, { by: mine })
      doc.getArray('list').push([{ by: mine }, new Y.Map([['by', mine]])])
      doc.getMap('map').set('by', mine)
      ;(doc.getMap('map').get('inner') as Y.Map<unknown>).set('by', { by: mine })
      doc.getXmlFragment('xml').push([new Y.XmlElement('by')])
    })
    const change = { offset: 1, time: 0, author: { user: 'ann', via: '' }, update: Y.encodeStateAsUpdate(doc, vector) }
    const found = diff({ base, baseAt: 0, blocks: [packChanges([change])] }, { after: 0, upTo: 1 }, 0)
    const by = { user: 'ann', via: '', began_at: '1970-01-01T00:00:00.000Z', ended_at: '1970-01-01T00:00:00.000Z' }
    expect(differencesBody(found)).toEqual({
      list: {
        content: [
          { values: [{ by: mine }], by },
          { insert: { type: 'map', keys: { by: { after: mine, by } } }, by },
        ],
      },
      map: {
        keys: { by: { after: mine, by }, inner: { change: { type: 'map', keys: { by: { before: mine, after: { by: mine }, by } } } } },
      },
      text: {
        content: [
          { format: 'old', attributes: { by: { before: null, after: mine } }, by },
          { insert: 'new', attributes: { bold: true, by: mine }, by },
          { insert: { embed: { by: mine } }, attributes: { by: mine }, by },
        ],
      },
      xml: { content: [{ insert: { type: 'element', name: 'by' }, by }] },
    })
  })

  it('ends about where it may be no longer, whatever it consists of', () => {
    const nested = (depth: number): Y.Map<unknown> =>
      new Y.Map([...(depth > 0 ? [['inner', nested(depth - 1)] as [string, unknown]] : []), ['value', [depth, { a: 'b'.repeat(9) }]]])
    const fillings: Readonly<Record<string, (doc: Y.Doc) => void>> = {
      'a long text': (doc) => doc.getText('text').insert(0, 'x'.repeat(20_000)),
      'many formats': (doc) => {
        doc.getText('text').insert(0, 'x'.repeat(500))
        for (let at = 0; at < 500; at += 2) doc.getText('text').format(at, 1, { bold: true, link: `https://example.org/${at}` })
      },
      'embedded objects': (doc) => {
        for (let at = 0; at < 200; at++) doc.getText('text').insertEmbed(at, { image: 'y'.repeat(50) })
      },
      values: (doc) => doc.getArray('list').push(Array.from({ length: 2_000 }, (_, at) => ({ at }))),
      keys: (doc) => {
        for (let at = 0; at < 500; at++) doc.getMap('map').set(`key ${at}`, { at })
      },
      'nested types': (doc) => {
        for (let at = 0; at < 50; at++) doc.getArray('list').push([nested(5)])
      },
      elements: (doc) => {
        for (let at = 0; at < 200; at++) doc.getXmlFragment('xml').push([new Y.XmlElement('p'), new Y.XmlText('text')])
      },
    }
    const told = (doc: Y.Doc, vector: Uint8Array | undefined, base: Uint8Array, mostBytes?: number) => {
      const change = { offset: 1, time: 0, author: { user: 'ann', via: '' }, update: Y.encodeStateAsUpdate(doc, vector) }
      return differencesBody(diff({ base, baseAt: 0, blocks: [packChanges([change])] }, { after: 0, upTo: 1 }, 0, mostBytes))
    }
    for (const [name, fill] of Object.entries(fillings)) {
      const doc = new Y.Doc()
      fill(doc)
      const full = Y.encodeStateAsUpdate(doc)
      const there = Y.encodeStateVector(doc)
      const inserted = (mostBytes?: number) => told(doc, undefined, new Uint8Array([0, 0]), mostBytes)
      const emptied = new Y.Doc()
      Y.applyUpdate(emptied, full)
      for (const root of [emptied.getText('text'), emptied.getArray('list'), emptied.getXmlFragment('xml')]) root.delete(0, root.length)
      for (const key of [...emptied.getMap('map').keys()]) emptied.getMap('map').delete(key)
      for (const [way, tell] of [
        ['inserted', inserted],
        ['deleted', (mostBytes?: number) => told(emptied, there, full, mostBytes)],
      ] as const) {
        const { length } = JSON.stringify(tell())
        expect([name, way, length > 10_000]).toEqual([name, way, true])
        expect(() => tell(length / 2), `${name} ${way}`).toThrow(TooLarge)
        expect(JSON.stringify(tell(length * 2)).length).toBe(length)
      }
    }
  })
})
