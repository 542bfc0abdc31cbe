/**
 * A program of its own: looks at every page of the data file in the directory that is its argument, opens the store, walks through
 * every record, and ends with 0. The first step says which page is damaged. What it does not find kills this process (SIGSEGV,
 * SIGBUS, SIGABRT) instead of the server; an end with a line that begins with "damaged" says so as well.
 *
 * It opens like the server does, for writing and with `safeRestore`, though it writes nothing: the first one to open a store
 * after a crash decides to which flushed state it goes back, and a read-only opener does not go back at all.
 */
import { join } from 'node:path'
import { open } from 'lmdb'
import { complaint, dataFile } from './directory.ts'
import { readHeader } from './header.ts'
import { findDamage } from './pages.ts'

const lookAtPages = async (directory: string): Promise<void> => {
  const path = join(directory, dataFile)
  const header = await readHeader(path)
  if (header.is !== 'plausible') throw new Error(header.is === 'damaged' ? header.reason : `there is no ${dataFile}`)
  const damage = findDamage(path, header.snapshot)
  if (damage !== undefined) throw new Error(damage)
}

const walk = async (directory: string): Promise<void> => {
  const binary = { encoding: 'binary', keyEncoding: 'binary' } as const
  const root = open<Buffer, Buffer>({ path: directory, noSubdir: false, safeRestore: true, maxDbs: 64, ...binary } as Parameters<
    typeof open<Buffer, Buffer>
  >[0] & { safeRestore: true }) // read by lmdb's open(), missing in its types
  const names = [...root.getKeys()].map((key) => key.toString())
  let bytes = 0
  for (const name of names) {
    const table = root.openDB<Buffer, Buffer>({ name, ...binary })
    for (const { key, value } of table.getRange()) bytes += key.length + value.length
  }
  process.stdout.write(`${JSON.stringify({ tables: names.length, bytes })}\n`)
  await root.close()
}

/** Neither the system's refusals (out of memory, of files; a bad sector) nor a defect of this program say anything of the data. */
const isOfSystem = (error: unknown): boolean =>
  error instanceof Error && ('syscall' in error || ('code' in error && typeof error.code === 'number' && error.code > 0))

try {
  const directory = process.argv[2]
  if (directory === undefined) throw new Error('usage: preflight DIRECTORY')
  await lookAtPages(directory)
  await walk(directory)
} catch (error) {
  process.stderr.write(`\n${isOfSystem(error) ? '' : complaint}${error instanceof Error ? error.message : String(error)}\n`)
  process.exit(1)
}
