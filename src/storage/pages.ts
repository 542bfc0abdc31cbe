/**
 * Walks through all pages of a data file without LMDB, which takes what stands in them for true: a bit that flipped in a page is
 * read or written through, ends the process, and does so again after each start.
 *
 * Looked at is whatever LMDB goes by: kind, number and age of each page, its table of nodes, their sizes and order, the pages that they
 * point to, each used once, and the lists of free pages. Not looked at is what lies in the records; they have checksums (record.ts).
 *
 * A page (mdb.c, MDB_page_header) is
 *
 *   +0 number u64 | +8 transaction u64 | +18 kind u16 | +20 end of the table u16 | +22 begin of the nodes u16 | +24 table of u16
 *
 * both counted from +24; an overflow page has its number of pages at +20. A node (MDB_node) is
 *
 *   +0 size of the value u32, or page u48 in a branch | +4 flags u16 | +6 size of the key u16 | +8 key, value
 *
 * A large value (MDB_ovpage) is `page u64 | transaction u64 | pages u64` instead. A list of free pages is `length u64 | numbers i64`,
 * where -n says that the next number begins n pages.
 */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs'
import { readTree, type Snapshot, type Tree } from './header.ts'

const headBytes = 24
const nodeBytes = 8
const largeBytes = 24
const treeBytes = 48
const [branch, leaf, overflow] = [1, 2, 4]
const [isLarge, isTree] = [1, 2]
/** REVERSEKEY, DUPSORT, INTEGERKEY and others (lmdb.h): other layouts of pages, which no tree of ours has. */
const otherLayouts = 0x7e

type Order = (a: Buffer, b: Buffer) => number

/** Keys of the free tree: transactions. */
const byTransaction: Order = (a, b) => a.readUInt32LE(4) - b.readUInt32LE(4) || a.readUInt32LE(0) - b.readUInt32LE(0)

/** Where a tree of pages differs from others. */
interface Kind {
  readonly name: string
  readonly order: Order
  readonly keyBytes?: number
  /** Flags that nodes may have. */
  readonly flags: number
  /** Each value of a leaf, unless it is large: then `read` gives it. */
  readonly value?: (page: number, flags: number, read: () => Buffer) => void
}

class Damage extends Error {}

const fail = (page: number, what: string): never => {
  throw new Damage(`page ${page}: ${what}`)
}

const number = (bytes: Buffer, at: number): number => bytes.readUInt32LE(at) + bytes.readUInt32LE(at + 4) * 2 ** 32

class PageSet {
  readonly #bits: Uint8Array

  constructor(pages: number) {
    this.#bits = new Uint8Array(Math.ceil(pages / 8))
  }

