/**
 * Going back by going forward: updates that give a document the content that it had, or take back what one author did, as edits that
 * everybody receives like any other.
 *
 * Found in two steps. First by undoing: what was inserted goes, what was deleted comes back in its place, and everything else keeps
 * its identity, so that cursors and comments stay where they are. The undo is made on a document that was not garbage-collected
 * and tried on the live one. Should the live one look different then, what differs is replaced, root type by root type.
 */
import * as Y from 'yjs'
import type { Author } from './change.ts'
import { materialize } from './compact.ts'
import { type AnyType, spelledRootsOf, type Value } from './content.ts'
import type { PastChange } from './history.ts'
import { Formatting, reformat } from './historyFormat.ts'
import { type Attribution, type Material, type Period, replay, type Traced, trace } from './historyReplay.ts'

export type RevertedAuthor = Pick<Author, 'user'> & Partial<Pick<Author, 'via'>>

/** The document as it is, after the change `at`. */
export interface Live {
  readonly at: number
  readonly snapshot: Uint8Array
  readonly tail: readonly Uint8Array[]
}

/** Whose changes of a period are taken back; `via` undefined: by whatever way. */
export interface AuthoredPeriod extends Period {
  readonly author: RevertedAuthor
}

export interface Reverted {
  /** Undefined: there is nothing to do. */
  readonly update: Uint8Array | undefined
  /** How it was found. */
  readonly means: 'none' | 'undo' | 'replacement'
}

interface Undone {
  readonly isEveryone: boolean
  /** What is undone of it. */
  readonly inserted: Attribution
  readonly deleted: Attribution
}

const deleteSetOf = (stretches: Iterable<readonly [client: number, clock: number, length: number]>) => {
  const set = Y.createDeleteSet()
  for (const [client, clock, len] of stretches) {
    const ranges = set.clients.get(client) ?? []
    if (ranges.length === 0) set.clients.set(client, ranges)
    const last = ranges.at(-1)
    if (last !== undefined && last.clock + last.len === clock) ranges[ranges.length - 1] = { clock: last.clock, len: last.len + len }
    else ranges.push({ clock, len })
  }
  return set
}

/** Somebody whose work is not undone has something in this type. */
const keepsOthers = (type: AnyType, inserted: Attribution): boolean => {
  const within = [type]
  const isOthers = ({ deleted, countable, id, content }: Y.Item): boolean => {
    if (deleted) return false
    if (content instanceof Y.ContentType) within.push(content.type as AnyType)
    return countable && !inserted.has(id)
  }
  for (const one of within) {
    // it grows meanwhile
    for (let item = one._start; item !== null; item = item.right) if (isOthers(item)) return true
    for (const item of one._map.values()) if (isOthers(item)) return true
  }
  return false
}

const staysForOthers = ({ content }: Y.Item, { isEveryone, inserted }: Undone): boolean =>
  !isEveryone && content instanceof Y.ContentType && keepsOthers(content.type as AnyType, inserted)

/**
 * A value of a key comes back only if whatever replaced it is undone, too, and nobody else had a hand in it since: neither by
 * setting the key, nor by deleting it, nor by writing into what is there. So the last of several that come into question comes
 * back, not all in turn.
 */
const comesBack = (item: Y.Item, undone: Undone): boolean => {
  for (let next = item.right; next !== null; next = next.right) {
    if (!undone.inserted.has(next.id)) return false
    if (next.deleted ? !undone.deleted.has(next.id) : staysForOthers(next, undone)) return false
  }
  return true
}

/**
 * What an item lies in, where whose work is undone has both made and deleted it: for what others had in there, it comes back. Nothing,
 * if one of them cannot.
 */
const holdersOf = (item: Y.Item, undone: Undone): readonly Y.Item[] => {
  const found: Y.Item[] = []
  for (let holder = (item.parent as AnyType)._item; holder?.deleted; holder = (holder.parent as AnyType)._item) {
    if (!undone.inserted.has(holder.id)) continue
    if (!undone.deleted.has(holder.id) || !(holder.parentSub === null || comesBack(holder, undone))) return []
    found.push(holder)
  }
  return found
}

