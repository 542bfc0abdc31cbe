/** What a flipped bit in a data file comes to: the file is refused, with the page, or works. It never takes the server along. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { restoreBackup } from '../../src/storage/backup.ts'
import { readHeader } from '../../src/storage/header.ts'
import { type DurableJournals, openLmdbJournals } from '../../src/storage/lmdb.ts'
import { findDamage } from '../../src/storage/pages.ts'
import { bundle } from '../support/bundle.ts'
import { newDirectory } from '../support/disk.ts'
import { SeededRandom, testWorld } from '../support/world.ts'

const seed = 20_260_104
const pageBytes = 4_096
const directory = newDirectory(existsSync('/dev/shm') ? '/dev/shm' : undefined) // hundreds of stores are opened, and each waits for its disk
let preflightPath: string
let user: string

beforeAll(async () => {
  preflightPath = await bundle('src/storage/preflight.ts')
  user = await bundle('test/support/usedStores.ts')
})

afterAll(() => {
  for (const path of [directory, preflightPath, user]) rmSync(path, { recursive: true, force: true })
})

const open = (path: string, world = testWorld()): Promise<DurableJournals> => {
  const { clock, random, log } = world
  return openLmdbJournals({ directory: path, clock, random, log, ballastBytes: 0, preflightPath })
}

/** What is wrong with the data file, as it is found without LMDB; undefined when nothing is. */
const damageIn = async (path: string): Promise<string | undefined> => {
  const file = join(path, 'data.mdb')
  const header = await readHeader(file)
  if (header.is !== 'plausible') return header.is === 'damaged' ? header.reason : 'missing'
  return findDamage(file, header.snapshot)
}

/** Appends, snapshots, trims and removals in 20 journals, of all sizes from one byte to many pages; told after each commit. */
const work = async (journals: DurableJournals, chance: SeededRandom, rounds: number, told: () => Promise<void>): Promise<void> => {
  const size = () => [10, 200, 2_500, 9_000, 20_000][chance.below(5)] as number
  const step = async (name: string): Promise<unknown> => {
    const what = chance.below(10)
    if (what < 6) return journals.append(name, [new Uint8Array(1 + chance.below(size())), new Uint8Array(chance.below(300))])
    const { first, last } = await journals.head(name)
    if (what < 8) return journals.saveSnapshot(name, last, new Uint8Array(chance.below(size())), { trim: what === 7 })
    return what === 8 ? journals.trim(name, first + chance.below(last - first + 2)) : journals.remove(name)
  }
  for (let round = 0; round < rounds; round++) {
    const names = new Set(Array.from({ length: 12 }, () => `journal ${chance.below(20)}${'.'.repeat(round % 200)}`))
    await Promise.all([...names].map(step))
    await told()
  }
}

/** After work, and as it is left by `kill -9`. */
const worked = async (name: string): Promise<string> => {
  const live = join(directory, name)
  const path = join(directory, `${name} left`)
  const journals = await open(live)
  await work(journals, new SeededRandom(seed), 30, async () => undefined)
  cpSync(live, path, { recursive: true, filter: (file) => !file.endsWith('.sock') && !file.endsWith('lock.mdb') })
  await journals.close()
  return path
}

/** Makes leaves those of a time to come: LMDB would take them for its own copies and write into them, which ends the process. */
const spoil = (path: string): Buffer => {
  const file = join(path, 'data.mdb')
  const bytes = readFileSync(file)
  for (let page = 2 * pageBytes; page < bytes.length; page += pageBytes) {
    if (bytes.readUInt32LE(page) * pageBytes === page && bytes.readUInt16LE(page + 18) === 2) bytes.writeUInt8(1, page + 13)
  }
  writeFileSync(file, bytes)
  return bytes
}

const named = (path: string) => ({
  code: 'storage.corrupt',
  detail: expect.stringMatching(new RegExp(`^${path}/data.mdb, page \\d+: it is of transaction \\d+, which is still to come$`)),
})

