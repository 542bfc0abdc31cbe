/**
 * Is this data file fit to be opened by the server? Its header first; then, when the store was not closed in good order (as after
 * each crash) or the header leaves a doubt, a child process that looks at all pages, opens it and reads it, and may die of that.
 */
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { TroupeError } from '../../actors/errors.ts'
import { complaint, dataFile } from './directory.ts'
import { readHeader } from './header.ts'

/** The built preflight.ts, if it lies beside this module, as it does in the package. */
const besideMe = (): string | undefined => {
  const path = fileURLToPath(new URL('./preflight.js', import.meta.url))
  return existsSync(path) ? path : undefined
}

const runChild = (program: string, directory: string): Promise<string | undefined> =>
  new Promise((resolve) => {
    execFile(process.execPath, [program, directory], { timeout: 0, env: { ...process.env, NODE_OPTIONS: '' } }, (error, _out, said) => {
      if (error === null) return resolve(undefined)
      const reason = said.split('\n').find((line) => line.startsWith(complaint))
      resolve(error.signal ? `opening it ends with ${error.signal}` : (reason?.slice(complaint.length) ?? error.message))
    })
  })

export interface Examination {
  /** The store was closed in good order, so the walk can be spared. */
  readonly isClean: boolean
  readonly preflightPath?: string | undefined
}

/** 'missing' when there is no data file. Errors: `storage.corrupt`; nothing was changed then. */
export const examine = async (directory: string, { isClean, preflightPath }: Examination): Promise<'missing' | 'sound'> => {
  const verdict = await readHeader(join(directory, dataFile))
  if (verdict.is === 'missing') return 'missing'
  if (verdict.is === 'damaged') throw new TroupeError('storage.corrupt', verdict.reason)
  if (isClean && !verdict.isShort) return 'sound'
  const program = preflightPath ?? besideMe()
  if (program === undefined) {
    if (!verdict.isShort) return 'sound'
    throw new TroupeError(
      'storage.corrupt',
      'the data file is shorter than its header says, and no preflight program is there to look closer',
    )
  }
  const reason = await runChild(program, directory)
  if (reason !== undefined) throw new TroupeError('storage.corrupt', reason)
  return 'sound'
}
