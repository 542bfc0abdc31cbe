/** The bus on a disk that is slow, full, or fails: who is told what, and what is there afterwards. */
import { rmSync, statfsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { because, cleanUp, directory, faultLibrary, noMount, noShim, smallDisk, start } from '../../support/badDisks.ts'
import { type BusClient, closeBusClients, connected } from '../../support/bus.ts'
import type { Running } from '../../support/process.ts'
import { MiB } from '../../support/processes.ts'
import { until } from '../../support/wait.ts'

cleanUp(closeBusClients)
const status = async (server: Running): Promise<number> => (await fetch(`${server.http}/ready`)).status

const sequences = (client: BusClient, channel: string) => client.messages(channel).map(({ sequence }) => sequence)

describe('a slow disk', () => {
  it.skipIf(noShim !== undefined)(
    `[BD1] holds back a message from everybody until it is stored; who reads does not wait${because(noShim)}`,
    async () => {
      const path = directory()
      const gate = join(path, 'gate')
      const server = await start(join(path, 'data'), [], { env: { LD_PRELOAD: faultLibrary, FAULT_GATE: gate } })
      const [writer, reader] = await Promise.all([connected(server), connected(server)])
      for (const client of [writer, reader]) await client.join('slow')
      await writer.publish('slow', 'stored')
      writeFileSync(gate, '')
      writer.send({ type: 'message', channel: 'slow', content: 'under way', id: 'mine', ack: true })
      writer.send({ type: 'command', command: 'publish', channel: 'slow', content: 'also', request_id: 'command' })
      const page = await reader.command('history', { channel: 'slow' })
      expect(page.data.messages.map(({ content }: { content: string }) => content)).toEqual(['stored'])
      expect((await reader.command('channel_info', { channel: 'slow' })).data.sequence).toBe(1)
      await reader.settled()
      expect([sequences(reader, 'slow'), sequences(writer, 'slow')]).toEqual([[1], [1]])
      expect(writer.frames.filter(({ id, request_id }) => id === 'mine' || request_id === 'command')).toEqual([])
      rmSync(gate)
      await writer.frame(({ request_id }) => request_id === 'command', 'the answer')
      await until(() => sequences(reader, 'slow').length === 3, 'both messages')
      expect(sequences(reader, 'slow')).toEqual([1, 2, 3])
      expect(writer.frames.find(({ type, id }) => type === 'ack' && id === 'mine')).toMatchObject({ sequence: 2 })
    },
  )
})

describe('a full disk', () => {
  it.skipIf(noMount !== undefined)(
    `[BD2] refuses messages with a code to retry, and reads on; with space again the numbers go on without a hole${because(noMount)}`,
    async () => {
      const disk = smallDisk(24)
      const settings = ['storage.ballastBytes=1048576', 'storage.minFreeBytes=2097152'].flatMap((setting) => ['--set', setting])
      const server = await start(join(disk.directory, 'data'), settings)
      const [writer, reader] = await Promise.all([connected(server), connected(server)])
      await reader.join('full')
      const filler = join(disk.directory, 'filler')
      const fill = (spareBytes: number) => {
        const { bavail, bsize } = statfsSync(disk.directory)
        writeFileSync(filler, Buffer.alloc(Math.max(0, bavail * bsize - spareBytes)), { flag: 'a' })
      }
      fill(MiB / 2)
      const text = 'x'.repeat(50_000)
      const acknowledged: string[] = []
      let refusal: object | undefined
      for (let n = 0; refusal === undefined && n < 400; n++) {
        const answer = await writer.publish('full', text, { id: `m${n}`, sender: 'ada' })
        if (answer.type === 'ack') acknowledged.push(answer.id as string)
        else refusal = answer
        fill(0)
      }
      expect(refusal).toMatchObject({ type: 'error', code: 'storage.full', channel: 'full' })
      expect(await status(server)).toBe(503)
      expect((await writer.command('join_channel', { channel: 'full', rewind: 1 })).success).toBe(true)
      expect((await reader.command('history', { channel: 'full', limit: 1 })).data.sequence).toBe(acknowledged.length)
      expect((await writer.command('publish', { channel: 'full', content: text })).code).toBe('storage.full')

      rmSync(filler)
      await until(async () => (await status(server)) === 200, 'the end of the shortage')
      const { id } = refusal as { id: string }
      expect(await writer.publish('full', text, { id, sender: 'ada' })).toMatchObject({
        ...{ type: 'ack', repeated: false, sequence: acknowledged.length + 1 },
      })
      acknowledged.push(id)
      await until(() => sequences(reader, 'full').length === acknowledged.length, 'all at the reader')
      expect(sequences(reader, 'full')).toEqual(acknowledged.map((_, index) => index + 1))
      expect(reader.messages('full').map((message) => message.id)).toEqual(acknowledged)
    },
  )
})

describe('a disk that fails', () => {
  it.skipIf(noShim !== undefined)(
    `[BD3] ends the server: nothing more is acknowledged or heard, and a retry with the next one is there once${because(noShim)}`,
    async () => {
      const path = directory()
      const [data, fault] = [join(path, 'data'), join(path, 'eio')]
      const server = await start(data, [], { env: { LD_PRELOAD: faultLibrary, FAULT_EIO: fault } })
      const [writer, reader] = await Promise.all([connected(server), connected(server)])
      await reader.join('failing')
      const first = await writer.publish('failing', 'stored', { id: 'a', sender: 'ada' })
      writeFileSync(fault, '')
      writer.send({ type: 'message', channel: 'failing', content: 'lost', id: 'b', sender: 'ada', ack: true })
      expect(await server.exited).toEqual({ code: 70, signal: null })
      await Promise.all([writer.closed, reader.closed])
      expect(writer.frames.filter(({ type, id }) => type === 'ack' && id === 'b')).toEqual([])
      expect(reader.contents('failing')).toEqual(['stored'])
      rmSync(fault)
      const next = await start(data)
      const [again, back] = await Promise.all([connected(next), connected(next)])
      const { data: joined } = await back.join('failing', { recover: { epoch: first.epoch, sequence: first.sequence } })
      expect(joined.recovered).toBe(true)
      for (let attempt = 0; attempt < 2; attempt++) await again.publish('failing', 'lost', { id: 'b', sender: 'ada' })
      await again.publish('failing', 'last', { id: 'c', sender: 'ada' })
      await until(() => back.contents('failing').includes('last'), 'the last message')
      expect(back.messages('failing').map(({ id, sequence }) => [id, sequence])).toEqual([
        ['b', 2],
        ['c', 3],
      ])
    },
  )
})
