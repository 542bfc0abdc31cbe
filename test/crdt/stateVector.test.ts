import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import * as Y from 'yjs'
import { advance, decodeStateVector, encodeStateVector, integrable, type StateVector } from '../../crdt/stateVector.ts'
import { inspectUpdate } from '../../crdt/update.ts'
import { random, session } from './sessions.ts'

const inspected = (update: Uint8Array) => {
  const found = inspectUpdate(update)
  if (!found.ok) throw new Error(found.code)
  return found
}

describe('state vectors', () => {
  it('are written as Yjs writes them and read back (property)', () => {
    const clock = fc.integer({ min: 0, max: 2 ** 31 - 1 })
    fc.assert(
      fc.property(fc.uniqueArray(fc.tuple(clock, clock), { selector: ([client]) => client }), (pairs) => {
        const vector = new Map(pairs)
        const bytes = encodeStateVector(vector)
        expect(bytes).toEqual(Y.encodeStateVector(vector as unknown as Y.Doc))
        expect(decodeStateVector(bytes)).toEqual(vector)
      }),
      { seed: 3, numRuns: 200 },
    )
  })

  it('reject counts without bytes, trailing bytes, huge clocks and too many clients', () => {
    const code = (bytes: number[], clients?: number) => {
      const vector = decodeStateVector(new Uint8Array(bytes), clients)
      return 'ok' in vector ? vector.code : vector.size
    }
    expect(code([0xff, 0xff, 0xff, 0x0f, 1])).toBe('count')
    expect(code([])).toBe('truncated')
    expect(code([0, 0])).toBe('trailing_bytes')
    expect(code([1, 1, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x04])).toBe('clock')
    expect(code([2, 1, 1, 2, 1], 1)).toBe('too_many_clients')
    expect(code([2, 1, 1, 2, 1], 2)).toBe(2)
  })
})

describe('integrable', () => {
  for (const seed of [31, 32, 33, 34, 35, 36, 37, 38]) {
    it(`says new exactly when Yjs is left without pending parts, over shuffled, lost and merged updates (seed ${seed})`, () => {
      const r = random(seed)
      const { updates } = session(seed, 150)
      const queue = [...updates]
      const seen = { new: 0, known: 0, missing: 0 }
      const vector: StateVector = new Map()
      let doc = new Y.Doc()
      const accepted: Uint8Array[] = []
      for (let turn = 0; turn < 400 && queue.length > 0; turn++) {
        const first = r.below(Math.min(queue.length, 6))
        const count = 1 + r.below(3)
        const some = queue.slice(first, first + count)
        const update = r.below(5) === 0 ? (updates[r.below(updates.length)] as Uint8Array) : Y.mergeUpdates(some)
        const found = inspected(update)
        const verdict = integrable(found, vector)
        seen[verdict]++
        const before = Y.encodeStateAsUpdate(doc)
        Y.applyUpdate(doc, update)
        const isPending = doc.store.pendingStructs !== null || doc.store.pendingDs !== null
        expect(isPending, `${verdict} at turn ${turn}`).toBe(verdict === 'missing')
        if (verdict === 'known') expect(Y.encodeStateAsUpdate(doc)).toEqual(before)
        if (verdict === 'new') {
          advance(vector, found)
          accepted.push(update)
          if (r.below(2) === 0) queue.splice(first, count)
        }
        if (isPending) {
          doc = new Y.Doc()
          for (const each of accepted) Y.applyUpdate(doc, each)
        }
        expect(vector).toEqual(Y.decodeStateVector(Y.encodeStateVector(doc)))
      }
      expect(Math.min(seen.new, seen.known, seen.missing)).toBeGreaterThan(2)
    })
  }

  it('counts a deletion as new, because no vector tells what is deleted, and nothing at all as known', () => {
    const vector = new Map([[1, 5]])
    expect(integrable(inspected(new Uint8Array([0, 1, 1, 1, 0, 5])), vector)).toBe('new')
    expect(integrable(inspected(new Uint8Array([0, 1, 1, 1, 0, 6])), vector)).toBe('missing')
    expect(integrable(inspected(new Uint8Array([0, 0])), vector)).toBe('known')
  })
})
