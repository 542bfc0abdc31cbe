/**
 * Hostile clients of the bus against the built server. Whatever they send: the process lives, its memory stays within bounds, and
 * somebody else is served all the while.
 */
import { rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import * as fc from 'fast-check'
import { afterAll, afterEach, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { closeCodeIn, openRaw, openRawWebSocket } from '../support/attacks.ts'
import { type BusClient, closeBusClients, connected } from '../support/bus.ts'
import { buildShim } from '../support/disk.ts'
import { type Running, startTroupe, temporaryDirectory } from '../support/process.ts'
import { isGone, MiB, residentBytes } from '../support/processes.ts'
import { until } from '../support/wait.ts'

const shim = buildShim()
const noShim = 'reason' in shim ? shim.reason : undefined
const doors = ['/', '/chat', '/ws', '/arqonbus']
const large = 'x'.repeat(1_000_000)
const cleanups: (() => unknown)[] = []

afterEach(async () => {
  closeBusClients()
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})
afterAll(() => {
  if ('path' in shim) rmSync(dirname(shim.path), { recursive: true, force: true })
})

const start = async (args: readonly string[] = [], options: Parameters<typeof startTroupe>[2] = {}): Promise<Running> => {
  const data = temporaryDirectory()
  const server = await startTroupe(data.path, args, options)
  cleanups.push(async () => {
    await server.kill()
    data.remove()
  })
  return server
}

const socketTo = async (server: Running, path: string): Promise<WebSocket> => {
  const socket = new WebSocket(server.ws + path, { perMessageDeflate: false })
  socket.on('error', () => undefined) // 'close' follows
  cleanups.push(() => socket.terminate())
  await until(() => socket.readyState === WebSocket.OPEN, `a connection to ${path}`)
  return socket
}

/** Runs an attack while a bystander asks and is answered. Returns how much the memory grew at most. */
const withstand = async (server: Running, attack: () => Promise<unknown>): Promise<number> => {
  const bystander = await connected(server)
  const before = residentBytes(server.pid)
  let [isOver, most] = [false, 0]
  const watching = (async () => {
    while (!isOver) {
      await bystander.settled()
      most = Math.max(most, residentBytes(server.pid) - before)
      await pause(2) // a bystander, not one more who attacks
    }
  })()
  try {
    await attack()
  } finally {
    isOver = true
    await watching
  }
  expect(isGone(server.pid)).toBe(false)
  expect(bystander.closing).toBeUndefined()
  return most
}

const batch = (messages: number, channel: string): string =>
  JSON.stringify({ type: 'batch', messages: Array.from({ length: messages }, (_, n) => ({ channel, content: n })) })

describe('clients made to exhaust the memory', () => {
  it('one large message to each of 200 channels does not stay in memory', async () => {
    const server = await start([], { nodeArgs: ['--max-old-space-size=160'] })
    await withstand(server, async () => {
      const mallory = await connected(server)
      for (let n = 0; n < 200; n++) expect((await mallory.publish(`large/${n}`, large)).type).toBe('ack')
    })
    const reader = await connected(server)
    expect((await reader.command('history', { channel: 'large/0' })).data.messages).toHaveLength(1)
  })

  it('60 batches of 1 000 at once wait in the network, and none of them is refused', async () => {
    const server = await start()
    const grown = await withstand(server, async () => {
      const hasty = await connected(server)
      for (let n = 0; n < 60; n++) hasty.send(batch(1_000, 'hasty'))
      expect(await hasty.publish('hasty', 'last')).toMatchObject({ type: 'ack', sequence: 60_001 })
      expect(hasty.frames.filter(({ type }) => type === 'error')).toEqual([])
    })
    expect(grown).toBeLessThan(256 * MiB)
  })

  it.skipIf(noShim !== undefined)('large messages wait in the network while the disk does not answer', async () => {
    const directory = temporaryDirectory()
    cleanups.push(() => directory.remove())
    const gate = join(directory.path, 'gate')
    const preload = 'path' in shim ? shim.path : ''
    const server = await start([], { env: { LD_PRELOAD: preload, FAULT_GATE: gate } })
    const mallory = await connected(server)
    for (let n = 0; n < 8; n++) await mallory.publish(`slow/${n}`, 'there')
    writeFileSync(gate, '')
    const frames = Array.from({ length: 200 }, (_, n) => JSON.stringify({ type: 'message', channel: `slow/${n % 8}`, content: large }))
    const grown = await withstand(server, async () => {
      for (const frame of frames) mallory.send(frame)
      const bystander = await connected(server)
      // The network has taken what it takes when nothing moves any more.
      for (let [last, still] = [-1, 0]; still < 200; last = mallory.socket.bufferedAmount) {
        await bystander.settled()
        still = mallory.socket.bufferedAmount === last ? still + 1 : 0
      }
      expect(mallory.socket.bufferedAmount).toBeGreaterThan(100 * MiB)
    })
    expect(grown).toBeLessThan(100 * MiB)
    rmSync(gate)
    await mallory.settled()
  })

  it('readers that do not read are cut off at every door, and who reads has everything', async () => {
    const server = await start()
    const reader = await connected(server)
    await reader.join('news')
    const joins = [
      ['/', { type: 'command', command: 'join_channel', channel: 'news' }],
      ['/chat', { type: 'join', room: 'news' }],
      ['/ws', { type: 'subscribe', topics: ['news'] }],
      ['/arqonbus', { type: 'command', command: 'join_channel', args: { channel: 'news' } }],
    ] as const
    for (const [path, join] of joins) {
      const socket = await socketTo(server, path)
      const heard = new Promise((resolve) => socket.once('message', resolve))
      socket.send(JSON.stringify(join))
      await heard
      socket.pause()
    }
    const stream = await openRaw(server.port, 'GET /v1/channels/news/events HTTP/1.1\r\nHost: localhost\r\n\r\n')
    cleanups.push(() => stream.socket.destroy())
    await until(() => stream.received().includes('event: ready'), 'the stream')
    stream.socket.pause()
    const connections = async () => ((await (await fetch(`${server.http}/status`)).json()) as { connections: object }).connections
    const published = 1_500
    const grown = await withstand(server, async () => {
      const writer = await connected(server)
      for (let n = 0; n < published; n++) writer.send({ type: 'message', channel: 'news', content: `${n} ${'y'.repeat(10_000)}` })
      await until(() => reader.messages('news').length === published, 'all messages at the reader')
      const rest = { chat: 0, pubsub: 0, arqonbus: 0, sse: 0, bus: 3 }
      await until(async () => JSON.stringify(await connections()).includes('"total":3'), 'the end of those who do not read')
      expect(await connections()).toMatchObject({ total: 3, by_door: rest })
    })
    expect(grown).toBeLessThan(200 * MiB)
    expect(reader.messages('news').map(({ sequence }) => sequence)).toEqual(Array.from({ length: published }, (_, n) => n + 1))
  })
})

describe('clients that do not keep to the protocol', () => {
  const names = [
    '__proto__',
    'constructor',
    'toString',
    '',
    '~x',
    '$x',
    '\ud800',
    '\u0000',
    '\u202e',
    '../x',
    'private_ann',
    'n'.repeat(300),
  ]
  const keys = [
    'channel',
    'room',
    'content',
    'id',
    'sender',
    'metadata',
    'recover',
    'rewind',
    'limit',
    'since',
    'ttl',
    'status',
    'username',
  ]
  const commands = ['join_channel', 'history', 'create_room', 'members', 'publish', 'set_status', 'subscribe', 'list_channels', '__proto__']
  const value = fc.oneof(fc.constantFrom(...names), fc.constantFrom(-1, 2 ** 53 + 1, 1e21, null, true), fc.jsonValue({ maxDepth: 3 }))
  const fields = fc.dictionary(fc.constantFrom(...keys, '__proto__', 'topic', 'topics', 'data', 'args', 'payload', 'messages'), value, {
    maxKeys: 6,
  })
  const types = [
    'message',
    'event',
    'command',
    'command',
    'batch',
    'join',
    'leave',
    'presence',
    'history',
    'subscribe',
    'publish',
    'telemetry',
  ]
  const frame = fc
    .tuple(fc.constantFrom(...types), fc.constantFrom(...commands), fields)
    .map(([type, command, more]) => JSON.stringify({ ...more, type, command }))
  const broken = fc.tuple(frame, fc.nat(), fc.constantFrom('{', '"', '\\', '[', '1e400', '\u0000')).map(([text, at, wrong]) => {
    const place = at % text.length
    return text.slice(0, place) + wrong + text.slice(place)
  })
  const seed = Number(process.env.SEED ?? 20_261_121)

  it(`4 000 wrong and half-wrong frames at every door change nothing for others (seed ${seed})`, async () => {
    const server = await start()
    const frames = fc.sample(fc.oneof(frame, broken, fc.json()), { numRuns: 1_000, seed })
    await withstand(server, async () => {
      for (const path of doors) {
        const socket = await socketTo(server, path)
        for (const text of frames) socket.send(text)
        let isAnswered = false
        socket.once('pong', () => {
          isAnswered = true
        })
        socket.ping()
        await until(() => isAnswered, `the pong of ${path}`)
        expect(socket.readyState).toBe(WebSocket.OPEN)
      }
    })
    expect(server.lines.filter(({ level }) => level >= 50)).toEqual([])
  })

  const masked = (opcode: number, payload: Uint8Array | string, isLast = true): Buffer => {
    const bytes = Buffer.from(payload as Uint8Array)
    return Buffer.concat([Buffer.from([(isLast ? 0x80 : 0) | opcode, 0x80 | bytes.length, 0, 0, 0, 0]), bytes])
  }
  it.each([
    ['text that is not UTF-8', [masked(1, Buffer.from([0xff, 0xfe]))], 1007],
    ['an opcode that there is not', [masked(3, 'x')], 1002],
    ['a continuation of nothing', [masked(0, 'x')], 1002],
    ['a compressed frame that nobody agreed on', [Buffer.concat([Buffer.from([0xc1, 0x82, 0, 0, 0, 0]), Buffer.from('{}')])], 1002],
    ['a frame without a mask', [Buffer.from([0x81, 2, 0x7b, 0x7d])], 1002],
    ['a close in the middle of a message', [masked(1, '{"ty', false), masked(8, Buffer.from([3, 232]))], 1000],
    ['a length beyond all', [Buffer.from([0x81, 0xff, 0x7f, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 0])], 1009],
  ] as const)('%s ends the connection with its code at every door', async (_what, frames, code) => {
    const server = await shared()
    for (const path of doors) {
      const raw = await openRawWebSocket(server.port, path)
      for (const bytes of frames) raw.socket.write(bytes)
      await raw.ended
      expect(closeCodeIn(raw.received())).toBe(code)
    }
  })

  let running: Promise<Running> | undefined
  const data = temporaryDirectory()
  const shared = (): Promise<Running> => (running ??= startTroupe(data.path))
  afterAll(async () => {
    await (await running)?.kill()
    data.remove()
  })
})

describe('clients that make and delete the same channels at once', () => {
  it('give no place in a channel to two messages, and members hear all from where they joined', async () => {
    const server = await start()
    const clients = await Promise.all(Array.from({ length: 12 }, () => connected(server)))
    const places: string[] = []
    const one = async (client: BusClient, who: number) => {
      for (let round = 0; round < 40; round++) {
        const channel = `contested/${round % 3}`
        const deed = (who * 7 + round * 13) % 5
        if (deed === 0) await client.command('create_channel', { channel })
        else if (deed === 1) await client.command('delete_channel', { channel })
        else if (deed === 2) await client.command('join_channel', { channel })
        else {
          const { type, epoch, sequence } = await client.publish(channel, round)
          if (type === 'ack') places.push(`${channel} ${epoch} ${sequence}`)
        }
      }
    }
    await withstand(server, () => Promise.all(clients.map(one)))
    expect(places.length).toBeGreaterThan(100)
    expect(new Set(places).size).toBe(places.length)
    for (const client of clients) expect(holesIn(client)).toEqual([])
  })
})

/** Where the messages of a channel that the client was in do not follow upon one another. */
const holesIn = ({ frames }: BusClient): string[] => {
  const places = new Map<unknown, number>()
  const holes: string[] = []
  for (const frame of frames) {
    const { type, channel, sequence } = frame as { type: string; channel?: string; sequence?: number }
    const { command, success, data, content } = frame as { command?: string; success?: boolean; data?: Place; content?: { type?: string } }
    if (command === 'join_channel' && success === true && data !== undefined) places.set(data.channel, data.sequence)
    else if (content?.type === 'channel_deleted') places.delete(channel)
    else if (content?.type === 'recovered' || content?.type === 'lost') places.delete(channel)
    else if (type === 'message' && sequence !== undefined) {
      const known = places.get(channel)
      if (known === undefined) continue // the echo of one who is not in the channel
      if (sequence !== known + 1) holes.push(`${channel}: ${sequence} after ${known}`)
      places.set(channel, sequence)
    }
  }
  return holes
}

interface Place {
  readonly channel: string
  readonly sequence: number
}
