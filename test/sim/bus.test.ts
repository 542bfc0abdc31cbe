/**
 * The actors of the bus in a simulated world: each seed is one story of clients, crashes, bad networks and bad disks, and in each
 * the promises at the top of `actors/client.ts`, `actors/clientFeed.ts`, `actors/channel.ts` and `actors/presence.ts` must hold.
 *
 * `SIM_SEED=n` tells the story of one seed; `SIM_SEEDS=n` runs more of them.
 */
import { describe, expect, it } from 'vitest'
import { withoutComingBack, withoutLosing, withoutMemoryOfIds } from './busPlants.ts'
import { type BusReport, type BusRunOptions, simulateBus } from './busSimulation.ts'
import { EarlyJournals } from './plants.ts'

const seeds = Number(process.env.SIM_SEEDS ?? 150)
const single = process.env.SIM_SEED
const chunks = 10
const tailLines = 150

/** Each of these must happen at least once, or the run proves nothing about it. */
const sometimes = [
  'a channel could not be joined',
  'a channel ends',
  'a channel is stopped',
  'a crash',
  'a crash while a commit is under way',
  'a gap',
  'a member joins again',
  'a read fails',
  'a slow client is disconnected',
  'all private messages were told',
  'an orderly stop',
  'not recovered',
  'nothing was missed',
  'recovered',
  'refused channel.closed',
  'refused channel.unavailable',
  'refused channel.unknown',
  'refused storage.full',
  'somebody sees who is there',
  'storage.failed',
  'storage.full',
  'the clock is set back',
  'the clock is set on',
]

const seen = new Map<string, number>()

const tell = ({ seed, violation, lines }: BusReport): string =>
  violation === undefined
    ? ''
    : `seed ${seed}: ${violation.rule}: ${violation.text}\n${lines.slice(-tailLines).join('\n')}\n(SIM_SEED=${seed} tells all of it)`

const check = async (seed: number): Promise<BusReport> => {
  const report = await simulateBus(seed)
  for (const [what, count] of report.seen) seen.set(what, (seen.get(what) ?? 0) + count)
  if (report.violation !== undefined) throw new Error(tell(report))
  return report
}

describe.runIf(single !== undefined)('one seed', () => {
  it(`seed ${single}`, async () => {
    const report = await simulateBus(Number(single), { isVerbose: true })
    expect(report.violation).toBeUndefined()
  }, 120_000)
})

describe.skipIf(single !== undefined)('clients and channels in a simulated world', () => {
  const size = Math.ceil(seeds / chunks)

  it.each(Array.from({ length: chunks }, (_, chunk) => ({ from: chunk * size + 1, to: Math.min((chunk + 1) * size, seeds) })))(
    'keep their promises from seed $from to $to',
    async ({ from, to }) => {
      for (let seed = from; seed <= to; seed++) await check(seed)
    },
    size * 4_000,
  )
})

describe.skipIf(single !== undefined)('the simulation of the bus', () => {
  it('went through everything that can go wrong', () => {
    expect(sometimes.filter((what) => !seen.has(what))).toEqual([])
  })

  it.each([7, 8, 9])('happens in the same way twice (seed %i)', async (seed) => {
    const [first, second] = [await simulateBus(seed), await simulateBus(seed)]
    expect([second.hash, second.steps]).toEqual([first.hash, first.steps])
  })

  /** The first violation within `most` seeds. */
  const found = async (options: BusRunOptions = {}, most = 30): Promise<string | undefined> => {
    for (let seed = 1; seed <= most; seed++) {
      const { violation } = await simulateBus(seed, options)
      if (violation !== undefined) return violation.rule
    }
    return undefined
  }

  it('finds an acknowledgement before the flush', async () => {
    expect(await found({ wrap: (journals) => new EarlyJournals(journals) })).toBe('durable')
  })

  it('finds a message that is there twice because it was sent twice', async () => {
    expect(await withoutMemoryOfIds(found)).toBe('once')
  })

  it('finds a client that does not come back into a channel that has stopped', async () => {
    expect(['complete', 'presence']).toContain(await withoutComingBack(found))
  })

  it('finds somebody who has gone and is still shown', async () => {
    expect(['presence', 'memory']).toContain(await withoutLosing(found))
  })
})
