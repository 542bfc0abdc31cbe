/**
 * History that is no more: a document was reset, replaced or deleted, and what it had is kept as a state vector.
 *
 * Whoever still has some of it would bring it back: the old text and the new one would stand there both, for ever. A clock that the
 * document lacks and that was retired gives such a one away, also under a new client id, since the ids of the others are there, too.
 *
 * Known limit: content that every client brings along under one fixed client id (a seed, a template) looks like old history after
 * a reset. Let the new document begin with it; then the clocks are there and nobody is refused.
 */
import { rangesOf } from './ranges.ts'
import type { StateVector } from './stateVector.ts'
import type { UpdateInspection } from './update.ts'

type Vector = ReadonlyMap<number, number>

/** What either of them has. */
export const joinVectors = (one: Vector, other: Vector): StateVector => {
  const joined = new Map(one)
  for (const [client, clock] of other) if (clock > (joined.get(client) ?? 0)) joined.set(client, clock)
  return joined
}

/** Has somebody with this vector something of what was retired? */
export const knowsRetired = (vector: Vector, document: Vector, retired: Vector): boolean => {
  for (const [client, clock] of vector) {
    const have = document.get(client) ?? 0
    if (clock > have && (retired.get(client) ?? 0) > have) return true
  }
  return false
}

/** Does an update bring something of what was retired? */
export const bringsRetired = (update: UpdateInspection, document: Vector, retired: Vector): boolean => {
  for (const { client, from, to } of rangesOf(update)) {
    const gone = retired.get(client) ?? 0
    const have = document.get(client) ?? 0
    if (gone > have && to > have && from < gone) return true
  }
  return false
}
