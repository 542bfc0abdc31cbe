import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, existsSync, readdirSync, readFileSync, rmSync, statfsSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { type Database, open as openLmdb } from 'lmdb'
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import type { Journals } from '../../actors/journal.ts'
import { restoreBackup } from '../../src/storage/backup.ts'
import { type DurableJournals, type LmdbOptions, openLmdbJournals } from '../../src/storage/lmdb.ts'
import { bundle } from '../support/bundle.ts'
import { buildShim, type Mount, mountSmallDisk, newDirectory, whyNoMount } from '../support/disk.ts'
import { quiet, type TestWorld, testWorld } from '../support/world.ts'

let preflightPath: string
let program: string
const shim = buildShim()
const noMount = whyNoMount()
const noShim = 'reason' in shim ? shim.reason : undefined
const cleanups: (() => unknown)[] = []

beforeAll(async () => {
  preflightPath = await bundle('src/storage/preflight.ts')
  program = await bundle('test/support/journalsProgram.ts')
})

afterAll(() => {
  for (const path of [preflightPath, program]) rmSync(path, { force: true })
  if (original !== undefined) rmSync(original, { recursive: true, force: true })
  if ('path' in shim) rmSync(dirname(shim.path), { recursive: true, force: true })
})

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
const texts = async (journals: Journals, journal: string): Promise<string[]> =>
  (await journals.read(journal, { limit: 1_000_000 })).map(({ data }) => new TextDecoder().decode(data))

const directory = (): string => {
  const path = newDirectory()
  cleanups.push(() => rmSync(path, { recursive: true, force: true }))
  return path
}

const open = async (path: string, options: Partial<LmdbOptions> = {}, world: TestWorld = testWorld()): Promise<DurableJournals> => {
  const { clock, random, log } = world
  const journals = await openLmdbJournals({ directory: path, clock, random, log, ballastBytes: 0, preflightPath, ...options })
  cleanups.push(() => journals.close())
  return journals
}

const refusal = (path: string): Promise<string> =>
  open(path).then(
    async (journals) => {
      await journals.close()
      return 'opened'
    },
    (error: { code?: string }) => error.code ?? String(error),
  )

/** Journals a and b with 300 entries each, a snapshot of a; closed in good order. */
const fill = async (path: string): Promise<void> => {
  const journals = await open(path)
  for (let round = 0; round < 30; round++) {
    await Promise.all(
      ['a', 'b'].flatMap((journal) => Array.from({ length: 10 }, (_, i) => journals.append(journal, [entry(journal, round * 10 + i + 1)]))),
    )
  }
  await journals.saveSnapshot('a', 300, bytes('the snapshot of a'.repeat(10_000)))
  await journals.close()
}

/** Written once: every test has a copy. */
let original: string | undefined
const filled = async (): Promise<string> => {
  if (original === undefined) {
    const path = newDirectory()
    await fill(path)
    original = path
  }
  return damaged(original, () => {})
}

const entry = (journal: string, offset: number): Uint8Array => bytes(`${journal}:${offset}:${'.'.repeat(50)}`)

/** A damaged copy of a store. */
const damaged = (from: string, damage: (dataFile: string, path: string) => void): string => {
  const path = directory()
  cpSync(from, path, { recursive: true, filter: (name) => !name.endsWith('.sock') })
  damage(join(path, 'data.mdb'), path)
  return path
}

const start = (mode: string, path: string, control = '', env: Record<string, string> = {}): ChildProcess => {
  const child = spawn(process.execPath, [program, mode, path, control], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...env },
  })
  cleanups.push(() => child.kill('SIGKILL'))
  return child
}

/** Everything it said, when it has ended. */
const answers = async (child: ChildProcess): Promise<{ code: number | null; said: unknown[]; complaint: string }> => {
  let said = ''
  let complaint = ''
  child.stdout?.on('data', (data) => (said += data))
  child.stderr?.on('data', (data) => (complaint += data))
  const [code] = (await once(child, 'close')) as [number | null]
  return {
    code,
    complaint,
    said: said
      .split('\n')
      .filter((line) => line !== '')
      .map((line): unknown => JSON.parse(line)),
  }
}

