/**
 * The actors of documents and connections in a simulated world: each seed is one story of editors, crashes, bad networks
 * and bad disks, and in each the promises at the top of `actors/document.ts` and `actors/connection.ts` must hold.
 *
 * `SIM_SEED=n` tells the story of one seed; `SIM_SEEDS=n` runs more of them.
 */
import { describe, expect, it } from 'vitest'
import type { Journals } from '../../actors/journal.ts'
import type { SeededRandom } from '../support/world.ts'
import type { Events } from './events.ts'
import { EarlyJournals, ReorderingJournals, withoutCheckOfPredecessors, withReceiptsForHoles, withWaitsByTheWall } from './plants.ts'
import { type Report, type RunOptions, simulate } from './simulation.ts'

const seeds = Number(process.env.SIM_SEEDS ?? 200)
const single = process.env.SIM_SEED
const chunks = 10
const tailLines = 150

/** Each of these must happen at least once, or the run proves nothing about it. */
const sometimes = [
  'a passivation',
  'a join at the moment of passivation',
  'a compaction',
  'a compaction fails',
  'a write while a snapshot is written',
  'a crash while a commit is under way',
  'a crash keeps what was not acknowledged',
  'a crash loses what was not acknowledged',
  'an orderly stop',
  'an orderly stop with unsaved edits',
  'an actor is stopped',
  'an actor ends while its commit is under way',
  'storage.full',
  'storage.failed',
  'a full disk with unsaved edits',
  'a refused commit succeeds later',
  'refused document.unsaved',
  'an answer ahead of the disk',
  'an update with missing predecessors is asked for',
  'a part of an answer with holes fits',
  'nothing of an answer with holes fits',
  'a repetition is acknowledged',
  'an editor shows that all is saved',
  'a client is asked by the server itself',
  'editing offline',
  'an editor quits',
  'an editor is back before its old socket is gone',
  'a half-open socket',
  'the server gives up a dead socket',
  'a client gives up a dead socket',
  'a slow client is disconnected',
  'the server breaks a socket off',
  'a client is sent away for good',
  'presence expires',
  'the clock is set back',
  'the clock is set on',
]

const seen = new Map<string, number>()

const tell = ({ seed, violation, lines }: Report): string =>
  violation === undefined
    ? ''
    : `seed ${seed}: ${violation.rule}: ${violation.text}\n${lines.slice(-tailLines).join('\n')}\n(SIM_SEED=${seed} tells all of it)`

const check = async (seed: number): Promise<Report> => {
  const report = await simulate(seed)
  for (const [what, count] of report.seen) seen.set(what, (seen.get(what) ?? 0) + count)
  if (report.violation !== undefined) throw new Error(tell(report))
  return report
}

describe.runIf(single !== undefined)('one seed', () => {
  it(`seed ${single}`, async () => {
    const report = await simulate(Number(single), { isVerbose: true })
    expect(report.violation).toBeUndefined()
  }, 120_000)
})

describe.skipIf(single !== undefined)('documents and connections in a simulated world', () => {
  const size = Math.ceil(seeds / chunks)

  it.each(Array.from({ length: chunks }, (_, chunk) => ({ from: chunk * size + 1, to: Math.min((chunk + 1) * size, seeds) })))(
    'keep their promises from seed $from to $to',
    async ({ from, to }) => {
      for (let seed = from; seed <= to; seed++) await check(seed)
    },
    size * 4_000,
  )

  it('went through everything that can go wrong', () => {
    expect(sometimes.filter((what) => !seen.has(what))).toEqual([])
  })

  it.each([7, 8, 9])('happen in the same way twice (seed %i)', async (seed) => {
    const [first, second] = [await simulate(seed), await simulate(seed)]
    expect(second.hash).toBe(first.hash)
    expect(second.steps).toBe(first.steps)
  })
})

describe.skipIf(single !== undefined)('the simulation finds a planted bug', () => {
  /** The first violation within `most` seeds. */
  const found = async (options: RunOptions, most = 30): Promise<Report['violation']> => {
    for (let seed = 1; seed <= most; seed++) {
      const { violation } = await simulate(seed, options)
      if (violation !== undefined) return violation
    }
    return undefined
  }

  it('an acknowledgement before the flush', async () => {
    const violation = await found({ wrap: (journals) => new EarlyJournals(journals) })
    expect(violation?.rule).toBe('S1')
  })

  it('an acknowledgement of what waits for its predecessors', async () => {
    const violation = await withoutCheckOfPredecessors(() => found({}))
    expect(['L20', 'S1']).toContain(violation?.rule)
  })

  it('a wait that is counted by a clock that may be set', async () => {
    const violation = await withWaitsByTheWall(() => found({}))
    expect(['L1', 'presence']).toContain(violation?.rule)
  })

  it('a receipt for a change that waits for its predecessors', async () => {
    const violation = await withReceiptsForHoles(() => found({}))
    expect(violation?.rule).toBe('S1')
  })

  it('a disk that flushes a later write before an earlier one', async () => {
    const wrap = (journals: Journals, events: Events, random: SeededRandom) => new ReorderingJournals(journals, events, random)
    const violation = await found({ wrap })
    expect(['S1', 'L20']).toContain(violation?.rule)
  })
})
