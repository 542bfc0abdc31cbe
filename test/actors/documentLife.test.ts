/**
 * All states that a document can get into, and all that can happen to it in each of them: joins, changes with and without holes,
 * commits and loads that work or fail, compaction, idle time, deletion and return, the end.
 */
import { describe, expect, it } from 'vitest'
import { documentLife, Life } from '../../actors/documentLife.ts'
import { DocumentLog } from '../../actors/documentLog.ts'
import { DocumentReceipts } from '../../actors/documentReceipts.ts'
import { SeededRandom } from '../support/world.ts'
import { type Act, Model, noting, type Plant } from './documentModel.ts'

interface Found {
  /** The shortest story to each state. */
  readonly stories: ReadonlyMap<string, readonly Act[]>
  /** Each state with each thing that happened in it. */
  readonly races: number
  readonly lives: ReadonlySet<string>
  readonly violation: string | undefined
}

const replay = async (story: readonly Act[], plant: Plant): Promise<Model> => {
  const model = new Model(plant)
  for (const act of story) {
    await model.run(act)
    if (model.violations.length > 0) break
  }
  return model
}

/** Breadth first, so that the story of a violation is as short as can be. */
const explore = async (most: number, plant: Plant = {}): Promise<Found> => {
  const stories = new Map<string, readonly Act[]>()
  const lives = new Set<string>()
  const queue: (readonly Act[])[] = [[]]
  let races = 0
  for (let story = queue.shift(); story !== undefined && stories.size < most; story = queue.shift()) {
    const model = await replay(story, plant)
    const { possible, key, life } = model
    if (model.violations.length === 0 && stories.has(key)) continue
    stories.set(key, story)
    lives.add(life)
    await model.heal()
    const [violation] = model.violations
    if (violation !== undefined) return { stories, races, lives, violation: `${story.join(', ')}: ${violation}` }
    races += possible.length
    for (const act of possible) queue.push([...story, act])
  }
  return { stories, races, lives, violation: undefined }
}

/** A long story by chance. */
const wander = async (seed: number, acts: number, plant: Plant = {}): Promise<string | undefined> => {
  const random = new SeededRandom(seed)
  const model = new Model(plant)
  const story: Act[] = []
  while (story.length < acts && model.violations.length === 0) {
    const act = random.pick(model.possible)
    story.push(act)
    await model.run(act)
  }
  await model.heal()
  const [violation] = model.violations
  return violation === undefined ? undefined : `seed ${seed}: ${story.join(', ')}: ${violation}`
}

/** More of them: a night's work. All that there are within three edits are some ten thousand. */
const states = Number(process.env.LIFE_STATES ?? 200)
const walks = Number(process.env.LIFE_WALKS ?? 250)

describe('the life of a document', () => {
  const seen = new Set<string>()

  it(`[DLF1] keeps its promises in the first ${states} states, whatever happens in each, and heals from all of them`, async () => {
    const found = await noting(seen, () => explore(states))
    expect(found.violation).toBeUndefined()
    expect(found.stories.size).toBe(states)
    expect(found.races).toBeGreaterThan(states * 7)
    expect(found.lives.size).toBeGreaterThan(8)
  }, 600_000)

  it(`[DLF1] keeps its promises in ${walks} long stories`, async () => {
    for (let seed = 1; seed <= walks; seed++) expect(await noting(seen, () => wander(seed, 100))).toBeUndefined()
  }, 600_000)

  it.each<{ name: string; story: readonly Act[] }>([
    { name: 'a change while a refused commit is tried again', story: ['join', 'read', 'edit', 'commit fails', 'soon', 'edit', 'commit'] },
    { name: 'changes within one window', story: ['join', 'read', 'edit', 'edit', 'commit', 'edit'] },
    { name: 'an end that cannot wait for the disk', story: ['join', 'read', 'edit', 'close', ...Array<Act>(10).fill('later')] },
  ])('[DLF1] keeps its promises in a corner: $name', async ({ story }) => {
    const model = await noting(seen, () => replay(story, {}))
    await model.heal()
    expect(model.violations).toEqual([])
  })

  it('[DLF2] goes through every transition of its chart', () => {
    const missed = Object.entries(documentLife).flatMap(([region, table]) =>
      Object.entries(table).flatMap(([state, events]) =>
        Object.keys(events)
          .map((event) => `${region}: ${state} ${event}`)
          .filter((transition) => !seen.has(transition)),
      ),
    )
    expect(missed).toEqual([])
  })

  it('[DLF2] refuses what its chart does not expect', () => {
    const life = new Life()
    life.happened('loaded')
    expect(() => life.happened('stored')).toThrow('does not expect stored')
  })
})

