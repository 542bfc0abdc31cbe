/** The example of a storage backend keeps the contract that the built-in ones keep. */
import { appendFile, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import type { Journals } from '../../actors/journal.ts'
import plugin from '../../examples/storage-backend.ts'
import { describeJournals } from '../contract/journals.ts'
import { testWorld } from '../support/world.ts'

const newDirectory = (): Promise<string> => mkdtemp(join(tmpdir(), 'troupe-files-'))
const openFiles = async (directory: string, world = testWorld()): Promise<Journals> => {
  const open = plugin.storage?.files ?? expect.unreachable('the plugin brings `files`')
  return open({ directory, ...world, maxEntryBytes: 100_000 })
}

describeJournals('examples/storage-backend.ts', async () => {
  const world = testWorld()
  const directory = await newDirectory()
  return {
    clock: world.clock,
    isDurable: true,
    open: () => openFiles(directory, world),
    dispose: () => rm(directory, { recursive: true, force: true }),
  }
})

describe('journals in files', () => {
  const cleanups: (() => unknown)[] = []
  afterEach(async () => {
    for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
  })

  const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
  const begin = async () => {
    const directory = await newDirectory()
    cleanups.push(() => rm(directory, { recursive: true, force: true }))
    const journals = await openFiles(directory)
    await journals.append('j', [bytes('1'), bytes('2')])
    const [file = ''] = await readdir(join(directory, 'journals'))
    return { directory, journals, path: join(directory, 'journals', file) }
  }
  const texts = async (journals: Journals) => (await journals.read('j')).map(({ data }) => Buffer.from(data).toString())

  it('an append that the end of the process cut short is as if it had not been', async () => {
    const { directory, path } = await begin()
    await appendFile(path, '{"time":1,"data":["')
    await writeFile(join(directory, 'journals', 'half.jsonl'), '{"journal":"k","ep')
    const journals = await openFiles(directory)
    expect(await texts(journals)).toEqual(['1', '2'])
    await journals.append('j', [bytes('3')])
    expect(await texts(await openFiles(directory))).toEqual(['1', '2', '3'])
    expect(await journals.list('')).toEqual(['j'])
  })

  it('a damaged line is found at start', async () => {
    const { directory, path } = await begin()
    await writeFile(path, (await readFile(path, 'utf8')).replace('"data":[', '"data":'))
    await expect(openFiles(directory)).rejects.toMatchObject({ code: 'storage.corrupt', message: expect.stringContaining(path) })
  })

  it('after a write that failed no other is tried, and nothing of it is read', async () => {
    const { directory, journals } = await begin()
    await rm(join(directory, 'journals'), { recursive: true })
    await writeFile(join(directory, 'journals'), 'a file where the directory was')
    await expect(journals.append('j', [bytes('3')])).rejects.toMatchObject({ code: 'storage.failed' })
    expect(journals.status().state).toBe('failed')
    await expect(journals.append('j', [bytes('4')])).rejects.toMatchObject({ code: 'storage.failed' })
    expect(await texts(journals)).toEqual(['1', '2'])
  })
})
