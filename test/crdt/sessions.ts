/**
 * Editing sessions to test with: several `Y.Doc`s that edit at the same time, exchange now and then, and leave a list of
 * updates. The same seed gives the same session.
 */
import * as Y from 'yjs'

/** mulberry32. */
export const random = (seed: number) => {
  let state = seed | 0
  const next = () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
  return { next, below: (n: number) => Math.floor(next() * n) }
}

export type Random = ReturnType<typeof random>

const words = ['a', 'bc', 'déjà', '𝄞𝄞', 'line\n', 'поле', '漢字', 'x'.repeat(40)]

type Edit = (doc: Y.Doc, r: Random) => void

const format: Edit = (doc, r) => {
  const text = doc.getText('rich')
  text.insert(0, 'bold ', { bold: r.below(2) === 0 ? true : null, size: r.below(9) })
  text.format(0, Math.min(3, text.length), { em: { of: [r.below(3)] } })
}

const addElement: Edit = (doc, r) => {
  const fragment = doc.getXmlFragment('xml')
  const p = new Y.XmlElement('p')
  p.setAttribute('class', `c${r.below(3)}`)
  p.insert(0, [new Y.XmlText('in xml'), new Y.XmlElement('br')])
  fragment.insert(r.below(fragment.length + 1), [p])
}

/** Anything that an editor does to a document. */
const edits: Edit[] = [
  (doc, r) => doc.getText('text').insert(r.below(doc.getText('text').length + 1), words[r.below(words.length)] ?? ''),
  (doc, r) => {
    const text = doc.getText('text')
    if (text.length > 2) text.delete(r.below(text.length - 1), 1 + r.below(2))
  },
  format,
  (doc, r) => doc.getText('rich').insertEmbed(0, { image: `${r.below(99)}.png` }),
  (doc, r) =>
    doc.getArray('list').insert(0, [r.below(5), null, 'ü', { a: [1, { b: 2n }] }, new Uint8Array([1, 2])].slice(0, 1 + r.below(5))),
  (doc, r) => {
    const list = doc.getArray('list')
    if (list.length > 0) list.delete(r.below(list.length), 1)
  },
  (doc, r) => doc.getArray('list').push([r.next(), -r.below(1e9), 1e40, true, false]),
  (doc, r) => doc.getMap('map').set(`key${r.below(5)}`, r.below(2) === 0 ? words[r.below(words.length)] : { deep: { er: [r.below(9)] } }),
  (doc, r) => doc.getMap('map').delete(`key${r.below(5)}`),
  (doc, r) => {
    const nested = new Y.Map()
    doc.getMap('map').set(`nested${r.below(3)}`, nested)
    nested.set('text', new Y.Text('inner'))
    nested.set('array', Y.Array.from([1, 2, 3]))
  },
  (doc) => {
    const nested = doc.getMap('map').get('nested1')
    if (nested instanceof Y.Map) (nested.get('text') as Y.Text | undefined)?.insert(0, 'more')
  },
  addElement,
  (doc, r) => {
    const fragment = doc.getXmlFragment('xml')
    if (fragment.length > 2) fragment.delete(r.below(fragment.length), 1)
  },
  (doc, r) => {
    if (r.below(8) === 0) doc.getMap('subs').set(`doc${r.below(2)}`, new Y.Doc({ guid: `sub-${r.below(1e6)}`, meta: { of: 'x' } }))
  },
]

/** Nothing that `hasMarkup` would see. */
export const plainEdits: readonly Edit[] = edits.filter((edit) => edit !== format && edit !== addElement)

export interface Session {
  /** In an order in which each can be integrated. */
  readonly updates: readonly Uint8Array[]
  readonly docs: readonly Y.Doc[]
}

/** `steps` edits by `clients` documents, which merge through a common log. */
export const session = (seed: number, steps = 120, clients = 3, among: readonly Edit[] = edits): Session => {
  const r = random(seed)
  const updates: Uint8Array[] = []
  const read = new Array<number>(clients).fill(0)
  const docs = Array.from({ length: clients }, (_, i) => {
    const doc = new Y.Doc()
    doc.clientID = 1000 + seed * 10 + i * 7_000_000
    return doc
  })
  const undo = docs.map((doc) => new Y.UndoManager([doc.getText('text'), doc.getMap('map')], { captureTimeout: 0 }))
  const pull = (i: number) => {
    for (; (read[i] ?? 0) < updates.length; read[i] = (read[i] ?? 0) + 1)
      Y.applyUpdate(docs[i] as Y.Doc, updates[read[i] ?? 0] as Uint8Array, 'log')
  }
  docs.forEach((doc) => {
    doc.on('update', (update: Uint8Array, origin: unknown) => {
      if (origin !== 'log') updates.push(update)
    })
  })
  for (let step = 0; step < steps; step++) {
    const i = r.below(clients)
    const doc = docs[i] as Y.Doc
    if (r.below(3) === 0) pull(i)
    if (r.below(12) === 0) undo[i]?.undo()
    else if (r.below(20) === 0) undo[i]?.redo()
    else if (r.below(6) === 0)
      doc.transact(() => {
        for (let n = 0; n < 3; n++) among[r.below(among.length)]?.(doc, r)
      })
    else among[r.below(among.length)]?.(doc, r)
  }
  for (let i = 0; i < clients; i++) pull(i)
  return { updates, docs }
}

export const docOf = (updates: readonly Uint8Array[]): Y.Doc => {
  const doc = new Y.Doc()
  for (const update of updates) Y.applyUpdate(doc, update)
  return doc
}

/** Everything that two equal documents have in common, byte for byte. */
export const contentOf = (doc: Y.Doc) => ({
  text: doc.getText('text').toString(),
  rich: JSON.stringify(doc.getText('rich').toDelta()),
  list: JSON.stringify(doc.getArray('list').toArray(), (_, value) => (typeof value === 'bigint' ? `${value}n` : value)),
  map: JSON.stringify(Object.entries(doc.getMap('map').toJSON()).sort()),
  subs: [...doc.getMap<Y.Doc>('subs').entries()].map(([key, sub]) => `${key}=${sub.guid}`).sort(),
  xml: doc.getXmlFragment('xml').toString(),
  vector: [...Y.decodeStateVector(Y.encodeStateVector(doc))].sort(([a], [b]) => a - b),
  deleted: Y.encodeStateAsUpdate(doc, Y.encodeStateVector(doc)).join(),
})
