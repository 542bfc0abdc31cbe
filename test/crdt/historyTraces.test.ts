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
import { view } from '../../crdt/historyReplay.ts'
import { pastOf, textOf } from './pasts.ts'
import { type Trace, trace } from './traces.ts'

const compress = (bytes: Uint8Array): Uint8Array =>
  brotliCompressSync(bytes, { params: { [constants.BROTLI_PARAM_QUALITY]: 5, [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length } })

const changesEach = 500
/** Blocks between two compactions; a server makes one with each, which would be most of the time here. */
const blocksEach = 10

/** Types a trace into one document, and keeps its history: a block for each 500 changes, a state when blocks outgrow it. */
const kept = ({ txns }: Trace, moments: number) => {
  const doc = new Y.Doc()
  doc.clientID = 4_000_000_000
  const text = doc.getText('t')
  const updates: Uint8Array[] = []
  const uncompacted: Uint8Array[] = []
  doc.on('update', (update: Uint8Array) => updates.push(update))
  const blocks: Uint8Array[] = []
  const states = [{ offset: 0, compressed: compress(new Uint8Array(0)), blocks: 0 }]
  const texts = new Map<number, string>()
  const step = Math.floor(txns.length / moments)
  let live: Uint8Array = new Uint8Array(0)
  let [raw, since, total, offset, packMs] = [0, 0, 0, 0, 0]
  for (const [i, { patches }] of txns.entries()) {
    doc.transact(() => {
      for (const [position, deleted, inserted] of patches) {
        if (deleted > 0) text.delete(position, deleted)
        if (inserted !== '') text.insert(position, inserted)
      }
    })
    if (i % step === 0) texts.set(offset + updates.length, text.toString())
    if (updates.length < changesEach && i < txns.length - 1) continue
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
    if (blocks.length % blocksEach > 0 && i < txns.length - 1) continue
    const compaction = compact(live, uncompacted.splice(0))
    if (!compaction.ok) throw new Error(compaction.code)
    live = compaction.snapshot
    if (since > Math.max(64 * 1024, live.length)) {
      states.push({ offset, compressed: compress(live), blocks: blocks.length })
      total += states.at(-1)?.compressed.length ?? 0
      since = 0
    }
  }
  return { doc, blocks, states, texts, live, raw, total, packMs, changes: offset }
}

const check = (given: Trace, moments: number) => {
  const { doc, blocks, states, texts, live, raw, total, packMs, changes } = kept(given, moments)
  const times: number[] = []
  for (const [offset, expected] of texts) {
    const state = states.findLast((one) => one.offset <= offset)
    if (state === undefined) throw new Error('there is one at 0')
    const last = blocks.slice(state.blocks, Math.ceil(offset / changesEach))
    const began = performance.now()
    const material = {
      base: brotliDecompressSync(state.compressed),
      baseAt: state.offset,
      blocks: last.map((block) => brotliDecompressSync(block)),
    }
    const { roots } = view(material, offset, true)
    times.push(performance.now() - began)
    expect([offset, textOf(roots.t)]).toEqual([offset, expected])
  }
  expect(doc.getText('t').toString()).toBe(given.endContent)
  const whole = Y.encodeStateAsUpdate(doc).length
  times.sort((a, b) => a - b)
  return {
    changes,
    raw,
    live: live.length,
    whole,
    history: total,
    states: states.length - 1,
    packMs,
    median: times[times.length >> 1],
    worst: times.at(-1),
  }
}

describe('the history of a real text', () => {
  it('shows what was there at 20 moments', () => {
    const { history, raw } = check(trace('sveltecomponent'), 20)
    expect(history).toBeLessThan(raw / 3)
  })

  it('[HIS1] shows what was there at 100 moments of 260 000 keystrokes', () => {
    const { history, raw, ...found } = check(trace('automerge-paper'), 100)
    expect(history).toBeLessThan(raw / 4)
    if (process.env.BENCH_FIGURES !== undefined) process.stdout.write(`${JSON.stringify({ history, raw, ...found })}\n`)
  }, 120_000)
})
