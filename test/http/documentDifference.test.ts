/** Differences over HTTP: authors and times in the words of the API, the content of the document in its own. */
import { describe, expect, it } from 'vitest'
import * as Y from 'yjs'
import { packChanges } from '../../crdt/history.ts'
import { diff } from '../../crdt/historyDiff.ts'
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
})
