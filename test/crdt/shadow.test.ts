/** What an update would change is told without applying it, and never less than what it changes. */
import fc from 'fast-check'
import * as encoding from 'lib0/encoding'
import { describe, expect, it } from 'vitest'
import * as Y from 'yjs'
import { Shadow } from '../../crdt/shadow.ts'

const roots = ['body', 'items', 'settings', 'page', 'comments'] as const

/** An editor of everything at once. */
const edit = (doc: Y.Doc, [root, kind, at, width]: readonly [number, number, number, number]): void => {
  const text = (target: Y.Text) => {
    const from = target.length === 0 ? 0 : at % target.length
    if (kind % 4 === 0 && target.length > 0) target.delete(from, Math.min(width, target.length - from))
    else if (kind % 4 === 1 && target.length > 0)
      target.format(from, Math.min(width, target.length - from), { bold: kind % 8 === 1 ? true : null })
    else target.insert(from, 'x'.repeat(width))
  }
  const list = (target: Y.Array<unknown>) => {
    if (kind % 3 === 0 && target.length > 0) return target.delete(at % target.length, 1)
    if (kind % 3 === 1) return target.insert(at % (target.length + 1), [at, 'value'])
    const nested = target.length === 0 ? undefined : target.get(at % target.length)
    if (nested instanceof Y.Map) nested.set(`k${kind % 3}`, new Y.Text('in a map'))
    else target.insert(at % (target.length + 1), [new Y.Map(Object.entries({ n: at }))])
  }
  switch (roots[root % roots.length]) {
    case 'body':
      return text(doc.getText('body'))
    case 'items':
      return list(doc.getArray('items'))
    case 'comments':
      return list(doc.getArray('comments'))
    case 'settings': {
      const map = doc.getMap('settings')
      const key = `key${at % 4}`
      if (kind % 4 === 0) map.delete(key)
      else if (kind % 4 === 1) map.set(key, new Y.Doc())
      else map.set(key, kind)
      return
    }
    default: {
      const page = doc.getXmlFragment('page')
      if (kind % 3 === 0 && page.length > 0) return page.delete(at % page.length, 1)
      const child = page.length === 0 ? undefined : page.get(at % page.length)
      if (child instanceof Y.XmlElement && kind % 3 === 1) {
        const [line] = child.toArray()
        if (line instanceof Y.XmlText) return text(line)
        return child.setAttribute('level', `${at}`)
      }
      const paragraph = new Y.XmlElement('paragraph')
      paragraph.insert(0, [new Y.XmlText('line')])
      page.insert(at % (page.length + 1), [paragraph])
    }
  }
}

/** Root types of everything that a transaction changed, by Yjs' own account. */
const changedBy = (doc: Y.Doc, update: Uint8Array): Set<string> => {
  const changed = new Set<string>()
  const note = (transaction: Y.Transaction) => {
    if (transaction.local) return // sweeping up afterwards
    for (const type of transaction.changed.keys()) {
      let root = type as Y.AbstractType<unknown>
      while (root._item !== null) root = root._item.parent as Y.AbstractType<unknown>
      changed.add(Y.findRootTypeKey(root))
    }
  }
  doc.on('afterTransaction', note)
  Y.applyUpdate(doc, update)
  doc.off('afterTransaction', note)
  return changed
}

const names = (touched: ReadonlySet<string>): string[] => [...touched].sort()
const shadowOf = (doc: Y.Doc): Shadow => Shadow.load(Y.encodeStateAsUpdate(doc), []) as Shadow // of a sound document

const step = fc.tuple(fc.nat(2), fc.tuple(fc.nat(20), fc.nat(20), fc.nat(40), fc.integer({ min: 1, max: 4 })))

