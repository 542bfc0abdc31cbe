import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { type DurableJournals, type LmdbOptions, openLmdbJournals } from '../../src/storage/lmdb.ts'
import { describeJournals } from '../contract/journals.ts'
import { quiet, testWorld } from '../support/world.ts'

const newDirectory = (): Promise<string> => mkdtemp(join(tmpdir(), 'troupe-journals-'))
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)

const place = (options: Partial<LmdbOptions>) => async () => {
  const { clock, random, log } = testWorld()
  const directory = await newDirectory()
  return {
    clock,
    isDurable: true,
    open: () => openLmdbJournals({ directory, clock, random, log, maxEntryBytes: 100_000, ballastBytes: 0, ...options }),
    dispose: () => rm(directory, { recursive: true, force: true }),
  }
}

describeJournals('lmdb', place({}))
describeJournals('lmdb with room for one journal in memory', place({ cachedJournals: 1 }))

describe('journals in LMDB', () => {
  const cleanups: (() => unknown)[] = []

  afterEach(async () => {
    for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
  })

  const begin = async (options: Partial<LmdbOptions> = {}, directory?: string) => {
    const path = directory ?? (await newDirectory())
    cleanups.push(() => rm(path, { recursive: true, force: true }))
    const world = testWorld()
    const journals: DurableJournals = await openLmdbJournals({
      directory: path,
      clock: world.clock,
      random: world.random,
      log: world.log,
      ballastBytes: 0,
      ...options,
    })
    cleanups.push(() => journals.close())
    return { journals, path, world }
  }

  it('[L1] a store that was closed in good order opens without a walk through its data, any other with one', async () => {
    const { journals, path } = await begin()
    await journals.append('j', [bytes('1')])
    await journals.close()
    const refuses = join(path, 'refuses.mjs')
    await writeFile(refuses, "console.error('damaged: so it says'); process.exitCode = 1")
    const again = await begin({ preflightPath: refuses }, path)
    expect((await again.journals.read('j')).length).toBe(1)
    await again.journals.close()
    await rm(join(path, 'clean'))
    await expect(begin({ preflightPath: refuses }, path)).rejects.toMatchObject({ code: 'storage.corrupt', detail: 'so it says' })
  })

  it('[L2] with a gap between commits, the first goes at once and those behind it go together', async () => {
    const { journals, world } = await begin({ commitGapMs: 5 })
    await journals.append('j', [bytes('1')])
    const order: number[] = []
    const rest = [2, 3].map((offset) => journals.append('j', [bytes(`${offset}`)]).then(() => order.push(offset)))
    await quiet(50)
    expect(order).toEqual([])
    await world.clock.advance(5)
    await Promise.all(rest)
    expect(order).toEqual([2, 3])
  })

  it('[L3] journals made after a restart never get what lies under the id of an older one', async () => {
    const { path, ...first } = await begin()
    let { journals } = first
    for (let round = 0; round < 3; round++) {
      await journals.append(`kept${round}`, [bytes(`${round}`)])
      await journals.append('removed', [bytes('x')])
      await journals.remove('removed')
      await journals.close()
      journals = (await begin({}, path)).journals
      await journals.append(`new${round}`, [bytes('new')])
      for (let kept = 0; kept <= round; kept++) {
        expect((await journals.read(`kept${kept}`)).map(({ data }) => new TextDecoder().decode(data))).toEqual([`${kept}`])
      }
    }
  })

  it('[L4] the ballast lies on the disk in full size', async () => {
    const { path } = await begin({ ballastBytes: 3_000_000 })
    const { size, blocks } = await stat(join(path, 'ballast'))
    expect(size).toBe(3_000_000)
    expect(blocks * 512).toBeGreaterThanOrEqual(3_000_000)
  })
})