describe('a damaged data directory', () => {
  it('[F1] a truncated file is refused at every length, or nothing of it is missing, and is left as it was', async () => {
    const whole = await filled()
    const { size } = statSync(join(whole, 'data.mdb'))
    const lengths = [1, 100, 160, 4_095, 4_096, 4_097, 8_191, 8_192, 12_288, size - 4_096, size - 1]
    for (let part = 1; part < 8; part++) lengths.push(Math.floor((size * part) / 8))
    for (const length of lengths) {
      const path = damaged(whole, (file) => truncateSync(file, length))
      const before = readFileSync(join(path, 'data.mdb'))
      const result = await refusal(path)
      if (result === 'opened') {
        const journals = await open(path)
        for (const journal of ['a', 'b']) expect((await journals.read(journal)).length, `length ${length}`).toBe(300)
        await journals.close()
      } else {
        expect(result, `length ${length}`).toBe('storage.corrupt')
        expect(readFileSync(join(path, 'data.mdb')).equals(before)).toBe(true)
      }
      if (length < size / 2) expect(result, `length ${length}`).toBe('storage.corrupt')
    }
  })

  it.each([
    ['garbage', (file: string) => writeFileSync(file, Buffer.alloc(100_000, 'garbage'))],
    [
      'garbage behind a good header',
      (file: string) =>
        writeFileSync(file, Buffer.concat([readFileSync(file).subarray(0, 8_192), Buffer.alloc(statSync(file).size - 8_192, 'garbage')])),
    ],
    ['a file of length zero', (file: string) => truncateSync(file, 0)],
    ['no file', (file: string) => rmSync(file)],
  ])('[F2] %s is refused', async (_, damage) => {
    const path = damaged(await filled(), (file, where) => {
      damage(file)
      rmSync(join(where, 'clean')) // as after a crash
    })
    expect(await refusal(path)).toBe('storage.corrupt')
  })

  it.each([
    ['an entry', Buffer.from('a:150:'), 'read'],
    ['the snapshot', Buffer.from('the snapshot of a'), 'snapshot'],
  ] as const)('[F3] a flipped bit in %s refuses that journal and no other', async (_, what, call) => {
    const path = damaged(await filled(), (file, where) => {
      const data = readFileSync(file)
      for (let at = data.indexOf(what); at >= 0; at = data.indexOf(what, at + 1)) data[at + 3] = (data[at + 3] ?? 0) ^ 0x10
      writeFileSync(file, data)
      rmSync(join(where, 'clean'))
    })
    const journals = await open(path)
    await expect(journals[call]('a')).rejects.toMatchObject({ code: 'journal.corrupt' })
    expect((await texts(journals, 'b')).length).toBe(300)
    await journals.append('b', [bytes('goes on')])
  })

  /** What happens in a table of the store without its knowledge. */
  const inTable = async (path: string, table: 'names' | 'entries', happen: (records: Database<Buffer, Buffer>) => Promise<unknown>) => {
    const binary = { encoding: 'binary', keyEncoding: 'binary', cache: false } as const
    const root = openLmdb<Buffer, Buffer>({ path, noSubdir: false, maxDbs: 64, ...binary })
    await happen(root.openDB<Buffer, Buffer>({ name: table, ...binary }))
    await root.flushed
    await root.close()
  }

  const remove = (path: string, wanted: (keys: readonly Buffer[]) => readonly (Buffer | undefined)[]): Promise<void> =>
    inTable(path, 'entries', async (entries) => {
      for (const key of wanted([...entries.getKeys()].map((key) => Buffer.from(key)))) if (key !== undefined) await entries.remove(key)
    })

  const idOf = (key: Buffer): number => key.readUInt32BE(0)
  const ofFirstId = (keys: readonly Buffer[]): Buffer[] => keys.filter((key) => idOf(key) === idOf(keys[0] as Buffer))

  it.each([
    ['the first', 0, 'entries 1 to 10 are missing'],
    ['one in the middle', 14, 'entries 141 to 150 are missing'],
    ['the last', 29, 'entries 291 to 300 are missing'],
  ] as const)('[F22] when %s block of a journal is missing, reading says which entries', async (_, index, detail) => {
    const path = damaged(await filled(), () => {})
    await remove(path, (keys) => [ofFirstId(keys)[index]])
    const journals = await open(path)
    for (const reverse of [false, true]) {
      await expect(journals.read('a', { reverse }), String(reverse)).rejects.toMatchObject({ code: 'journal.corrupt', detail })
      // A page that ends before the hole is whole.
      const near = index === 0 || (index === 14 && reverse) ? { reverse: true, after: 301, limit: 5 } : { limit: 5 }
      if (index !== 29) expect((await journals.read('a', near)).length).toBe(5)
    }
    expect((await texts(journals, 'b')).length).toBe(300)
  })

  it('[F23] a missing last block is noticed after kill -9 too, once 64 entries are behind it or the head was written', async () => {
    const path = directory()
    const journals = await open(path)
    for (let i = 0; i < 200; i++) await journals.append('a', [entry('a', i)])
    const copy = damaged(path, (_file, where) => rmSync(join(where, 'clean'), { force: true }))
    await remove(copy, (keys) => ofFirstId(keys).slice(-70))
    const again = await open(copy)
    await expect(again.read('a')).rejects.toMatchObject({ code: 'journal.corrupt', detail: expect.stringContaining('are missing') })
    await expect(again.append('a', [bytes('x')])).rejects.toMatchObject({ code: 'journal.corrupt' })
  })

  it.each([
    ['a flipped bit in the last block', 'a:300:'],
    ['a flipped bit in the head', 'names'],
    ['a missing block', 'entries'],
  ])('[F24] with %s the journal can be removed, and begins anew', async (_, what) => {
    const path = damaged(await filled(), (file, where) => {
      const data = readFileSync(file)
      for (let at = data.indexOf(what); what.startsWith('a:') && at >= 0; at = data.indexOf(what, at + 1))
        data[at + 3] = (data[at + 3] ?? 0) ^ 0x10
      writeFileSync(file, data)
      rmSync(join(where, 'clean'))
    })
    if (what === 'entries') await remove(path, (keys) => [ofFirstId(keys)[29]])
    if (what === 'names') {
      await inTable(path, 'names', (names) => {
        const head = Buffer.from(names.get(Buffer.from('a')) ?? [])
        head[20] = (head[20] ?? 0) ^ 1
        return names.put(Buffer.from('a'), head)
      })
    }
    let journals = await open(path)
    for (const call of [() => journals.read('a'), () => journals.append('a', [bytes('x')]), () => journals.trim('a', 3)])
      await expect(call()).rejects.toMatchObject({ code: 'journal.corrupt' })
    await journals.remove('a')
    await journals.append('a', [bytes('anew')], { expected: 'none' })
    for (const isReopened of [false, true]) {
      if (isReopened) {
        await journals.close()
        journals = await open(path)
      }
      expect(await texts(journals, 'a')).toEqual(['anew'])
      expect(await journals.snapshot('a')).toBeUndefined()
      expect((await texts(journals, 'b')).length).toBe(300)
    }
  })

  it('[F4] a newer format is refused, and a meta.json that is not ours', async () => {
    const whole = await filled()
    const meta = (text: string): string => damaged(whole, (_, path) => writeFileSync(join(path, 'meta.json'), text))
    expect(await refusal(meta('{"format":"troupe","version":2,"initialized":true}'))).toBe('storage.newer_format')
    expect(await refusal(meta('{'))).toBe('storage.corrupt')
    expect(await refusal(meta('{"format":"other","version":1}'))).toBe('storage.corrupt')
  })

  it('[F5] a store whose first opening was cut short before meta.json opens', async () => {
    const path = damaged(await filled(), (_, where) => rmSync(join(where, 'meta.json')))
    const journals = await open(path)
    expect((await texts(journals, 'a')).length).toBe(300)
    expect(existsSync(join(path, 'meta.json'))).toBe(true)
  })

  it('[F32] a data file without a byte is where a first start was killed, unless the store had been opened before', async () => {
    const path = directory()
    writeFileSync(join(path, 'data.mdb'), '')
    const journals = await open(path)
    await journals.append('j', [bytes('x')])
    await journals.close()
    truncateSync(join(path, 'data.mdb'), 0)
    expect(await refusal(path)).toBe('storage.corrupt')
  })

  it('[F6] a missing directory is made, for its owner only', async () => {
    const path = join(directory(), 'deep', 'data')
    await open(path)
    expect(statSync(path).mode & 0o777).toBe(0o700)
  })

  it.skipIf(noMount !== undefined)(`[F7] a read-only directory is refused ${noMount ?? ''}`, async () => {
    const mount = mountSmallDisk(4)
    cleanups.push(() => mount.unmount())
    mount.makeReadOnly()
    expect(await refusal(mount.directory)).toBe('storage.read_only')
    expect(await refusal(join(mount.directory, 'sub'))).toBe('storage.read_only')
  })
})