/** Without the first clock of each of these, which have no other. What is given is in order. */
function* apartFrom(all: Attribution, items: readonly Y.Item[]): Iterable<readonly [client: number, clock: number, length: number]> {
  const cuts = new Map<number, number[]>()
  for (const { id } of items) {
    const known = cuts.get(id.client)
    if (known === undefined) cuts.set(id.client, [id.clock])
    else known.push(id.clock)
  }
  for (const clocks of cuts.values()) clocks.sort((a, b) => b - a)
  for (const [client, clock, length] of all) {
    const next = cuts.get(client) ?? []
    let at = clock
    for (let cut = next.at(-1); cut !== undefined && cut < clock + length; cut = next.at(-1)) {
      next.pop()
      if (cut > at) yield [client, at, cut - at]
      at = cut + 1
    }
    if (at < clock + length) yield [client, at, clock + length - at]
  }
}

const isMark = ({ content }: Y.Item): boolean => content instanceof Y.ContentFormat

/**
 * Undoes in `doc`, as one transaction. Returns the update, or undefined when there was nothing left to undo. If everybody's changes
 * are undone, marks are undone as all else; else they are written anew, for one may hold what another's change is made of.
 */
const undo = (doc: Y.Doc, undone: Undone, traced: Traced): Uint8Array | undefined => {
  const insertions = deleteSetOf(undone.inserted)
  const deletions = deleteSetOf(undone.deleted)
  const updates: Uint8Array[] = []
  doc.on('update', (update: Uint8Array) => updates.push(update))
  doc.transact((transaction) => {
    const wanted = new Set<Y.Item>()
    const formatted = new Set<AnyType>()
    const skips = (struct: Y.Item | Y.GC): boolean => {
      if (!(struct instanceof Y.Item)) return true
      if (undone.isEveryone || !isMark(struct)) return false
      formatted.add(struct.parent as AnyType) // it is integrated
      return true
    }
    Y.iterateDeletedStructs(transaction, insertions, skips) // cuts items where what is undone begins and ends
    Y.iterateDeletedStructs(transaction, deletions, (struct) => {
      if (skips(struct) || undone.inserted.has(struct.id)) return
      if ((struct as Y.Item).parentSub === null || comesBack(struct as Y.Item, undone)) wanted.add(struct as Y.Item)
    })
    if (!undone.isEveryone) for (const item of [...wanted]) for (const holder of holdersOf(item, undone)) wanted.add(holder)
    const manager = new Y.UndoManager(doc, {
      ignoreRemoteMapChanges: undone.isEveryone,
      deleteFilter: (item) => undone.isEveryone || !(isMark(item) || staysForOthers(item, undone)),
    })
    const kept = [...wanted].filter(({ id }) => undone.inserted.has(id))
    manager.undoStack.push({
      insertions: kept.length === 0 ? insertions : deleteSetOf(apartFrom(undone.inserted, kept)),
      deletions: deleteSetOf(Array.from(wanted, ({ id, length }) => [id.client, id.clock, length] as const)),
      meta: new Map(),
    })
    manager.undo()
    manager.destroy()
    for (const type of formatted) formatAsOthersDid(transaction, type, undone, traced)
  })
  return updates.length === 0 ? undefined : Y.mergeUpdates(updates)
}

/** Of a type that was deleted and came back, in the place where it is now. */
const formatAsOthersDid = (transaction: Y.Transaction, type: AnyType, undone: Undone, traced: Traced): void => {
  const { store } = transaction.doc
  const nowOf = (item: Y.Item): Y.Item => (item.redone === null ? item : nowOf(Y.getItem(store, item.redone) as Y.Item)) // made from an item
  const wanted = new Map<Y.Item, ReadonlyMap<string, Value>>()
  const formatting = new Formatting(traced)
  for (let item = type._start; item !== null; item = item.right) {
    if (item.content instanceof Y.ContentFormat) formatting.pass(item, item.content)
    else if (item.countable) wanted.set(nowOf(item), formatting.withoutWanted)
  }
  const now = type._item === null ? type : (nowOf(type._item).content as Y.ContentType).type
  if (now._item?.deleted) return
  reformat(transaction, now as AnyType, {
    of: (item) => wanted.get(item),
    atEnd: formatting.withoutWanted,
    isUnwanted: ({ id }) => undone.inserted.has(id),
  })
}

const looks = (doc: Y.Doc): string => JSON.stringify(spelledRootsOf(doc))

// ── replacement ──────────────────────────────────────────────────────────────────────────────────────────────────

