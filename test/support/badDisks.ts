/** Servers on bad disks, for the tests of a file: after each test they are ended, and the disks are gone. */
import { rmSync } from 'node:fs'
import { dirname } from 'node:path'
import { afterAll, afterEach } from 'vitest'
import { buildShim, type Mount, mountSmallDisk, newDirectory, whyNoMount } from './disk.ts'
import { type Running, startTroupe } from './process.ts'

const shim = buildShim()

/** Why this machine has no small disks, and none that fail; undefined when it has. */
export const noMount = whyNoMount()
export const noShim = 'reason' in shim ? shim.reason : undefined
/** For LD_PRELOAD: see `buildShim`. */
export const faultLibrary = 'path' in shim ? shim.path : ''
/** For titles of tests that are skipped. */
export const because = (reason: string | undefined): string => (reason === undefined ? '' : ` (skipped: ${reason})`)

const cleanups: (() => unknown)[] = []

/** `close`: ends the clients, before their servers. */
export const cleanUp = (close: () => void): void => {
  afterEach(async () => {
    close()
    for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
  })
  afterAll(() => {
    if (faultLibrary !== '') rmSync(dirname(faultLibrary), { recursive: true, force: true })
  })
}

export const start = async (...given: Parameters<typeof startTroupe>): Promise<Running> => {
  const server = await startTroupe(...given)
  cleanups.push(() => server.kill())
  return server
}

export const directory = (): string => {
  const path = newDirectory()
  cleanups.push(() => rmSync(path, { recursive: true, force: true }))
  return path
}

export const smallDisk = (megabytes: number): Mount => {
  const disk = mountSmallDisk(megabytes)
  cleanups.push(() => disk.unmount())
  return disk
}
