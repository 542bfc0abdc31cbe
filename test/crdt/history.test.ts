import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import * as Y from 'yjs'
import { compact } from '../../crdt/compact.ts'
import { rootsOf } from '../../crdt/content.ts'
import { groupChanges, offsetAt, type PastChange, packChanges, unpackChanges } from '../../crdt/history.ts'
import { type Difference, diff } from '../../crdt/historyDiff.ts'
import { type Material, view } from '../../crdt/historyReplay.ts'
import { type Live, restore, rollback } from '../../crdt/historyRevert.ts'
import { blocksOf, charsOf, pastOf, randomPast, textOf, typedTrace, writers } from './pasts.ts'
import { docOf, random } from './sessions.ts'

const nothing = new Uint8Array(0)
const gapMs = 300_000

const materialOf = (past: readonly PastChange[], changesEach?: number): Material => ({
  base: nothing,
  baseAt: 0,
  blocks: blocksOf(past, changesEach),
})

const at = (past: readonly PastChange[], offset: number) => docOf(past.slice(0, offset).map(({ update }) => update))
/** As a server has it: garbage-collected, and through a compaction or two. */
const live = (past: readonly PastChange[]): Uint8Array => {
  const compaction = compact(
    nothing,
    past.map(({ update }) => update),
  )
  if (!compaction.ok) throw new Error(compaction.code)
  return compaction.snapshot
}
const liveOf = (past: readonly PastChange[]): Live => ({ at: past.length, snapshot: live(past), tail: [] })
const liveWith = (past: readonly PastChange[], update: Uint8Array | undefined): Y.Doc => docOf([live(past), ...(update ? [update] : [])])

describe('a block of changes', () => {
  it('gives back what was packed', () => {
    const change = fc.record({
      time: fc.nat(),
      author: fc.record({ user: fc.string(), via: fc.constantFrom('', 'http', 'agent') }),
      update: fc.uint8Array(),
    })
    fc.assert(
      fc.property(fc.array(change, { minLength: 1 }), fc.integer({ min: 1, max: 2 ** 40 }), (changes, first) => {
        const sorted = changes.map(({ time }) => time).sort((a, b) => a - b)
        const past = changes.map((given, i) => ({ ...given, offset: first + i, time: sorted[i] as number }))
        expect(unpackChanges(packChanges(past))).toEqual(past)
        expect(unpackChanges(packChanges(past), { from: first + 1, to: first + 2 })).toEqual(past.slice(1, 3))
      }),
    )
  })

  it('groups changes by author and by gaps in time', () => {
    const past = pastOf([nothing, nothing, nothing, nothing, nothing], (i) => (i === 2 ? 'bob' : 'ann')).map((change) =>
      change.offset === 5 ? { ...change, time: 1_000_000 } : change,
    )
    const groups = groupChanges(blocksOf(past, 2), { from: 0, to: 9 }, 60_000)
    expect(groups.map(({ author, from, to, began, ended }) => [author.user, from, to, began, ended])).toEqual([
      ['ann', 1, 2, 1_000, 2_000],
      ['bob', 3, 3, 3_000, 3_000],
      ['ann', 4, 4, 4_000, 4_000],
      ['ann', 5, 5, 1_000_000, 1_000_000],
    ])
    expect(groups.reduce((sum, { changes }) => sum + changes, 0)).toBe(5)
  })

  it('finds the last change before a moment', () => {
    const blocks = blocksOf(
      pastOf([nothing, nothing, nothing], () => ''),
      2,
    )
    expect([999, 1_000, 2_500, 9_999].map((time) => offsetAt(blocks, time))).toEqual([undefined, 1, 2, 3])
  })
})

describe('a view', () => {
  for (const seed of [11, 12, 13])
    it(`[HIS1] at every offset is what the changes up to there make, from any state before (seed ${seed})`, () => {
      const past = randomPast(seed, 60)
      const material = materialOf(past, 7)
      for (let offset = 0; offset <= past.length; offset += 3) {
        const expected = rootsOf(at(past, offset))
        const baseAt = offset >> 1
        expect(view(material, offset, true).roots).toEqual(expected)
        expect(view({ ...material, base: live(past.slice(0, baseAt)), baseAt }, offset, true).roots).toEqual(expected)
      }
      const { update, roots } = view(material, past.length, true)
      expect(rootsOf(docOf([update]))).toEqual(roots)
      expect(Object.keys(roots).length).toBeGreaterThan(2)
    })
})

