import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { rmSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openLmdbJournals } from '../../src/storage/lmdb.ts'
import { bundle } from '../support/bundle.ts'
import { newDirectory } from '../support/disk.ts'
import { SeededRandom, testWorld } from '../support/world.ts'

/** More of them: a night's work. */
const rounds = Number(process.env.JOURNAL_ROUNDS ?? 12)
const seed = 20_260_102

describe('journals under kill -9', () => {
  let preflightPath: string
  let program: string
  const directory = newDirectory()

  beforeAll(async () => {
    preflightPath = await bundle('src/storage/preflight.ts')
    program = await bundle('test/support/journalsProgram.ts')
  })

  afterAll(() => {
    for (const path of [directory, preflightPath, program]) rmSync(path, { recursive: true, force: true })
  })

  it(`[C1] every acknowledged append is there, in order and without holes, ${rounds} times over (seed ${seed})`, async () => {
    const chance = new SeededRandom(seed)
    const acknowledged = new Map<string, number>()
    let total = 0
    for (let round = 0; round < rounds; round++) {
      const child = spawn(process.execPath, [program, 'write', directory], { stdio: ['ignore', 'pipe', 'inherit'] })
      const exited = once(child, 'exit')
      let left = 20 + chance.below(2_000)
      for await (const line of createInterface({ input: child.stdout })) {
        if (!line.endsWith(']')) continue // "open", or the piece of a line at the end
        const [journal, , last] = JSON.parse(line) as [string, number, number]
        acknowledged.set(journal, Math.max(last, acknowledged.get(journal) ?? 0))
        total++
        if (--left === 0) child.kill('SIGKILL')
      }
      await exited
      const { clock, random, log } = testWorld(round)
      const journals = await openLmdbJournals({ directory, clock, random, log, ballastBytes: 0, preflightPath })
      for (const [journal, last] of acknowledged) {
        const entries = await journals.read(journal, { limit: 1_000_000, maxBytes: 1e9 })
        expect(entries.length).toBeGreaterThanOrEqual(last)
        expect(entries.map(({ offset }) => offset)).toEqual(entries.map((_, i) => i + 1))
        for (const { offset, data } of entries) {
          if (!new TextDecoder().decode(data).startsWith(`${journal}:${offset}:`)) throw new Error(`${journal} ${offset} is another entry`)
        }
        acknowledged.set(journal, entries.length)
      }
      await journals.close()
    }
    expect(total).toBeGreaterThan(1_000)
  })
})
