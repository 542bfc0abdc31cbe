/** Answers that take long, and how many client ids a document may have. */
import { describe, expect, it } from 'vitest'
import * as Y from 'yjs'
import { DocumentAnswers } from '../../actors/documentAnswers.ts'
import type { Cut, MadeCut } from '../../crdt/cut.ts'
import { type Answer, DocumentState } from '../../crdt/document.ts'
import type { Inspected } from '../../crdt/merge.ts'
import { inspect, unpacked } from '../../crdt/packedInspection.ts'
import type { Rejection } from '../../crdt/rejection.ts'
import { inspectUpdate, storedLimits } from '../../crdt/update.ts'
import { type DocumentWork, documentWork } from '../../crdt/work.ts'
import { chain, crowd, stateVector } from '../support/craftedUpdates.ts'
import { DocumentHouse, updateOf } from './documentHouse.ts'

const clients = 4_500
const nothing = Uint8Array.of(0)
const plain = updateOf('x')
/** Texts are compared sooner than bytes. */
const shown = (answer: Answer | Rejection) =>
  answer.ok ? { ...answer, updates: answer.updates.map((update) => Buffer.from(update).toString('base64')) } : answer
const rich = ((): Uint8Array => {
  const doc = new Y.Doc()
  doc.clientID = 1_000_000
  const paragraph = new Y.XmlText()
  doc.getXmlFragment('page').push([paragraph])
  paragraph.insert(0, 'some words')
  paragraph.format(2, 4, { bold: true })
  return Y.encodeStateAsUpdate(doc)
})()

const documents: [string, () => DocumentState][] = [
  ['a snapshot of many clients', () => DocumentState.load(chain(clients), [plain], 4_096) as DocumentState],
  ['one of them with markup', () => DocumentState.load(chain(clients), [rich], 4_096) as DocumentState],
  ['an import of many clients', () => DocumentState.load(plain, [chain(clients)], 4_096) as DocumentState],
  ['one into a document with markup', () => DocumentState.load(rich, [chain(clients), chain(clients + 5_000)], 4_096) as DocumentState],
]
const readers: [string, Uint8Array][] = [
  ['nothing', nothing],
  ['half of it', stateVector(clients / 2)],
  ['something else', Y.encodeStateVectorFromUpdate(updateOf('else'))],
]

