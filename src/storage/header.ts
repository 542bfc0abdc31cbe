/**
 * What can be said of an LMDB file without mapping it. A garbage file opened with LMDB is a SIGSEGV, a truncated one a SIGBUS,
 * and one of length zero an empty store; no catch helps against any of them.
 *
 * Each of the first two pages is a header of 24 bytes and a meta block (mdb.c, MDB_page_header and MDB_meta):
 *
 *   +24 magic u32 | +28 version u32 | +48 free tree | +96 main tree | +144 last page u64 | +152 transaction u64
 *
 * and a tree (MDB_db) is `+0 page size u32 | +4 flags u16 | +6 depth u16 | +40 root page u64`. Commits write the two blocks in turn
 * before they are flushed, and a third one, which lmdb-js has in the middle of page 0 and without magic, afterwards.
 */
import { type FileHandle, open } from 'node:fs/promises'

const magic = 0xbeefc0de
const version = 2
const metaBytes = 160
const noPage = 2n ** 64n - 1n
/** Set in the flags of the free tree: the commit was not flushed yet. */
const unflushed = 0x1000

/** Commits go on while the one before is flushed. lmdb does not have that on Windows. */
export const overlapsFlushes = process.platform !== 'win32'

export interface Tree {
  readonly flags: number
  readonly depth: number
  /** undefined: the tree is empty. */
  readonly root: number | undefined
}

/** A state of the store, complete with everything that can be reached from its two trees. */
export interface Snapshot {
  readonly pageSize: number
  readonly free: Tree
  readonly main: Tree
  readonly lastPage: number
  readonly transaction: number
}

export type Verdict =
  | { readonly is: 'missing' }
  | { readonly is: 'damaged'; readonly reason: string }
  /**
   * `snapshot`: where LMDB will begin. `isShort`: the file ends before the last page in use. That is allowed when those pages are free,
   * so it needs a closer look.
   */
  | { readonly is: 'plausible'; readonly isShort: boolean; readonly snapshot: Snapshot }

export const readTree = (bytes: Buffer, at: number): Tree => {
  const root = bytes.readBigUInt64LE(at + 40)
  return {
    flags: bytes.readUInt16LE(at + 4),
    depth: bytes.readUInt16LE(at + 6),
    root: root === noPage ? undefined : Number(root),
  }
}

const readSnapshot = (block: Buffer): Snapshot => ({
  pageSize: block.readUInt32LE(48),
  free: readTree(block, 48),
  main: readTree(block, 96),
  lastPage: Number(block.readBigUInt64LE(144)),
  transaction: Number(block.readBigUInt64LE(152)),
})

/** Undefined when this is no header. */
const parse = (block: Buffer): Snapshot | undefined => {
  if (block.length < metaBytes || block.readUInt32LE(24) !== magic || (block.readUInt32LE(28) & 0xffff) !== version) return undefined
  const snapshot = readSnapshot(block)
  const { pageSize } = snapshot
  return pageSize >= 512 && pageSize <= 65_536 && (pageSize & (pageSize - 1)) === 0 ? snapshot : undefined
}

/** As LMDB chooses with `safeRestore` (mdb.c, mdb_pick_meta): the later one if it was flushed, else the earlier one. */
const safer = (a: Snapshot, b: Snapshot): Snapshot => {
  if (overlapsFlushes && b.transaction === 0) return a
  const [later, earlier] = a.transaction >= b.transaction ? [a, b] : [b, a]
  return overlapsFlushes && (later.free.flags & unflushed) !== 0 ? earlier : later
}

const isInside = ({ root, depth }: Tree, filePages: number): boolean =>
  root === undefined ? depth === 0 : depth > 0 && root >= 2 && root < filePages

/** One commit frees less than this behind the end of what was ever written; without a bound, one bit makes a file of petabytes. */
const isReachable = (lastPage: number, filePages: number): boolean => lastPage < 2 * filePages + 65_536

const judge = async (file: FileHandle): Promise<Verdict> => {
  const { size } = await file.stat()
  const blockAt = async (at: number): Promise<Buffer> => {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(metaBytes), 0, metaBytes, at)
    return buffer.subarray(0, bytesRead)
  }
  if (size === 0) return { is: 'damaged', reason: 'the data file is empty' }
  const first = parse(await blockAt(0))
  if (first === undefined) return { is: 'damaged', reason: 'the data file does not begin with an LMDB header' }
  const { pageSize } = first
  const second = parse(await blockAt(pageSize))
  if (second === undefined || second.pageSize !== pageSize) {
    return { is: 'damaged', reason: 'the second header of the data file is not right' }
  }
  const filePages = Math.floor(size / pageSize)
  const lastPage = Math.max(first.lastPage, second.lastPage)
  if (filePages < 2 || lastPage < 1) return { is: 'damaged', reason: 'the data file is shorter than its header' }
  const safe = safer(first, second)
  const flushed = overlapsFlushes ? safer(safe, readSnapshot(await blockAt(pageSize / 2))) : safe
  const latest = first.transaction >= second.transaction ? first : second
  // Of one transaction LMDB takes the trees from the block of the commit, the sizes from that of the flush.
  const snapshot = flushed.transaction === latest.transaction ? latest : flushed
  if (flushed.pageSize !== pageSize) return { is: 'damaged', reason: 'the header of the last flush is not right' }
  const end = Math.max(lastPage, flushed.lastPage)
  const isRight = isInside(snapshot.free, filePages) && isInside(snapshot.main, filePages) && isReachable(end, filePages)
  if (!isRight) return { is: 'damaged', reason: 'the header of the data file points beyond its end' }
  return { is: 'plausible', isShort: filePages <= lastPage, snapshot }
}

/** Looks, and leaves the file as it is. */
export const readHeader = async (path: string): Promise<Verdict> => {
  const file = await open(path, 'r').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined
    throw error
  })
  if (file === undefined) return { is: 'missing' }
  try {
    return await judge(file)
  } finally {
    await file.close()
  }
}