describe('one process for each data directory', () => {
  it('[F8] a second opening is refused while the first is there, in this process and in another', async () => {
    const path = directory()
    const journals = await open(path)
    expect(await refusal(path)).toBe('storage.locked')
    await journals.close()
    const child = start('hold', path)
    for await (const line of createInterface({ input: child.stdout ?? process.stdin })) if (line === '"open"') break
    expect(await refusal(path)).toBe('storage.locked')
    child.kill('SIGSTOP')
    expect(await refusal(path)).toBe('storage.locked')
    child.kill('SIGKILL')
    await once(child, 'exit')
    expect(await refusal(path)).toBe('opened')
    expect(readdirSync(path).filter((name) => name.endsWith('.sock'))).toEqual([])
  })

  it('[F9] of starters at the same time, at most one wins', async () => {
    const path = directory()
    let wins = 0
    for (let round = 0; round < 10; round++) {
      const opened = await Promise.allSettled([1, 2, 3].map((seed) => open(path, {}, testWorld(round * 10 + seed))))
      const winners = opened.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []))
      expect(winners.length).toBeLessThanOrEqual(1)
      wins += winners.length
      for (const winner of winners) await winner.close()
    }
    expect(wins).toBeGreaterThan(0)
  })

  it('[F10] a long path can be locked', async () => {
    const path = join(directory(), 'x'.repeat(120))
    await open(path)
    expect(await refusal(path)).toBe('storage.locked')
  })
})

