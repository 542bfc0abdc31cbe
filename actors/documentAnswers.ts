/**
 * Answers to those who say what they have. Most are made where they are; a cut that takes long is made in the worker, and what this client
 * says next waits for it.
 *
 * Promises: whoever asks the same at the same time gets the same cut, made once; what it was made of may be compacted meanwhile, then
 * it is asked for anew.
 */
import type { CostlyCut, Cut } from '../crdt/cut.ts'
import type { Answer, DocumentState } from '../crdt/document.ts'
import type { Inspected } from '../crdt/merge.ts'
import type { Rejection } from '../crdt/rejection.ts'
import type { DocumentWork } from '../crdt/work.ts'

/** Cuts that were made for one answer. */
type Made = Map<Inspected, Cut>

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
      this.answer(stateVector, wait, done, made.set(costly.source, cut))
    })
  }

  #cut({ source, key, given }: CostlyCut): Promise<Cut> {
    if (key === undefined) return this.#work.run('cutElsewhere', ...given)
    const underWay = this.#underWay.get(source) ?? new Map<string, Promise<Cut>>()
    this.#underWay.set(source, underWay)
    const known = underWay.get(key)
    if (known !== undefined) return known
    const promise = this.#work.run('cutElsewhere', ...given)
    underWay.set(key, promise)
    const over = () => underWay.delete(key)
    promise.then(over, over)
    return promise
  }
}
