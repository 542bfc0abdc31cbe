/**
 * Makes a program of a TypeScript file, for tests that need a process of their own (to kill it, to fill its disk). Packages are
 * not bundled, so the result lies where they are found.
 */
import { createHash } from 'node:crypto'
import { mkdir } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

const out = fileURLToPath(new URL('../../node_modules/.cache/troupe-tests/', import.meta.url))

/** The path of an .mjs that Node runs. `entry` is relative to the root of the repository. */
export const bundle = async (entry: string): Promise<string> => {
  const source = fileURLToPath(new URL(`../../${entry}`, import.meta.url))
  await mkdir(out, { recursive: true })
  const digest = createHash('sha256').update(`${source} ${process.pid}`).digest('hex').slice(0, 12)
  const outfile = join(out, `${basename(entry, '.ts')}-${digest}.mjs`)
  await build({ entryPoints: [source], outfile, bundle: true, platform: 'node', format: 'esm', target: 'node20', packages: 'external' })
  return outfile
}