describe.skipIf(noMount !== undefined)(`a full disk ${noMount ?? ''}`, () => {
  let mount: Mount
  let world: TestWorld
  let journals: DurableJournals
  let path: string

  const begin = async (fillerBytes: number): Promise<void> => {
    mount = mountSmallDisk(8)
    cleanups.push(() => mount.unmount())
    path = join(mount.directory, 'data')
    world = testWorld()
    if (fillerBytes > 0) writeFileSync(join(mount.directory, 'filler'), Buffer.alloc(fillerBytes))
    journals = await open(path, { ballastBytes: 1024 * 1024 }, world)
  }

  /**
   * Appends without waiting, turn after turn, until the disk is full; what was acknowledged. The commit that fails has others
   * queued behind it, which have to go with it. It may be so large that the pages it leaves free in the file stand for a ballast;
   * one by one, they do not.
   */
  const fillUp = async ({ isOneByOne = false } = {}): Promise<number[]> => {
    const calls: Promise<{ last: number; value: number }>[] = []
    for (let value = 1; journals.status().state === 'ready'; value++) {
      const data = new Uint8Array(5_000).fill(value % 256)
      const call = journals.append('j', [data]).then(({ last }) => ({ last, value: value % 256 }))
      calls.push(call)
      const settled = call.catch(() => {})
      await (isOneByOne ? settled : new Promise(setImmediate))
    }
    const acknowledged = new Map<number, number>()
    for (const call of await Promise.allSettled(calls)) {
      if (call.status === 'fulfilled') acknowledged.set(call.value.last, call.value.value)
      else expect(call.reason).toMatchObject({ code: 'storage.full' })
    }
    const entries = await journals.read('j')
    expect(entries.map(({ offset, data }) => [offset, data[0], data[4_999]])).toEqual(
      [...acknowledged].map(([last, value]) => [last, value, value]),
    )
    return [...acknowledged.keys()]
  }

  const becomesReady = (): Promise<void> =>
    vi.waitFor(
      async () => {
        await world.clock.advance(2_000)
        await quiet()
        expect(journals.status().state).toBe('ready')
      },
      { timeout: 10_000, interval: 5 },
    )

  it('[F11] refuses appends, keeps what was acknowledged, goes on reading, and recovers by itself', async () => {
    await begin(2 * 1024 * 1024)
    const heard: string[] = []
    journals.onStatus(({ state }) => heard.push(state))
    const acknowledged = await fillUp()
    expect(acknowledged.length).toBeGreaterThan(50)
    expect((await journals.head('j')).last).toBe(acknowledged.length)
    const entries = await journals.read('j')
    expect(entries.map(({ offset }) => offset)).toEqual(acknowledged)
    await expect(journals.append('k', [bytes('x')])).rejects.toMatchObject({ code: 'storage.full', retry: true })
    rmSync(join(mount.directory, 'filler'))
    await becomesReady()
    expect(statSync(join(path, 'ballast')).size).toBe(1024 * 1024)
    expect(await journals.append('j', [bytes('on')])).toMatchObject({ first: acknowledged.length + 1 })
    expect(heard).toEqual(['full', 'ready'])
    await journals.close()
    journals = await open(path, { ballastBytes: 0 })
    expect((await journals.read('j')).length).toBe(acknowledged.length + 1)
  })

  it('[F12] trim, remove and compaction work, and the room they make is enough to go on', async () => {
    await begin(0)
    await journals.append('small', [bytes('1')])
    await journals.append(
      't',
      Array.from({ length: 100 }, () => bytes('t')),
    )
    let before = 0
    const trims: Promise<void>[] = []
    const stop = journals.onStatus(() => clearInterval(trimming))
    const trimming = setInterval(() => trims.push(journals.trim('t', ++before)), 0) // some are in or behind the commit that fails
    const { length } = await fillUp()
    stop()
    await Promise.all(trims)
    expect((await journals.head('t')).first).toBe(Math.min(Math.max(before, 1), 101))
    await journals.saveSnapshot('small', 1, bytes('one'), { trim: true })
    await journals.trim('j', length - 9)
    await journals.remove('small')
    expect((await journals.read('j')).length).toBe(10)
    await becomesReady()
    expect(await journals.append('j', [new Uint8Array(50_000)])).toMatchObject({ first: length + 1 })
  })

  it('[F21] a store that is opened on a full disk reads, trims, and refuses appends until there is room', async () => {
    await begin(3 * 1024 * 1024)
    const { length } = await fillUp({ isOneByOne: true })
    await journals.close()
    // The ballast was given up in between, so how much is free now is a matter of when the disk was found full: leave one MiB.
    rmSync(join(path, 'ballast'), { force: true })
    const { bavail, bsize } = statfsSync(mount.directory)
    writeFileSync(join(mount.directory, 'rest'), Buffer.alloc(Math.max(0, bavail * bsize - 1024 * 1024)))
    journals = await open(path, { ballastBytes: 2 * 1024 * 1024 }, world) // larger than what is left
    expect(journals.status().state).toBe('full')
    expect((await journals.read('j')).length).toBe(length)
    await expect(journals.append('j', [bytes('x')])).rejects.toMatchObject({ code: 'storage.full' })
    await journals.trim('j', 3)
    expect((await journals.head('j')).first).toBe(3)
    for (const file of ['filler', 'rest']) rmSync(join(mount.directory, file))
    await becomesReady()
    await journals.append('j', [bytes('x')])
  })

  it('[F28] a commit is measured against the disk when it begins, and what might not fit never reaches LMDB', async () => {
    await begin(0)
    await journals.close()
    journals = await open(path, { ballastBytes: 1024 * 1024, minFreeBytes: 1024 * 1024 }, world)
    for (let i = 0; i < 50; i++) await journals.append('j', [new Uint8Array(5_000)])
    const take = () => {
      const { bavail, bsize } = statfsSync(mount.directory)
      writeFileSync(join(mount.directory, 'filler'), Buffer.alloc(bavail * bsize), { flag: 'a' })
    }
    take()
    // The clock stands still: nobody has looked at the disk since. The cause is ours, and no code of the system.
    const refused = { code: 'storage.full', cause: { code: 'storage.full', detail: expect.stringMatching(/^0 bytes are free/) } }
    await expect(journals.append('j', [bytes('x')])).rejects.toMatchObject(refused)
    expect([journals.status().state, statSync(join(path, 'ballast')).size]).toEqual(['full', 1024 * 1024])
    await journals.trim('j', 10) // in the room of the ballast
    expect(existsSync(join(path, 'ballast'))).toBe(false)
    take()
    await expect(journals.remove('j')).rejects.toMatchObject(refused)
    rmSync(join(mount.directory, 'filler'))
    await becomesReady()
    expect((await journals.append('j', [bytes('x')])).first).toBe(51)
  })

  it('[F29] no new store is begun where there is no room for it', async () => {
    mount = mountSmallDisk(4)
    cleanups.push(() => mount.unmount())
    const { bavail, bsize } = statfsSync(mount.directory)
    writeFileSync(join(mount.directory, 'filler'), Buffer.alloc(bavail * bsize - 16_384))
    expect(await refusal(join(mount.directory, 'data'))).toBe('storage.full')
    rmSync(join(mount.directory, 'filler'))
    expect(await refusal(join(mount.directory, 'data'))).toBe('opened')
  })

  it('[F31] a disk that does not say how much of it is free counts as one that has room', async () => {
    mount = mountSmallDisk(0) // of no limit
    cleanups.push(() => mount.unmount())
    world = testWorld()
    expect(statfsSync(mount.directory).blocks).toBe(0)
    journals = await open(join(mount.directory, 'data'), { ballastBytes: 1024 * 1024, minFreeBytes: 1024 * 1024 }, world)
    expect(journals.status().state).toBe('ready')
    await world.clock.advance(2_000)
    expect(await journals.append('j', [bytes('x')])).toMatchObject({ first: 1 })
  })

  it('[F13] with less free disk than wanted, appends are refused before it is too late', async () => {
    await begin(0)
    await journals.close()
    journals = await open(path, { ballastBytes: 1024 * 1024, minFreeBytes: 3 * 1024 * 1024 }, world)
    writeFileSync(join(mount.directory, 'filler'), Buffer.alloc(5 * 1024 * 1024))
    await vi.waitFor(async () => {
      await world.clock.advance(2_000)
      expect(journals.status().state).toBe('full')
    })
    await expect(journals.append('j', [bytes('x')])).rejects.toMatchObject({ code: 'storage.full' })
    rmSync(join(mount.directory, 'filler'))
    await becomesReady()
    await journals.append('j', [bytes('x')])
  })
})