/** The two sides of a difference, as text. */
const sides = ({ content = [] }: Difference, before: string): { before: string; after: string } => {
  let at = 0
  const side = { before: '', after: '' }
  const kept = (length: number) => {
    side.before += before.slice(at, at + length)
    side.after += before.slice(at, at + length)
    at += length
  }
  for (const step of content) {
    if (step.retain !== undefined) kept(step.retain)
    else if (typeof step.format === 'string') kept(step.format.length)
    else if (typeof step.insert === 'string') side.after += step.insert
    else if (typeof step.delete === 'string') {
      side.before += step.delete
      at += step.delete.length
    }
  }
  kept(before.length - at)
  return side
}

describe('a difference', () => {
  it('[HIS2] has both texts in it, and says of each character who brought it and who took it away', () => {
    fc.assert(
      fc.property(fc.integer(), fc.double({ min: 0, max: 1, noNaN: true }), (seed, share) => {
        const { past, writer, remover } = writers(seed, 60, ['ann', 'bob', 'eve'])
        const from = Math.floor(share * past.length)
        const before = at(past, from).getText('t').toString()
        const after = at(past, past.length).getText('t').toString()
        const { t = {} } = diff(materialOf(past, 9), { after: from, upTo: past.length }, gapMs)
        expect(sides(t, before)).toEqual({ before, after })
        for (const { insert, delete: gone, by } of t.content ?? []) {
          for (const char of typeof insert === 'string' ? insert : '') expect(by?.author.user).toBe(writer.get(char))
          for (const char of typeof gone === 'string' ? gone : '') expect(by?.author.user).toBe(remover.get(char))
        }
      }),
      { numRuns: 60 },
    )
  })

  it('[HIS2] says of each key what it was, what it is, and who made it so', () => {
    const people = ['ann', 'bob', 'eve']
    for (let seed = 0; seed < 100; seed++) {
      const r = random(seed)
      const docs = people.map(() => new Y.Doc())
      const changes: { user: string; update: Uint8Array }[] = []
      const states: (readonly [value: number | undefined, by: string])[] = [[undefined, '']]
      for (let step = 0; step < 12; step++) {
        const i = r.below(people.length)
        const doc = docs[i] as Y.Doc
        const [user, before] = [people[i] as string, Y.encodeStateVector(doc)]
        const isGone = doc.getMap('m').has('k') && r.below(4) === 0
        if (isGone) doc.getMap('m').delete('k')
        else doc.getMap('m').set('k', step)
        const update = Y.encodeStateAsUpdate(doc, before)
        changes.push({ user, update })
        states.push([isGone ? undefined : step, user])
        for (const other of docs) Y.applyUpdate(other, update)
      }
      const past = pastOf(
        changes.map(({ update }) => update),
        (index) => (changes[index] as { user: string }).user,
      )
      for (let after = 0; after < past.length; after++) {
        const upTo = after + 1 + r.below(past.length - after)
        const [[before], [now, user]] = [states[after], states[upTo]] as [(typeof states)[0], (typeof states)[0]]
        const found = diff(materialOf(past, 5), { after, upTo }, gapMs).m?.keys?.k
        const what = `seed ${seed}, ${after} to ${upTo}`
        if (before === undefined && now === undefined) expect(found, what).toBeUndefined()
        else expect([found?.before, found?.after, found?.by?.author.user], what).toEqual([before, now, user])
      }
    }
  })

  const edited = (first: (doc: Y.Doc) => void, then: (doc: Y.Doc) => void) => {
    const doc = new Y.Doc()
    const updates: Uint8Array[] = []
    doc.on('update', (update: Uint8Array) => updates.push(update))
    doc.transact(() => first(doc))
    doc.transact(() => then(doc))
    const past = pastOf(updates, (i) => ['ann', 'bob'][i] as string)
    return diff(materialOf(past), { after: 1, upTo: 2 }, gapMs)
  }
  const bob = { author: { user: 'bob', via: '' }, began: 2_000, ended: 2_000 }

  it('tells formatting from content', () => {
    const found = edited(
      (doc) => doc.getText('t').insert(0, 'plain bold', {}),
      (doc) => doc.getText('t').format(6, 4, { bold: true }),
    )
    expect(found).toEqual({
      t: { content: [{ retain: 6 }, { format: 'bold', attributes: { bold: { before: null, after: true } }, by: bob }] },
    })
  })

  it('goes into nested types, and says where', () => {
    const paragraph = (text: string) => {
      const p = new Y.XmlElement('p')
      p.insert(0, [new Y.XmlText(text)])
      return p
    }
    const found = edited(
      (doc) => doc.getXmlFragment('x').insert(0, [paragraph('one'), paragraph('two')]),
      (doc) => {
        const fragment = doc.getXmlFragment('x')
        const second = fragment.get(1) as Y.XmlElement
        ;(second.get(0) as Y.XmlText).insert(3, '!')
        second.setAttribute('align', 'right')
        fragment.insert(2, [paragraph('three')])
        fragment.delete(0, 1)
      },
    )
    expect(found.x?.content).toEqual([
      {
        delete: { type: 'element', name: 'p', content: [{ delete: { type: 'xml_text', content: [{ delete: 'one', by: bob }] }, by: bob }] },
        by: bob,
      },
      {
        change: {
          type: 'element',
          name: 'p',
          content: [{ change: { type: 'xml_text', content: [{ retain: 3 }, { insert: '!', by: bob }] } }],
          keys: { align: { after: 'right', by: bob } },
        },
      },
      {
        insert: {
          type: 'element',
          name: 'p',
          content: [{ insert: { type: 'xml_text', content: [{ insert: 'three', by: bob }] }, by: bob }],
        },
        by: bob,
      },
    ])
  })

  it('compares keys and lists', () => {
    const found = edited(
      (doc) => {
        doc.getMap('m').set('kept', 1)
        doc.getMap('m').set('changed', 'a')
        doc.getMap('m').set('gone', new Y.Map([['x', 1]]))
        doc.getArray('l').insert(0, [1, 2, 3])
      },
      (doc) => {
        doc.getMap('m').set('changed', 'between')
        doc.getMap('m').set('changed', 'b')
        doc.getMap('m').delete('gone')
        doc.getMap('m').set('new', null)
        doc.getArray('l').delete(1, 1)
        doc.getArray('l').push([4])
      },
    )
    expect(found).toEqual({
      m: {
        keys: {
          changed: { before: 'a', after: 'b', by: bob },
          gone: { before: { type: 'map', keys: { x: 1 } }, by: bob },
          new: { after: null, by: bob },
        },
      },
      l: { content: [{ retain: 1 }, { deleted_values: [2], by: bob }, { retain: 1 }, { values: [4], by: bob }] },
    })
  })

  it('is empty between equal moments', () => {
    const past = randomPast(21, 40)
    expect(diff(materialOf(past), { after: 20, upTo: 20 }, gapMs)).toEqual({})
  })
})

