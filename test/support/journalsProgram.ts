/**
 * A process with journals, to be killed or to be given a bad disk. First argument: what to do; second: the data directory.
 * It answers in lines of JSON on stdout, and ends with 99 when a rejection was not handled.
 *
 *   hold    opens and stays
 *   write   random writers until killed; a line for each acknowledged append: [journal, first, last]
 *   gate    an append while the disk is held up by the gate file (third argument)
 *   eio     writers; after some time every fsync fails (third argument: the file that says so)
 *   hang    an append whose fsync does not come back (third argument: the gate file)
 */
import { existsSync, rmSync, writeFileSync, writeSync } from 'node:fs'
import { isTroupeError } from '../../actors/errors.ts'
import { type LmdbOptions, openLmdbJournals } from '../../src/storage/lmdb.ts'
import { realWorld } from './realWorld.ts'

const [, , mode = '', directory = '', control = ''] = process.argv

process.on('unhandledRejection', (error) => {
  console.error('unhandled', error)
  process.exit(99)
})

const say = (line: unknown): void => {
  writeSync(1, `${JSON.stringify(line)}\n`) // at once: a line that was said must not die with us
}

const open = (options: Partial<LmdbOptions> = {}) => openLmdbJournals({ directory, ballastBytes: 0, ...realWorld(), ...options })
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
const codeOf = (error: unknown): string => (isTroupeError(error) ? error.code : String(error))
const until = async (condition: () => boolean): Promise<void> => {
  while (!condition()) await new Promise(setImmediate)
}
const texts = async (journal: string): Promise<string[]> => (await journals.read(journal)).map(({ data }) => new TextDecoder().decode(data))

const journals = await open(mode === 'hang' ? { commitTimeoutMs: 200 } : {})

/** Appends "journal:offset" entries of random number and size, several journals at once, until an append fails. */
const write = async (journal: string, acknowledged: (first: number, last: number) => void): Promise<string> => {
  let next = (await journals.head(journal)).last + 1
  for (;;) {
    const calls: Promise<void>[] = []
    for (let call = Math.ceil(Math.random() * 4); call > 0; call--) {
      const entries = Array.from({ length: Math.ceil(Math.random() * 3) }, () =>
        bytes(`${journal}:${next++}:${'x'.repeat(Math.random() * 200)}`),
      )
      calls.push(journals.append(journal, entries).then(({ first, last }) => acknowledged(first, last)))
    }
    try {
      await Promise.all(calls)
    } catch (error) {
      await Promise.allSettled(calls)
      return codeOf(error)
    }
  }
}

const writers = ['a', 'b', 'c', 'd']

if (mode === 'hold') {
  say('open')
  setInterval(() => undefined, 60_000)
}

if (mode === 'write') {
  say('open')
  for (const journal of writers) void write(journal, (first, last) => say([journal, first, last]))
}

if (mode === 'gate') {
  await journals.append('j', [bytes('1')])
  writeFileSync(control, '')
  let isResolved = false
  const appended = journals.append('j', [bytes('2')]).then(() => {
    isResolved = true
  })
  await until(() => existsSync(`${control}.reached`))
  for (let turn = 0; turn < 1_000; turn++) await new Promise(setImmediate)
  say({ isResolved, entries: await texts('j'), last: (await journals.head('j')).last })
  rmSync(control)
  await appended
  say({ isResolved, entries: await texts('j'), last: (await journals.head('j')).last })
  await journals.close()
}

if (mode === 'eio') {
  const acknowledged = new Map(writers.map((journal) => [journal, 0]))
  const refused: number[] = []
  const codes = await Promise.all(
    writers.map((journal) =>
      write(journal, (_, last) => {
        if (journals.status().state === 'failed') refused.push(last)
        acknowledged.set(journal, Math.max(last, acknowledged.get(journal) ?? 0))
        if (last > 200) writeFileSync(control, '')
      }),
    ),
  )
  rmSync(control)
  const later = await journals.append('a', [bytes('later')]).catch(codeOf)
  const read = Object.fromEntries(await Promise.all(writers.map(async (journal) => [journal, (await texts(journal)).length])))
  await journals.close()
  say({ codes, later, acknowledged: Object.fromEntries(acknowledged), ackedAfterFailure: refused, read })
  process.exit(0)
}

if (mode === 'hang') {
  await journals.append('j', [bytes('1')])
  writeFileSync(control, '')
  const code = await journals.append('j', [bytes('2')]).catch(codeOf)
  const status = journals.status().state
  rmSync(control)
  say({ code, status, entries: await texts('j') })
  process.exit(0)
}
