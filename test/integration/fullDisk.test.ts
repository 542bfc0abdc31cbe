/** The built server on a disk that is full, on one that fails, and on one that has flipped bits. */
import { readFileSync, rmSync, statfsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import * as Y from 'yjs'
import { because, cleanUp, directory, faultLibrary, noMount, noShim, smallDisk, start } from '../support/badDisks.ts'
import { closeTiptaps, openTiptap } from '../support/hocuspocus.ts'
import type { Running } from '../support/process.ts'
import { freePort, MiB } from '../support/processes.ts'
import { until } from '../support/wait.ts'
import { closeWires, WireClient } from '../support/wire.ts'

cleanUp(() => {
  closeWires()
  closeTiptaps()
})

interface Ready {
  readonly status: number
  readonly codes: readonly string[]
}

const readiness = async (server: Running): Promise<Ready> => {
  const response = await fetch(`${server.http}/ready`)
  const { reasons } = (await response.json()) as { reasons: { code: string }[] }
  return { status: response.status, codes: reasons.map(({ code }) => code) }
}

const lacksNothing = (doc: Y.Doc, updates: readonly Uint8Array[]): boolean => {
  const before = Y.encodeStateAsUpdate(doc)
  const copy = new Y.Doc()
  Y.applyUpdate(copy, before)
  let changes = 0
  copy.on('update', () => changes++)
  for (const update of updates) Y.applyUpdate(copy, update)
  return changes === 0 && copy.store.pendingStructs === null
}

describe('a full disk', () => {
  it.skipIf(noMount !== undefined)(
    `[FD1] stops acknowledgements, not reading; when it has space again, everything is stored and acknowledged${because(noMount)}`,
    async () => {
      const disk = smallDisk(24)
      const data = join(disk.directory, 'data')
      const settings = ['storage.ballastBytes=1048576', 'storage.minFreeBytes=2097152', 'documents.retryMs=100'].flatMap((setting) => [
        '--set',
        setting,
      ])
      let server = await start(data, settings)
      const port = ['--port', String(server.port)]
      const at = (room: string, isPersistent = false) => new WireClient(`${server.ws}/docs/${room}`, { isPersistent })
      const old = await at('old').synced()
      await old.edit('stored before the disk was full')
      old.close()
      const [a, b] = [await at('busy', true).synced(), await at('busy', true).synced()]
      await a.edit('acknowledged. ')
      const told = openTiptap(`${server.ws}/hocuspocus`, 'busy')
      await until(() => told.provider.synced, 'a Hocuspocus client')

      const filler = join(disk.directory, 'filler')
      const fill = (spareBytes: number) => {
        const { bavail, bsize } = statfsSync(disk.directory)
        writeFileSync(filler, Buffer.alloc(Math.max(0, bavail * bsize - spareBytes)), { flag: 'a' })
      }
      fill(MiB / 2)
      // Until the room that LMDB has inside its file is used up as well.
      for (let i = 0; (await readiness(server)).status === 200; i++) {
        if (i === 400) throw new Error('the disk did not become full')
        const saved = a.savedClock
        a.text.insert(a.text.length, `${i} ${'x'.repeat(50_000)}`)
        await until(async () => a.savedClock > saved || (await readiness(server)).status === 503, 'an acknowledgement or a full disk')
        fill(0)
      }
      expect(await readiness(server)).toMatchObject({ status: 503, codes: expect.arrayContaining(['storage.full']) })
      const saved = a.savedClock
      a.text.insert(a.text.length, 'written on the full disk')
      const failing = 'stateless {"type":"troupe.storage","error":"storage.full"}'
      await until(() => told.events.includes(failing), 'the news that nothing can be stored')
      const reader = await at('old').synced()
      expect(reader.text.toString()).toBe('stored before the disk was full')
      expect((await at('busy').synced()).text.toString()).toContain('acknowledged. ')
      expect((await at('never seen before').synced()).text.length).toBe(0)
      expect([a.savedClock, a.isSaved, a.closings, b.closings]).toEqual([saved, false, [], []])

      rmSync(filler)
      await until(() => a.isSaved, 'the acknowledgement of everything')
      await until(() => told.events.at(-1) === 'stateless {"type":"troupe.storage","error":null}', 'the news that it can')
      told.close()
      await until(async () => (await readiness(server)).status === 200, 'readiness')
      await until(() => b.text.toString() === a.text.toString(), 'the convergence')
      const [text, promises] = [a.text.toString(), [...a.acknowledged, ...b.acknowledged]]
      a.disconnect()
      b.disconnect()
      await server.kill()
      server = await start(data, [...settings, ...port])
      const after = await at('busy').synced()
      expect(after.text.toString()).toBe(text)
      expect(lacksNothing(after.doc, promises)).toBe(true)
    },
  )

  it.skipIf(noMount !== undefined)(
    `[FD2] survives kill -9: what was acknowledged is there, the rest comes back from the clients${because(noMount)}`,
    async () => {
      const disk = smallDisk(24)
      const data = join(disk.directory, 'data')
      const settings = ['storage.ballastBytes=1048576', 'storage.minFreeBytes=2097152', 'documents.retryMs=100'].flatMap((setting) => [
        '--set',
        setting,
      ])
      let server = await start(data, settings)
      const writers = Array.from({ length: 4 }, (_, i) => new WireClient(`${server.ws}/docs/killed-${i}`))
      for (const writer of writers) await writer.synced()
      const piece = 'x'.repeat(20_000)
      for (let i = 0; (await readiness(server)).status === 200; i++) {
        if (i === 400) throw new Error('the disk did not become full')
        for (const writer of writers) writer.text.insert(0, `${i} ${piece}`)
        await until(
          async () => writers.every(({ isSaved }) => isSaved) || (await readiness(server)).status === 503,
          'acknowledgements or a full disk',
        )
      }
      for (const writer of writers) writer.disconnect()
      await server.kill()
      server = await start(data, [...settings, '--port', String(server.port)])
      for (const [i, { acknowledged }] of writers.entries()) {
        const reader = await new WireClient(`${server.ws}/docs/killed-${i}`).synced()
        expect(lacksNothing(reader.doc, acknowledged)).toBe(true)
        expect(acknowledged.length).toBeGreaterThan(3)
      }
    },
  )
})

describe('a disk that fails', () => {
  const settings = ['--set', 'documents.retryMs=100']

  it.skipIf(noShim !== undefined)(`[FD3] ends the server with 70, and nothing is acknowledged from then on${because(noShim)}`, async () => {
    const path = directory()
    const [data, fault] = [join(path, 'data'), join(path, 'eio')]
    const env = { LD_PRELOAD: faultLibrary, FAULT_EIO: fault }
    const server = await start(data, settings, { env })
    const clients = Array.from({ length: 8 }, (_, i) => new WireClient(`${server.ws}/docs/failing-${i}`))
    for (const client of clients) await (await client.synced()).edit('on disk. ')
    writeFileSync(fault, '')
    const before = clients.map(({ savedClock }) => savedClock)
    for (const client of clients) client.text.insert(client.text.length, 'not on disk. ')
    expect(await server.exited).toEqual({ code: 70, signal: null })
    await until(() => clients.every(({ closings }) => closings.length > 0), 'the end of the connections')
    expect(clients.map(({ savedClock }) => savedClock)).toEqual(before)
    rmSync(fault)
    const next = await start(data, settings)
    for (const [i, { acknowledged }] of clients.entries()) {
      const reader = await new WireClient(`${next.ws}/docs/failing-${i}`).synced()
      expect(reader.text.toString()).toBe('on disk. ')
      expect(lacksNothing(reader.doc, acknowledged)).toBe(true)
    }
  })

  it.skipIf(noShim !== undefined)(
    `[FD4] brings back a supervised server, and its clients converge when the disk works again${because(noShim)}`,
    async () => {
      const path = directory()
      const fault = join(path, 'eio')
      const env = { LD_PRELOAD: faultLibrary, FAULT_EIO: fault }
      const server = await start(join(path, 'data'), ['--supervised', '--port', String(await freePort()), ...settings], { env })
      const [a, b] = [0, 1].map(() => new WireClient(`${server.ws}/docs/back`, { isPersistent: true })) as [WireClient, WireClient]
      await Promise.all([a.synced(), b.synced()])
      await a.edit('before, ')
      writeFileSync(fault, '')
      a.text.insert(a.text.length, 'during, ')
      await server.line(({ msg, code }) => msg === 'the server crashed' && code === 70)
      rmSync(fault)
      b.text.insert(b.text.length, 'offline, ')
      await server.line(({ msg, pid }) => msg === 'listening' && pid !== server.pid)
      await until(() => a.isSynced && b.isSynced, 'the return of both')
      await b.edit('after')
      await until(() => a.text.toString() === b.text.toString(), 'the convergence')
      for (const part of ['before, ', 'during, ', 'offline, ', 'after']) expect(a.text.toString()).toContain(part)
      expect((await readiness(server)).status).toBe(200)
    },
  )
})

describe('a disk that has flipped bits', () => {
  it('[FD5] crashes the server at most once: the supervisor says so, and the next start names the page and ends with 74', async () => {
    const data = join(directory(), 'data')
    const first = await start(data)
    await (await new WireClient(`${first.ws}/docs/flipped`).synced()).edit('stored')
    first.signal('SIGTERM')
    await first.exited
    const file = join(data, 'data.mdb')
    const bytes = readFileSync(file)
    // Leaves of a transaction to come, which LMDB takes for its own copies and writes into, and that kills it.
    for (let page = 2; page * 4_096 < bytes.length; page++) {
      if (bytes.readUInt32LE(page * 4_096) === page && bytes.readUInt16LE(page * 4_096 + 18) === 2) bytes.writeUInt8(1, page * 4_096 + 13)
    }
    writeFileSync(file, bytes)
    const server = await start(data, ['--supervised']) // closed in good order, so nobody has looked
    const client = new WireClient(`${server.ws}/docs/flipped`)
    client.text.insert(0, 'new. ')
    expect(await server.exited).toEqual({ code: 74, signal: null })
    const crashes = server.lines.filter(({ msg }) => msg === 'the server crashed')
    expect(crashes.map(({ signal, advice }) => [signal, advice])).toEqual([['SIGSEGV', expect.stringContaining('pages of the data file')]])
    expect(server.stderr).toMatch(/data file is damaged and was not opened: \S+data\.mdb, page \d+: it is of transaction/)
    expect(server.stderr).toContain('code storage.corrupt. Restore the last backup')
    expect(readFileSync(file).equals(bytes)).toBe(true)
  })
})