describe('restoring', () => {
  for (const seed of [31, 32, 33, 34, 35, 36])
    it(`[HIS3] gives exactly what a view of that moment shows, as one edit that fits the collected document (seed ${seed})`, () => {
      const past = randomPast(seed, 90)
      const material = materialOf(past, 10)
      let undone = 0
      for (let offset = 0; offset < past.length; offset += 9) {
        const { update, means } = restore(material, offset, liveOf(past))
        if (means === 'undo') undone++
        expect(rootsOf(liveWith(past, update))).toEqual(rootsOf(at(past, offset)))
      }
      expect(undone).toBeGreaterThan(0)
    })

  it('needs no history between: a state is enough', () => {
    const past = randomPast(41, 80)
    const { update } = restore({ base: live(past.slice(0, 30)), baseAt: 30, blocks: [] }, 30, liveOf(past))
    expect(rootsOf(liveWith(past, update))).toEqual(rootsOf(at(past, 30)))
  })

  it('[HIS3] keeps what others type at the same time', () => {
    const past = randomPast(42, 60)
    const { update } = restore(materialOf(past), 20, liveOf(past))
    const editor = docOf([live(past)])
    editor.getText('text').insert(0, 'meanwhile ')
    Y.applyUpdate(editor, update as Uint8Array)
    expect(editor.getText('text').toString()).toContain('meanwhile ')
  })

  it('does nothing when nothing differs', () => {
    const past = randomPast(43, 30)
    expect(restore(materialOf(past), past.length, liveOf(past))).toEqual({ update: undefined, means: 'none' })
  })
})

