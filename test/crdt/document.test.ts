import { describe, expect, it } from 'vitest'
import * as Y from 'yjs'
import { compact, materialize } from '../../crdt/compact.ts'
import { DocumentState } from '../../crdt/document.ts'
import { mergeUpdates, mergeWindow } from '../../crdt/merge.ts'
import { inspectUpdate } from '../../crdt/update.ts'
import { contentOf, docOf, plainEdits, random, session } from './sessions.ts'
import { trace } from './traces.ts'

const load = (snapshot: Uint8Array, updates: readonly Uint8Array[]): DocumentState => {
  const state = DocumentState.load(snapshot, updates)
  if (!(state instanceof DocumentState)) throw new Error(state.code)
  return state
}

const answered = (state: DocumentState, vector?: Uint8Array): readonly Uint8Array[] => {
  const answer = state.answer(vector)
  if (!answer.ok) throw new Error(answer.code)
  return answer.updates
}

const compacted = (state: DocumentState) => {
  const result = compact(state.snapshot, state.tail)
  if (!result.ok) throw new Error(result.code)
  expect(result.quarantined).toEqual([])
  return result
}

const nothing = new Uint8Array(0)

describe('DocumentState', () => {
  for (const seed of [41, 42, 43, 44, 45, 46, 47, 48]) {
    it(`brings newcomers and partial readers to the state of all updates, compacted or not (seed ${seed})`, () => {
      const r = random(seed)
      const { updates } = session(seed, 220)
      const expected = contentOf(docOf(updates))
      const state = DocumentState.empty()
      let compactions = 0
      for (const [i, update] of updates.entries()) {
        expect(state.add(update)).toMatchObject({ ok: true, verdict: 'new' })
        if (r.below(40) === 0) {
          const upTo = r.below(state.tailCount + 1)
          const covered = compact(state.snapshot, state.tail.slice(0, upTo))
          if (!covered.ok) throw new Error(covered.code)
          expect(state.replace(covered.snapshot, upTo)).toEqual({ ok: true, setAside: [] })
          compactions++
        }
        if (r.below(10) > 0) continue
        // somebody who has a part: everything up to some point, perhaps through a few merged answers
        const partial = docOf(updates.slice(0, r.below(i + 2)))
        for (const piece of answered(state, Y.encodeStateVector(partial))) {
          Y.applyUpdate(partial, piece)
          expect(partial.store.pendingStructs).toBeNull()
          expect(partial.store.pendingDs).toBeNull()
        }
        expect(contentOf(partial)).toEqual(contentOf(docOf(updates.slice(0, i + 1))))
      }
      expect(compactions).toBeGreaterThan(0)
      expect(contentOf(docOf(answered(state)))).toEqual(expected)
      expect(contentOf(docOf(answered(load(state.snapshot, state.tail))))).toEqual(expected)
      expect(state.encodeStateVector()).toEqual(Y.encodeStateVector(docOf(updates)))
    })
  }

  it('adds what is new, and neither what is known nor what hangs in the air nor what is refused', () => {
    const { updates } = session(51, 60)
    const state = DocumentState.empty()
    for (const update of updates.slice(0, 20)) state.add(update)
    const before = { bytes: state.bytes, count: state.tailCount, vector: state.encodeStateVector() }
    const withStructs = updates.slice(0, 20).find((update) => Y.decodeUpdate(update).ds.clients.size === 0) as Uint8Array
    expect(state.add(withStructs)).toMatchObject({ verdict: 'known' })
    const doc = new Y.Doc()
    doc.getText('t').insert(0, 'x')
    const gap = Y.encodeStateVector(doc)
    doc.getText('t').insert(1, 'y')
    expect(state.add(Y.encodeStateAsUpdate(doc, gap))).toMatchObject({ verdict: 'missing' })
    expect(state.add(new Uint8Array([1]))).toMatchObject({ ok: false })
    expect({ bytes: state.bytes, count: state.tailCount, vector: state.encodeStateVector() }).toEqual(before)
  })

  it('answers nothing to somebody who has everything, and the snapshot as it lies to somebody with nothing', () => {
    const text = new Y.Doc()
    for (let i = 0; i < 100; i++) text.getText('t').insert(i, 'abc'[i % 3] ?? '')
    const state = load(Y.encodeStateAsUpdate(text), [])
    expect(answered(state, Y.encodeStateVector(text))).toEqual([])
    expect(answered(state)[0]).toBe(state.snapshot)
    expect(answered(state, new Uint8Array([0]))[0]).toBe(state.snapshot)
    expect(answered(DocumentState.empty())).toEqual([])
    expect(state.answer(new Uint8Array([9, 9]))).toMatchObject({ ok: false, code: 'count' })
  })

  it('computes an answer once for all who ask the same', () => {
    const { updates } = session(52, 200)
    const state = load(compacted(load(nothing, updates.slice(0, 60))).snapshot, updates.slice(60))
    const vector = Y.encodeStateVector(docOf(updates.slice(0, 30)))
    const [first, second] = [answered(state, vector), answered(state, vector)]
    expect(first.length).toBeGreaterThan(1)
    first.forEach((piece, i) => {
      expect(second[i]).toBe(piece)
    })
    const joined = answered(state)
    state.add(new Uint8Array([1, 1, 1, 0, 0, 1, 0]))
    expect(answered(state)[1]).toBe(joined[1]) // closed batches stay
    expect(answered(state, vector)[0]).toBe(first[0]) // and so does the cut of the snapshot
  })

  it('keeps its own copy of an update', () => {
    const doc = new Y.Doc()
    doc.getText('t').insert(0, 'hello')
    const frame = new Uint8Array([0, 0, ...Y.encodeStateAsUpdate(doc)])
    const state = DocumentState.empty()
    state.add(frame.subarray(2))
    frame.fill(255)
    expect(docOf(answered(state)).getText('t').toString()).toBe('hello')
  })

  it('opens with an unusable stored update set aside, but not with an unreadable snapshot', () => {
    const doc = new Y.Doc()
    const updates: Uint8Array[] = []
    doc.on('update', (update: Uint8Array) => updates.push(update))
    for (const at of [0, 1, 2, 3]) doc.getText('t').insert(at, 'abcd'[at] ?? '')
    const damaged = updates.map((update, i) => (i === 2 ? update.subarray(0, 5) : update))
    const state = load(nothing, damaged)
    expect(state.setAside).toEqual([
      { index: 2, code: 'count' },
      { index: 3, code: 'missing' },
    ])
    expect(state.tailCount).toBe(4)
    expect(docOf(answered(state)).getText('t').toString()).toBe('ab')
    expect(DocumentState.load(new Uint8Array([1, 2]), [])).toMatchObject({ ok: false, code: 'count' })
  })

  it('asks for compaction by count and share of the snapshot, or by bytes', () => {
    const { updates } = session(53, 60)
    const policy = { updates: 10, share: 0.5, bytes: 1e6 }
    const state = load(nothing, updates.slice(0, 9))
    expect(state.needsCompaction(policy)).toBe(false)
    state.add(updates[9] as Uint8Array)
    expect(state.needsCompaction(policy)).toBe(true)
    const big = new Y.Doc()
    big.getText('t').insert(0, 'x'.repeat(1e5))
    const under = load(Y.encodeStateAsUpdate(big), updates.slice(0, 20))
    expect(under.needsCompaction(policy)).toBe(false)
    expect(under.needsCompaction({ ...policy, bytes: 100 })).toBe(true)
    expect(load(nothing, updates.slice(0, 40)).needsCompaction({ updates: 2, share: 1, bytes: 1e9 })).toBe(true)
  })
})

