/**
 * What can be said of an LMDB file without mapping it. A garbage file opened with LMDB is a SIGSEGV, a truncated one a SIGBUS,
 * and one of length zero an empty store; no catch helps against any of them.
 *
 * Each of the first two pages is a header of 24 bytes and a meta block (mdb.c, MDB_page_header and MDB_meta):
 *
 *   +24 magic u32 | +28 version u32 | +48 page size u32 | +144 last page u64 | +152 transaction u64
 */
import { open } from 'node:fs/promises'

const magic = 0xbeefc0de
const version = 2
const metaBytes = 160

export type Verdict =
  | { readonly is: 'missing' }
  | { readonly is: 'damaged'; readonly reason: string }
  /** `isShort`: it ends before the last page in use. That is allowed when those pages are free, so it needs a closer look. */
  | { readonly is: 'plausible'; readonly isShort: boolean }

interface MetaBlock {
  readonly pageSize: number
  readonly lastPage: number
}

const parse = (page: Buffer): MetaBlock | undefined => {
  if (page.length < metaBytes || page.readUInt32LE(24) !== magic || (page.readUInt32LE(28) & 0xffff) !== version) return undefined
  const pageSize = page.readUInt32LE(48)
  const lastPage = Number(page.readBigUInt64LE(144))
  return pageSize >= 512 && pageSize <= 65_536 && (pageSize & (pageSize - 1)) === 0 ? { pageSize, lastPage } : undefined
}

/** Looks, and leaves the file as it is. */
export const readHeader = async (path: string): Promise<Verdict> => {
  const file = await open(path, 'r').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined
    throw error
  })
  if (file === undefined) return { is: 'missing' }
  try {
    const { size } = await file.stat()
    const pageAt = async (at: number): Promise<Buffer> => {
      const { buffer, bytesRead } = await file.read(Buffer.alloc(metaBytes), 0, metaBytes, at)
      return buffer.subarray(0, bytesRead)
    }
    if (size === 0) return { is: 'damaged', reason: 'the data file is empty' }
    const first = parse(await pageAt(0))
    if (first === undefined) return { is: 'damaged', reason: 'the data file does not begin with an LMDB header' }
    const second = parse(await pageAt(first.pageSize))
    if (second === undefined || second.pageSize !== first.pageSize) {
      return { is: 'damaged', reason: 'the second header of the data file is not right' }
    }
    const lastPage = Math.max(first.lastPage, second.lastPage)
    if (size < 2 * first.pageSize || lastPage < 1) return { is: 'damaged', reason: 'the data file is shorter than its header' }
    return { is: 'plausible', isShort: size < (lastPage + 1) * first.pageSize }
  } finally {
    await file.close()
  }
}
