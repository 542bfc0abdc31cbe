/** What people do to a document, one thing at a time. */
import * as Y from 'yjs'
import type { SeededRandom } from '../support/world.ts'

type Edit = (doc: Y.Doc, random: SeededRandom) => void

// No character of two halves: Yjs replaces both when somebody inserts in between.
const words = ['a', 'bc', 'déjà', 'line\n', 'поле', '漢字', 'x'.repeat(40)]

/** Brings a change that others can miss; a deletion leaves no hole. */
export const insert: Edit = (doc, random) => {
  const text = doc.getText('text')
  text.insert(random.below(text.length + 1), random.pick(words))
}

const edits: readonly Edit[] = [
  insert,
  insert,
  insert,
  (doc, random) => {
    const text = doc.getText('text')
    if (text.length > 2) text.delete(random.below(text.length - 2), 1 + random.below(2))
  },
  (doc, random) => doc.getText('text').format(0, Math.min(3, doc.getText('text').length), { bold: random.chance(0.5) ? true : null }),
  (doc, random) => doc.getMap('map').set(`key${random.below(4)}`, random.chance(0.5) ? random.pick(words) : { deep: [random.below(9)] }),
  (doc, random) => doc.getMap('map').delete(`key${random.below(4)}`),
  (doc, random) => {
    const nested = new Y.Map()
    doc.getMap('map').set(`nested${random.below(2)}`, nested)
    nested.set('text', new Y.Text('inner'))
  },
  (doc, random) => {
    const nested = doc.getMap('map').get(`nested${random.below(2)}`)
    if (nested instanceof Y.Map) (nested.get('text') as Y.Text | undefined)?.insert(0, random.pick(words))
  },
  (doc, random) =>
    doc.getArray('list').insert(random.below(doc.getArray('list').length + 1), [random.below(100), null, 'ü'].slice(random.below(3))),
  (doc, random) => {
    const list = doc.getArray('list')
    if (list.length > 0) list.delete(random.below(list.length), 1)
  },
  (doc, random) => {
    const paragraph = new Y.XmlElement('p')
    paragraph.insert(0, [new Y.XmlText(random.pick(words))])
    doc.getXmlFragment('xml').insert(0, [paragraph])
  },
  // Takes back what was there, as an undo does.
  (doc) => {
    const text = doc.getText('text')
    if (text.length > 30) text.delete(0, text.length - 5)
  },
]

export const edit = (doc: Y.Doc, random: SeededRandom): void => random.pick(edits)(doc, random)

/** Everything that two equal documents have in common. */
export const contentOf = (doc: Y.Doc): string =>
  JSON.stringify([
    doc.getText('text').toDelta(),
    Object.entries(doc.getMap('map').toJSON()).sort(([a], [b]) => (a < b ? -1 : 1)),
    doc.getArray('list').toJSON(),
    doc.getXmlFragment('xml').toString(),
    [...Y.decodeStateVector(Y.encodeStateVector(doc))].sort(([a], [b]) => a - b),
    [...Y.createDeleteSetFromStructStore(doc.store).clients].sort(([a], [b]) => a - b),
  ])
