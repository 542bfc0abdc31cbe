/**
 * Real editing histories, packed as a server packs them, and looked at again. With figures:
 *
 *   BENCH_FIGURES=true npx vitest run --project unit test/crdt/historyTraces.test.ts
 */
import { brotliCompressSync, brotliDecompressSync, constants } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import * as Y from 'yjs'
import { compact } from '../../crdt/compact.ts'
import { packChanges } from '../../crdt/history.ts'
import { type Material, type View, view } from '../../crdt/historyReplay.ts'
import { pastOf, textOf } from './pasts.ts'
import { type Trace, trace } from './traces.ts'

const compress = (bytes: Uint8Array): Uint8Array =>
  brotliCompressSync(bytes, { params: { [constants.BROTLI_PARAM_QUALITY]: 5, [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length } })

const wantsFigures = process.env.BENCH_FIGURES !== undefined
const changesEach = 500
/** Blocks between two compactions; a server makes one with each, which would be most of the time here. */
const blocksEach = 10

/** Edits in a row, and how what they make is compared: as it is, and as a view shows it. */
interface Workload {
  readonly edits: readonly ((doc: Y.Doc) => void)[]
  now(doc: Y.Doc): unknown
  shown(roots: View['roots']): unknown
}

const typing = ({ txns }: Trace): Workload => ({
  edits: txns.map(({ patches }) => (doc) => {
    const text = doc.getText('t')
    for (const [position, deleted, inserted] of patches) {
      if (deleted > 0) text.delete(position, deleted)
      if (inserted !== '') text.insert(position, inserted)
    }
  }),
  now: (doc) => doc.getText('t').toString(),
  shown: (roots) => textOf(roots.t),
})

/** 100 keys of a map, set again and again: what settings, positions on a board and counters make. */
const settings = (sets: number): Workload => ({
  edits: Array.from({ length: sets }, (_, n) => (doc) => {
    doc.getMap('kv').set(`key-${(n * 37) % 100}`, n)
  }),
  now: (doc) => doc.getMap('kv').toJSON(),
  shown: ({ kv }) => ({ ...kv?.keys }),
})

/** Does the edits in one document, and keeps its history: a block for each 500 changes, a state when blocks outgrow it. */
const kept = ({ edits, now }: Workload, moments: number) => {
  const doc = new Y.Doc()
  doc.clientID = 4_000_000_000
  const updates: Uint8Array[] = []
  const uncompacted: Uint8Array[] = []
  doc.on('update', (update: Uint8Array) => updates.push(update))
  const blocks: Uint8Array[] = []
  const states = [{ offset: 0, compressed: compress(new Uint8Array(0)), blocks: 0 }]
  const seen = new Map<number, unknown>()
  const step = Math.floor(edits.length / moments)
  let live: Uint8Array = new Uint8Array(0)
  let [raw, since, total, offset, packMs] = [0, 0, 0, 0, 0]
  for (const [i, edit] of edits.entries()) {
    doc.transact(() => edit(doc))
    if (i % step === 0) seen.set(offset + updates.length, now(doc))
    if (updates.length < changesEach && i < edits.length - 1) continue
    const began = performance.now()
    const changes = pastOf(updates, () => 'ann').map((change) => ({
      ...change,
      offset: offset + change.offset,
      time: 200 * (offset + change.offset),
    }))
    const block = compress(packChanges(changes))
    packMs += performance.now() - began
    raw += updates.reduce((sum, { length }) => sum + length, 0)
    blocks.push(block)
    total += block.length
    since += block.length
    offset += updates.length
    uncompacted.push(...updates.splice(0))
    if (blocks.length % blocksEach > 0 && i < edits.length - 1) continue
    const compaction = compact(live, uncompacted.splice(0))
    if (!compaction.ok) throw new Error(compaction.code)
    live = compaction.snapshot
    if (since > Math.max(64 * 1024, live.length)) {
      states.push({ offset, compressed: compress(live), blocks: blocks.length })
      total += states.at(-1)?.compressed.length ?? 0
      since = 0
    }
  }
  return { doc, blocks, states, seen, live, raw, total, packMs, changes: offset }
}

/**
 * Looks at each moment twice in effect, and applies each change twice in all: once from the moment before, as the view of that one
 * left it, and once in the longest way a server goes, from a state on disk through all blocks until the next.
 */
const check = (workload: Workload, moments: number) => {
  const { doc, blocks, states, seen, live, raw, total, packMs, changes } = kept(workload, moments)
  const blocksFrom = (first: number, to: number) =>
    blocks.slice(first, Math.ceil(to / changesEach)).map((block) => brotliDecompressSync(block))
  let before: Pick<Material, 'base' | 'baseAt'> = { base: new Uint8Array(0), baseAt: 0 }
  for (const [offset, expected] of seen) {
    const material = { ...before, blocks: blocksFrom(Math.floor(before.baseAt / changesEach), offset) }
    const { update, roots } = view(material, offset, true)
    expect([offset, workload.shown(roots)]).toEqual([offset, expected])
    before = { base: update, baseAt: offset }
  }
  const times: number[] = []
  for (const [index, state] of states.entries()) {
    const end = states[index + 1]?.offset ?? Number.POSITIVE_INFINITY
    const last = [...seen].findLast(([offset]) => offset >= state.offset && offset < end)
    if (last === undefined) continue
    const [offset, expected] = last
    const began = performance.now()
    const material = { base: brotliDecompressSync(state.compressed), baseAt: state.offset, blocks: blocksFrom(state.blocks, offset) }
    const { roots } = view(material, offset, true)
    times.push(performance.now() - began)
    expect([offset, workload.shown(roots)]).toEqual([offset, expected])
  }
  expect(times.length).toBeGreaterThan(0)
  const whole = Y.encodeStateAsUpdate(doc).length
  times.sort((a, b) => a - b)
  return {
    changes,
    raw,
    live: live.length,
    whole,
    end: workload.now(doc),
    history: total,
    states: states.length - 1,
    packMs,
    median: times[times.length >> 1],
    worst: times.at(-1),
  }
}

const print = ({ end: _, ...figures }: ReturnType<typeof check>) => {
  if (wantsFigures) process.stdout.write(`${JSON.stringify(figures)}\n`)
}

describe('the history of a real text', () => {
  it('shows what was there at 20 moments', () => {
    const given = trace('sveltecomponent')
    const found = check(typing(given), 20)
    expect(found.end).toBe(given.endContent)
    expect(found.history).toBeLessThan(found.raw / 3)
  })

  it('[HIS1] shows what was there at 100 moments of 260 000 keystrokes', () => {
    const given = trace('automerge-paper')
    const found = check(typing(given), 100)
    expect(found.end).toBe(given.endContent)
    expect(found.history).toBeLessThan(found.raw / 4)
    print(found)
  }, 120_000)
})

describe('the history of a map whose keys are set again and again', () => {
  it('shows what was there at 20 moments, for a third of what its updates weigh', () => {
    const found = check(settings(wantsFigures ? 100_000 : 10_000), 20)
    expect(found.history).toBeLessThan(found.raw / 3)
    print(found)
  }, 120_000)
})
