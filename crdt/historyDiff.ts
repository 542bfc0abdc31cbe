/**
 * What changed in a document between two moments, by whom and when: for each root type its sequence (text, rich text, lists, XML)
 * and its keys.
 *
 *   Difference = { type?, name?, content?: Step[], keys?: { key: KeyChange } }
 *   Step       = { retain: n }                                            as it was
 *              | { insert: text | Difference | { embed }, attributes?, by }   or { values, by }: new
 *              | { delete: text | Difference | { embed }, attributes?, by }   or { deleted_values, by }: gone
 *              | { format: text | …, attributes: { name: { before, after } }, by }   the same with other formatting
 *              | { change: Difference }                                   a nested type in which something changed
 *   KeyChange  = { before?, after?, by } | { change: Difference }
 *
 * In the order of the sequence, so that old and new can be shown in one text. What came and went in between is not told.
 */
import * as Y from 'yjs'
import {
  type AnyType,
  applyMark,
  byName,
  contentOf,
  headOf,
  runOf,
  type Sees,
  type TypeName,
  type Value,
  valuesOf,
  withAttributes,
} from './content.ts'
import { type By, type Material, type Period, type Traced, trace } from './historyReplay.ts'

export interface Step {
  readonly retain?: number
  readonly insert?: Value
  readonly delete?: Value
  readonly values?: readonly Value[]
  readonly deleted_values?: readonly Value[]
  readonly format?: Value
  readonly change?: Difference
  readonly attributes?: Readonly<Record<string, Value>>
  readonly by?: By
}

export interface KeyChange {
  readonly before?: Value
  readonly after?: Value
  readonly change?: Difference
  readonly by?: By
}

export interface Difference {
  readonly type?: TypeName
  readonly name?: string
  readonly content?: readonly Step[]
  readonly keys?: Readonly<Record<string, KeyChange>>
}

/** A stretch of an item in which every clock has the same fate. */
interface Piece {
  readonly from: number
  readonly to: number
  /** Somebody brought it after the first moment; undefined: it was there. */
  readonly insertedBy: By | undefined
  /** Somebody deleted it after the first moment; undefined: it is there, for what was deleted before makes no piece. */
  readonly deletedBy: By | undefined
}

interface Marks {
  readonly before: Map<string, Value>
  readonly after: Map<string, Value>
  /** Who touched a mark of this name last. */
  readonly causes: Map<string, By>
}

class Comparison {
  readonly #traced: Traced

  constructor(traced: Traced) {
    this.#traced = traced
  }

  roots(): Readonly<Record<string, Difference>> {
    const roots: [string, Difference][] = []
    for (const [name, type] of this.#traced.doc.share) {
      const found = this.#typeOf(type as AnyType)
      if (found !== undefined) roots.push([name, found])
    }
    return byName(roots)
  }