describe('the search finds a planted bug', () => {
  const find = async (plant: Plant): Promise<string> => {
    const { violation } = await explore(300, plant)
    for (let seed = 1; violation === undefined && seed <= 500; seed++) {
      const found = await wander(seed, 100, plant)
      if (found !== undefined) return found
    }
    return violation ?? 'nothing'
  }

  /** While `run` runs, a method is another one. */
  const patched = async <T extends object, K extends keyof T>(type: T, name: K, method: T[K], run: () => Promise<string>) => {
    const before = type[name]
    type[name] = method
    try {
      return await run()
    } finally {
      type[name] = before
    }
  }

  it('an acknowledgement before the commit', async () => {
    const early = function (this: DocumentLog, pay: () => void) {
      pay()
    }
    expect(await patched(DocumentLog.prototype, 'whenSaved', early, () => find({}))).toMatch(/not on disk/)
  })

  it('a receipt for the answer to a question that nobody counts', async () => {
    const always = () => 1
    expect(await patched(DocumentReceipts.prototype, 'earns', always, () => find({}))).toMatch(/a receipt too many|not on disk/)
  })

  it('a receipt for what builds on something missing', async () => {
    const { taken } = DocumentReceipts.prototype
    const hold: DocumentReceipts['hold'] = function (this: DocumentReceipts, dues, _inspection, receipts) {
      taken.call(this, dues, receipts, false)
      return true
    }
    expect(await patched(DocumentReceipts.prototype, 'hold', hold, () => find({}))).toMatch(/not on disk/)
  })

  it('receipts that are owed to a client that counts anew', async () => {
    const keep: DocumentReceipts['countAnew'] = (dues) => {
      dues.isCounting = true
    }
    expect(await patched(DocumentReceipts.prototype, 'countAnew', keep, () => find({}))).toMatch(
      /a receipt too many|not on disk|does not heal/,
    )
  })

  it('a document that leaves memory with what the disk refused', async () => {
    const definition: Plant['definition'] = (kind) => ({
      ...kind,
      canPassivate: ({ sessions }) => sessions.size === 0,
      beforePassivation: () => {},
    })
    expect(await find({ definition })).toMatch(/left memory|ended in good order/)
  })

  it('a load that failed and passes for an empty document', async () => {
    const journals: Plant['journals'] = (real) => {
      const { snapshot, read } = real
      let hasFailed = false
      real.snapshot = (journal) => {
        hasFailed = false
        return snapshot.call(real, journal).catch(() => void (hasFailed = true)) as ReturnType<typeof snapshot>
      }
      real.read = async (journal, options) => (hasFailed ? [] : read.call(real, journal, options))
      return real
    }
    expect(await find({ journals })).toMatch(/memory has less than the disk/)
  })

  it('a commit that the disk refused and nobody tries again', async () => {
    const definition: Plant['definition'] = (kind) => {
      const flush: (typeof kind.handlers)['document.flush'] = (document, message, scope) =>
        document.log.life.storage === 'failing' ? undefined : kind.handlers['document.flush'](document, message, scope)
      return { ...kind, handlers: { ...kind.handlers, 'document.flush': flush } }
    }
    expect(await find({ definition })).toMatch(/does not heal/)
  })
})
