/**
 * A process that uses damaged stores until one of them kills it. Arguments: a data directory, a path for copies, and for each copy the
 * bit to flip, as `byte:bit`. Of each it says that before it opens it, and a line of JSON with the codes of what was refused afterwards.
 */
import { cpSync, readFileSync, rmSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { isTroupeError } from '../../actors/errors.ts'
import { openLmdbJournals } from '../../src/storage/lmdb.ts'
import { realWorld } from './realWorld.ts'

const say = (line: string): void => {
  writeSync(1, `${line}\n`) // at once: a line that was said must not die with us
}

const use = async (directory: string): Promise<string[]> => {
  const codes = new Set<string>()
  const refused = (error: unknown): void => void codes.add(isTroupeError(error) ? error.code : String(error))
  const journals = await openLmdbJournals({ directory, ballastBytes: 0, ...realWorld() }).catch(refused)
  if (journals === undefined) return [...codes]
  const names = await journals.list('')
  for (const name of names) {
    await journals.read(name).catch(refused)
    await journals.snapshot(name).catch(refused)
  }
  const append = (name: string) => journals.append(name, [new Uint8Array(300), new Uint8Array(6_000)]).catch(refused)
  await Promise.all(names.flatMap((name) => [append(name), append(`${name} anew`)]))
  await Promise.all(names.map((name) => journals.remove(name).catch(refused)))
  await Promise.all(names.map(append))
  await journals.close()
  return [...codes]
}

const [, , original = '', copies = '', ...flips] = process.argv
for (const flip of flips) {
  const [at = 0, bit = 0] = flip.split(':').map(Number)
  const copy = join(copies, flip)
  cpSync(original, copy, { recursive: true })
  const data = readFileSync(join(copy, 'data.mdb'))
  data[at] = (data[at] ?? 0) ^ (1 << bit)
  writeFileSync(join(copy, 'data.mdb'), data)
  say(flip)
  say(JSON.stringify(await use(copy)))
  rmSync(copy, { recursive: true, force: true })
}
process.exit(0) // a store whose writing failed is never closed