describe('taking back what one author did', () => {
  it('[HIS4] removes their characters, brings back those that they deleted, and touches no other', () => {
    fc.assert(
      fc.property(fc.integer(), (seed) => {
        const { past, writer, remover, order } = writers(seed, 60, ['ann', 'bob', 'eve'])
        const { update } = rollback(materialOf(past, 9), { after: 0, upTo: past.length, author: { user: 'bob' } }, liveOf(past))
        const expected = [...order()].filter((char) => writer.get(char) !== 'bob' && (remover.get(char) ?? 'bob') === 'bob').join('')
        expect(liveWith(past, update).getText('t').toString()).toBe(expected)
      }),
      { numRuns: 60 },
    )
  })

  it('may be bounded to a stretch of the history', () => {
    fc.assert(
      fc.property(fc.integer(), fc.nat(40), fc.nat(40), (seed, a, b) => {
        const { past, remover, writer, order } = writers(seed, 50, ['ann', 'bob'])
        const [from, to] = [Math.min(a, b, past.length), Math.min(Math.max(a, b), past.length)]
        const charsAt = (offset: number) => {
          const doc = new Y.Doc({ gc: false })
          for (const { update } of past.slice(0, offset)) Y.applyUpdate(doc, update)
          return { ever: charsOf(doc.getText('t')), now: doc.getText('t').toString() }
        }
        const [first, last] = [charsAt(from), charsAt(to)]
        const inserted = (char: string) => writer.get(char) === 'bob' && !first.ever.includes(char) && last.ever.includes(char)
        const removed = (char: string) =>
          remover.get(char) === 'bob' &&
          last.ever.includes(char) &&
          !last.now.includes(char) &&
          (first.now.includes(char) || !first.ever.includes(char))
        const end = charsAt(past.length).now
        const expected = [...order()].filter((char) => !inserted(char) && (end.includes(char) || removed(char))).join('')
        const { update } = rollback(materialOf(past, 9), { after: from, upTo: to, author: { user: 'bob' } }, liveOf(past))
        expect(liveWith(past, update).getText('t').toString()).toBe(expected)
      }),
      { numRuns: 60 },
    )
  })

  /** Ann and bob in turn; what is there when bob's work is taken back. */
  const withoutBob = (...turns: ((doc: Y.Doc) => void)[]): Y.Doc => {
    const docs = [new Y.Doc(), new Y.Doc()] as const
    const updates: Uint8Array[] = []
    for (const doc of docs)
      doc.on('update', (update: Uint8Array, origin: unknown) => {
        if (origin === 'log') return
        updates.push(update)
        for (const other of docs) if (other !== doc) Y.applyUpdate(other, update, 'log')
      })
    const by: string[] = []
    for (const [i, turn] of turns.entries()) {
      const doc = docs[i % 2] as Y.Doc
      doc.transact(() => turn(doc))
      while (by.length < updates.length) by.push(['ann', 'bob'][i % 2] as string)
    }
    const past = pastOf(updates, (i) => by[i] as string)
    return liveWith(past, rollback(materialOf(past), { after: 0, upTo: past.length, author: { user: 'bob' } }, liveOf(past)).update)
  }
  const map = (doc: Y.Doc) => doc.getMap('m')
  const nobody = () => {}

  it('gives a key the value that it had before', () => {
    expect(
      withoutBob(
        (doc) => map(doc).set('k', 1),
        (doc) => map(doc).set('k', 2),
      )
        .getMap('m')
        .toJSON(),
    ).toEqual({ k: 1 })
    expect(
      withoutBob(
        (doc) => map(doc).set('k', 1),
        (doc) => map(doc).delete('k'),
      )
        .getMap('m')
        .toJSON(),
    ).toEqual({ k: 1 })
    expect(
      withoutBob(nobody, (doc) => map(doc).set('k', 2))
        .getMap('m')
        .toJSON(),
    ).toEqual({})
  })

  it('leaves a key alone that somebody else set or deleted since', () => {
    const set = (value: number) => (doc: Y.Doc) => void map(doc).set('k', value)
    expect(withoutBob(set(1), set(2), set(3)).getMap('m').toJSON()).toEqual({ k: 3 })
    expect(withoutBob(set(1), set(2), set(3), set(4)).getMap('m').toJSON()).toEqual({ k: 3 })
    expect(
      withoutBob(set(1), set(2), (doc) => map(doc).delete('k'))
        .getMap('m')
        .toJSON(),
    ).toEqual({})
  })

  it('brings back a nested type with all that was in it', () => {
    const doc = withoutBob(
      (doc) =>
        map(doc).set(
          'deep',
          new Y.Map<unknown>([
            ['list', Y.Array.from([1, 2])],
            ['text', new Y.Text('inner')],
          ]),
        ),
      (doc) => map(doc).delete('deep'),
    )
    expect(doc.getMap('m').toJSON()).toEqual({ deep: { list: [1, 2], text: 'inner' } })
  })

  it('keeps an element of theirs in which somebody else wrote, without what they wrote in it', () => {
    const doc = withoutBob(
      nobody,
      (doc) => {
        const p = new Y.XmlElement('p')
        p.insert(0, [new Y.XmlText('bob')])
        doc.getXmlFragment('x').insert(0, [p, new Y.XmlElement('hr')])
      },
      (doc) => ((doc.getXmlFragment('x').get(0) as Y.XmlElement).get(0) as Y.XmlText).insert(3, ' and ann'),
    )
    expect(doc.getXmlFragment('x').toString()).toBe('<p> and ann</p>')
  })

  it('brings back deleted elements and takes their formatting away', () => {
    const doc = withoutBob(
      (doc) => {
        doc.getXmlFragment('x').insert(0, [new Y.XmlElement('h1'), new Y.XmlElement('hr')])
        doc.getText('t').insert(0, 'some words')
      },
      (doc) => {
        doc.getXmlFragment('x').delete(0, 1)
        doc.getText('t').format(0, 4, { bold: true })
      },
    )
    expect(doc.getXmlFragment('x').toString()).toBe('<h1></h1><hr></hr>')
    expect(doc.getText('t').toDelta()).toEqual([{ insert: 'some words' }])
  })

  for (const seed of [51, 52, 53, 54])
    it(`of everybody leaves nothing (seed ${seed})`, () => {
      const past = randomPast(seed, 60).map((change) => ({ ...change, author: { user: 'all', via: '' } }))
      const { update } = rollback(materialOf(past), { after: 0, upTo: past.length, author: { user: 'all' } }, liveOf(past))
      expect(rootsOf(liveWith(past, update))).toEqual({})
    })
})