describe('the shadow of a document', () => {
  it('says of any update what Yjs changes when it applies it: three people write everywhere, and synchronise now and then', () => {
    let updates = 0
    fc.assert(
      fc.property(fc.array(step, { minLength: 5, maxLength: 60 }), (steps) => {
        const people = [1, 2, 3].map((clientID) => Object.assign(new Y.Doc(), { clientID }))
        const shadow = shadowOf(new Y.Doc())
        for (const [who, act] of steps) {
          const person = people[who] as Y.Doc
          edit(person, act)
          if (act[1] % 3 === 0) continue // goes on alone for a while
          const update = Y.encodeStateAsUpdate(person, Y.encodeStateVector(shadow.doc))
          const touched = shadow.touched(update)
          const changed = changedBy(shadow.doc, update)
          updates++
          expect(names(touched)).toEqual(names(changed))
          expect(shadow.touched(update).size).toBe(0) // known now
          if (act[2] % 2 === 0) Y.applyUpdate(person, Y.encodeStateAsUpdate(shadow.doc))
        }
        shadow.destroy()
      }),
      { numRuns: 150, seed: 7 },
    )
    expect(updates).toBeGreaterThan(1_000)
  })

  it('finds the root of a long chain, in which each letter hangs on the one before', () => {
    const doc = new Y.Doc()
    const text = doc.getText('body')
    doc.transact(() => {
      for (let n = 0; n < 50_000; n++) text.insert(0, 'x') // each in front of the last: no two are joined
    })
    const shadow = shadowOf(new Y.Doc())
    expect(names(shadow.touched(Y.encodeStateAsUpdate(doc)))).toEqual(['body'])
  })

  it('passes over an answer that lists all deletions ever made', () => {
    const doc = new Y.Doc()
    const text = doc.getText('body')
    for (let n = 0; n < 200; n++) {
      text.insert(0, 'abc')
      text.delete(1, 1)
    }
    const shadow = shadowOf(doc)
    doc.getArray('comments').push(['hello'])
    const answer = Y.encodeStateAsUpdate(doc, Y.encodeStateVector(shadow.doc))
    expect(Y.decodeUpdate(answer).ds.clients.get(doc.clientID)?.length).toBeGreaterThan(100)
    expect(names(shadow.touched(answer))).toEqual(['comments'])
  })

  it('looks at no struct twice, however many ranges cover it', () => {
    const doc = new Y.Doc({ gc: false })
    doc.clientID = 9
    const list = doc.getArray('items')
    for (let n = 0; n < 2_000; n++) list.insert(0, [n])
    const shadow = shadowOf(doc)
    const update = encoding.encode((encoder) => {
      for (const number of [0, 1, 9, 20_000]) encoding.writeVarUint(encoder, number)
      for (let n = 0; n < 20_000; n++) {
        encoding.writeVarUint(encoder, n % 10)
        encoding.writeVarUint(encoder, 1_990)
      }
    })
    let looks = 0
    const structs = shadow.doc.store.clients.get(9) as Y.Item[]
    for (const struct of structs) {
      const { parent } = struct
      const look = () => {
        looks++
        return parent
      }
      Object.defineProperty(struct, 'parent', { configurable: true, get: look })
    }
    expect(names(shadow.touched(update))).toEqual(['items'])
    expect(looks).toBeLessThan(10_000)
    expect(looks).toBeGreaterThan(1_000)
  })

  describe('is not deceived', () => {
    /** One struct: a text of client 5 from clock 0 that says it belongs to `comments`. */
    const forged = (content: string): Uint8Array =>
      encoding.encode((encoder) => {
        for (const number of [1, 1, 5, 0]) encoding.writeVarUint(encoder, number)
        encoding.writeUint8(encoder, 4) // a string, without origins
        encoding.writeVarUint(encoder, 1)
        encoding.writeVarString(encoder, 'comments')
        encoding.writeVarString(encoder, content)
        encoding.writeVarUint(encoder, 0)
      })

    it('by a struct that begins as a known one and goes on behind it', () => {
      const doc = new Y.Doc()
      doc.clientID = 5
      doc.getText('body').insert(0, 'abc')
      const shadow = shadowOf(doc)
      expect(names(shadow.touched(forged('abcde')))).toEqual(['body', 'comments'])
      shadow.apply(forged('abcde'))
      expect(shadow.doc.getText('body').toString()).toBe('abcde') // so it was right
    })

    it('by structs that hang on each other', () => {
      const circle = encoding.encode((encoder) => {
        const numbers = [3, 1, 9, 0, 0x84, 8, 0, 1, 120, 1, 8, 0, 0x84, 7, 0, 1, 121, 1, 7, 0, 0x84, 8, 0, 1, 122, 0]
        for (const number of numbers) encoding.writeUint8(encoder, number)
      })
      expect(shadowOf(new Y.Doc()).touched(circle).size).toBe(0)
      expect(shadowOf(new Y.Doc()).apply(circle)).toBe(false)
    })

    it('by roots that look like others', () => {
      const doc = new Y.Doc()
      doc.getText('comments ').insert(0, 'x')
      doc.getText('Comments').insert(0, 'x')
      expect(names(shadowOf(new Y.Doc()).touched(Y.encodeStateAsUpdate(doc)))).toEqual(['Comments', 'comments '])
    })
  })

  describe('passes over formatting marks that have no effect', () => {
    const formatted = () => {
      const doc = new Y.Doc()
      doc.getText('body').insert(0, 'one two three')
      return doc
    }
    /** The deletions of a document as an update of nothing but deletions. */
    const deletionsOf = (doc: Y.Doc, items: readonly Y.Item[]): Uint8Array =>
      encoding.encode((encoder) => {
        for (const number of [0, 1, doc.clientID, items.length]) encoding.writeVarUint(encoder, number)
        for (const { id, length } of items) {
          encoding.writeVarUint(encoder, id.clock)
          encoding.writeVarUint(encoder, length)
        }
      })
    const marksOf = (doc: Y.Doc): Y.Item[] => {
      const marks: Y.Item[] = []
      for (let item = doc.getText('body')._start; item !== null; item = item.right)
        if (!item.deleted && item.content instanceof Y.ContentFormat) marks.push(item)
      return marks
    }

    it('which somebody who only watches sweeps up after two people have made the same words bold', () => {
      const anna = formatted()
      const before = Y.encodeStateAsUpdate(anna)
      const [ben, watcher] = [new Y.Doc(), new Y.Doc()]
      for (const doc of [ben, watcher]) Y.applyUpdate(doc, before)
      anna.getText('body').format(0, 7, { bold: true })
      ben.getText('body').format(0, 7, { bold: true })
      const changes = [anna, ben].map((doc) => Y.encodeStateAsUpdate(doc, Y.encodeStateVectorFromUpdate(before)))
      const swept: Uint8Array[] = []
      watcher.getText('body')
      watcher.on('update', (update: Uint8Array, _origin: unknown, _doc: Y.Doc, { local }: Y.Transaction) => {
        if (local) swept.push(update)
      })
      const shadow = Shadow.load(before, []) as Shadow // of a sound document
      for (const change of changes) {
        Y.applyUpdate(watcher, change)
        shadow.apply(change)
      }
      expect(swept.length).toBeGreaterThan(0)
      for (const update of swept) expect(names(shadow.touched(update))).toEqual([])
    })

    it('and not over two of which only one has none', () => {
      const doc = formatted()
      doc.getText('body').format(0, 3, { bold: true })
      const twice = new Y.Doc()
      Y.applyUpdate(twice, Y.encodeStateAsUpdate(doc))
      const [opening] = marksOf(doc) as [Y.Item]
      const shadow = shadowOf(doc)
      expect(names(shadow.touched(deletionsOf(doc, [opening])))).toEqual(['body'])
      // A second mark that says the same: either may go, both may not.
      const again = new Y.Item(
        Y.createID(doc.clientID, Y.getState(doc.store, doc.clientID)),
        opening,
        opening.lastId,
        opening.right,
        opening.right?.id ?? null,
        doc.getText('body'),
        null,
        new Y.ContentFormat('bold', true),
      )
      doc.transact((transaction) => again.integrate(transaction, 0))
      const both = shadowOf(doc)
      expect(names(both.touched(deletionsOf(doc, [opening])))).toEqual([])
      expect(names(both.touched(deletionsOf(doc, [again])))).toEqual([])
      expect(names(both.touched(deletionsOf(doc, [opening, again])))).toEqual(['body'])
    })
  })
})

