/**
 * Answers to those who say what they have. Most are made where they are; a cut that takes long is made in the worker, and what this client
 * says next waits for it.
 *
 * Promises: whoever asks the same at the same time gets the same cut, made once; what it was made of may be compacted meanwhile, then
 * it is asked for anew. So it is if the first markup has come, for which it would be made with a veil.
 */
import type { CostlyCut, Cut, MadeCut } from '../crdt/cut.ts'
import type { Answer, DocumentState } from '../crdt/document.ts'
import type { Inspected } from '../crdt/merge.ts'
import type { Rejection } from '../crdt/rejection.ts'
import type { DocumentWork } from '../crdt/work.ts'

/** Cuts that were made for one answer. */
type Made = Map<Inspected, MadeCut>

export class DocumentAnswers {
  readonly #work: DocumentWork
  readonly #content: () => DocumentState
  readonly #underWay = new WeakMap<Inspected, Map<string, Promise<Cut>>>()

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
      this.answer(stateVector, wait, done, made.set(costly.source, { cut, options: costly.given[3] }))
    })
  }

  #cut({ source, key, given }: CostlyCut): Promise<Cut> {
    if (key === undefined) return this.#work.run('cutElsewhere', ...given)
    const underWay = this.#underWay.get(source) ?? new Map<string, Promise<Cut>>()
    this.#underWay.set(source, underWay)
    const { veilsWhole, veilsPart } = given[3]
    const name = `${veilsWhole} ${veilsPart} ${key}`
    const known = underWay.get(name)
    if (known !== undefined) return known
    const promise = this.#work.run('cutElsewhere', ...given)
    underWay.set(name, promise)
    const over = () => underWay.delete(name)
    promise.then(over, over)
    return promise
  }
}
