/** Clients that do not read, do not speak, or are gone without a word: what they cost the others, and when they are let go. */
import { type ChildProcess, spawn } from 'node:child_process'
import { rmSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { afterEach, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { openRawWebSocket } from '../support/attacks.ts'
import { bundle } from '../support/bundle.ts'
import { type Running, startTroupe, temporaryDirectory } from '../support/process.ts'
import { MiB, ownMs, residentBytes } from '../support/processes.ts'
import { openSlowLink } from '../support/slowLink.ts'
import { until } from '../support/wait.ts'
import { closeWires, emptyVector, WireClient, wire } from '../support/wire.ts'

const cleanups: (() => unknown)[] = []

afterEach(async () => {
  closeWires()
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

const start = async (...settings: string[]): Promise<Running> => {
  const data = temporaryDirectory()
  const server = await startTroupe(
    data.path,
    settings.flatMap((setting) => ['--set', setting]),
  )
  cleanups.push(async () => {
    await server.kill()
    data.remove()
  })
  return server
}

interface Other {
  readonly child: ChildProcess
  readonly last: () => { readonly synced: boolean; readonly length: number; readonly closings: number }
}

const otherProcess = async (url: string, room: string): Promise<Other> => {
  const program = await bundle('test/support/frozenClient.ts')
  const child = spawn(process.execPath, [program, url, room], { stdio: ['ignore', 'pipe', 'inherit'] })
  cleanups.push(() => {
    child.kill('SIGKILL')
    rmSync(program, { force: true })
  })
  let last = { synced: false, length: 0, closings: 0 }
  createInterface({ input: child.stdout as NodeJS.ReadableStream }).on('line', (line) => {
    last = JSON.parse(line)
  })
  return { child, last: () => last }
}

const metric = async (server: Running, name: string): Promise<number> => {
  const text = await fetch(`${server.http}/metrics`).then((response) => response.text())
  return Number(new RegExp(`^${name} (.+)$`, 'm').exec(text)?.[1] ?? Number.NaN)
}

describe('one of 100 clients whose process is stopped', () => {
  it('[SL1] slows nobody, costs bounded memory, is disconnected at the limit, and comes back complete', async () => {
    const server = await start('limits.pingMs=600000') // what it is disconnected for is the limit, however long the writing takes
    const room = `${server.ws}/docs/hundred`
    const frozen = await otherProcess(`${server.ws}/docs`, 'hundred')
    const writer = await new WireClient(room).synced()
    const { clientID } = writer.doc
    const readers = await Promise.all(Array.from({ length: 98 }, () => new WireClient(room, { isBlind: true }).synced()))
    await until(() => frozen.last().synced, 'the other process')
    await writer.edit('before')

    frozen.child.kill('SIGSTOP')
    const piece = 'x'.repeat(64 * 1024)
    const before = residentBytes(server.pid)
    const slow = () => server.lines.find(({ msg }) => msg === 'a slow client is disconnected')
    let [published, publishedAtEnd, peak, worst] = [0, 0, 0, 0]
    // Twenty MiB at least, and some after the slow one is gone.
    while (published < 20 * MiB || published < publishedAtEnd + MiB) {
      writer.doc.transact(() => {
        writer.text.delete(0, writer.text.length)
        writer.text.insert(0, piece)
      })
      const began = performance.now()
      await until(
        () => writer.isSaved && readers.every(({ clocks }) => clocks.get(clientID) === writer.savedClock),
        'the edit at all others',
      )
      worst = Math.max(worst, performance.now() - began)
      published += piece.length
      peak = Math.max(peak, residentBytes(server.pid) - before)
      if (slow() !== undefined && publishedAtEnd === 0) publishedAtEnd = published
      if (published > 60 * MiB) break
    }
    expect(slow()).toBeDefined()
    expect(readers.filter(({ closings }) => closings.length > 0)).toEqual([])
    expect(peak).toBeLessThan(128 * MiB) // it goes up and down between 70 and 105 MiB with the collector, however much is published
    await until(async () => (await metric(server, 'troupe_connections{door="yjs"}')) === 99, 'the end of the frozen connection')
    if (process.env.FIGURES !== undefined) {
      console.info({
        published: published / MiB,
        publishedAtEnd: publishedAtEnd / MiB,
        peak: peak / MiB,
        after: (residentBytes(server.pid) - before) / MiB,
        worst,
      })
    }

    frozen.child.kill('SIGCONT')
    await until(() => frozen.last().closings > 0 && frozen.last().synced, 'its return')
    await writer.edit('after')
    await until(() => frozen.last().length === writer.text.length, 'its convergence')
  })
})

describe('a client that says nothing', () => {
  it('[SL2] hears something at least every keepAliveMs, though it is alone and has no presence', async () => {
    const server = await start('limits.keepAliveMs=150')
    const client = await new WireClient(`${server.ws}/docs/alone`).synced()
    let heard = 0
    client.socket.on('message', () => heard++)
    const tookMs = await ownMs([server.pid, process.pid], () => until(() => heard >= 5, 'five signs of life'))
    expect(tookMs).toBeLessThan(1_500)
    expect(client.closings).toEqual([])
    expect(client.presence.size).toBe(0)
  })

  it('[SL3] from the beginning is told so and let go at the handshake deadline; one that spoke stays', async () => {
    const server = await start('limits.handshakeMs=300')
    const spoke = await new WireClient(`${server.ws}/docs/deadline`).synced()
    const began = performance.now()
    const silent = new WebSocket(`${server.ws}/docs/deadline`)
    const [code, reason] = await new Promise<[number, string]>((resolve) =>
      silent.on('close', (code, reason) => resolve([code, reason.toString()])),
    )
    expect([code, reason]).toEqual([1008, 'connection.silent: 300 ms'])
    expect(performance.now() - began).toBeGreaterThan(250)
    await spoke.edit('still here')
  })

  it('[SL4] and answers no ping is taken for dead; its presence goes, and one that answers stays', async () => {
    const server = await start('limits.pingMs=600', 'limits.pongMs=550')
    const alive = await new WireClient(`${server.ws}/docs/dead`).synced()
    let pings = 0
    alive.socket.on('ping', () => pings++)
    const dead = await openRawWebSocket(server.port, '/docs/dead')
    dead.socket.write(masked(wire.step1(emptyVector)))
    // Presence of client 5 at clock 1: {}
    dead.socket.write(masked(wire.awareness(Uint8Array.of(1, 5, 1, 2, 0x7b, 0x7d))))
    await until(() => alive.presence.get(5)?.state === '{}', 'its presence')
    await dead.ended
    await until(() => alive.presence.get(5)?.state === 'null', 'the end of its presence')
    await until(() => pings >= 4, 'four pings')
    expect(alive.closings).toEqual([])
  })

  it('[SL10] for it is still sending something large is not taken for dead; when it stops, it is', async () => {
    const server = await start('limits.pingMs=300', 'limits.pongMs=250')
    const slow = await openRawWebSocket(server.port, '/docs/upload')
    let hasEnded = false
    void slow.ended.then(() => {
      hasEnded = true
    })
    slow.socket.write(masked(wire.step1(emptyVector)))
    // The beginning of a frame of 64 KiB, whose rest comes slowly. Meanwhile nothing else can come, and no answer to a ping.
    slow.socket.write(Uint8Array.of(0x82, 0xff, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0))
    let sent = 0
    const began = performance.now()
    const sending = setInterval(() => slow.socket.write(Uint8Array.of(sent++ & 1)), 25)
    await until(() => hasEnded || performance.now() - began > 1_500, 'several times pingMs + pongMs')
    clearInterval(sending)
    expect(hasEnded).toBe(false)
    await slow.ended
    expect(server.lines.some(({ msg }) => msg === 'a client that answers no ping is disconnected')).toBe(true)
  })

  it('[SL5] for it still reads a large document over a slow link is not taken for dead', async () => {
    const largest = 48 * MiB
    const server = await start('limits.pingMs=1300', 'limits.pongMs=1200', `limits.messageBytes=${largest + MiB}`)
    const writer = await new WireClient(`${server.ws}/docs/large`).synced()
    // One item: Troupe cuts answers between items, so this is one message. The kernel takes some 10 MiB of it at once.
    await writer.edit('x'.repeat(largest))
    const link = await openSlowLink(server.port, 10 * MiB)
    cleanups.push(() => link.close())
    const began = performance.now()
    const reader = await new WireClient(`ws://127.0.0.1:${link.port}/docs/large`).synced()
    expect(performance.now() - began).toBeGreaterThan(2_500) // a ping was due, and its answer, too
    expect(reader.text.length).toBe(largest)
    expect(reader.closings).toEqual([])
  })

  it('[SL6] is not told apart from others by one large change: everybody gets it, and stays', async () => {
    const server = await start()
    const clients = await Promise.all(Array.from({ length: 5 }, () => new WireClient(`${server.ws}/docs/import`).synced()))
    const [writer, other] = clients as [WireClient, WireClient]
    const large = writer.edit('x'.repeat(12 * MiB))
    other.text.insert(0, 'y'.repeat(1_000))
    await large
    await until(() => clients.every(({ text }) => text.length === 12 * MiB + 1_000), 'the change at all')
    expect(clients.flatMap(({ closings }) => closings)).toEqual([])
  })

  it('[SL7] may paste fifteen pictures in a row: all come back to it, and it stays', async () => {
    const server = await start()
    const link = await openSlowLink(server.port, 10 * MiB)
    cleanups.push(() => link.close())
    const writer = await new WireClient(`ws://127.0.0.1:${link.port}/docs/pictures`).synced()
    await Promise.all(Array.from({ length: 15 }, () => writer.edit('x'.repeat(MiB))))
    expect(writer.closings).toEqual([])
  })
})

/** A WebSocket frame of a client, masked with zeros. */
const masked = (message: Uint8Array): Uint8Array => Uint8Array.of(0x82, 0x80 | message.length, 0, 0, 0, 0, ...message)
