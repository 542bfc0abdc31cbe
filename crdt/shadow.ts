/**
 * The shadow of a document: the same content as a `Y.Doc`, kept beside the bytes while somebody's changes have to be understood
 * before they are let in.
 *
 * Promises: `touched` tells which root types an update would change, without applying it, in time linear in the update and the
 * structs that it deletes; what it refuses costs no rebuilding. It never says less than what would really change (forged
 * references included): it follows how Yjs finds the parent of a struct (13.6 `Item.getMissing`, `Item.integrate`).
 *
 * What changes nothing touches nothing: structs that are known, deletions of what is deleted already, structs that Yjs would
 * collect at once because what they belong to is gone, and deletions of formatting marks that have no effect. The latter come
 * from everybody who only watches: Yjs sweeps such marks away when it applies changes of others.
 */
import * as Y from 'yjs'
import { dropPending } from './apply.ts'
import { compact, materialize } from './compact.ts'
import { installFlatDeletion } from './flatDeletion.ts'
import { installLinearMerge } from './linearMerge.ts'

/** A `Y.Doc`, for those who must not know Yjs. */
export type SharedDocument = Y.Doc

type Parent = Y.AbstractType<unknown>
/** Undefined: Yjs would collect it at once. */
type Root = string | undefined

/** Structs that are looked at for the marks that one update deletes; past it, they are taken to have an effect. 100 000 take 1 ms. */
const sweepSteps = 100_000

export class Shadow {
  readonly doc: SharedDocument
  /** Root types do not know their names. */
  readonly #names = new Map<Parent, string>()
  /** Of clients that were asked about, up to which clock. */
  readonly #extents = new Map<number, { readonly to: number; readonly isWithin: boolean }>()

  private constructor(doc: Y.Doc) {
    this.doc = doc
  }

  /** Undefined: Yjs cannot read it. Updates that make Yjs throw are left out, as compaction leaves them out. */
  static load(snapshot: Uint8Array, tail: readonly Uint8Array[]): Shadow | undefined {
    try {
      return new Shadow(materialize(snapshot, tail))
    } catch {
      const rest = compact(snapshot, tail)
      return rest.ok ? new Shadow(materialize(rest.snapshot, [])) : undefined
    }
  }

  /** To be filled with `take`, before anybody looks at it. */
  static empty(): Shadow {
    installLinearMerge()
    installFlatDeletion()
    return new Shadow(new Y.Doc({ gc: true }))
  }

  /**
   * A piece of what the document is (split.ts); after the last piece of an update, `settle`. False: Yjs threw, and the shadow is of no
   * more use. Taken in as a change of its own: of others', Yjs would sweep up marks that format nothing *yet*, and the shadow would
   * lack what the document has.
   */
  take(piece: Uint8Array): boolean {
    try {
      Y.transact(this.doc, (transaction) => {
        Y.applyUpdate(this.doc, piece)
        transaction.local = true
      })
      return true
    } catch {
      return false
    }
  }

  /** What could not be integrated never will be. */
  settle(): void {
    dropPending(this.doc)
  }

  /** False: Yjs threw, and the shadow is half changed: of no more use. */
  apply(update: Uint8Array): boolean {
    try {
      Y.applyUpdate(this.doc, update)
      return this.isWhole
    } catch {
      return false
    }
  }

  /** Nothing waits for something else. */
  get isWhole(): boolean {
    return this.doc.store.pendingStructs === null && this.doc.store.pendingDs === null
  }

  destroy(): void {
    this.doc.destroy()
  }

