/**
 * Answers to those who say what they have. Most are made where they are; a cut that takes long is made in the worker, and what this client
 * says next waits for it.
 *
 *   costly cut ─→ the same is under way? ─→ waits for it
 *              └→ another of the same update is? ─→ waits for company ─→ all that wait, in one job
 *
 * Promises: whoever asks the same at the same time gets the same cut, made once; what it was made of may be compacted meanwhile, then
 * it is asked for anew. So it is if the first markup has come, for which it would be made with a veil. Of an update there is one job at a
 * time: where 150 come back with as many vectors of 5 000 clients each, it is read 30 times, and not 150 times.
 */
import { areSameOptions, type CostlyCut, type Cut, type MadeCut } from '../crdt/cut.ts'
import type { Answer, DocumentState } from '../crdt/document.ts'
import type { Inspected } from '../crdt/merge.ts'
import type { Rejection } from '../crdt/rejection.ts'
import type { DocumentWork } from '../crdt/work.ts'

/** Cuts that were made for one answer. */
type Made = Map<Inspected, MadeCut>

/** Those of one update that go to the worker in one job, when the one before is done. */
interface Batch {
  readonly like: CostlyCut
  readonly waiting: { readonly vector: Uint8Array; readonly resolve: (cut: Cut) => void; readonly reject: (error: unknown) => void }[]
}

interface UnderWay {
  /** By options and key. */
  readonly shared: Map<string, Promise<Cut>>
  readonly batches: Set<Batch>
}

/** Of one job, together: each cut may be as large as the update. */
const mostCutBytes = 64 * 1024 * 1024
/** Of one job: what they lead to is all done in one turn, and reading this much again takes 5 ms. */
const mostVectorBytes = 128 * 1024

/** Cuts that one look at an update is enough for. */
const areAlike = (one: CostlyCut, other: CostlyCut): boolean =>
  areSameOptions(one.options, other.options) &&
  one.before.length === other.before.length &&
  one.before.every((update, at) => update === other.before[at])

const countTogether = (bytes: number, waiting: Batch['waiting']): number => {
  let vectorBytes = 0
  const most = Math.floor(mostCutBytes / bytes)
  const end = waiting.findIndex(({ vector }, at) => at > 0 && (at >= most || (vectorBytes += vector.length) > mostVectorBytes))
  return end === -1 ? waiting.length : end
}

export class DocumentAnswers {
  readonly #work: DocumentWork
  readonly #content: () => DocumentState
  readonly #underWay = new WeakMap<Inspected, UnderWay>()

  constructor(work: DocumentWork, content: () => DocumentState) {
    this.#work = work
    this.#content = content
  }

  /** Calls `done` at once, or after all that it was told to `wait` for. */
  answer(
    stateVector: Uint8Array,
    wait: <T>(promise: Promise<T>, done: (value: T) => void) => void,
    done: (answer: Answer | Rejection) => void,
    made: Made = new Map(),
  ): void {
    const costly = this.#content().costly(stateVector, made)
    if (costly === undefined) return done(this.#content().answer(stateVector, made))
    wait(this.#cut(costly), (cut) => {
      this.#content().keep(costly, cut)
      this.answer(stateVector, wait, done, made.set(costly.source, { cut, options: costly.options }))
    })
  }

  #cut(costly: CostlyCut): Promise<Cut> {
    const { source, key, options } = costly
    const underWay = this.#underWay.get(source) ?? { shared: new Map(), batches: new Set() }
    this.#underWay.set(source, underWay)
    if (key === undefined) return this.#together(costly, underWay.batches)
    const name = `${options.veilsWhole} ${options.veilsPart} ${key}`
    const known = underWay.shared.get(name)
    if (known !== undefined) return known
    const promise = this.#together(costly, underWay.batches)
    underWay.shared.set(name, promise)
    const over = () => underWay.shared.delete(name)
    promise.then(over, over)
    return promise
  }

  #together(costly: CostlyCut, batches: Set<Batch>): Promise<Cut> {
    return new Promise((resolve, reject) => {
      const known = [...batches].find(({ like }) => areAlike(like, costly))
      const batch = known ?? { like: costly, waiting: [] }
      batch.waiting.push({ vector: costly.vector, resolve, reject })
      if (known !== undefined) return
      batches.add(batch)
      this.#next(batch, batches)
    })
  }

  #next(batch: Batch, batches: Set<Batch>): void {
    const { bytes, before, options } = batch.like
    const now = batch.waiting.splice(0, countTogether(bytes.length, batch.waiting))
    if (now.length === 0) return void batches.delete(batch)
    const vectors = now.map(({ vector }) => vector)
    this.#work.run('cutElsewhere', bytes, before, vectors, options).then(
      (cuts) => {
        for (const [at, { resolve }] of now.entries()) resolve(cuts[at] as Cut) // one for each vector
        this.#next(batch, batches)
      },
      (error) => {
        for (const { reject } of now) reject(error)
        this.#next(batch, batches)
      },
    )
  }
}