describe('two people who really wrote together', () => {
  const { past, removedBy, endContent } = typedTrace('friendsforever')
  const material = materialOf(past, 1_000)
  const whole = new Y.Doc({ gc: false })
  for (const { update } of past) Y.applyUpdate(whole, update)

  it('are told apart: what is there now, by whom', () => {
    const { t } = diff(material, { after: 0, upTo: past.length }, gapMs)
    const by: Record<string, string> = {}
    let text = ''
    for (const { insert, by: who } of t?.content ?? []) {
      text += insert
      by[who?.author.user ?? ''] = (by[who?.author.user ?? ''] ?? '') + insert
    }
    expect(text).toBe(endContent)
    const expected: Record<string, string> = {}
    for (let item = whole.getText('t')._start; item !== null; item = item.right)
      if (!item.deleted && item.content instanceof Y.ContentString)
        expected[`agent${item.id.client - 100}`] = (expected[`agent${item.id.client - 100}`] ?? '') + item.content.str
    expect(by).toEqual(expected)
    expect(Object.keys(by)).toHaveLength(2)
  })

  for (const agent of [0, 1])
    it(`can be taken apart: what the other wrote and did not delete, without agent ${agent}`, () => {
      const { update, means } = rollback(material, { after: 0, upTo: past.length, author: { user: `agent${agent}` } }, liveOf(past))
      let expected = ''
      for (let item = whole.getText('t')._start; item !== null; item = item.right) {
        if (!(item.content instanceof Y.ContentString) || item.id.client === 100 + agent) continue
        for (const [i, char] of item.content.str.split('').entries()) {
          const remover = removedBy.get(`${item.id.client}:${item.id.clock + i}`)
          if (remover === undefined || remover === agent) expected += char
        }
      }
      expect(means).toBe('undo')
      expect(liveWith(past, update).getText('t').toString()).toBe(expected)
    })

  it('can be looked at in the middle of it', () => {
    const doc = new Y.Doc()
    for (const { update, offset } of past) {
      Y.applyUpdate(doc, update)
      if (offset % 2_500 !== 0) continue
      const { roots } = view(material, offset, true)
      expect(textOf(roots.t)).toBe(doc.getText('t').toString())
    }
  })
})