/** Another process flips these bits, each in a copy of its own, uses that store, and lives: at worst it or journals in it are refused. */
const survives = async (original: string, flips: readonly string[]): Promise<void> => {
  const child = spawn(process.execPath, [user, original, directory, ...flips], { stdio: ['ignore', 'pipe', 'ignore'] })
  let said = ''
  child.stdout.on('data', (data) => {
    said += data
  })
  const [code, signal] = await once(child, 'close')
  const lines = said.trim().split('\n')
  expect({ code, signal, last: lines.at(-1) }).toEqual({ code: 0, signal: null, last: expect.stringMatching(/^\[/) })
  const answers = lines.filter((_, i) => i % 2 === 1)
  expect(answers.length).toBe(flips.length)
  for (const [i, codes] of answers.entries()) expect(codes, flips[i]).toMatch(/^\[("(journal\.\w+|storage\.corrupt)",?)*\]$/)
}

describe('the pages of a data file', () => {
  it(`[F25] are right whatever is done, while it works, closed, copied and restored (seed ${seed})`, async () => {
    const path = join(directory, 'right')
    const world = testWorld()
    let journals = await open(path, world)
    const isRight = async () => expect(await damageIn(path)).toBeUndefined()
    await isRight()
    for (let part = 0; part < 3; part++) {
      await work(journals, new SeededRandom(seed + part), 20, isRight)
      const [backup, restored] = [join(directory, `backup ${part}`), join(directory, `restored ${part}`)]
      await journals.backup(backup)
      await restoreBackup(backup, restored, { clock: world.clock, preflightPath })
      expect(await damageIn(restored)).toBeUndefined()
      await journals.close()
      await isRight()
      journals = await open(path, world)
    }
    await journals.close()
  })

  it(`[F26] with a flipped bit are refused, or the store works but for journals: 200 of them (seed ${seed})`, async () => {
    const original = await worked('flipped')
    const whole = readFileSync(join(original, 'data.mdb'))
    const chance = new SeededRandom(seed)
    /** In one of the headers, in the head of a page, or in its table of nodes, or in the head of a node. */
    const place = (): number => {
      const page = chance.below(whole.length / pageBytes) * pageBytes
      if (page < 2 * pageBytes) return page + chance.below(2) * (pageBytes / 2) + chance.below(168)
      const [kind, nodes] = [whole.readUInt16LE(page + 18), whole.readUInt16LE(page + 20) / 2]
      if (whole.readUInt32LE(page) * pageBytes !== page || kind < 1 || kind > 4) return place() // the middle of a long value
      if (kind === 4 || chance.below(2) === 0) return page + chance.below(24)
      const entry = page + 24 + 2 * chance.below(nodes)
      return chance.below(2) === 0 ? entry + chance.below(2) : page + 24 + whole.readUInt16LE(entry) + chance.below(8)
    }
    const file = join(original, 'data.mdb')
    const sound: string[] = []
    for (let flips = 0; flips < 200; flips++) {
      const data = Buffer.from(whole)
      const [at, bit] = [place(), chance.below(8)]
      data[at] = (data[at] ?? 0) ^ (1 << bit)
      writeFileSync(file, data)
      const damage = await damageIn(original)
      if (damage === undefined) sound.push(`${at}:${bit}`)
      else expect(damage).toMatch(/, page \d+: |header/)
    }
    expect(sound.length).toBeLessThan(140)
    writeFileSync(file, whole)
    await survives(original, sound)
  })

  it('[F27] after a crash a damaged one is refused by name, and the file left as it was', async () => {
    const path = await worked('crashed')
    const bytes = spoil(path)
    await expect(open(path)).rejects.toMatchObject(named(path))
    expect(readFileSync(join(path, 'data.mdb')).equals(bytes)).toBe(true)
  })

  it('[F30] are looked at by the server itself where the preflight cannot run, which is not taken for damage', async () => {
    const path = await worked('alone')
    const { clock, random, log } = testWorld()
    const alone = () => openLmdbJournals({ directory: path, clock, random, log, ballastBytes: 0, preflightPath: join(path, 'nowhere.js') })
    const journals = await alone()
    expect((await journals.list('')).length).toBeGreaterThan(10)
    await journals.close()
    rmSync(join(path, 'clean'))
    spoil(path)
    await expect(alone()).rejects.toMatchObject(named(path))
  })
})
