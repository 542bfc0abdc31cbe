import * as encoding from 'lib0/encoding'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import * as Y from 'yjs'
import { compact, integrablePart, materialize } from '../../crdt/compact.ts'
import { installLinearMerge } from '../../crdt/linearMerge.ts'
import { inspectUpdate, updateLimits } from '../../crdt/update.ts'
import { contentOf, docOf, session } from './sessions.ts'

const nothing = new Uint8Array(0)

const typed = (text: string) => {
  const doc = new Y.Doc()
  doc.clientID = 77
  const updates: Uint8Array[] = []
  doc.on('update', (update: Uint8Array) => updates.push(update))
  for (const [i, char] of [...text].entries()) doc.getText('t').insert(i, char)
  return updates
}

/** Yjs throws in the middle of a transaction: a struct whose origin is itself. `inspectUpdate` would refuse it. */
const throwing = (client = 8) => new Uint8Array([1, 1, client, 0, 0x84, client, 0, 1, 65, 0])

describe('compact', () => {
  for (const seed of [81, 82, 83, 84]) {
    it(`keeps content and lets later updates in (seed ${seed})`, () => {
      const { updates } = session(seed, 160)
      const half = updates.length >> 1
      const first = compact(nothing, updates.slice(0, half))
      if (!first.ok) throw new Error(first.code)
      expect(contentOf(docOf([first.snapshot]))).toEqual(contentOf(docOf(updates.slice(0, half))))
      expect(inspectUpdate(first.snapshot, updateLimits).ok).toBe(true)
      const second = compact(first.snapshot, updates.slice(half))
      if (!second.ok) throw new Error(second.code)
      expect(contentOf(docOf([second.snapshot]))).toEqual(contentOf(docOf(updates)))
      expect(Y.encodeStateVector(docOf([second.snapshot]))).toEqual(Y.encodeStateVector(docOf(updates)))
    })
  }

  it('finds each update that makes Yjs throw, and keeps everything else', () => {
    const [a, b, c] = typed('abc') as [Uint8Array, Uint8Array, Uint8Array]
    expect(() => Y.applyUpdate(new Y.Doc(), throwing())).toThrow()
    const result = compact(nothing, [a, throwing(8), b, throwing(9), c])
    expect(result).toMatchObject({
      ok: true,
      quarantined: [
        { index: 1, reason: 'throws' },
        { index: 3, reason: 'throws' },
      ],
    })
    if (result.ok) expect(docOf([result.snapshot]).getText('t').toString()).toBe('abc')
  })

  it('stops after a bounded number of rebuildings and says what it found', () => {
    const [a] = typed('a') as [Uint8Array]
    const result = compact(nothing, [a, ...Array.from({ length: 5 }, (_, i) => throwing(10 + i))], 3)
    expect(result).toMatchObject({ ok: false, code: 'too_many_bad' })
    expect(result.quarantined.map(({ index }) => index)).toEqual([1, 2, 3, 4])
  })

  it('says when the snapshot itself cannot be applied', () => {
    expect(compact(throwing(), typed('abc'))).toMatchObject({ ok: false, code: 'snapshot_unreadable' })
  })

  it('never leaves pending parts behind, nor lets 4 000 updates with a hole pile up', () => {
    const updates = typed('x'.repeat(4001))
    updates.splice(1, 1)
    const result = compact(nothing, updates)
    if (!result.ok) throw new Error(result.code)
    expect(result.quarantined.length).toBe(3999)
    expect(result.quarantined[0]).toMatchObject({ index: 1, reason: 'missing' })
    expect([...Y.decodeStateVector(Y.encodeStateVector(docOf([result.snapshot])))]).toEqual([[77, 1]])
    expect(docOf([result.snapshot]).store.pendingStructs).toBeNull()
  })

  it('quarantines two clients that need each other in a circle', () => {
    const circle = new Uint8Array([2, 1, 2, 0, 0x84, 1, 0, 1, 65, 1, 1, 0, 0x84, 2, 0, 1, 66, 0])
    expect(inspectUpdate(circle).ok).toBe(true)
    expect(compact(nothing, [circle])).toMatchObject({ ok: true, quarantined: [{ index: 0, reason: 'missing' }] })
  })
})

