/** What one author did in nested types, taken back: maps in maps, lists, elements and their texts. */
import { describe, expect, it } from 'vitest'
import * as Y from 'yjs'
import { compact } from '../../crdt/compact.ts'
import { rootsOf } from '../../crdt/content.ts'
import type { PastChange } from '../../crdt/history.ts'
import { rollback } from '../../crdt/historyRevert.ts'
import { blocksOf, pastOf, together } from './pasts.ts'
import { docOf, type Random } from './sessions.ts'

const nothing = new Uint8Array(0)
const people = ['ann', 'bob', 'eve']

/** A value that tells its author; each is another. */
const word = (person: number, r: Random): string => `${'abe'[person]}${r.below(1e9)};`
const wordsIn = (doc: Y.Doc): readonly string[] => JSON.stringify(rootsOf(doc)).match(/[abe]\d+;/g) ?? []

type Node = Y.Map<unknown> | Y.Array<unknown> | Y.XmlFragment | Y.XmlText | Y.Text

const nodesOf = (doc: Y.Doc): readonly Node[] => {
  const found: Node[] = [doc.getMap('m'), doc.getArray('l'), doc.getXmlFragment('x')]
  for (const node of found) {
    if (node instanceof Y.Text) continue
    const inner: unknown[] = node instanceof Y.Map ? [...node.values()] : node.toArray()
    found.push(...(inner.filter((value) => value instanceof Y.AbstractType) as Node[]))
  }
  return found
}

const nests = (doc: Y.Doc, person: number, r: Random): void => {
  const nodes = nodesOf(doc)
  const node = nodes[r.below(nodes.length)] as Node
  const share = r.below(100)
  const at = r.below(node instanceof Y.Map ? 1 : node.length + 1)
  if (node instanceof Y.Text) {
    if (share < 70 || node.length === 0) node.insert(share % 2 === 0 ? 0 : node.length, word(person, r))
    else node.delete(0, node.length)
  } else if (node instanceof Y.Map) {
    const key = `k${r.below(3)}`
    if (share < 45) node.set(key, word(person, r))
    else if (share < 70) node.set(key, new Y.Map([['q', word(person, r)]]))
    else if (share < 80) node.set(key, new Y.Array())
    else if (share < 90) node.set(key, new Y.Text(word(person, r)))
    else node.delete(key)
  } else if (share >= 75) {
    if (node.length > 0) node.delete(r.below(node.length), 1)
  } else if (node instanceof Y.XmlFragment) node.insert(at, share < 40 ? [new Y.XmlElement('p')] : [new Y.XmlText(word(person, r))])
  else node.insert(at, share < 40 ? [word(person, r)] : [new Y.Map([['q', word(person, r)]])])
}

/** Where two set a key at the same time, one value is lost to the other, which is nobody's deletion. */
const nestsWithoutKeys = (doc: Y.Doc, person: number, r: Random): void => {
  const nodes = nodesOf(doc).filter((node) => !(node instanceof Y.Map))
  const node = nodes[r.below(nodes.length)] as Exclude<Node, Y.Map<unknown>>
  const share = r.below(100)
  const at = r.below(node.length + 1)
  if (share >= 75) {
    if (node.length > 0) node.delete(0, node instanceof Y.Text ? node.length : 1)
  } else if (node instanceof Y.Text) node.insert(share % 2 === 0 ? 0 : node.length, word(person, r))
  else if (node instanceof Y.XmlFragment) node.insert(at, share < 40 ? [new Y.XmlElement('p')] : [new Y.XmlText(word(person, r))])
  else node.insert(at, share < 40 ? [word(person, r)] : [Y.Array.from([word(person, r)])])
}