describe.skipIf(noShim !== undefined)(`a disk that fails or waits ${noShim ?? ''}`, () => {
  const preload = 'path' in shim ? shim.path : ''

  it('[F14] append does not resolve, and read shows nothing, before the flush has come back', async () => {
    const path = directory()
    const gate = join(directory(), 'gate')
    const { code, said, complaint } = await answers(start('gate', path, gate, { LD_PRELOAD: preload, FAULT_GATE: gate }))
    expect({ code, complaint }).toEqual({ code: 0, complaint: '' })
    expect(said).toEqual([
      { isResolved: false, entries: ['1'], last: 1 },
      { isResolved: true, entries: ['1', '2'], last: 2 },
    ])
  })

  it('[F15] after a failed flush nothing is acknowledged any more, and everything acknowledged is there in the next process', async () => {
    const path = directory()
    const eio = join(directory(), 'eio')
    const { code, said } = await answers(start('eio', path, eio, { LD_PRELOAD: preload, FAULT_EIO: eio }))
    expect(code).toBe(0)
    const { codes, later, acknowledged, ackedAfterFailure, read } = said[0] as {
      codes: string[]
      later: string
      acknowledged: Record<string, number>
      ackedAfterFailure: number[]
      read: Record<string, number>
    }
    expect(codes).toEqual(['storage.failed', 'storage.failed', 'storage.failed', 'storage.failed'])
    expect(later).toBe('storage.failed')
    expect(ackedAfterFailure).toEqual([])
    expect(read).toEqual(acknowledged)
    const journals = await open(path)
    for (const [journal, last] of Object.entries(acknowledged)) {
      const found = await texts(journals, journal)
      expect(found.length).toBeGreaterThanOrEqual(last)
      expect(found.map((text) => text.split(':', 2).join(':'))).toEqual(found.map((_, i) => `${journal}:${i + 1}`))
    }
  })

  it('[F16] a flush that does not come back in time is a failed disk', async () => {
    const gate = join(directory(), 'gate')
    const { code, said } = await answers(start('hang', directory(), gate, { LD_PRELOAD: preload, FAULT_GATE: gate }))
    expect(code).toBe(0)
    expect(said).toEqual([{ code: 'storage.failed', status: 'failed', entries: ['1'] }])
  })
})

