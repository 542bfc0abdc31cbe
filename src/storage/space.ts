/**
 * Room on the disk: how much there is, and the ballast, a file that is given up when the disk is full.
 *
 * LMDB copies pages on write, so on a full disk even a removal fails. The ballast is the room in which trimming still works.
 * It holds random bytes: on a file system that compresses, zeros would reserve nothing.
 *
 * LMDB never gives pages back to the disk, it uses them again. When trimming made the room, there may be none for a new ballast;
 * then free pages inside the data file, as many as the ballast would be, stand for it. Limit: appends may use those up too, and
 * then a full disk refuses removals until somebody makes room on it.
 */
import { randomFillSync } from 'node:crypto'
import { open, rm, stat, statfs } from 'node:fs/promises'
import { join } from 'node:path'
import { dataFile, syncDirectory } from './directory.ts'

/** Room that must be there beyond the ballast before writing starts again, so that the next commit does not fill it up at once. */
export const spareBytes = 1024 * 1024

const pieceBytes = 1024 * 1024

/** ENOSPC and EDQUOT, as LMDB hands them on. */
const fullCodes: ReadonlySet<unknown> = new Set([28, 122, 'ENOSPC', 'EDQUOT'])
/** A short write reaches us as EIO (tmpfs does this when it is full). */
const ioCodes: ReadonlySet<unknown> = new Set([5, 'EIO'])

export const isFullCode = (code: unknown): boolean => fullCodes.has(code)

const codeOf = (error: unknown): unknown => (error instanceof Error && 'code' in error ? error.code : undefined)

export class Space {
  readonly #directory: string
  readonly #path: string
  readonly #ballastBytes: number

  constructor(directory: string, ballastBytes: number) {
    this.#directory = directory
    this.#path = join(directory, 'ballast')
    this.#ballastBytes = ballastBytes
  }

  async availableBytes(): Promise<number> {
    const { bavail, bsize } = await statfs(this.#directory)
    return bavail * bsize
  }

  /** Did this commit of `bytes` fail because the disk is full? */
  async explains(error: unknown, bytes: number): Promise<boolean> {
    const code = codeOf(error)
    if (isFullCode(code)) return true
    if (!ioCodes.has(code)) return false
    // Copied pages make a commit larger than its data; 1 MiB is far more than one path from root to leaf in each table.
    return (await this.availableBytes()) < bytes * 2 + 1024 * 1024
  }

  /** Without a ballast: do the pages that LMDB has free in its file make up for it, when `usedBytes` of them are in use? */
  async hasRoomInside(usedBytes: number): Promise<boolean> {
    const { size } = await stat(join(this.#directory, dataFile))
    return size - usedBytes > this.#ballastBytes + spareBytes
  }

  /** Bytes that the ballast lacks. */
  async missingBytes(): Promise<number> {
    const size = await stat(this.#path).then(
      ({ size }) => size,
      () => 0,
    )
    return Math.max(0, this.#ballastBytes - size)
  }

  /** Gives the ballast up. False when there was none. */
  async release(): Promise<boolean> {
    const hadSome = (await this.missingBytes()) < this.#ballastBytes
    await rm(this.#path, { force: true })
    await syncDirectory(this.#directory) // a journaling file system gives freed blocks out again only after its own commit
    return hadSome
  }

  /** Makes the ballast whole if there is room for it and for `spareBytes` more. True when it is whole. */
  async reserve(spareBytes: number): Promise<boolean> {
    const missing = await this.missingBytes()
    if (missing === 0) return true
    if ((await this.availableBytes()) < missing + spareBytes) return false
    const piece = randomFillSync(Buffer.allocUnsafe(Math.min(pieceBytes, this.#ballastBytes)))
    const file = await open(this.#path, 'w', 0o600)
    try {
      for (let left = this.#ballastBytes; left > 0; left -= piece.length) await file.write(piece, 0, Math.min(left, piece.length))
      await file.sync()
      return true
    } catch {
      await rm(this.#path, { force: true })
      return false
    } finally {
      await file.close()
    }
  }
}
