/**
 * A difference (crdt/historyDiff.ts) as the rest of the API spells authors and times. Only in the places where a difference has them:
 * what lies in a document may have fields of any name, `by` too, and is told as it is.
 */
import type { Difference, KeyChange, Step } from '../../crdt/historyDiff.ts'
import type { By } from '../../crdt/historyReplay.ts'
import { isoTime } from '../doors/times.ts'

const bodyOf = ({ author, began, ended }: By) => ({ ...author, began_at: isoTime(began), ended_at: isoTime(ended) })

/** Thousands of steps have the same few, also as objects: spelled once. */
const bodies = new WeakMap<By, object>()
const byBody = (by: By): object => {
  const body = bodies.get(by) ?? bodyOf(by)
  bodies.set(by, body)
  return body
}

const withBy = <Given extends { readonly by?: By }>(given: Given) => ({ ...given, ...(given.by && { by: byBody(given.by) }) })

const eachOf = <Given>(record: Readonly<Record<string, Given>>, body: (given: Given) => unknown) =>
  Object.fromEntries(Object.entries(record).map(([key, given]) => [key, body(given)]))

/** Beside a nested type there are texts, values, and embedded objects. */
const isDifference = (shown: unknown): shown is Difference =>
  typeof shown === 'object' && shown !== null && !Array.isArray(shown) && !('embed' in shown)

const stepBody = (step: Step): unknown => {
  const shown = (['insert', 'delete', 'format', 'change'] as const).flatMap((name) => {
    const value = step[name]
    return isDifference(value) ? [[name, differenceBody(value)] as const] : []
  })
  // Those of new and old content are the document's own.
  const changed = step.format === undefined || step.attributes === undefined ? {} : { attributes: eachOf(step.attributes, attributeBody) }
  return { ...withBy(step), ...Object.fromEntries(shown), ...changed }
}

const attributeBody = (change: unknown): unknown => withBy(change as { readonly by?: By }) // as historyDiff.ts makes it

const keyBody = (change: KeyChange): unknown => ({ ...withBy(change), ...(change.change && { change: differenceBody(change.change) }) })

const differenceBody = ({ content, keys, ...head }: Difference): object => ({
  ...head,
  ...(content && { content: content.map(stepBody) }),
  ...(keys && { keys: eachOf(keys, keyBody) }),
})

/** Of all roots, by name. */
export const differencesBody = (roots: Readonly<Record<string, Difference>>) => eachOf(roots, differenceBody)