describe('backup and restore', () => {
  it('[F17] a backup made while writing holds a beginning of every journal, and can be restored', async () => {
    const path = directory()
    const backup = join(directory(), 'backup')
    const world = testWorld()
    const journals = await open(path, {}, world)
    const appends = Array.from({ length: 400 }, (_, i) => journals.append(`j${i % 4}`, [bytes(`${Math.floor(i / 4) + 1}`)]))
    await appends[200]
    const acknowledged = (await journals.head('j0')).last
    await Promise.all([journals.backup(backup), ...appends])
    await expect(journals.backup(backup)).rejects.toMatchObject({ code: 'storage.read_only' })

    const target = directory()
    await world.clock.advance(5_000)
    await restoreBackup(backup, target, { clock: world.clock, preflightPath })
    expect(JSON.parse(readFileSync(join(target, 'meta.json'), 'utf8'))).toMatchObject({ initialized: true, restoredAt: world.clock.now() })
    const restored = await open(target)
    for (let i = 0; i < 4; i++) {
      const found = await texts(restored, `j${i}`)
      expect(found).toEqual(found.map((_, at) => `${at + 1}`))
      expect(found.length).toBeGreaterThanOrEqual(i === 0 ? acknowledged : 0)
    }
    expect((await restored.head('j0')).epoch).toBe((await journals.head('j0')).epoch)
    const options = { clock: world.clock, preflightPath, force: true }
    await expect(restoreBackup(backup, target, options)).rejects.toMatchObject({ code: 'storage.locked' })
  })

  it('[F18] a restore over data is refused unless forced, and puts the old data aside', async () => {
    const backup = await filled()
    const target = await filled()
    const world = testWorld()
    await expect(restoreBackup(backup, target, { clock: world.clock, preflightPath })).rejects.toMatchObject({ code: 'storage.read_only' })
    const journals = await open(target)
    await journals.append('newer', [bytes('x')])
    await journals.close()
    await restoreBackup(backup, target, { clock: world.clock, preflightPath, force: true })
    const restored = await open(target)
    expect(await restored.list('')).toEqual(['a', 'b'])
    const aside = await open(join(target, `damaged-${world.clock.now()}`))
    expect(await aside.list('')).toEqual(['a', 'b', 'newer'])
  })

  it('[F19] a damaged backup is refused, and the data stay as they are', async () => {
    const backup = damaged(await filled(), (file) => truncateSync(file, Math.floor(statSync(file).size / 3)))
    const target = await filled()
    const force = restoreBackup(backup, target, { clock: testWorld().clock, preflightPath, force: true })
    await expect(force).rejects.toMatchObject({ code: 'storage.corrupt' })
    expect(await refusal(target)).toBe('opened')
  })

  it('[F20] a restore that was cut short is not taken for a new store', async () => {
    const path = directory()
    writeFileSync(join(path, 'restoring'), '')
    expect(await refusal(path)).toBe('storage.corrupt')
    await restoreBackup(await filled(), path, { clock: testWorld().clock, preflightPath })
    expect(await refusal(path)).toBe('opened')
  })
})
