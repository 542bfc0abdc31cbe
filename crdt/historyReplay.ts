/**
 * A document as it was: a state, and the changes after it applied one after the other.
 *
 * The state may have been garbage-collected: what it lacks was deleted before, and nobody who looks at what came later can see it.
 * What could not be integrated when it came is dropped here, as it was then.
 */
import * as Y from 'yjs'
import { applyOne, inBatches } from './apply.ts'
import { type Author, isSameAuthor } from './change.ts'
import { type AnyType, type Content, rootsOf } from './content.ts'
import { changesOf, type PastChange } from './history.ts'
import { inspectUpdate, storedLimits } from './update.ts'

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

/** The document after the change `to`. The caller destroys it. */
export const replay = ({ base, baseAt, blocks }: Material, to: number, { gc }: { readonly gc: boolean }): Y.Doc => {
  const doc = new Y.Doc({ gc })
  const take = ({ update }: { readonly update: Uint8Array }) => void applyOne(doc, update)
  inBatches(doc, [{ update: base }], take)
  inBatches(doc, changesOf(blocks, { from: baseAt + 1, to }), take)
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

/** Neighbouring changes of one author. */
export interface Edit {
  readonly by: By
  /** Its place among all edits of the period, from 0 on. */
  readonly order: number
  /** One of those that were asked for. */
  readonly isWanted: boolean
}

/** A stretch of clocks of one client. */
interface Stretch {
  readonly clock: number
  end: number
  readonly edit: Edit
}

/** Which edit is behind each stretch of clocks. Filled in any order, read after `settle`. */
export class Attribution {
  readonly #stretches = new Map<number, Stretch[]>()

  add(client: number, clock: number, length: number, edit: Edit): void {
    const all = this.#stretches.get(client) ?? []
    if (all.length === 0) this.#stretches.set(client, all)
    const last = all.at(-1)
    if (last !== undefined && last.end === clock && last.edit === edit) last.end += length
    else all.push({ clock, end: clock + length, edit })
  }

  settle(): void {
    for (const all of this.#stretches.values()) all.sort((a, b) => a.clock - b.clock)
  }

  /** What the edits brought that were asked for. */
  wanted(): Attribution {
    const found = new Attribution()
    for (const [client, all] of this.#stretches)
      for (const { clock, end, edit } of all) if (edit.isWanted) found.add(client, clock, end - clock, edit)
    return found
  }

  /** The stretch that has this clock; else the clock at which the next one begins. */
  at(client: number, clock: number): Readonly<Stretch> | number {
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

  editOf({ client, clock }: Y.ID): Edit | undefined {
    const found = this.at(client, clock)
    return typeof found === 'number' ? undefined : found.edit
  }

  has({ client, clock }: Y.ID): boolean {
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
  /** Changes of one author that follow each other within this time count as one. */
  readonly gapMs: number
  /** Which changes are asked for. Default: all. */
  readonly wants?: (change: PastChange) => boolean
}

/** Applies the changes of the period one after the other, and keeps apart what each brought. */
export const trace = (material: Material, { after, upTo }: Period, { gapMs, wants = () => true }: Tracing): Traced => {
  const doc = replay(material, after, { gc: false })
  const inserted = new Attribution()
  const deleted = new Attribution()
  const stillborn: Stillborn[] = []
  let edit: (Edit & { readonly by: { ended: number } }) | undefined
  const editOf = (change: PastChange): Edit => {
    const { author, time } = change
    const isWanted = wants(change)
    if (edit?.isWanted === isWanted && isSameAuthor(edit.by.author, author) && time - edit.by.ended <= gapMs) edit.by.ended = time
    else edit = { by: { author, began: time, ended: time }, order: (edit?.order ?? -1) + 1, isWanted }
    return edit
  }
  inBatches(doc, changesOf(material.blocks, { from: after + 1, to: upTo }), (change, transaction) => {
    const now = editOf(change)
    const { update } = change
    const before = clocksBefore(doc, update)
    const deletions = deletionsOf(transaction, () => void applyOne(doc, update))
    for (const [client, start] of before) {
      const end = Y.getState(doc.store, client)
      if (end > start) inserted.add(client, start, end - start, now)
    }
    const isIntended = intention(update)
    for (const [client, ranges] of deletions.clients)
      for (const { clock, len } of ranges)
        if (clock < (before.get(client) ?? Number.POSITIVE_INFINITY)) deleted.add(client, clock, len, now)
        else
          for (const item of itemsIn(doc, client, clock, len))
            if (isIntended(item.id)) deleted.add(client, item.id.clock, item.length, now)
            else stillborn.push({ item, clock: item.id.clock, length: item.length })
  })
  inserted.settle()
  deleted.settle()
  bookStillborn(stillborn, inserted, deleted)
  return { doc, inserted, deleted }
}

/** Of the clients that an update brings something of: what of them is known already. */
const clocksBefore = ({ store }: Y.Doc, update: Uint8Array): ReadonlyMap<number, number> => {
  const inspection = inspectUpdate(update, storedLimits)
  return new Map(inspection.ok ? inspection.ranges.map(({ client }) => [client, Y.getState(store, client)]) : [])
}

/** What is deleted meanwhile, a part of what the transaction deletes. */
const deletionsOf = (transaction: Y.Transaction, act: () => void): Y.Transaction['deleteSet'] => {
  const all = transaction.deleteSet
  const own = Y.createDeleteSet()
  transaction.deleteSet = own
  try {
    act()
    return own
  } finally {
    transaction.deleteSet = all
    for (const [client, ranges] of own.clients) {
      const known = all.clients.get(client)
      if (known === undefined) all.clients.set(client, [...ranges])
      else for (const range of ranges) known.push(range)
    }
  }
}

/** Whether an update itself lists a deletion; it is read when that is asked for the first time. */
const intention = (update: Uint8Array): ((id: Y.ID) => boolean) => {
  let listed: Y.Transaction['deleteSet'] | undefined
  return (id) => {
    listed ??= Y.mergeDeleteSets([Y.decodeUpdate(update).ds])
    return Y.isDeleted(listed, id)
  }
}

function* itemsIn({ store }: Y.Doc, client: number, clock: number, length: number): Iterable<Y.Item> {
  const structs = store.clients.get(client) ?? []
  for (let at = Y.findIndexSS(structs, clock); at < structs.length; at++) {
    const struct = structs[at] as Y.Item | Y.GC // below the length
    if (struct.id.clock >= clock + length) break
    if (struct instanceof Y.Item) yield struct
  }
}

/**
 * What an update inserts where everything is gone by then, or as a value of a key that has a newer one: Yjs deletes it when it comes,
 * without the update saying so. With the clocks that it had then; it may be joined with others later.
 */
interface Stillborn {
  readonly item: Y.Item
  readonly clock: number
  readonly length: number
}

/** It was deleted by whoever deleted what it lies in, or set the newer value. */
const bookStillborn = (all: readonly Stillborn[], inserted: Attribution, deleted: Attribution): void => {
  const unbooked = new Set(all.map(({ item }) => item))
  const booked = new Map<Y.Item, Edit | undefined>()
  const parentOf = (item: Y.Item): Y.Item | null => (item.parent as AnyType)._item // of an integrated item
  const culpritOf = (item: Y.Item): Edit | undefined => {
    let at = item
    let parent = parentOf(at)
    for (; parent !== null && unbooked.has(parent); parent = parentOf(at)) at = parent
    if (parent?.deleted) return booked.has(parent) ? booked.get(parent) : deleted.editOf(parent.id)
    return at.right === null ? undefined : inserted.editOf(at.right.id)
  }
  for (const { item } of all) {
    booked.set(item, culpritOf(item))
    unbooked.delete(item)
  }
  for (const { item, clock, length } of all) {
    const edit = booked.get(item)
    if (edit !== undefined) deleted.add(item.id.client, clock, length, edit)
  }
  deleted.settle()
}
