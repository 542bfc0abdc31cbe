/**
 * What changed in a document between two moments, by whom and when: for each root type its sequence (text, rich text, lists, XML)
 * and its keys.
 *
 *   Difference = { type?, name?, content?: Step[], keys?: { key: KeyChange } }
 *   Step       = { retain: n }                                            as it was
 *              | { insert: text | Difference | { embed }, attributes?, by }   or { values, by }: new
 *              | { delete: text | Difference | { embed }, attributes?, by }   or { deleted_values, by }: gone
 *              | { format: text | …, attributes: { name: { before, after, by? } }, by }   the same with other formatting; `by`
 *                of an attribute, where another than the last of them was changed by somebody else
 *              | { change: Difference }                                   a nested type in which something changed
 *   KeyChange  = { before?, after?, by } | { change: Difference }
 *
 * In the order of the sequence, so that old and new can be shown in one text. What came and went in between is not told.
 */
import * as Y from 'yjs'
import {
  type AnyType,
  byName,
  checkDepth,
  headOf,
  type Look,
  runOf,
  type TypeName,
  type Value,
  valuesOf,
  whole,
  withAttributes,
} from './content.ts'
import { Formatting } from './historyFormat.ts'
import { type By, type Edit, type Material, type Period, type Traced, trace } from './historyReplay.ts'
import { TooLarge } from './jsonValue.ts'

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

/** What a step or a key has beside its value, as JSON. */
const frameBytes = 32
/** Of `by` without its names. */
const byBytes = 96

const byLength = (by: By | undefined): number => (by === undefined ? 0 : byBytes + by.author.user.length + by.author.via.length)

const lengthOf = (value: Value): number =>
  typeof value === 'string' ? value.length : value === undefined ? 0 : JSON.stringify(value).length

/** How much has been found, about as long as it will be as JSON: it must end before it takes the memory of the whole program. */
class Meter {
  readonly #most: number
  #left: number

  constructor(most: number) {
    this.#most = most
    this.#left = most
  }

  /** Throws `TooLarge`. */
  count(bytes: number): void {
    this.#left -= bytes
    if (this.#left < 0) throw new TooLarge(`the difference has more than ${this.#most} bytes`)
  }
}

class Comparison {
  readonly #traced: Traced
  readonly #meter: Meter
  /** Of the type that is looked at. */
  #depth = 0

  constructor(traced: Traced, meter: Meter) {
    this.#traced = traced
    this.#meter = meter
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
      const insertedBy = typeof bringer === 'number' ? undefined : bringer.edit.by
      const deletedBy = typeof remover === 'number' ? undefined : remover.edit.by
      const isInvisible = (item.deleted && deletedBy === undefined) || (insertedBy !== undefined && deletedBy !== undefined)
      if (!isInvisible) pieces.push({ from: at - clock, to: end - clock, insertedBy, deletedBy })
      at = end
    }
    return pieces
  }

