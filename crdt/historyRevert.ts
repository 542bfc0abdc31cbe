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
import { type AnyType, rootsOf } from './content.ts'
import type { PastChange } from './history.ts'
import { type Attribution, type Material, type Period, replay, trace } from './historyReplay.ts'

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

type Undone = { readonly isEveryone: boolean; readonly inserted: Attribution; readonly deleted: Attribution }

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
  const isOthers = (item: Y.Item): boolean => {
    if (item.deleted) return false
    if (item.countable && !inserted.has(item.id.client, item.id.clock)) return true
    return item.content instanceof Y.ContentType && keepsOthers(item.content.type as AnyType, inserted)
  }
  for (let item = type._start; item !== null; item = item.right) if (isOthers(item)) return true
  for (const item of type._map.values()) if (isOthers(item)) return true
  return false
}

/**
 * A value of a key comes back only if whatever replaced it is undone, too, and nobody else had a hand in it since: neither by
 * setting the key nor by deleting it. So the last of several that come into question comes back, not all in turn.
 */
const comesBack = (item: Y.Item, { inserted, deleted }: Undone): boolean => {
  for (let next = item.right; next !== null; next = next.right) {
    if (!inserted.has(next.id.client, next.id.clock)) return false
    if (next.deleted && !deleted.has(next.id.client, next.id.clock)) return false
  }
  return true
}

/** Undoes in `doc`, as one transaction. Returns the update, or undefined when there was nothing left to undo. */
const undo = (doc: Y.Doc, undone: Undone): Uint8Array | undefined => {
  const insertions = deleteSetOf(undone.inserted)
  const wanted: (readonly [number, number, number])[] = []
  doc.transact((transaction) => {
    Y.iterateDeletedStructs(transaction, insertions, () => {}) // cuts items where what is undone begins and ends
    Y.iterateDeletedStructs(transaction, deleteSetOf(undone.deleted), (struct) => {
      const { client, clock } = struct.id
      if (!(struct instanceof Y.Item) || undone.inserted.has(client, clock)) return
      if (struct.parentSub === null || comesBack(struct, undone)) wanted.push([client, clock, struct.length])
    })
  })
  const updates: Uint8Array[] = []
  doc.on('update', (update: Uint8Array) => updates.push(update))
  const manager = new Y.UndoManager(doc, {
    ignoreRemoteMapChanges: undone.isEveryone,
    deleteFilter: (item) =>
      undone.isEveryone || !(item.content instanceof Y.ContentType) || !keepsOthers(item.content.type as AnyType, undone.inserted),
  })
  manager.undoStack.push({ insertions, deletions: deleteSetOf(wanted), meta: new Map() })
  manager.undo()
  manager.destroy()
  return updates.length === 0 ? undefined : Y.mergeUpdates(updates)
}

const looks = (doc: Y.Doc): string => JSON.stringify(rootsOf(doc))

// ── replacement ──────────────────────────────────────────────────────────────────────────────────────────────────

/** Writes what `source` holds into `target`, which holds nothing: item by item, so that root types need no kind. */
const graft = (transaction: Y.Transaction, source: AnyType, target: AnyType): void => {
  const write = (item: Y.Item, left: Y.Item | null): Y.Item => {
    const { clientID, store } = transaction.doc
    const id = Y.createID(clientID, Y.getState(store, clientID))
    const copy = new Y.Item(id, left, left?.lastId ?? null, null, null, target, item.parentSub, item.content.copy())
    copy.integrate(transaction, 0)
    if (item.content instanceof Y.ContentType && copy.content instanceof Y.ContentType)
      graft(transaction, item.content.type as AnyType, copy.content.type as AnyType)
    return copy
  }
  let left: Y.Item | null = null
  for (let item = target._start; item !== null; item = item.right) left = item
  for (let item = source._start; item !== null; item = item.right) if (!item.deleted) left = write(item, left)
  for (const [key, item] of source._map) if (!item.deleted) write(item, target._map.get(key) ?? null)
}

const empty = (transaction: Y.Transaction, type: AnyType): void => {
  for (let item = type._start; item !== null; item = item.right) item.delete(transaction)
  for (const item of type._map.values()) item.delete(transaction)
}

/** Gives `doc` the content of `target`. */
const replace = (doc: Y.Doc, target: Y.Doc): Uint8Array | undefined => {
  const updates: Uint8Array[] = []
  doc.on('update', (update: Uint8Array) => updates.push(update))
  const now = rootsOf(doc)
  const then = rootsOf(target)
  doc.transact((transaction) => {
    for (const name of new Set([...Object.keys(now), ...Object.keys(then)])) {
      if (JSON.stringify(now[name]) === JSON.stringify(then[name])) continue
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
  const { doc, inserted, deleted } = trace(material, { after: to, upTo: live.at })
  try {
    return settle(undo(doc, { isEveryone: true, inserted, deleted }), target, live)
  } finally {
    target.destroy()
    doc.destroy()
  }
}

/** Takes back what one author did in the period. Work of others stays, and so does what came later. */
export const rollback = (material: Material, { after, upTo, author }: AuthoredPeriod, live: Live): Reverted => {
  const wants = ({ offset, author: { user, via } }: PastChange) => offset <= upTo && user === author.user && via === (author.via ?? via)
  const { doc, inserted, deleted } = trace(material, { after, upTo: live.at }, { wants })
  try {
    const found = undo(doc, { isEveryone: false, inserted, deleted })
    return found === undefined ? { update: undefined, means: 'none' } : settle(found, doc, live)
  } finally {
    doc.destroy()
  }
}
