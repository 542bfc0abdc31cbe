/** Crafted updates against everything that reads one: nothing throws, hangs, or takes more than its bytes are worth. */
import { describe, expect, it } from 'vitest'
import * as Y from 'yjs'
import { compact } from '../../crdt/compact.ts'
import { DocumentState } from '../../crdt/document.ts'
import { mergeUpdates } from '../../crdt/merge.ts'
import { splitUpdate } from '../../crdt/split.ts'
import { inspectUpdate, storedLimits, updateLimits } from '../../crdt/update.ts'
import { veilUpdate } from '../../crdt/veil.ts'
import { chainedElements, hugeCount, runLengthBomb } from '../support/attacks.ts'
import {
  chain,
  crowd,
  hugeLengths,
  loneSurrogate,
  longStretch,
  nested,
  nestedElements,
  roots,
  stateVector,
  subdocuments,
  tinyDeletions,
  versions,
} from '../support/craftedUpdates.ts'
import { random, session } from './sessions.ts'

/** All that the main thread does with an update of a client: it is refused, or it can be stored, joined, cut and told to others. */
const survives = (bytes: Uint8Array): 'refused' | 'taken' | 'waits' => {
  const inspection = inspectUpdate(bytes, updateLimits)
  if (!inspection.ok) return 'refused'
  const update = { bytes, inspection }
  splitUpdate(update, 1_000)
  veilUpdate(update, 1_000)
  mergeUpdates([bytes, Uint8Array.of(0, 0), bytes])
  const state = DocumentState.empty()
  const examined = state.add(bytes)
  for (const vector of [undefined, Uint8Array.of(0), Uint8Array.of(2, 1, 1, 5, 2)]) expect(state.answer(vector)).toMatchObject({ ok: true })
  return examined.ok && examined.verdict === 'new' ? 'taken' : 'waits'
}

describe('crafted updates', () => {
  it('[BIG20] cut off at any byte are refused or harmless', () => {
    const { docs } = session(1, 120, 3)
    const whole = Y.encodeStateAsUpdate(docs[0] as Y.Doc)
    expect(survives(whole)).toBe('taken')
    for (let end = 0; end < whole.length; end++) expect(inspectUpdate(whole.subarray(0, end)).ok, `${end}`).toBe(false)
  })

  for (const seed of [1, 2, 3])
    it(`[BIG20] with bytes changed, moved and repeated are refused or harmless (seed ${seed})`, () => {
      const r = random(seed)
      const { updates, docs } = session(seed, 60, 3)
      const sources = [...updates.slice(0, 40), Y.encodeStateAsUpdate(docs[0] as Y.Doc)]
      const outcomes = { refused: 0, taken: 0, waits: 0 }
      for (let turn = 0; turn < 1_500; turn++) {
        const bytes = Array.from(sources[r.below(sources.length)] as Uint8Array)
        for (let change = 1 + r.below(4); change > 0; change--) {
          const at = r.below(bytes.length)
          const kind = r.below(4)
          if (kind === 0) bytes[at] = r.below(256)
          else if (kind === 1) bytes.splice(at, 1 + r.below(4))
          else if (kind === 2) bytes.splice(at, 0, 0xff, 0xff, r.below(256))
          else bytes.push(...bytes.slice(at, at + 8))
        }
        outcomes[survives(Uint8Array.from(bytes))]++
      }
      expect(outcomes.refused).toBeGreaterThan(500)
    })

  const refused: [string, Uint8Array][] = [
    ...hugeLengths.map((bytes, i): [string, Uint8Array] => [`a huge length, place ${i}`, bytes]),
    ['a count of 33 million in 7 bytes', hugeCount],
    ['a bomb of run lengths', runLengthBomb()],
    ['half of a surrogate pair', loneSurrogate],
    ['a list 5 000 deep', nested(5_000)],
    ['2 000 roots', roots(2_000)],
    ['2 000 subdocuments', subdocuments(2_000)],
    ['more than a million deletions', tinyDeletions(2_100_000)],
    ['more than a million structs', chain(1_001_000)],
    ['a stretch above 2^31', longStretch(0, 2 ** 31 + 1)],
  ]
  for (const [name, bytes] of refused) it(`[BIG21] refused: ${name}`, () => expect(survives(bytes)).toBe('refused'))

  const taken: [string, Uint8Array][] = [
    ['10 000 clients', crowd(10_000)],
    ['a chain through 10 000 clients', chain(10_000)],
    ['100 000 versions of one key', versions(100_000)],
    ['50 000 deletions of one letter each', tinyDeletions(100_000)],
    ['200 subdocuments', subdocuments(200)],
    ['101 000 structs in one change', chain(101_000)],
    ['elements 5 000 deep', nestedElements(5_000)],
    ['a stretch of garbage of 2^31 clocks', longStretch(0)],
    ['30 000 values one by one', chainedElements(30_000)],
    ['1 000 roots', roots(1_000)],
  ]
  for (const [name, bytes] of taken) it(`[BIG22] taken, and told to others: ${name}`, () => expect(survives(bytes)).toBe('taken'))

  it('[BIG22] a stretch that is skipped changes nothing', () => {
    expect(survives(longStretch(10))).toBe('waits')
  })

  it('[BIG22] are compacted by Yjs, or set aside', () => {
    for (const [name, bytes] of [...taken.filter(([name]) => !name.startsWith('10 000')), ['a small crowd', crowd(2_000)] as const]) {
      const compacted = compact(new Uint8Array(0), [bytes])
      expect(compacted.ok, name).toBe(true)
      if (compacted.ok) expect(inspectUpdate(compacted.snapshot, storedLimits).ok, name).toBe(true)
    }
  })

  it('[BIG23] take time in proportion to their bytes, whatever is in them', () => {
    const time = (bytes: Uint8Array): number => {
      let best = Number.POSITIVE_INFINITY
      for (let i = 0; i < 5; i++) {
        const began = performance.now()
        inspectUpdate(bytes, storedLimits)
        best = Math.min(best, performance.now() - began)
      }
      return best / bytes.length
    }
    const usual = time(Y.encodeStateAsUpdate(session(3, 2_000, 3).docs[0] as Y.Doc))
    for (const [name, bytes] of taken.filter(([, { length }]) => length > 10_000)) expect(time(bytes) / usual, name).toBeLessThan(60)
  })

  it('[BIG24] state vectors: 200 000 clients are answered, more are refused', () => {
    const state = DocumentState.empty()
    state.add(crowd(10_000))
    expect(state.answer(stateVector(200_000))).toMatchObject({ ok: true })
    expect(state.answer(stateVector(200_001))).toMatchObject({ ok: false, code: 'too_many_clients' })
    expect(state.answer(stateVector(2_000).subarray(0, 3_000))).toMatchObject({ ok: false })
  })
})