/** What others wrote and nobody deleted, or that one first, be it by deleting what it lies in: as the updates say it. */
const wordsWithout = (past: readonly PastChange[], user: string): readonly string[] => {
  const removed = new Map<string, PastChange>()
  for (const change of past) {
    const { structs, ds } = Y.decodeUpdate(change.update)
    for (const [client, ranges] of ds.clients)
      for (const { clock, len } of ranges)
        for (let at = clock; at < clock + len; at++) {
          const isOwn = structs.some(({ id, length }) => id.client === client && id.clock <= at && at < id.clock + length)
          const key = `${client}:${at}`
          if (!removed.has(key)) removed.set(key, isOwn ? { ...change, offset: 0 } : change) // nobody else ever saw it
        }
  }
  const doc = new Y.Doc({ gc: false })
  for (const { update } of past) Y.applyUpdate(doc, update)
  const parentOf = (item: Y.Item) => (item.parent as Y.AbstractType<unknown>)._item
  const removalOf = (item: Y.Item, at = 0): PastChange | undefined => {
    const parent = parentOf(item)
    const [own, inherited] = [removed.get(`${item.id.client}:${item.id.clock + at}`), parent === null ? undefined : removalOf(parent)]
    return (own?.offset ?? Number.POSITIVE_INFINITY) <= (inherited?.offset ?? Number.POSITIVE_INFINITY) ? own : inherited
  }
  const isGone = (item: Y.Item | null, at = 0): boolean =>
    item !== null && ((removalOf(item, at)?.author.user ?? user) !== user || isGone(parentOf(item)))
  const found: string[] = []
  for (const structs of doc.store.clients.values())
    for (const item of structs) {
      if (!(item instanceof Y.Item)) continue
      const { content } = item
      if (content instanceof Y.ContentAny) found.push(...content.arr.filter((_, at) => !isGone(item, at)))
      if (content instanceof Y.ContentString)
        for (const { 0: one, index } of content.str.matchAll(/[abe]\d+;/g)) if (!isGone(item, index)) found.push(one)
    }
  return found.filter((one) => !one.startsWith(user[0] as string))
}

const snapshotOf = (past: readonly PastChange[]): Uint8Array => {
  const compaction = compact(
    nothing,
    past.map(({ update }) => update),
  )
  if (!compaction.ok) throw new Error(compaction.code)
  return compaction.snapshot
}

const rollbackOf = (past: readonly PastChange[], user: string) => {
  const live = { at: past.length, snapshot: snapshotOf(past), tail: [] }
  const period = { after: 0, upTo: past.length, author: { user } }
  return rollback({ base: nothing, baseAt: 0, blocks: blocksOf(past) }, period, live)
}

const without = (past: readonly PastChange[], user: string): Y.Doc => {
  const { update } = rollbackOf(past, user)
  return docOf([snapshotOf(past), ...(update === undefined ? [] : [update])])
}

/** In turn, each with what the others have done; those who act at the same time are one turn. */
const pastOfTurns = (...turns: readonly Partial<Record<string, (doc: Y.Doc) => void>>[]): readonly PastChange[] => {
  const docs = new Map(people.map((user) => [user, new Y.Doc()]))
  const sent: { user: string; update: Uint8Array }[] = []
  for (const turn of turns) {
    const before = sent.length
    for (const [user, act] of Object.entries(turn)) {
      const doc = docs.get(user) as Y.Doc
      doc.once('update', (update: Uint8Array) => sent.push({ user, update }))
      doc.transact(() => act?.(doc))
    }
    for (const { update } of sent.slice(before)) for (const doc of docs.values()) Y.applyUpdate(doc, update)
  }
  return pastOf(
    sent.map(({ update }) => update),
    (index) => (sent[index] as { user: string }).user,
  )
}

const map = (doc: Y.Doc) => doc.getMap<Y.Map<unknown>>('m')
const fragment = (doc: Y.Doc) => doc.getXmlFragment('x')
const textIn = (doc: Y.Doc) => (fragment(doc).get(0) as Y.XmlElement).get(0) as Y.XmlText
const writesParagraph = (doc: Y.Doc): void => {
  const p = new Y.XmlElement('p')
  fragment(doc).insert(0, [p])
  p.insert(0, [new Y.XmlText('hello')])
}