describe('the shadow of a document knows whose structs are comments alone', () => {
  const comments = new Set(['comments'])
  const begin = () => {
    const shadow = Shadow.empty()
    const doc = new Y.Doc()
    doc.on('update', (update: Uint8Array) => shadow.apply(update))
    return { doc, isWithin: () => shadow.liesWithin(doc.clientID, comments) }
  }

  it('however deep they lie, and also when some were deleted with what they belonged to', () => {
    const { doc, isWithin } = begin()
    expect(isWithin()).toBe(false) // nothing yet
    const threads = doc.getMap<Y.Map<unknown>>('comments')
    for (const thread of ['one', 'two']) threads.set(thread, new Y.Map([['text', new Y.Text('well')]]))
    expect(isWithin()).toBe(true)
    threads.delete('one')
    const two = threads.get('two')?.get('text') as Y.Text
    two.insert(0, 'oh ')
    expect(isWithin()).toBe(true)
  })

  it('and not any more after a letter elsewhere, deleted or not', () => {
    const { doc, isWithin } = begin()
    doc.getArray('comments').push(['a comment'])
    expect(isWithin()).toBe(true)
    doc.getText('text').insert(0, 'x')
    doc.getText('text').delete(0, 1)
    expect(isWithin()).toBe(false)
    doc.getArray('comments').push(['another'])
    expect(isWithin()).toBe(false)
  })

  it('and nothing of one whose structs were all collected', () => {
    const { doc, isWithin } = begin()
    const other = new Y.Doc()
    other.getArray('list').push([new Y.Array()])
    Y.applyUpdate(doc, Y.encodeStateAsUpdate(other))
    const list = doc.getArray<Y.Array<string>>('list')
    list.get(0).push(['by this client'])
    list.delete(0)
    expect(isWithin()).toBe(false)
  })
})
