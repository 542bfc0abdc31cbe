/**
 * Opens the journals in a data directory: lock, look, then LMDB.
 *
 * Promises: nothing damaged is opened, nothing lost is taken for new, and whatever is refused is left as it was. A store that
 * was closed in good order opens without a walk through its data.
 */
import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { TroupeError } from '../../actors/errors.ts'
import type { Journals } from '../../actors/journal.ts'
import type { Clock, Log, Random } from '../../actors/world.ts'
import { defaultMaxEntryBytes } from './admission.ts'
import { copyBackup } from './backup.ts'
import { dataFile, isRestoring, markClean, newMeta, prepareDirectory, readMeta, unmarkClean, wasClean, writeMeta } from './directory.ts'
import { examine } from './examine.ts'
import { LmdbJournals } from './lmdbJournals.ts'
import { lockDirectory } from './lock.ts'
import { emptyBytes, isFullCode, Space } from './space.ts'
import { Tables } from './tables.ts'

export interface LmdbOptions {
  /** The data directory; made if it is missing. Not on a network file system. */
  readonly directory: string
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  /** Largest entry, in bytes. Default 16 MiB. */
  readonly maxEntryBytes?: number
  /** Size of the file that is given up on a full disk so that trimming works. Default 32 MiB; 0: none. */
  readonly ballastBytes?: number
  /** What a commit must leave free on the disk, unless it makes room. Default 0: all of the disk may be used. */
  readonly minFreeBytes?: number
  /** How often to look for room. Default 2 000. */
  readonly spaceProbeMs?: number
  /** A flush that takes longer is a failed disk. Default 30 000. */
  readonly commitTimeoutMs?: number
  /** Least time between the beginnings of two commits: a larger one saves CPU under load and delays answers. Default 0. */
  readonly commitGapMs?: number
  /** Journals whose state is kept in memory, about 300 bytes each. Default 10 000. */
  readonly cachedJournals?: number
  /** The program that looks into a store after a crash. Default: `preflight.js` beside this module. */
  readonly preflightPath?: string
}

export interface DurableJournals extends Journals {
  /**
   * Writes a consistent copy into `directory`, which must be missing or empty, while everything goes on. On disk when resolved.
   * Errors: `storage.read_only`, `storage.closed`.
   */
  backup(directory: string): Promise<void>
}

/** As the first start leaves it, before meta.json, when it is killed or refused room right then: there is nothing to lose. */
const isEmptyFile = (path: string): Promise<boolean> =>
  stat(path).then(
    ({ size }) => size === 0,
    () => false,
  )

const openTables = (directory: string): Tables => {
  try {
    return new Tables(directory)
  } catch (cause) {
    if (cause instanceof TroupeError) throw cause
    const code = cause instanceof Error && 'code' in cause ? cause.code : undefined
    // LMDB's own codes are below 0. Those of the system say that there is no memory, no file handle, no access.
    const refusal = isFullCode(code) ? 'storage.full' : typeof code === 'number' && code > 0 ? 'storage.failed' : 'storage.corrupt'
    throw new TroupeError(refusal, cause instanceof Error ? cause.message : String(cause), { cause })
  }
}

/**
 * Errors: `storage.full`, `storage.failed`, `storage.read_only`, `storage.locked`, `storage.newer_format`, `storage.corrupt`.
 */
export const openLmdbJournals = async (options: LmdbOptions): Promise<DurableJournals> => {
  const { directory, clock, random, log, preflightPath } = options
  await prepareDirectory(directory)
  const release = await lockDirectory(directory)
  let tables: Tables | undefined
  try {
    const meta = await readMeta(directory)
    if (await isRestoring(directory)) throw new TroupeError('storage.corrupt', 'a restore was interrupted; run it again')
    const isUnbegun = meta === undefined && (await isEmptyFile(join(directory, dataFile)))
    const found = isUnbegun ? 'missing' : await examine(directory, { isClean: await wasClean(directory), preflightPath })
    if (found === 'missing' && meta?.initialized === true) throw new TroupeError('storage.corrupt', 'the data file is missing')
    await unmarkClean(directory)
    const space = new Space(directory, options.ballastBytes ?? 32 * 1024 * 1024)
    const hasBallast = await space.reserve(0)
    if (found === 'missing' && space.availableNow() < emptyBytes) throw new TroupeError('storage.full', 'no room for a new data file')
    tables = openTables(directory)
    const startsFull = !hasBallast && !(await space.hasRoom(tables.usedBytes()))
    if (startsFull) log.warn({ directory }, 'too little disk is free for the ballast file; appends are refused until there is more')
    if (meta?.initialized !== true) await writeMeta(directory, newMeta(clock.now()))
    const journals = new LmdbJournals(
      tables,
      space,
      {
        clock,
        random,
        log,
        maxEntryBytes: options.maxEntryBytes ?? defaultMaxEntryBytes,
        minFreeBytes: options.minFreeBytes ?? 0,
        spaceProbeMs: options.spaceProbeMs ?? 2_000,
        commitTimeoutMs: options.commitTimeoutMs ?? 30_000,
        commitGapMs: options.commitGapMs ?? 0,
        cachedJournals: options.cachedJournals ?? 10_000,
        startsFull,
      },
      async () => {
        // Without the mark the next opening walks through the data; on a full disk that is all that is lost.
        await markClean(directory).catch((error: unknown) => log.warn({ error }, 'the store could not be marked as closed in good order'))
        await release()
      },
    )
    return Object.assign(journals, { backup: (target: string) => copyBackup(journals, directory, target) })
  } catch (error) {
    await tables?.close()
    await release()
    throw error
  }
}
