/**
 * A document as it was: a state, and the changes after it applied one by one.
 *
 * The state may have been garbage-collected: what it lacks was deleted before, and nobody who looks at what came later can see it.
 * What could not be integrated when it came is dropped here, as it was then.
 */
import * as Y from 'yjs'
import { type Author, isSameAuthor } from './change.ts'
import { type Content, rootsOf } from './content.ts'
import { changesOf, type PastChange } from './history.ts'
import { installLinearMerge } from './linearMerge.ts'

/** What the past is made from. */
export interface Material {
  /** The document after the change `baseAt`, as an update; no bytes for nothing. */
  readonly base: Uint8Array
  readonly baseAt: number
  /** The changes after it (history.ts); there may be some from before, too. */
  readonly blocks: readonly Uint8Array[]
}

/** A stretch of history: what lies between the document after one change and after another. */
export interface Period {
  readonly after: number
  readonly upTo: number
}

export interface View {
  /** The document as one update. */
  readonly update: Uint8Array
  /** Root types by name. */
  readonly roots: Readonly<Record<string, Content>>
}

const apply = (doc: Y.Doc, update: Uint8Array): void => {
  if (update.length > 0) Y.applyUpdate(doc, update)
  doc.store.pendingStructs = null
  doc.store.pendingDs = null
}

/** The document after the change `to`. The caller destroys it. */
export const replay = ({ base, baseAt, blocks }: Material, to: number, { gc }: { readonly gc: boolean }): Y.Doc => {
  installLinearMerge()
  const doc = new Y.Doc({ gc })
  apply(doc, base)
  for (const { update } of changesOf(blocks, { from: baseAt + 1, to })) apply(doc, update)
  return doc
}

export const view = (material: Material, to: number, withContent: boolean): View => {
  const doc = replay(material, to, { gc: true })
  try {
    return { update: Y.encodeStateAsUpdate(doc), roots: withContent ? rootsOf(doc) : {} }
  } finally {
    doc.destroy()
  }
}

/** Who, and when. */
export interface By {
  readonly author: Author
  readonly began: number
  readonly ended: number
}

/** A stretch of clocks of one client. */
interface Stretch {
  readonly clock: number
  readonly end: number
  readonly by: By
}

/** Who is behind each stretch of clocks. Filled in any order, read after `settle`. */
export class Attribution {
  readonly #stretches = new Map<number, Stretch[]>()

  add(client: number, clock: number, length: number, by: By): void {
    const all = this.#stretches.get(client) ?? []
    if (all.length === 0) this.#stretches.set(client, all)
    const last = all.at(-1)
    if (last !== undefined && last.end === clock && last.by === by) all[all.length - 1] = { ...last, end: clock + length }
    else all.push({ clock, end: clock + length, by })
  }

  settle(): void {
    for (const all of this.#stretches.values()) all.sort((a, b) => a.clock - b.clock)
  }

  /** The stretch that has this clock; else the clock at which the next one begins. */
  at(client: number, clock: number): Stretch | number {
    const all = this.#stretches.get(client) ?? []
    let low = 0
    let high = all.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((all[middle] as Stretch).end > clock) high = middle
      else low = middle + 1
    }
    const found = all[low]
    if (found === undefined) return Number.POSITIVE_INFINITY
    return found.clock <= clock ? found : found.clock
  }

  has(client: number, clock: number): boolean {
    return typeof this.at(client, clock) !== 'number'
  }

  *[Symbol.iterator](): IterableIterator<readonly [client: number, clock: number, length: number]> {
    for (const [client, all] of this.#stretches) for (const { clock, end } of all) yield [client, clock, end - clock]
  }
}

/** What a period did to a document that was not garbage-collected. */
export interface Traced {
  /** Destroyed by the caller. */
  readonly doc: Y.Doc
  readonly inserted: Attribution
  /** A deletion that was there already belongs to whoever made it first. */
  readonly deleted: Attribution
}

interface Tracing {
  /** Changes of one author that follow each other within this time count as one. Default 0. */
  readonly gapMs?: number
  /** Only these are attributed. Default: all. */
  readonly wants?: (change: PastChange) => boolean
}

/** Applies the changes of the period one by one, and keeps apart what each brought. */
export const trace = (material: Material, { after, upTo }: Period, { gapMs = 0, wants = () => true }: Tracing = {}): Traced => {
  const doc = replay(material, after, { gc: false })
  const inserted = new Attribution()
  const deleted = new Attribution()
  let by: { author: Author; began: number; ended: number } | undefined
  let isWanted = false
  doc.on('afterTransaction', ({ beforeState, afterState, deleteSet }: Y.Transaction) => {
    if (!isWanted || by === undefined) return
    for (const [client, end] of afterState) {
      const start = beforeState.get(client) ?? 0
      if (end > start) inserted.add(client, start, end - start, by)
    }
    for (const [client, ranges] of deleteSet.clients) for (const { clock, len } of ranges) deleted.add(client, clock, len, by)
  })
  for (const change of changesOf(material.blocks, { from: after + 1, to: upTo })) {
    const { author, time, update } = change
    if (by !== undefined && isSameAuthor(by.author, author) && time - by.ended <= gapMs) by.ended = time
    else by = { author, began: time, ended: time }
    isWanted = wants(change)
    apply(doc, update)
  }
  inserted.settle()
  deleted.settle()
  return { doc, inserted, deleted }
}
