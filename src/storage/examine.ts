/**
 * Is this data file fit to be opened by the server? Its header first; then, when the store was not closed in good order (as after
 * each crash) or the header leaves a doubt, a child process that looks at all pages, opens it and reads it, and may die of that.
 * Where that cannot run, the pages are looked at here, and this process waits for it.
 */
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { TroupeError } from '../../actors/errors.ts'
import { complaint, dataFile } from './directory.ts'
import { readHeader, type Snapshot } from './header.ts'
import { findDamage } from './pages.ts'

/** The built preflight.ts, if it lies beside this module, as it does in the package. */
const besideMe = (): string | undefined => {
  const path = fileURLToPath(new URL('./preflight.js', import.meta.url))
  return existsSync(path) ? path : undefined
}

/** What a damaged file does to the process that uses it. Other signals come from outside: the system ran out of memory. */
const crashes: ReadonlySet<unknown> = new Set(['SIGSEGV', 'SIGBUS', 'SIGABRT', 'SIGFPE', 'SIGILL'])

/** undefined: the program could not do its work, which says nothing of the data. */
const runChild = (program: string, directory: string): Promise<'sound' | { readonly damage: string } | undefined> =>
  new Promise((resolve) => {
    const env = { ...process.env, NODE_OPTIONS: '' }
    const child = execFile(process.execPath, [program, directory], { timeout: 0, env }, (error, _out, said) => {
      process.off('exit', end)
      if (error === null) return resolve('sound')
      const line = said.split('\n').find((line) => line.startsWith(complaint))
      if (line !== undefined) resolve({ damage: line.slice(complaint.length) })
      else resolve(crashes.has(error.signal) ? { damage: `opening it ends with ${error.signal}` } : undefined)
    })
    // It would read on for minutes, beside that of the next start.
    const end = () => child.kill('SIGKILL')
    process.on('exit', end)
  })

const lookHere = (path: string, snapshot: Snapshot): string | undefined => {
  try {
    return findDamage(path, snapshot)
  } catch (cause) {
    throw new TroupeError('storage.failed', `${path} cannot be read`, { cause })
  }
}

export interface Examination {
  /** The store was closed in good order, so the walk can be spared. */
  readonly isClean: boolean
  readonly preflightPath?: string | undefined
}

/** 'missing' when there is no data file. Errors: `storage.corrupt`, `storage.failed`; nothing was changed then. */
export const examine = async (directory: string, { isClean, preflightPath }: Examination): Promise<'missing' | 'sound'> => {
  const path = join(directory, dataFile)
  const header = await readHeader(path)
  if (header.is === 'missing') return 'missing'
  if (header.is === 'damaged') throw new TroupeError('storage.corrupt', header.reason)
  if (isClean && !header.isShort) return 'sound'
  const program = preflightPath ?? besideMe()
  if (program === undefined && header.isShort) {
    throw new TroupeError(
      'storage.corrupt',
      'the data file is shorter than its header says, and no preflight program is there to look closer',
    )
  }
  const verdict = program === undefined ? undefined : await runChild(program, directory)
  if (verdict === 'sound') return 'sound'
  const damage = verdict?.damage ?? lookHere(path, header.snapshot)
  if (damage !== undefined) throw new TroupeError('storage.corrupt', damage)
  return 'sound'
}
