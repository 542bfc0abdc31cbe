/**
 * A process that works on journals while its disk is watched (powerDisk.ts). Arguments: data directory, file for the marks, seed,
 * how many appends. Several journals at once, several operations of each in flight. A mark is written before an operation is
 * called and after it was acknowledged, so that both have their place among the writes to the disk.
 */
import { openSync, writeSync } from 'node:fs'
import { type DurableJournals, openLmdbJournals } from '../../src/storage/lmdb.ts'
import { absent, apply, content, type Mark, type Operation, type State } from './powerModel.ts'
import { realWorld } from './realWorld.ts'
import { SeededRandom } from './world.ts'

const [, , directory = '', marksPath = '', seed = '', appends = ''] = process.argv

const marks = openSync(marksPath, 'w')
const mark = (line: Mark): void => void writeSync(marks, JSON.stringify(line))
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)

const sessions = 2
let journals: DurableJournals
let appendsLeft = 0

/** Mostly small, some that share a page with few others, some with pages of their own. */
const size = (chance: SeededRandom): number => chance.below(chance.pick([100, 100, 400, 3_000, 20_000]))

const choose = (chance: SeededRandom, { first, last }: { first: number; last: number }): Operation => {
  const dice = chance.below(100)
  if (last === 0 || dice < 78) return { kind: 'append', count: 1 + chance.below(4) }
  if (dice < 90) return { kind: 'snapshot', offset: last - chance.below(Math.min(5, last)), isTrim: chance.chance(0.5) }
  if (dice < 98) return { kind: 'trim', before: Math.min(last + 1, first + chance.below(10)) }
  return { kind: 'remove' }
}

const perform = (journal: string, number: number, last: number, operation: Operation, chance: SeededRandom): Promise<unknown> => {
  switch (operation.kind) {
    case 'append':
      appendsLeft--
      return journals.append(
        journal,
        Array.from({ length: operation.count }, (_, i) => bytes(content(journal, number, last + 1 + i, size(chance)))),
      )
    case 'snapshot': {
      const { offset, isTrim } = operation
      return journals.saveSnapshot(journal, offset, bytes(content(journal, number, offset, chance.below(150_000))), { trim: isTrim })
    }
    case 'trim':
      return journals.trim(journal, operation.before)
    case 'remove':
      return journals.remove(journal)
  }
}

interface Worker {
  readonly journal: string
  readonly chance: SeededRandom
  state: State
  number: number
}

const work = async (worker: Worker): Promise<void> => {
  const { journal, chance } = worker
  while (appendsLeft > 0) {
    const calls: Promise<void>[] = []
    for (let burst = 1 + chance.below(3); burst > 0; burst--) {
      const operation = choose(chance, worker.state)
      const number = ++worker.number
      mark({ is: 'asked', journal, number, operation })
      calls.push(perform(journal, number, worker.state.last, operation, chance).then(() => mark({ is: 'acknowledged', journal, number })))
      worker.state = apply(worker.state, operation, number)
    }
    await Promise.all(calls)
    // Out of step with the others: more and smaller commits.
    for (let turns = chance.below(4); turns > 0; turns--) await new Promise(setImmediate)
  }
}

const workers = ['a', 'b', 'c', 'd', 'e', 'f'].map(
  (journal, i): Worker => ({ journal, chance: new SeededRandom(Number(seed) + i), state: absent(), number: 0 }),
)
for (let session = 0; session < sessions; session++) {
  journals = await openLmdbJournals({ directory, ballastBytes: 0, ...realWorld() })
  mark({ is: 'open' })
  appendsLeft = Number(appends) / sessions
  await Promise.all(workers.map(work))
  await journals.close()
}
