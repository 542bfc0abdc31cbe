/**
 * What the power-cut writer does to its journals, and what a store may therefore hold after a cut. The operations of one journal
 * take effect in the order in which they were called, each whole or not at all, so the store must hold the state after some
 * number of them: at least those that were acknowledged before the cut, at most those that were asked for.
 */
export type Operation =
  | { readonly kind: 'append'; readonly count: number }
  | { readonly kind: 'snapshot'; readonly offset: number; readonly isTrim: boolean }
  | { readonly kind: 'trim'; readonly before: number }
  | { readonly kind: 'remove' }

/** A line that the writer puts between its writes to the disk. Operations of a journal are numbered 1, 2, 3 … */
export type Mark =
  | { readonly is: 'open' }
  | { readonly is: 'asked'; readonly journal: string; readonly number: number; readonly operation: Operation }
  | { readonly is: 'acknowledged'; readonly journal: string; readonly number: number }

export interface State {
  readonly first: number
  readonly last: number
  /** Which operation wrote each offset, from 1 on. Shared by all states between two removals, and only its part up to `last` counts. */
  readonly writers: number[]
  readonly snapshot: { readonly offset: number; readonly number: number } | undefined
}

export const absent = (): State => ({ first: 1, last: 0, writers: [], snapshot: undefined })

export const apply = (state: State, operation: Operation, number: number): State => {
  const { first, last, writers } = state
  switch (operation.kind) {
    case 'append':
      for (let left = operation.count; left > 0; left--) writers.push(number)
      return { ...state, last: last + operation.count }
    case 'snapshot': {
      const { offset, isTrim } = operation
      return { ...state, first: isTrim ? Math.max(first, offset + 1) : first, snapshot: { offset, number } }
    }
    case 'trim':
      return { ...state, first: Math.max(first, operation.before) }
    case 'remove':
      return absent()
  }
}

/** Bytes that tell who wrote them, and in which a sector that is lost, or left over from before, shows. */
export const content = (journal: string, number: number, offset: number, size: number): string =>
  `${journal} ${number} ${offset} ${size} `.padEnd(size, `${journal}${number}.${offset}|`)

/** The operation that wrote this, when it is whole. */
export const writerOf = (text: string, journal: string, offset: number): number | undefined => {
  const [, number = '', size = ''] = /^\S+ (\d+) \d+ (\d+) /.exec(text) ?? []
  return text !== '' && content(journal, Number(number), offset, Number(size)) === text ? Number(number) : undefined
}

export interface FoundJournal {
  readonly first: number
  readonly last: number
  /** Offset and writer of each entry. */
  readonly entries: readonly (readonly [number, number])[]
  readonly snapshot: { readonly offset: number; readonly number: number } | undefined
}

export type Found = { readonly journals: Readonly<Record<string, FoundJournal>> } | { readonly problem: string }

const isSame = (state: State, found: FoundJournal | undefined): boolean => {
  if (found === undefined) return state.last === 0
  const { first, last, writers, snapshot } = state
  return (
    found.first === first &&
    found.last === last &&
    found.snapshot?.offset === snapshot?.offset &&
    found.snapshot?.number === snapshot?.number &&
    found.entries.length === last - first + 1 &&
    found.entries.every(([offset, number], i) => offset === first + i && number === writers[offset - 1])
  )
}

const told = (found: State | FoundJournal | undefined): string =>
  found === undefined ? 'nothing' : `${found.first} to ${found.last}, snapshot ${found.snapshot?.offset ?? 'none'}`

export class Model {
  readonly #states = new Map<string, State[]>()
  readonly #acknowledged = new Map<string, number>()

  add(mark: Mark): void {
    if (mark.is === 'asked') {
      const states = this.#states.get(mark.journal) ?? [absent()]
      this.#states.set(mark.journal, states)
      if (states.length !== mark.number) throw new Error(`${mark.journal}: operation ${mark.number} is out of order`)
      states.push(apply(states.at(-1) ?? absent(), mark.operation, mark.number))
    }
    if (mark.is === 'acknowledged') {
      this.#acknowledged.set(mark.journal, Math.max(mark.number, this.#acknowledged.get(mark.journal) ?? 0))
    }
  }

  /** What is wrong with a store that was found like this; undefined when nothing is. */
  violation(found: Found): string | undefined {
    if ('problem' in found) return found.problem
    for (const name of Object.keys(found.journals)) if (!this.#states.has(name)) return `nobody wrote the journal ${name}`
    for (const [name, states] of this.#states) {
      const acknowledged = this.#acknowledged.get(name) ?? 0
      const journal = found.journals[name]
      if (states.slice(acknowledged).some((state) => isSame(state, journal))) continue
      return `${name} holds ${told(journal)}; acknowledged was ${told(states[acknowledged])}, asked for ${told(states.at(-1))}`
    }
    return undefined
  }
}
