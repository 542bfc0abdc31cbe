/**
 * The data directory, apart from what LMDB keeps in it:
 *
 *   data.mdb, lock.mdb   LMDB
 *   meta.json            format, version, and that data exist: an empty store is never taken for an old one, nor the other way
 *   clean                present while the store is closed in good order; its absence means a crash
 *   restoring            present while a restore is half done
 *   ballast              see space.ts
 *   lock-….sock          see lock.ts
 *   damaged-<time>/      what a forced restore put aside
 */
import { access, constants, mkdir, open, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { TroupeError } from '../../actors/errors.ts'
import type { EpochMs } from '../../actors/world.ts'
import { isLockFile } from './lock.ts'

export const dataFile = 'data.mdb'
export const metaFile = 'meta.json'
/** Begins the line in which the preflight says what is wrong; LMDB writes to the same stream. */
export const complaint = 'damaged: '
const cleanFile = 'clean'
const restoringFile = 'restoring'

const format = 'troupe'
/** Raised when an older version could not read what this one writes. */
export const formatVersion = 1

export interface Meta {
  readonly format: string
  readonly version: number
  /** True from the first successful opening on: from then on a missing data file is a loss, not a beginning. */
  readonly initialized: boolean
  readonly createdAt: EpochMs
  /** When this state was put here from a backup, if it was. */
  readonly restoredAt?: EpochMs
}

export const newMeta = (createdAt: EpochMs): Meta => ({ format, version: formatVersion, initialized: true, createdAt })

const codeOf = (error: unknown): unknown => (error instanceof Error && 'code' in error ? error.code : undefined)
const isMissing = (error: unknown): boolean => codeOf(error) === 'ENOENT'

/** Makes names and renames in a directory durable. Not every system can; then there is nothing to do. */
export const syncDirectory = async (directory: string): Promise<void> => {
  const handle = await open(directory, 'r').catch(() => undefined)
  await handle?.sync().catch(() => undefined)
  await handle?.close()
}

export const syncFile = async (path: string): Promise<void> => {
  const handle = await open(path, 'r+')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/** Makes the directory if it is missing. Errors: `storage.read_only`. */
export const prepareDirectory = async (directory: string): Promise<void> => {
  const probe = join(directory, '.writable')
  try {
    await mkdir(directory, { recursive: true, mode: 0o700 })
    await access(directory, constants.R_OK | constants.W_OK | constants.X_OK)
    const handle = await open(probe, 'w', 0o600) // root passes `access` on a read-only mount
    await handle.close()
    await rm(probe, { force: true }) // another starter may look at the same time
  } catch (error) {
    if (codeOf(error) === 'ENOSPC') return // full is not read-only; the store finds that out by itself
    throw new TroupeError('storage.read_only', directory, { cause: error })
  }
}

/** Errors: `storage.corrupt`, `storage.newer_format`. */
export const readMeta = async (directory: string): Promise<Meta | undefined> => {
  const text = await readFile(join(directory, metaFile), 'utf8').catch((error: unknown) => {
    if (isMissing(error)) return undefined
    throw new TroupeError('storage.corrupt', `${metaFile} cannot be read`, { cause: error })
  })
  if (text === undefined) return undefined
  let meta: Partial<Meta> | null
  try {
    meta = JSON.parse(text) as Partial<Meta> | null // each field is checked below
  } catch (error) {
    throw new TroupeError('storage.corrupt', `${metaFile} is not JSON`, { cause: error })
  }
  if (meta?.format !== format || typeof meta.version !== 'number' || !Number.isInteger(meta.version)) {
    throw new TroupeError('storage.corrupt', `${metaFile} is not the description of a Troupe store`)
  }
  if (meta.version > formatVersion) {
    throw new TroupeError('storage.newer_format', `format ${meta.version}, this version knows ${formatVersion}`)
  }
  return {
    format,
    version: meta.version,
    initialized: meta.initialized === true,
    createdAt: Number(meta.createdAt ?? 0),
    ...(meta.restoredAt === undefined ? {} : { restoredAt: Number(meta.restoredAt) }),
  }
}

/** On disk when resolved, whole or not at all. */
export const writeMeta = async (directory: string, meta: Meta): Promise<void> => {
  const next = join(directory, `${metaFile}.next`)
  await writeFile(next, `${JSON.stringify(meta, undefined, 2)}\n`, { mode: 0o600 })
  await syncFile(next)
  await rename(next, join(directory, metaFile))
  await syncDirectory(directory)
}

const mark = async (directory: string, name: string): Promise<void> => {
  await writeFile(join(directory, name), '', { mode: 0o600 })
  await syncDirectory(directory)
}

/** True when the mark was there. It is gone from the disk when resolved. */
const unmark = async (directory: string, name: string): Promise<boolean> => {
  const wasThere = await rm(join(directory, name)).then(
    () => true,
    (error: unknown) => (isMissing(error) ? false : Promise.reject(error)),
  )
  if (wasThere) await syncDirectory(directory)
  return wasThere
}

export const markClean = (directory: string): Promise<void> => mark(directory, cleanFile)
export const wasClean = (directory: string): Promise<boolean> => exists(directory, cleanFile)
export const unmarkClean = (directory: string): Promise<boolean> => unmark(directory, cleanFile)
export const markRestoring = (directory: string): Promise<void> => mark(directory, restoringFile)
export const unmarkRestoring = (directory: string): Promise<boolean> => unmark(directory, restoringFile)
export const isRestoring = (directory: string): Promise<boolean> => exists(directory, restoringFile)

const exists = (directory: string, name: string): Promise<boolean> =>
  access(join(directory, name)).then(
    () => true,
    () => false,
  )

const isAside = (name: string): boolean => name.startsWith('damaged-') || name.startsWith('restoring') || isLockFile(name)

/** Names in the directory that belong to the store itself. */
export const contents = async (directory: string): Promise<string[]> => (await readdir(directory)).filter((name) => !isAside(name))
