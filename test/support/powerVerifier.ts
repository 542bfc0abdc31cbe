/**
 * A process that opens stores after a power cut, because a damaged one may kill whoever opens it. Each line on stdin names one:
 * {"directory", "preflightPath"?}. Each answer is a line with what lies in it (powerModel.ts, Found).
 */
import { createInterface } from 'node:readline'
import { type DurableJournals, openLmdbJournals } from '../../src/storage/lmdb.ts'
import { type Found, type FoundJournal, writerOf } from './powerModel.ts'
import { realWorld } from './realWorld.ts'

const text = (data: Uint8Array): string => new TextDecoder().decode(data)
const everything = { limit: 1_000_000, maxBytes: 1e9 }

const look = async (journals: DurableJournals): Promise<Record<string, FoundJournal>> => {
  const found: Record<string, FoundJournal> = {}
  for (const name of await journals.list('', { limit: 1_000_000 })) {
    const { first, last } = await journals.head(name)
    const snapshot = await journals.snapshot(name)
    found[name] = {
      first,
      last,
      entries: (await journals.read(name, everything)).map(({ offset, data }) => [offset, writerOf(text(data), name, offset) ?? -1]),
      snapshot: snapshot && { offset: snapshot.offset, number: writerOf(text(snapshot.data), name, snapshot.offset) ?? -1 },
    }
  }
  return found
}

/** Writes to a journal that is there and to a new one: pages that were lost get used again. */
const writeOn = async (journals: DurableJournals, found: Record<string, FoundJournal>): Promise<string | undefined> => {
  const [some = 'new', { last = 0 } = {}] = Object.entries(found)[0] ?? []
  const data = new Uint8Array(10_000).fill(7)
  const appended = await Promise.all([journals.append(some, [data]), journals.append('new', [data])])
  if (appended[0].first !== last + 1) return `the next append to ${some} was given ${appended[0].first}, not ${last + 1}`
  const [entry] = await journals.read(some, { after: last })
  if (entry === undefined || Buffer.compare(entry.data, data) !== 0) return `what was appended to ${some} after the cut cannot be read`
  await journals.remove('new')
  return undefined
}

const verify = async (directory: string, preflightPath: string | undefined): Promise<Found> => {
  const options = { directory, ballastBytes: 0, ...realWorld() }
  const journals = await openLmdbJournals(preflightPath === undefined ? options : { ...options, preflightPath })
  const found = await look(journals)
  const problem = await writeOn(journals, found)
  if (problem !== undefined) return { problem }
  await journals.close()
  const again = await openLmdbJournals(options)
  const later = await look(again)
  await again.close()
  const [some] = Object.keys(found)
  for (const name of Object.keys(found)) {
    if (name !== some && JSON.stringify(later[name]) !== JSON.stringify(found[name]))
      return { problem: `${name} is another at the second opening` }
  }
  return { journals: found }
}

for await (const line of createInterface({ input: process.stdin })) {
  const { directory, preflightPath } = JSON.parse(line) as { directory: string; preflightPath?: string }
  const found = await verify(directory, preflightPath).catch((error: unknown): Found => ({ problem: String(error) }))
  process.stdout.write(`${JSON.stringify(found)}\n`)
}
process.exit(0) // a store that could not be read is still open