  /** What was there at the first moment. */
  readonly #before: Look = whole((item) =>
    this.#pieces(item).flatMap(({ from, to, insertedBy }) => (insertedBy === undefined ? [[from, to] as const] : [])),
  )

  #typeOf(type: AnyType): Difference | undefined {
    checkDepth(this.#depth++)
    const content = this.#sequence(type)
    const keys = this.#keys(type)
    this.#depth--
    if (content.length === 0 && Object.keys(keys).length === 0) return undefined
    return { ...headOf(type), ...(content.length > 0 ? { content } : {}), ...(Object.keys(keys).length > 0 ? { keys } : {}) }
  }

  #sequence(type: AnyType): readonly Step[] {
    const steps = new Steps(this.#meter)
    const formatting = new Formatting(this.#traced)
    for (let item = type._start; item !== null; item = item.right) {
      if (item.content instanceof Y.ContentFormat) formatting.pass(item, item.content)
      else if (item.countable) for (const piece of this.#pieces(item)) this.#step(item, piece, formatting, steps)
    }
    return steps.all
  }

  #step(item: Y.Item, { from, to, insertedBy, deletedBy }: Piece, formatting: Formatting, steps: Steps): void {
    if (insertedBy !== undefined) return steps.insert(this.#shown(item, from, to), formatting.after, insertedBy)
    if (deletedBy !== undefined) return steps.remove(this.#shown(item, from, to), formatting.before, deletedBy)
    const { changed } = formatting
    const last = changed.reduce<Edit | undefined>((latest, { edit }) => (edit.order > (latest?.order ?? -1) ? edit : latest), undefined)
    if (last !== undefined) {
      const attributes = changed.map(
        ({ key, before, after, edit: { by } }) => [key, { before, after, ...(by !== last.by && { by }) }] as const,
      )
      steps.format(this.#shown(item, from, to), new Map(attributes), last.by)
    }
    const nested = item.content instanceof Y.ContentType ? this.#typeOf(item.content.type as AnyType) : undefined
    if (nested !== undefined) steps.push({ change: nested })
    else if (last === undefined) steps.push({ retain: to - from })
  }

  /** A stretch of a sequence. Of a nested type what is new or gone in it; of one that is as it was, all of it. */
  #shown(item: Y.Item, from: number, to: number): Shown {
    if (item.content instanceof Y.ContentType) {
      const type = item.content.type as AnyType
      return { insert: this.#typeOf(type) ?? headOf(type) }
    }
    const shown = runOf(item, from, to, this.#before) as Shown // a run has one of both
    this.#meter.count(lengthOf(shown.insert ?? shown.values))
    return shown
  }

  #keys(type: AnyType): Readonly<Record<string, KeyChange>> {
    const keys: [string, KeyChange][] = []
    for (const [key, newest] of type._map) {
      const found = this.#key(newest)
      if (found === undefined) continue
      this.#meter.count(frameBytes + key.length + byLength(found.by) + lengthOf(found.before) + lengthOf(found.after))
      keys.push([key, found])
    }
    return byName(keys)
  }

  #key(newest: Y.Item): KeyChange | undefined {
    let before: { item: Y.Item; piece: Piece } | undefined
    for (let item: Y.Item | null = newest; item !== null; item = item.left) {
      const piece = this.#pieces(item).findLast(({ insertedBy }) => insertedBy === undefined)
      if (piece !== undefined) {
        before = { item, piece }
        break
      }
    }
    const after = newest.deleted ? undefined : this.#pieces(newest).at(-1)
    if (after !== undefined && after.insertedBy === undefined) {
      const nested = newest.content instanceof Y.ContentType ? this.#typeOf(newest.content.type as AnyType) : undefined
      return nested && { change: nested }
    }
    // Who replaced the value of before is one thing, who took away the last one another.
    const last = { client: newest.id.client, clock: newest.id.clock + newest.length - 1 }
    const by = after?.insertedBy ?? (before && (this.#traced.deleted.editOf(last)?.by ?? before.piece.deletedBy))
    if (by === undefined) return undefined
    return {
      // Values that one client set one after the other are one item once they are deleted.
      ...(before ? { before: valuesOf(before.item, before.piece.from, before.piece.to, this.#before).at(-1) } : {}),
      ...(after ? { after: valuesOf(newest, 0, newest.length, whole()).at(-1) } : {}),
      by,
    }
  }
}

interface Shown {
  readonly insert?: Value
  readonly values?: readonly Value[]
}

const isSame = (a: unknown, b: unknown): boolean => a === b || JSON.stringify(a) === JSON.stringify(b)

/** Steps as they are found; neighbours that are alike become one. */
class Steps {
  readonly #meter: Meter
  readonly #all: Step[] = []

  constructor(meter: Meter) {
    this.#meter = meter
  }

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
    if (joined !== undefined) {
      this.#all[this.#all.length - 1] = joined
      return
    }
    this.#meter.count(frameBytes + byLength(step.by) + lengthOf(step.attributes))
    this.#all.push(step)
  }
}

const joinSteps = (last: Step, step: Step): Step | undefined => {
  if (last.retain !== undefined && step.retain !== undefined) return { retain: last.retain + step.retain }
  if (last.by !== step.by || !isSame(last.attributes, step.attributes)) return undefined
  for (const key of ['insert', 'delete', 'format'] as const)
    if (typeof last[key] === 'string' && typeof step[key] === 'string') return { ...last, [key]: last[key] + step[key] }
  for (const key of ['values', 'deleted_values'] as const) {
    const [a, b] = [last[key], step[key]]
    if (a === undefined || b === undefined) continue
    for (const value of b) (a as Value[]).push(value) // made here, by `runOf`; a copy each time would take 100 000 neighbours seconds
    return last
  }
  return undefined
}

/**
 * What the period did; `gapMs` as in `trace`. Throws `Unreadable` for what nests too deep to be shown, `TooLarge` where about more than
 * `mostBytes` would have to be told.
 */
export const diff = (
  material: Material,
  period: Period,
  gapMs: number,
  mostBytes = Number.POSITIVE_INFINITY,
): Readonly<Record<string, Difference>> => {
  const traced = trace(material, period, { gapMs })
  try {
    return new Comparison(traced, new Meter(mostBytes)).roots()
  } finally {
    traced.doc.destroy()
  }
}