/** Writes what `source` holds into `target`, which holds nothing: item by item, so that root types need no kind. */
const graft = (transaction: Y.Transaction, source: AnyType, target: AnyType): void => {
  const pairs: [AnyType, AnyType][] = [[source, target]]
  for (const [from, to] of pairs) for (const nested of graftOne(transaction, from, to)) pairs.push(nested) // it grows meanwhile
}

/** Returns the types that lie in them. */
const graftOne = (transaction: Y.Transaction, source: AnyType, target: AnyType): readonly [AnyType, AnyType][] => {
  const nested: [AnyType, AnyType][] = []
  const write = (item: Y.Item, left: Y.Item | null): Y.Item => {
    const { clientID, store } = transaction.doc
    const id = Y.createID(clientID, Y.getState(store, clientID))
    const copy = new Y.Item(id, left, left?.lastId ?? null, null, null, target, item.parentSub, item.content.copy())
    copy.integrate(transaction, 0)
    if (item.content instanceof Y.ContentType && copy.content instanceof Y.ContentType)
      nested.push([item.content.type as AnyType, copy.content.type as AnyType])
    return copy
  }
  let left: Y.Item | null = null
  for (let item = target._start; item !== null; item = item.right) left = item
  for (let item = source._start; item !== null; item = item.right) if (!item.deleted) left = write(item, left)
  for (const [key, item] of source._map) if (!item.deleted) write(item, target._map.get(key) ?? null)
  return nested
}

const empty = (transaction: Y.Transaction, type: AnyType): void => {
  for (let item = type._start; item !== null; item = item.right) item.delete(transaction)
  for (const item of type._map.values()) item.delete(transaction)
}

/** Gives `doc` the content of `target`. */
const replace = (doc: Y.Doc, target: Y.Doc): Uint8Array | undefined => {
  const updates: Uint8Array[] = []
  doc.on('update', (update: Uint8Array) => updates.push(update))
  const now = spelledRootsOf(doc)
  const then = spelledRootsOf(target)
  doc.transact((transaction) => {
    for (const name of new Set([...Object.keys(now), ...Object.keys(then)])) {
      if (now[name] === then[name]) continue
      const type = doc.get(name) as AnyType
      empty(transaction, type)
      graft(transaction, target.get(name) as AnyType, type)
    }
  })
  return updates.length === 0 ? undefined : Y.mergeUpdates(updates)
}

// ── what is asked for ────────────────────────────────────────────────────────────────────────────────────────────

/** The update if the live document looks like `target` with it, else one that replaces what differs. */
const settle = (found: Uint8Array | undefined, target: Y.Doc, { snapshot, tail }: Live): Reverted => {
  const wanted = looks(target)
  const live = materialize(snapshot, tail)
  try {
    if (looks(live) === wanted) return { update: undefined, means: 'none' }
    if (found !== undefined) {
      Y.applyUpdate(live, found)
      if (looks(live) === wanted) return { update: found, means: 'undo' }
    }
  } finally {
    live.destroy()
  }
  const fresh = materialize(snapshot, tail)
  try {
    return { update: replace(fresh, target), means: 'replacement' }
  } finally {
    fresh.destroy()
  }
}

/**
 * Brings the live document back to what it was after the change `to`. Where the material has no changes but only the state at `to`,
 * there is nothing to undo, and what differs is replaced.
 */
export const restore = (material: Material, to: number, live: Live): Reverted => {
  const target = replay(material, to, { gc: true })
  const traced = trace(material, { after: to, upTo: live.at }, { gapMs: Number.POSITIVE_INFINITY })
  try {
    return settle(undo(traced.doc, { ...traced, isEveryone: true }, traced), target, live)
  } finally {
    target.destroy()
    traced.doc.destroy()
  }
}

/** Takes back what one author did in the period. Work of others stays, and so does what came later. */
export const rollback = (material: Material, { after, upTo, author }: AuthoredPeriod, live: Live): Reverted => {
  const wants = ({ offset, author: { user, via } }: PastChange) => offset <= upTo && user === author.user && via === (author.via ?? via)
  const traced = trace(material, { after, upTo: live.at }, { gapMs: 0, wants })
  const { doc, inserted, deleted } = traced
  try {
    const found = undo(doc, { isEveryone: false, inserted: inserted.wanted(), deleted: deleted.wanted() }, traced)
    return found === undefined ? { update: undefined, means: 'none' } : settle(found, doc, live)
  } finally {
    doc.destroy()
  }
}