describe('integrablePart', () => {
  it('returns what fits of an update with a hole, without pending structs', () => {
    const updates = typed('abcdef')
    const [a, b, c, , e] = updates as [Uint8Array, Uint8Array, Uint8Array, Uint8Array, Uint8Array]
    const part = integrablePart(a, [], Y.mergeUpdates([b, c, e]))
    const doc = docOf([a, part as Uint8Array])
    expect(doc.getText('t').toString()).toBe('abc')
    expect(doc.store.pendingStructs).toBeNull()
  })

  it('returns nothing when nothing fits, when all is known, and when Yjs throws', () => {
    const [a, b, c] = typed('abc') as [Uint8Array, Uint8Array, Uint8Array]
    expect(integrablePart(a, [], c)).toBeUndefined()
    expect(integrablePart(a, [b], b)).toBeUndefined()
    expect(integrablePart(a, [b, c], throwing())).toBeUndefined()
  })
})

describe('materialize', () => {
  it('opens a document for reading', () => {
    const [a, ...rest] = typed('hello') as [Uint8Array, ...Uint8Array[]]
    expect(materialize(a, rest).getText('t').toString()).toBe('hello')
    expect(() => materialize(a, [throwing()])).toThrow()
  })
})

describe('linear merge', () => {
  const originalConcat = Array.prototype.concat
  let copied = 0

  beforeAll(() => {
    installLinearMerge()
    Array.prototype.concat = function (this: unknown[], ...items: unknown[]) {
      copied += this.length
      return originalConcat.apply(this, items as never) as unknown[]
    } as typeof originalConcat
  })
  afterAll(() => {
    Array.prototype.concat = originalConcat
  })

  /** Client 1 writes n values, each one a struct of its own behind the one before. */
  const chain = (n: number, kind: 2 | 8) =>
    encoding.encode((e) => {
      for (const number of [1, n, 1, 0]) encoding.writeVarUint(e, number)
      for (let i = 0; i < n; i++) {
        encoding.writeUint8(e, i === 0 ? kind : kind | 0x80)
        encoding.writeVarUint(e, 1)
        if (i === 0) encoding.writeVarString(e, 'list')
        else encoding.writeVarUint(e, i - 1)
        encoding.writeVarUint(e, 1)
        if (kind === 8) encoding.writeAny(e, undefined)
        else encoding.writeVarString(e, '1')
      }
      encoding.writeVarUint(e, 0)
    })

  for (const kind of [2, 8] as const)
    it(`joins 30 000 values of content ${kind} without copying what was joined before (Yjs: 450 million references)`, () => {
      copied = 0
      const result = compact(nothing, [chain(30_000, kind)])
      if (!result.ok) throw new Error(result.code)
      expect(copied).toBeLessThan(30_000)
      expect(Y.decodeUpdate(result.snapshot).structs.length).toBe(30) // runs of a thousand
      expect(docOf([result.snapshot]).getArray('list').length).toBe(30_000)
    })

  it('does not let an undone and redone array grow with its original', () => {
    const doc = new Y.Doc()
    const list = doc.getArray<number>('list')
    const undo = new Y.UndoManager(list, { captureTimeout: 0 })
    list.insert(0, [1, 2])
    undo.undo()
    undo.redo()
    list.push([3])
    list.push([4])
    expect(list.toArray()).toEqual([1, 2, 3, 4])
    undo.undo()
    expect(list.toArray()).toEqual([1, 2, 3])
    expect(
      docOf([Y.encodeStateAsUpdate(doc)])
        .getArray('list')
        .toArray(),
    ).toEqual([1, 2, 3])
  })
})
