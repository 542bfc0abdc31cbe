/**
 * Backups: a consistent copy of a running store, and the way back.
 *
 * A restore is whole or it is refused at the next start: the copy is checked beside the old data first, and from the moment
 * at which the old data move until the new ones are in place, a marker keeps the directory from being taken for a new one.
 */
import { cp, mkdir, readdir, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { TroupeError } from '../../actors/errors.ts'
import type { Clock } from '../../actors/world.ts'
import {
  contents,
  dataFile,
  isRestoring,
  markRestoring,
  newMeta,
  prepareDirectory,
  readMeta,
  syncDirectory,
  syncFile,
  unmarkRestoring,
  writeMeta,
} from './directory.ts'
import { examine } from './examine.ts'
import { lockDirectory } from './lock.ts'

interface Source {
  copyTo(directory: string): Promise<void>
}

/** Errors: `storage.read_only`. */
export const copyBackup = async (source: Source, from: string, to: string): Promise<void> => {
  await prepareDirectory(to)
  if ((await readdir(to)).length > 0) throw new TroupeError('storage.read_only', `${to} is not empty`)
  await source.copyTo(to)
  await syncFile(join(to, dataFile))
  await writeMeta(to, (await readMeta(from)) ?? newMeta(0))
}

export interface RestoreOptions {
  readonly clock: Clock
  /** Put what is in the data directory aside, into `damaged-<time>` inside it. Default false: refuse. */
  readonly force?: boolean
  readonly preflightPath?: string
}

/**
 * Puts a backup into a data directory that is empty, or whose contents go aside. `restoredAt` is noted in meta.json. On disk when
 * resolved. Errors: `storage.locked`, `storage.read_only` (not empty), `storage.corrupt` (the backup is), `storage.newer_format`.
 */
export const restoreBackup = async (backupDirectory: string, directory: string, options: RestoreOptions): Promise<void> => {
  const { clock, force = false, preflightPath } = options
  await prepareDirectory(directory)
  const release = await lockDirectory(directory)
  try {
    const old = await contents(directory)
    const isHalfDone = await isRestoring(directory)
    if (old.length > 0 && !force && !isHalfDone) throw new TroupeError('storage.read_only', `${directory} is not empty`)
    const meta = await readMeta(backupDirectory)
    if (meta === undefined) throw new TroupeError('storage.corrupt', `${backupDirectory} is no backup: it has no meta.json`)
    const now = clock.now()
    const staging = join(directory, `restoring-${now}`)
    await rm(staging, { recursive: true, force: true })
    await mkdir(staging, { mode: 0o700 })
    try {
      await cp(join(backupDirectory, dataFile), join(staging, dataFile)).catch((cause: unknown) => {
        throw new TroupeError('storage.corrupt', `the backup has no ${dataFile}`, { cause })
      })
      await syncFile(join(staging, dataFile))
      await examine(staging, { isClean: false, preflightPath })
      await markRestoring(directory)
      if (old.length > 0) {
        const aside = join(directory, `damaged-${now}`)
        await mkdir(aside, { mode: 0o700 })
        for (const name of old) await rename(join(directory, name), join(aside, name))
      }
      await rename(join(staging, dataFile), join(directory, dataFile))
      await syncDirectory(directory)
      await writeMeta(directory, { ...meta, restoredAt: now })
      await unmarkRestoring(directory)
    } finally {
      await rm(staging, { recursive: true, force: true })
    }
  } finally {
    await release()
  }
}
