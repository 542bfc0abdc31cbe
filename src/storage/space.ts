/**
 * Room on the disk: how much there is, and the ballast, a file that is given up when the disk is full.
 *
 * LMDB copies pages on write, so on a full disk even a removal fails. The ballast is the room in which trimming still works.
 * It holds random bytes: on a file system that compresses, zeros would reserve nothing.
 *
 * LMDB never gives pages back to the disk, it uses them again. When trimming made the room, there may be none for a new ballast;
 * then free pages inside the data file and what else is free, as much as the ballast would be, stand for it. Limit: appends may
 * use those up too, and then a full disk refuses removals until somebody makes room on it.
 *
 * LMDB must not find out by itself that the disk is full: of a write that is refused whole, lmdb 3.5 writes a message beyond the end of
 * its buffer, which may end the process (3 times in 20). So each commit is measured against the disk before it begins.
 */
import { randomFillSync } from 'node:crypto'
import { type StatsFs, statfsSync, statSync } from 'node:fs'
import { open, rm, stat, statfs } from 'node:fs/promises'
import { join } from 'node:path'
import { dataFile, syncDirectory } from './directory.ts'

/** Room that must be there beyond the ballast before writing starts again, so that the next commit does not fill it up at once. */
export const spareBytes = 1024 * 1024

/** More than a new data file takes: 32 KiB. */
export const emptyBytes = 256 * 1024

const pieceBytes = 1024 * 1024

/** ENOSPC and EDQUOT, as LMDB hands them on. */
const fullCodes: ReadonlySet<unknown> = new Set([28, 122, 'ENOSPC', 'EDQUOT'])
/** A short write reaches us as EIO (tmpfs does this when it is full). */
const ioCodes: ReadonlySet<unknown> = new Set([5, 'EIO'])

export const isFullCode = (code: unknown): boolean => fullCodes.has(code)

/** A disk without any blocks does not tell: tmpfs without a limit, ramfs and some in user space, which would be full for ever. */
const bytesOf = ({ blocks, bavail, bsize }: StatsFs): number => (blocks === 0 ? Number.POSITIVE_INFINITY : bavail * bsize)

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

  /** Infinity when the system does not say. */
  async availableBytes(): Promise<number> {
    return bytesOf(await statfs(this.#directory))
  }

  /**
   * The same at once, and Infinity when the system does not say. On a local disk it takes 1 µs, since the answer is in memory; by way of
   * the thread pool it would be 15 to 70.
   */
  availableNow(): number {
    try {
      return bytesOf(statfsSync(this.#directory))
    } catch {
      return Number.POSITIVE_INFINITY // only LMDB knows then
    }
  }

  /** Did this commit, which makes the data file larger by `growthBytes` at most, fail because the disk is full? */
  async explains(error: unknown, growthBytes: number): Promise<boolean> {
    const code = codeOf(error)
    if (isFullCode(code)) return true
    return ioCodes.has(code) && (await this.availableBytes()) < growthBytes + spareBytes
  }

  /** What LMDB can use again in its file when `usedBytes` of it are in use. Readers may hold on to some of it. */
  insideBytes(usedBytes: number): number {
    return statSync(join(this.#directory, dataFile)).size - usedBytes
  }

  /**
   * Is there enough for appends and for what the ballast lacks? What is free on the disk and what LMDB has free in its file, when
   * `usedBytes` of that are in use, count together: a commit that was refused for its size leaves some of both.
   */
  async hasRoom(usedBytes: number): Promise<boolean> {
    return (await this.availableBytes()) + this.insideBytes(usedBytes) > (await this.missingBytes()) + spareBytes
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