  /** Names of the root types that an update would change, which was examined and builds on nothing that is missing. */
  touched(update: Uint8Array): ReadonlySet<string> {
    const { structs, ds } = Y.decodeUpdate(update)
    const candidate = new Candidate(this.doc.store, structs, (type) => this.#nameOf(type))
    const roots = new Set<string>()
    for (const struct of structs) {
      if (!(struct instanceof Y.Item) || endOf(struct) <= Y.getState(this.doc.store, struct.id.client)) continue
      const root = candidate.rootOf(struct)
      if (root !== undefined) roots.add(root)
      const before = candidate.rootOfPredecessor(struct)
      if (before !== undefined) roots.add(before)
    }
    // Joined, so that no struct is looked at twice: 100 000 ranges may all cover the same 100 000 structs.
    const sweep = new Sweep()
    for (const [client, ranges] of Y.mergeDeleteSets([ds]).clients) {
      const known = this.doc.store.clients.get(client) ?? []
      for (const { clock, len } of ranges) this.#deleted(known, clock, clock + len, sweep, roots)
    }
    return roots
  }

  /**
   * Whether this client has written below these roots, and nowhere else. Of what Yjs has collected nobody knows where it was: it does
   * not count. Each struct is looked at once.
   */
  liesWithin(client: number, roots: ReadonlySet<string>): boolean {
    const structs = this.doc.store.clients.get(client) ?? []
    const known = this.#extents.get(client) ?? { to: 0, isWithin: false }
    const last = structs.at(-1)
    const to = last === undefined ? 0 : endOf(last)
    if (to === known.to || (known.to > 0 && !known.isWithin)) return known.isWithin
    let { isWithin } = known
    for (let at = known.to === 0 ? 0 : Y.findIndexSS(structs, known.to); at < structs.length; at++) {
      const struct = structs[at] as Y.Item | Y.GC // below the length
      if (!(struct instanceof Y.Item)) continue
      isWithin = roots.has(rootOfParent(struct.parent as Parent, (type) => this.#nameOf(type)) ?? '') // of an integrated item
      if (!isWithin) break
    }
    this.#extents.set(client, { to, isWithin })
    return isWithin
  }

  /** What an update deletes of itself belongs to roots that it touches anyway. */
  #deleted(structs: readonly (Y.Item | Y.GC)[], from: number, to: number, sweep: Sweep, roots: Set<string>): void {
    const last = structs.at(-1)
    if (last === undefined || from >= endOf(last)) return
    for (let at = Y.findIndexSS(structs as (Y.Item | Y.GC)[], from); at < structs.length; at++) {
      const struct = structs[at] as Y.Item | Y.GC // below the length
      if (struct.id.clock >= to) return
      if (!(struct instanceof Y.Item) || struct.deleted || sweep.takes(struct)) continue
      const root = rootOfParent(struct.parent as Parent, (type) => this.#nameOf(type)) // of an integrated item
      if (root !== undefined) roots.add(root)
    }
  }

  /** A root that is asked for as a certain type is replaced by another object, so what is not known is looked for again. */
  #nameOf(root: Parent): string | undefined {
    const known = this.#names.get(root)
    if (known !== undefined) return known
    this.#names.clear()
    for (const [name, type] of this.doc.share) this.#names.set(type as Parent, name)
    return this.#names.get(root)
  }
}

type Struct = Y.Item | Y.GC | Y.Skip

const endOf = ({ id, length }: Y.AbstractStruct): number => id.clock + length

const rootOfParent = (parent: Parent, nameOf: (root: Parent) => Root): Root => {
  let type = parent
  while (type._item !== null) type = type._item.parent as Parent // of an integrated item
  return nameOf(type)
}

/** The structs of one update, beside those of the document. */
class Candidate {
  readonly #store: Y.Doc['store']
  readonly #nameOf: (root: Parent) => Root
  readonly #own = new Map<number, Struct[]>()
  readonly #roots = new Map<Struct, Root>()

  constructor(store: Y.Doc['store'], structs: readonly Struct[], nameOf: (root: Parent) => Root) {
    this.#store = store
    this.#nameOf = nameOf
    for (const struct of structs) {
      const known = this.#own.get(struct.id.client)
      if (known === undefined) this.#own.set(struct.id.client, [struct])
      else known.push(struct)
    }
  }

  /** Follows what a struct hangs on until something is known. A loop, for each typed letter hangs on the one before. */
  rootOf(item: Y.Item): Root {
    const path: Y.Item[] = []
    let at: Struct | Root = item
    while (at instanceof Y.Item && !this.#roots.has(at) && (at === item || !this.#isIntegrated(at))) {
      path.push(at)
      this.#roots.set(at, undefined) // where it hangs on itself, which is forged and never integrated, this ends the way
      at = this.#holder(at)
    }
    const root = typeof at === 'string' ? at : at instanceof Y.Item ? this.#knownRoot(at) : undefined
    for (const struct of path) this.#roots.set(struct, root)
    return root
  }

  #knownRoot(item: Y.Item): Root {
    return this.#roots.has(item) ? this.#roots.get(item) : rootOfParent(item.parent as Parent, this.#nameOf) // of an integrated item
  }

  /** Of a struct whose beginning is known: Yjs cuts it and hangs the rest behind what is before it, whatever its parent is. */
  rootOfPredecessor({ id: { client, clock } }: Y.Item): Root {
    const state = Y.getState(this.#store, client)
    if (clock >= state) return undefined
    const before = this.#find(client, state - 1)
    return before instanceof Y.Item && this.#isIntegrated(before) ? rootOfParent(before.parent as Parent, this.#nameOf) : undefined
  }

  /** The struct or the name of the root that decides where an item belongs. */
  #holder({ origin, rightOrigin, parent }: Y.Item): Struct | string | undefined {
    const left = origin === null ? undefined : this.#find(origin.client, origin.clock)
    const right = rightOrigin === null ? undefined : this.#find(rightOrigin.client, rightOrigin.clock)
    if (left instanceof Y.GC || right instanceof Y.GC) return undefined
    if (parent === null) return left ?? right
    if (!(parent instanceof Y.ID)) return parent as unknown as string // the name of a root, in an update that was decoded only
    const holder = this.#find(parent.client, parent.clock)
    return holder instanceof Y.Item && holder.content instanceof Y.ContentType ? holder : undefined
  }

  #isIntegrated({ id: { client, clock } }: Struct): boolean {
    return clock < Y.getState(this.#store, client)
  }

  /** What is in the document counts, not what the update says of the same clocks. */
  #find(client: number, clock: number): Struct | undefined {
    if (clock < Y.getState(this.#store, client)) {
      const structs = this.#store.clients.get(client) ?? []
      return structs[Y.findIndexSS(structs, clock)]
    }
    const own = this.#own.get(client) ?? []
    let low = 0
    let high = own.length - 1
    while (low <= high) {
      const middle = (low + high) >> 1
      const struct = own[middle] as Struct // between the ends
      if (clock < struct.id.clock) high = middle - 1
      else if (clock >= endOf(struct)) low = middle + 1
      else return struct
    }
    return undefined
  }
}

/**
 * Deletions of formatting marks without effect: a mark that repeats what is so already, or that another one overrides before any
 * content. Each is judged as if those before it were gone: of two that say the same, one can go, and not both.
 */
class Sweep {
  readonly #gone = new Set<Y.Item>()
  #steps = 0

  takes(mark: Y.Item): boolean {
    if (!(mark.content instanceof Y.ContentFormat) || mark.parentSub !== null || !this.#isIdle(mark)) return false
    this.#gone.add(mark)
    return true
  }

  #isIdle(mark: Y.Item): boolean {
    const { key, value } = formatOf(mark)
    for (let next = mark.right; next !== null && (next.deleted || !next.countable); next = next.right) {
      if (this.#says(next, key)) return true
      if (++this.#steps > sweepSteps) return false
    }
    for (let before = mark.left; before !== null; before = before.left) {
      if (this.#says(before, key)) return formatOf(before).value === value
      if (++this.#steps > sweepSteps) return false
    }
    return value === null
  }

  #says(item: Y.Item, key: string): boolean {
    return !item.deleted && item.content instanceof Y.ContentFormat && formatOf(item).key === key && !this.#gone.has(item)
  }
}

/** The types of Yjs leave the value out. */
const formatOf = ({ content }: Y.Item) => content as unknown as { readonly key: string; readonly value: unknown }