describe('taking back what one author did in nested types', () => {
  it('[HIS4] leaves all that others wrote and that is there, and nothing of theirs', () => {
    for (let seed = 1; seed <= 150; seed++) {
      const past = together(seed, 30, people, nests)
      const found = wordsIn(without(past, 'ann'))
      const others = wordsIn(docOf([snapshotOf(past)])).filter((one) => !one.startsWith('a'))
      expect([seed, others.filter((one) => !found.includes(one)), found.filter((one) => one.startsWith('a'))]).toEqual([seed, [], []])
    }
  })

  it('[HIS4] brings back all that they deleted first, also what was typed there at the same moment', () => {
    for (let seed = 1; seed <= 150; seed++) {
      const past = together(seed, 20, people, nestsWithoutKeys)
      expect([seed, [...wordsIn(without(past, 'ann'))].sort()]).toEqual([seed, [...wordsWithout(past, 'ann')].sort()])
    }
  })

  it('can itself be taken back, and all is as it was', () => {
    for (let seed = 1; seed <= 80; seed++) {
      const past = together(seed, 30, people, nests)
      const { update } = rollbackOf(past, 'ann')
      if (update === undefined) continue
      const change = { offset: past.length + 1, time: 1e9, author: { user: 'zoe', via: 'rollback' }, update }
      expect([seed, rootsOf(without([...past, change], 'zoe'))]).toEqual([seed, rootsOf(docOf([snapshotOf(past)]))])
    }
  })

  it('[HIS4] keeps a value in which somebody else wrote since, before the value that it replaced', () => {
    const past = pastOfTurns(
      { bob: (doc) => map(doc).set('n', new Y.Map([['x', 1]])) },
      { ann: (doc) => map(doc).set('n', new Y.Map([['y', 2]])) },
      { bob: (doc) => map(doc).get('n')?.set('z', 3) },
    )
    expect(without(past, 'ann').getMap('m').toJSON()).toEqual({ n: { z: 3 } })
  })

  it('[HIS4] brings a paragraph back with what was typed into it while it was deleted', () => {
    const past = pastOfTurns(
      { bob: writesParagraph },
      { ann: (doc) => fragment(doc).delete(0, 1), bob: (doc) => textIn(doc).insert(5, ' world') },
    )
    expect(without(past, 'ann').getXmlFragment('x').toString()).toBe('<p>hello world</p>')
  })

  it('[HIS4] brings a paragraph of theirs back that they deleted, for what somebody else had in it', () => {
    const past = pastOfTurns(
      { ann: writesParagraph },
      { bob: (doc) => textIn(doc).insert(5, ' world') },
      { ann: (doc) => fragment(doc).delete(0, 1) },
    )
    expect(without(past, 'ann').getXmlFragment('x').toString()).toBe('<p> world</p>')
  })

  it('gives a key the value that lost against theirs at the same moment', () => {
    const sets = (value: number) => (doc: Y.Doc) => void doc.getMap('m').set('k', value)
    const past = pastOfTurns({ ann: sets(1), bob: sets(2) })
    const [winner, lost] =
      docOf([snapshotOf(past)])
        .getMap('m')
        .get('k') === 1
        ? ['ann', 2]
        : ['bob', 1]
    expect(
      without(past, winner as string)
        .getMap('m')
        .toJSON(),
    ).toEqual({ k: lost })
  })

  it('[HIS5] formats what comes back as others had formatted it', () => {
    const past = pastOfTurns(
      { bob: writesParagraph },
      { ann: (doc) => textIn(doc).format(0, 5, { bold: true }) },
      { bob: (doc) => textIn(doc).format(1, 2, { bold: null }) },
      { eve: (doc) => textIn(doc).format(3, 1, { em: true }) },
      { ann: (doc) => fragment(doc).delete(0, 1) },
    )
    expect(textIn(without(past, 'ann')).toDelta()).toEqual([{ insert: 'hel' }, { insert: 'l', attributes: { em: true } }, { insert: 'o' }])
  })
})