describe('DocumentState with a large snapshot', () => {
  const { updates } = session(54, 400, 3, plainEdits)
  const chunkBytes = 512
  const large = () => {
    const half = updates.length >> 1
    const first = compacted(load(nothing, updates.slice(0, half))).snapshot
    const state = DocumentState.load(first, updates.slice(half), chunkBytes)
    if (!(state instanceof DocumentState)) throw new Error(state.code)
    return state
  }
  const joining = (pieces: readonly Uint8Array[], doc = new Y.Doc()) => {
    for (const piece of pieces) {
      Y.applyUpdate(doc, piece)
      expect(doc.store.pendingStructs).toBeNull()
    }
    return contentOf(doc)
  }

  it('answers in pieces that integrate one by one, and then with the tail', () => {
    const state = large()
    const pieces = answered(state)
    expect(state.snapshot.length).toBeGreaterThan(4 * chunkBytes)
    expect(pieces.filter((piece) => piece.length <= chunkBytes).length).toBeGreaterThan(4)
    expect(joining(pieces)).toEqual(contentOf(docOf(updates)))
  })

  it('gives 150 who join the same pieces until the snapshot is replaced', () => {
    const state = large()
    const first = answered(state)
    for (let i = 0; i < 150; i++) {
      const again = answered(state, i % 2 === 0 ? undefined : new Uint8Array([0]))
      expect(again.length).toBe(first.length)
      again.forEach((piece, at) => {
        expect(piece).toBe(first[at])
      })
    }
    expect(state.replace(compacted(state).snapshot, state.tailCount)).toMatchObject({ ok: true })
    const after = answered(state)
    for (const piece of after) expect(first).not.toContain(piece)
    expect(joining(after)).toEqual(contentOf(docOf(updates)))
  })

  it('gives the same pieces of a cut to all who ask with the same vector', () => {
    const state = large()
    const partial = docOf(updates.slice(0, 30))
    const vector = Y.encodeStateVector(partial)
    const [first, second] = [answered(state, vector), answered(state, vector)]
    expect(first.filter((piece) => piece.length <= chunkBytes).length).toBeGreaterThan(3)
    first.forEach((piece, i) => {
      expect(second[i]).toBe(piece)
    })
    expect(joining(first, partial)).toEqual(contentOf(docOf(updates)))
  })

  it('shares the pieces of the whole with somebody whose vector cuts nothing off', () => {
    const state = large()
    const stranger = new Y.Doc()
    stranger.getText('text').insert(0, 'written offline')
    expect(answered(state, Y.encodeStateVector(stranger))[0]).toBe(answered(state)[0])
  })

  it('sends a snapshot of exactly the limit as it lies', () => {
    const { snapshot } = large()
    const at = DocumentState.load(snapshot, [], snapshot.length)
    const below = DocumentState.load(snapshot, [], snapshot.length - 1)
    if (!(at instanceof DocumentState && below instanceof DocumentState)) throw new Error('unreadable')
    expect(answered(at)).toEqual([snapshot])
    expect(answered(at)[0]).toBe(at.snapshot)
    expect(answered(below).length).toBe(2)
  })

  it('never cuts a document with markup, wherever the markup is', () => {
    const { snapshot } = large()
    const formatted = docOf([snapshot])
    formatted.getText('text').insert(0, 'b', { bold: true })
    const update = Y.encodeStateAsUpdate(formatted, Y.encodeStateVector(docOf([snapshot])))
    const inSnapshot = DocumentState.load(Y.encodeStateAsUpdate(formatted), [], chunkBytes)
    if (!(inSnapshot instanceof DocumentState)) throw new Error('unreadable')
    expect(answered(inSnapshot)[0]).toBe(inSnapshot.snapshot)
    const vector = Y.encodeStateVector(docOf(updates.slice(0, 30)))
    const inTail = DocumentState.load(snapshot, [update], chunkBytes)
    const added = DocumentState.load(snapshot, [], chunkBytes)
    if (!(inTail instanceof DocumentState && added instanceof DocumentState)) throw new Error('unreadable')
    expect(answered(added, vector).length).toBeGreaterThan(3)
    expect(added.replace(snapshot, 0)).toMatchObject({ ok: true })
    expect(added.add(update)).toMatchObject({ verdict: 'new' })
    // a cut and the tail; a fresh reader has no marks yet when the pieces of the snapshot arrive
    expect(answered(inTail, vector).length).toBe(2)
    expect(answered(added, vector).length).toBe(2)
    expect(answered(added).length).toBeGreaterThan(4)
  })
})