  has(page: number): boolean {
    return ((this.#bits[page >> 3] ?? 0) & (1 << (page & 7))) !== 0
  }

  add(page: number): void {
    this.#bits[page >> 3] = (this.#bits[page >> 3] ?? 0) | (1 << (page & 7))
  }
}

class Walk {
  readonly #file: number
  readonly #snapshot: Snapshot
  readonly #filePages: number
  readonly #used: PageSet
  readonly #free: PageSet
  /** One for each level of a tree. */
  readonly #pages: Buffer[] = []

  constructor(file: number, snapshot: Snapshot) {
    this.#file = file
    this.#snapshot = snapshot
    this.#filePages = Math.floor(fstatSync(file).size / snapshot.pageSize)
    this.#used = new PageSet(snapshot.lastPage + 1)
    this.#free = new PageSet(snapshot.lastPage + 1)
  }

  everything(): void {
    const { main, free } = this.#snapshot
    const trees: [string, Tree][] = []
    this.#tree(main, 1, {
      name: 'the table of tables',
      order: Buffer.compare,
      flags: isLarge | isTree,
      value: (page, flags, read) => {
        if ((flags & isTree) === 0) return
        const record = read()
        if (record.length !== treeBytes) fail(page, 'the record of a table has the wrong size')
        trees.push([`a table of ${page}`, readTree(record, 0)])
      },
    })
    for (const [name, tree] of trees) this.#tree(tree, 0, { name, order: Buffer.compare, flags: isLarge })
    this.#tree(free, 0, {
      name: 'the free pages',
      order: byTransaction,
      keyBytes: 8,
      flags: isLarge,
      value: (page, _, read) => this.#freeList(page, read()),
    })
  }

  #tree({ root, depth, flags }: Tree, owner: number, kind: Kind): void {
    if (root === undefined) return
    const isOfNumbers = kind.keyBytes !== undefined
    if (!isOfNumbers && (flags & otherLayouts) !== 0) fail(owner, `the flags of ${kind.name} are ${flags}`)
    this.#page(root, owner, depth, kind, undefined, undefined)
  }

  /** A page `height` pages above the records, with keys from `low` on and below `high`. `owner` points to it. */
  #page(page: number, owner: number, height: number, kind: Kind, low: Buffer | undefined, high: Buffer | undefined): void {
    const bytes = this.#read(page, owner, height)
    const isBranch = height > 1
    if (bytes.readUInt16LE(18) !== (isBranch ? branch : leaf)) fail(page, `a page of kind ${bytes.readUInt16LE(18)} in ${kind.name}`)
    const count = this.#count(page, bytes)
    // LMDB ends the process for a branch with one node, but among the free pages there may be one.
    if (count < (isBranch && kind.keyBytes === undefined ? 2 : 1)) fail(page, 'it has too few nodes')
    const keys = this.#keys(page, bytes, count, isBranch, kind)
    for (let i = isBranch ? 1 : 0; i < count; i++) {
      const key = keys[i] as Buffer // there are `count` of them
      const before = isBranch && i === 1 ? undefined : keys[i - 1]
      if (kind.keyBytes !== undefined && key.length !== kind.keyBytes) fail(page, `key ${i} has ${key.length} bytes`)
      if (before !== undefined && kind.order(before, key) >= 0) fail(page, `key ${i} is out of order`)
      if (low !== undefined && kind.order(low, key) > 0) fail(page, `key ${i} belongs to a page before`)
      if (high !== undefined && kind.order(key, high) >= 0) fail(page, `key ${i} belongs to a page after`)
    }
    for (let i = 0; i < count; i++) {
      const at = headBytes + bytes.readUInt16LE(headBytes + 2 * i)
      if (isBranch) {
        const child = bytes.readUInt32LE(at) + bytes.readUInt16LE(at + 4) * 2 ** 32
        this.#page(child, page, height - 1, kind, i === 0 ? low : keys[i], keys[i + 1] ?? high)
      } else this.#value(page, bytes, at, kind)
    }
  }

  #read(page: number, owner: number, height: number): Buffer {
    this.#use(page, 1, owner)
    this.#pages[height] ??= Buffer.allocUnsafe(this.#snapshot.pageSize)
    const bytes = this.#pages[height]
    this.#fill(bytes, page, 0)
    this.#head(page, bytes)
    return bytes
  }

  #fill(bytes: Buffer, page: number, from: number): void {
    const read = readSync(this.#file, bytes, 0, bytes.length, page * this.#snapshot.pageSize + from)
    if (read !== bytes.length) fail(page, 'it cannot be read to its end')
  }

  #head(page: number, bytes: Buffer): void {
    if (number(bytes, 0) !== page) fail(page, `it says that it is page ${number(bytes, 0)}`)
    if (number(bytes, 8) > this.#snapshot.transaction) fail(page, `it is of transaction ${number(bytes, 8)}, which is still to come`)
  }

  /** How many nodes the page has. They lie behind each other, from where they begin to the end of the page. */
  #count(page: number, bytes: Buffer): number {
    const [tableEnd, nodes] = [bytes.readUInt16LE(20), bytes.readUInt16LE(22)]
    if (tableEnd % 2 !== 0 || tableEnd > nodes || nodes > bytes.length - headBytes) fail(page, 'the bounds of its table are not right')
    return tableEnd / 2
  }

  #keys(page: number, bytes: Buffer, count: number, isBranch: boolean, kind: Kind): Buffer[] {
    const nodes = headBytes + bytes.readUInt16LE(22)
    const keys: Buffer[] = []
    let sum = 0
    for (let i = 0; i < count; i++) {
      const at = headBytes + bytes.readUInt16LE(headBytes + 2 * i)
      if (at < nodes || at % 2 !== 0 || at + nodeBytes > bytes.length) fail(page, `node ${i} lies outside`)
      const flags = isBranch ? 0 : bytes.readUInt16LE(at + 4)
      if ((flags & ~kind.flags) !== 0 || flags === (isLarge | isTree)) fail(page, `node ${i} has the flags ${flags}`)
      const keyEnd = at + nodeBytes + bytes.readUInt16LE(at + 6)
      const end = keyEnd + (isBranch ? 0 : (flags & isLarge) !== 0 ? largeBytes : bytes.readUInt32LE(at))
      if (end > bytes.length) fail(page, `node ${i} goes beyond the end`)
      sum += end - at + ((end - at) % 2)
      keys.push(bytes.subarray(at + nodeBytes, keyEnd))
    }
    if (sum !== bytes.length - nodes) fail(page, 'its nodes overlap, or there is room between them')
    return keys
  }

  #value(page: number, bytes: Buffer, at: number, { value }: Kind): void {
    const size = bytes.readUInt32LE(at)
    const flags = bytes.readUInt16LE(at + 4)
    const from = at + nodeBytes + bytes.readUInt16LE(at + 6)
    if ((flags & isLarge) === 0) return value?.(page, flags, () => bytes.subarray(from, from + size))
    const first = number(bytes, from)
    const pages = number(bytes, from + 16)
    if (pages < Math.ceil((headBytes + size) / bytes.length)) fail(page, `a value of ${size} bytes in ${pages} pages`)
    this.#use(first, pages, page)
    const head = Buffer.allocUnsafe(headBytes)
    this.#fill(head, first, 0)
    this.#head(first, head)
    if (head.readUInt16LE(18) !== overflow || head.readUInt32LE(20) !== pages) fail(first, `not the ${pages} pages that ${page} points to`)
    value?.(page, flags, () => {
      const data = Buffer.allocUnsafe(size)
      this.#fill(data, first, headBytes)
      return data
    })
  }

  #freeList(page: number, list: Buffer): void {
    const length = list.length < 8 ? Number.POSITIVE_INFINITY : number(list, 0)
    if (length > list.length / 8 - 1) fail(page, 'a list of free pages is longer than its record')
    for (let i = 1; i <= length; i++) {
      let first = list.readBigInt64LE(8 * i)
      let pages = 1
      if (first < 0n && i < length) {
        pages = Number(-first)
        first = list.readBigInt64LE(8 * ++i)
      }
      if (first === 0n) continue // taken
      const last = Number(first) + pages - 1
      if (first < 2n || last > this.#snapshot.lastPage) fail(page, `pages ${first} to ${last} cannot be free`)
      for (let free = Number(first); free <= last; free++) {
        if (this.#used.has(free)) fail(page, `page ${free} is said to be free, and in use`)
        this.#free.add(free)
      }
    }
  }

  #use(first: number, pages: number, owner: number): void {
    const last = first + pages - 1
    if (first < 2 || last > this.#snapshot.lastPage || last >= this.#filePages) fail(owner, `it points to page ${last}, which there is not`)
    for (let page = first; page <= last; page++) {
      if (this.#used.has(page)) fail(owner, `it points to page ${page}, which is used already`)
      if (this.#free.has(page)) fail(owner, `it points to page ${page}, which is free`)
      this.#used.add(page)
    }
  }
}

/** From begin to end, which a disk does faster than in the order of keys; then the system has it in memory, or most of it. */
const readAhead = (file: number): void => {
  const piece = Buffer.allocUnsafe(1024 * 1024)
  while (readSync(file, piece) > 0);
}

/** What is wrong with the pages, or undefined. Reads each page of a tree once, and holds one for each level. */
export const findDamage = (path: string, snapshot: Snapshot): string | undefined => {
  const file = openSync(path, 'r')
  try {
    readAhead(file)
    new Walk(file, snapshot).everything()
    return undefined
  } catch (error) {
    if (error instanceof Damage) return `${path}, ${error.message}`
    throw error
  } finally {
    closeSync(file)
  }
}