describe('an answer that takes long', () => {
  for (const [document, load] of documents)
    for (const [reader, vector] of readers)
      it(`[BGA17] is the same when its cuts are made elsewhere: ${document}, for somebody who has ${reader}`, () => {
        const state = load()
        const made = new Map<Inspected, MadeCut>()
        for (let costly = state.costly(vector, made); costly !== undefined; costly = state.costly(vector, made)) {
          const { bytes, before, vector: asked, options } = costly
          const [cut] = documentWork.cutElsewhere(bytes, before, [asked], options) as [Cut]
          made.set(costly.source, { cut, options })
          state.keep(costly, cut)
        }
        expect(made.size).toBeGreaterThan(0)
        const expected = shown(load().answer(vector))
        expect(shown(state.answer(vector, made))).toEqual(expected)
        expect(shown(state.answer(vector))).toEqual(expected)
      })

  it('[BGA17] an inspection that was made elsewhere leads to the same verdict', () => {
    for (const update of [chain(50), crowd(50), rich]) {
      const [here, there] = [inspectUpdate(update, storedLimits), unpacked(inspect(update, storedLimits))]
      for (const state of [DocumentState.empty(), DocumentState.load(chain(20), []), DocumentState.load(update, [])]) {
        if (!(state instanceof DocumentState) || !here.ok || !there.ok) throw new Error('all are readable')
        const verdict = (inspection: typeof here) => (state.examine(update, storedLimits, inspection) as { verdict?: string }).verdict
        expect(verdict(there)).toBe(verdict(here))
        expect(state.hasNewStructs(there)).toBe(state.hasNewStructs(here))
        expect(state.contributors(there)).toEqual(state.contributors(here))
      }
      if (here.ok && there.ok) expect(there.ranges).toEqual(here.ranges)
    }
  })

  const answering = (content = DocumentState.load(chain(clients), []) as DocumentState) => {
    const jobs: (() => void)[] = []
    let fail = () => {}
    const run = (name: 'cutElsewhere', ...given: Parameters<typeof documentWork.cutElsewhere>) =>
      new Promise((resolve, reject) => {
        jobs.push(() => resolve(documentWork[name](...given)))
        fail = () => reject(new Error('no'))
      })
    const answers = new DocumentAnswers({ run } as unknown as DocumentWork, () => content) // nothing else is asked for
    const answer = (vector: Uint8Array) =>
      new Promise<Answer | Rejection>((resolve, reject) =>
        answers.answer(vector, (promise, done) => void promise.then(done, reject), resolve),
      )
    return { content, jobs, answer, fail: () => fail() }
  }

  it('[BGA15] is made once for all who ask the same, at the same time or later', async () => {
    const { content, jobs, answer } = answering()
    const asked = [answer(nothing), answer(nothing), answer(nothing)]
    expect(jobs.length).toBe(1)
    jobs[0]?.()
    const [first, ...others] = (await Promise.all(asked)).map(shown)
    for (const other of others) expect(other).toEqual(first)
    expect(shown(await answer(nothing))).toEqual(first)
    expect(jobs.length).toBe(1)
    expect(first).toEqual(shown(content.answer(nothing)))
  })

  it('[BGA15] is made together with those for all others who came meanwhile, each its own', async () => {
    const { content, jobs, answer } = answering()
    const vectors = Array.from({ length: 20 }, (_, i) => stateVector(clients / 2 + i))
    const asked = vectors.map(answer)
    expect(jobs.length).toBe(1)
    jobs[0]?.()
    await asked[0]
    await new Promise((resolve) => setImmediate(resolve))
    expect(jobs.length).toBe(2)
    jobs[1]?.()
    const answers = (await Promise.all(asked)).map(shown)
    expect(answers).toEqual(vectors.map((vector) => shown(content.answer(vector))))
    expect(new Set(answers.map((one) => JSON.stringify(one))).size).toBe(20)
    expect(jobs.length).toBe(2)
  })

  it('[BGA15] is refused when the worker fails, and the next ones are made', async () => {
    const { content, jobs, answer, fail } = answering()
    const first = answer(nothing)
    const second = answer(stateVector(clients / 2))
    fail()
    await expect(first).rejects.toThrow('no')
    await new Promise((resolve) => setImmediate(resolve))
    jobs[1]?.()
    expect(shown(await second)).toEqual(shown(content.answer(stateVector(clients / 2))))
  })

  it('[BGA15] is made anew when the document was compacted meanwhile', async () => {
    const { content, jobs, answer } = answering()
    const asked = answer(nothing)
    content.add(updateOf('later'))
    const compacted = documentWork.compact(content.snapshot, content.tail)
    if (!compacted.ok) throw new Error(compacted.code)
    content.replace(compacted.snapshot, 1)
    jobs[0]?.()
    await Promise.resolve()
    await new Promise((resolve) => setImmediate(resolve))
    jobs[1]?.()
    expect(shown(await asked)).toEqual(shown(content.answer(nothing)))
  })

  it('[BGA15] is made anew, with a veil, when the first markup came meanwhile', async () => {
    const load = (...later: Uint8Array[]) => DocumentState.load(plain, [chain(9_000), ...later], 4_096) as DocumentState // it is readable
    const { content, jobs, answer } = answering(load())
    const early = answer(nothing)
    content.add(rich)
    const late = answer(nothing)
    // Whoever asks now does not wait for what was begun before.
    expect(jobs.length).toBe(2)
    for (const job of jobs) job()
    const expected = load(rich).answer(nothing)
    expect(expected).toMatchObject({ isVeiled: true })
    for (const answered of [await early, await late, content.answer(nothing)]) expect(shown(answered)).toEqual(shown(expected))
    expect(jobs.length).toBe(2)
  })

  it('[BGA15] is made anew when the first markup came while the next cut of the same answer was made', async () => {
    const half = stateVector(clients / 2)
    const [before, lone] = [chain(clients), chain(clients + 5_000)]
    const { content, jobs, answer } = answering(DocumentState.load(before, [lone], 4_096) as DocumentState) // it is readable
    const asked = answer(half)
    jobs[0]?.()
    await new Promise((resolve) => setImmediate(resolve))
    expect(jobs.length).toBe(2)
    content.add(rich)
    for (let at = 1; at < 6; at++) {
      jobs[at]?.()
      await new Promise((resolve) => setImmediate(resolve))
    }
    const expected = (DocumentState.load(before, [lone, rich], 4_096) as DocumentState).answer(half) // it is readable
    expect(expected).toMatchObject({ isVeiled: true })
    expect(shown(await asked)).toEqual(shown(expected))
    expect(shown(content.answer(half))).toEqual(shown(expected))
  })
})

describe('a document with as many client ids as it may have', () => {
  it('[BGA16] takes changes of those who have written, and refuses others', async () => {
    const house = await DocumentHouse.open({ clientIds: 3 })
    const writers = [1, 2, 3].map((id) => Object.assign(new Y.Doc(), { clientID: id }))
    for (const doc of writers) {
      doc.getText('text').insert(0, 'x')
      await house.append('plan', Y.encodeStateAsUpdate(doc))
    }
    const first = writers[0] as Y.Doc
    first.getText('text').insert(0, 'y')
    await house.append('plan', Y.encodeStateAsUpdate(first))
    await expect(house.append('plan', updateOf('z'))).rejects.toMatchObject({ code: 'document.full', detail: 'documents.clientIds 3' })
    expect([...(await house.text('plan'))].sort().join('')).toBe('xxxy')
  })
})