  #pieces(item: Y.Item): readonly Piece[] {
    const { inserted, deleted } = this.#traced
    const { client, clock } = item.id
    const pieces: Piece[] = []
    for (let at = clock; at < clock + item.length; ) {
      const bringer = inserted.at(client, at)
      const remover = item.deleted ? deleted.at(client, at) : Number.POSITIVE_INFINITY
      const ends = [bringer, remover].map((found) => (typeof found === 'number' ? found : found.end))
      const end = Math.min(clock + item.length, ...ends)
      const insertedBy = typeof bringer === 'number' ? undefined : bringer.by
      const deletedBy = typeof remover === 'number' ? undefined : remover.by
      const isInvisible = (item.deleted && deletedBy === undefined) || (insertedBy !== undefined && deletedBy !== undefined)
      if (!isInvisible) pieces.push({ from: at - clock, to: end - clock, insertedBy, deletedBy })
      at = end
    }
    return pieces
  }

  /** What was there at the first moment. */
  readonly #seesBefore: Sees = (item) =>
    this.#pieces(item).flatMap(({ from, to, insertedBy }) => (insertedBy === undefined ? [[from, to] as const] : []))

  #typeOf(type: AnyType): Difference | undefined {
    const content = this.#sequence(type)
    const keys = this.#keys(type)
    if (content.length === 0 && Object.keys(keys).length === 0) return undefined
    return { ...headOf(type), ...(content.length > 0 ? { content } : {}), ...(Object.keys(keys).length > 0 ? { keys } : {}) }
  }

  #sequence(type: AnyType): readonly Step[] {
    const steps = new Steps()
    const marks: Marks = { before: new Map(), after: new Map(), causes: new Map() }
    for (let item = type._start; item !== null; item = item.right) {
      if (item.content instanceof Y.ContentFormat) this.#mark(item, item.content, marks)
      else if (item.countable) for (const piece of this.#pieces(item)) this.#step(item, piece, marks, steps)
    }
    return steps.all
  }

  #mark(item: Y.Item, content: Y.ContentFormat, { before, after, causes }: Marks): void {
    for (const { insertedBy, deletedBy } of this.#pieces(item)) {
      if (insertedBy === undefined) applyMark(before, content)
      if (deletedBy === undefined) applyMark(after, content)
      const by = insertedBy ?? deletedBy
      if (by !== undefined) causes.set(content.key, by)
    }
  }

  #step(item: Y.Item, { from, to, insertedBy, deletedBy }: Piece, { before, after, causes }: Marks, steps: Steps): void {
    if (insertedBy !== undefined) return steps.insert(this.#shown(item, from, to), after, insertedBy)
    if (deletedBy !== undefined) return steps.remove(this.#shown(item, from, to), before, deletedBy)
    const changed = [...new Set([...before.keys(), ...after.keys()])].filter((key) => !isSame(before.get(key), after.get(key)))
    const cause = changed.map((key) => causes.get(key)).find((by) => by !== undefined)
    if (cause !== undefined) {
      const attributes = changed.sort().map((key) => [key, { before: before.get(key) ?? null, after: after.get(key) ?? null }] as const)
      steps.format(this.#shown(item, from, to), new Map(attributes), cause)
    }
    const nested = item.content instanceof Y.ContentType ? this.#typeOf(item.content.type as AnyType) : undefined
    if (nested !== undefined) steps.push({ change: nested })
    else if (cause === undefined) steps.push({ retain: to - from })
  }

  /** A stretch of a sequence. Of a nested type what is new or gone in it; of one that is as it was, all of it. */
  #shown(item: Y.Item, from: number, to: number): Shown {
    if (item.content instanceof Y.ContentType) {
      const type = item.content.type as AnyType
      return { insert: this.#typeOf(type) ?? headOf(type) }
    }
    return runOf(item, from, to, this.#seesBefore) as Shown // a run has one of both
  }

  #keys(type: AnyType): Readonly<Record<string, KeyChange>> {
    const keys: [string, KeyChange][] = []
    for (const [key, newest] of type._map) {
      const found = this.#key(newest)
      if (found !== undefined) keys.push([key, found])
    }
    return byName(keys)
  }

  #key(newest: Y.Item): KeyChange | undefined {
    let before: { item: Y.Item; piece: Piece } | undefined
    for (let item: Y.Item | null = newest; item !== null; item = item.left) {
      const piece = this.#pieces(item).at(-1)
      if (piece !== undefined && piece.insertedBy === undefined) {
        before = { item, piece }
        break
      }
    }
    const after = newest.deleted ? undefined : this.#pieces(newest).at(-1)
    if (after !== undefined && after.insertedBy === undefined) {
      const nested = newest.content instanceof Y.ContentType ? this.#typeOf(newest.content.type as AnyType) : undefined
      return nested && { change: nested }
    }
    const by = after?.insertedBy ?? before?.piece.deletedBy
    if (by === undefined) return undefined
    return {
      ...(before ? { before: valuesOf(before.item, 0, before.item.length, this.#seesBefore).at(-1) } : {}),
      ...(after ? { after: this.#valueNow(newest) } : {}),
      by,
    }
  }

  #valueNow(item: Y.Item): Value {
    return item.content instanceof Y.ContentType ? contentOf(item.content.type as AnyType) : valuesOf(item, 0, item.length, () => []).at(-1)
  }
}

interface Shown {
  readonly insert?: Value
  readonly values?: readonly Value[]
}

const isSame = (a: unknown, b: unknown): boolean => a === b || JSON.stringify(a) === JSON.stringify(b)

/** Steps as they are found; neighbours that are alike become one. */
class Steps {
  readonly #all: Step[] = []

  /** What is as it was at the end goes without saying. */
  get all(): readonly Step[] {
    while (this.#all.at(-1)?.retain !== undefined) this.#all.pop()
    return this.#all
  }

  insert({ insert, values }: Shown, attributes: ReadonlyMap<string, Value>, by: By): void {
    this.push(withAttributes({ ...(values ? { values } : { insert }), by }, attributes))
  }

  remove({ insert, values }: Shown, attributes: ReadonlyMap<string, Value>, by: By): void {
    this.push(withAttributes({ ...(values ? { deleted_values: values } : { delete: insert }), by }, attributes))
  }

  format({ insert, values }: Shown, attributes: ReadonlyMap<string, Value>, by: By): void {
    this.push(withAttributes({ format: insert ?? values, by }, attributes))
  }

  push(step: Step): void {
    const last = this.#all.at(-1)
    const joined = last && joinSteps(last, step)
    if (joined === undefined) this.#all.push(step)
    else this.#all[this.#all.length - 1] = joined
  }
}

const joinSteps = (last: Step, step: Step): Step | undefined => {
  if (last.retain !== undefined && step.retain !== undefined) return { retain: last.retain + step.retain }
  if (last.by !== step.by || !isSame(last.attributes, step.attributes)) return undefined
  for (const key of ['insert', 'delete', 'format'] as const)
    if (typeof last[key] === 'string' && typeof step[key] === 'string') return { ...last, [key]: last[key] + step[key] }
  for (const key of ['values', 'deleted_values'] as const) {
    const [a, b] = [last[key], step[key]]
    if (a !== undefined && b !== undefined) return { ...last, [key]: [...a, ...b] }
  }
  return undefined
}

/** What the period did; `gapMs` as in `trace`. */
export const diff = (material: Material, period: Period, gapMs: number): Readonly<Record<string, Difference>> => {
  const traced = trace(material, period, { gapMs })
  try {
    return new Comparison(traced).roots()
  } finally {
    traced.doc.destroy()
  }
}