describe('mergeUpdates', () => {
  for (const seed of [61, 62, 63, 64, 65, 66]) {
    it(`joins as Yjs would: overlaps, holes, doubles and any order (seed ${seed})`, () => {
      const r = random(seed)
      const { updates } = session(seed, 150)
      for (let turn = 0; turn < 60; turn++) {
        const some = Array.from({ length: 2 + r.below(12) }, () => {
          const first = r.below(updates.length)
          const slice = updates.slice(first, first + 1 + r.below(4))
          return r.below(3) === 0 ? Y.encodeStateAsUpdate(docOf(updates.slice(0, first))) : Y.mergeUpdates([...slice])
        })
        const merged = mergeUpdates(some)
        expect(inspectUpdate(merged)).toMatchObject({ ok: true })
        expect(contentOf(docOf([...updates.slice(0, 40), merged]))).toEqual(contentOf(docOf([...updates.slice(0, 40), ...some])))
        expect(contentOf(docOf([...updates, Y.mergeUpdates([merged, merged])]))).toEqual(contentOf(docOf(updates)))
      }
    })
  }

  it('keeps a window of one as it is, and makes one struct list of consecutive ones', () => {
    const doc = new Y.Doc()
    const updates: Uint8Array[] = []
    doc.on('update', (update: Uint8Array) => updates.push(update))
    for (let i = 0; i < 20; i++) doc.getText('t').insert(i, 'x')
    const [first] = updates as [Uint8Array]
    expect(mergeWindow([first])).toBe(first)
    const merged = mergeWindow(updates)
    expect(merged.length).toBe(Y.mergeUpdates(updates).length)
    expect(docOf([merged]).getText('t').toString()).toBe('x'.repeat(20))
    expect(mergeWindow([])).toEqual(new Uint8Array([0, 0]))
  })

  it('names each client once in the delete set (yrs keeps only the last)', () => {
    const deletion = (...ranges: number[]) => new Uint8Array([0, 1, 7, ranges.length / 2, ...ranges])
    expect(mergeUpdates([deletion(4, 2), deletion(0, 1), deletion(1, 2, 5, 9)])).toEqual(deletion(0, 3, 4, 10))
  })

  it('does not throw for forged overlaps', () => {
    const r = random(5)
    const sources = [71, 72].flatMap((seed) => session(seed, 40).updates)
    let accepted = 0
    for (let i = 0; i < 3000; i++) {
      const update = new Uint8Array(sources[r.below(sources.length)] as Uint8Array)
      const at = r.below(update.length)
      update[at] = (update[at] ?? 0) ^ (1 << r.below(8))
      if (!inspectUpdate(update).ok) continue
      accepted++
      const merged = mergeWindow([sources[r.below(sources.length)] as Uint8Array, update, sources[r.below(sources.length)] as Uint8Array])
      expect(inspectUpdate(merged)).toMatchObject({ ok: true })
    }
    expect(accepted).toBeGreaterThan(300)
  })
})

