/** Names that plugins give to what they bring: each may be given once, and whoever gives it again is told who was first. */
import { TroupeError } from '../../actors/errors.ts'

const word = /^[a-z][a-z0-9_.-]{0,63}$/i

/** Names of plugins and message types. */
export const isWord = (text: unknown): text is string => typeof text === 'string' && word.test(text)

export class Names<Value> {
  readonly #what: string
  readonly #owners = new Map<string, string>()
  readonly values = new Map<string, Value>()

  /** `what` the names are of: "command". */
  constructor(what: string) {
    this.#what = what
  }

  /** Errors: `config.invalid`. */
  add(owner: string, name: string, value: Value): void {
    const first = this.#owners.get(name)
    if (first !== undefined) throw new TroupeError('config.invalid', `${this.#what} ${name} of ${owner}: ${first} has one of this name`)
    this.#owners.set(name, owner)
    this.values.set(name, value)
  }
}