describe('real editing histories', () => {
  for (const name of ['sveltecomponent', 'friendsforever']) {
    it(`${name}: two writers through a DocumentState that compacts on the way end with the recorded text`, () => {
      const { txns, endContent } = trace(name)
      const docs = [new Y.Doc(), new Y.Doc()] as const
      docs[0].clientID = 1
      docs[1].clientID = 2
      const state = DocumentState.empty()
      const sent = txns.map((): Uint8Array[] => [])
      const written: number[][] = [[], []]
      const writer = txns.map(({ agent }, i) => agent ?? i % 2)
      const read = [0, 0]
      let now = 0
      const refused: number[] = []
      for (const doc of docs)
        doc.on('update', (update: Uint8Array, origin: unknown) => {
          if (origin === 'other') return
          sent[now]?.push(update)
          const added = state.add(update)
          if (!added.ok || added.verdict !== 'new') refused.push(now) // tens of thousands: an `expect` for each takes longer than the rest
        })
      for (const [i, { patches, agent = i % 2, parents = [i - 1] }] of txns.entries()) {
        const doc = docs[agent] as Y.Doc
        const others = written[1 - agent] ?? []
        // this writer has seen all that the other one wrote up to the last parent
        const seen = Math.max(-1, ...parents.filter((parent) => writer[parent] === 1 - agent))
        while ((others[read[agent] ?? 0] ?? Number.POSITIVE_INFINITY) <= seen) {
          for (const update of sent[others[read[agent] ?? 0] ?? 0] ?? []) Y.applyUpdate(doc, update, 'other')
          read[agent] = (read[agent] ?? 0) + 1
        }
        now = i
        for (const [position, deleted, inserted] of patches) {
          if (deleted > 0) doc.getText('t').delete(position, deleted)
          if (inserted !== '') doc.getText('t').insert(position, inserted)
        }
        written[agent]?.push(i)
        if (i % 5000 === 4999) expect(state.replace(compacted(state).snapshot, state.tailCount)).toMatchObject({ ok: true })
      }
      expect(refused).toEqual([])
      const result = materialize(state.snapshot, state.tail).getText('t').toString()
      expect(docOf(answered(state)).getText('t').toString()).toBe(result)
      for (const doc of docs) {
        for (const update of answered(state, Y.encodeStateVector(doc))) Y.applyUpdate(doc, update, 'other')
        expect(doc.getText('t').toString()).toBe(result)
      }
      expect(result).toBe(endContent)
    })
  }
})
