/**
 * Clients behind a proxy, or behind a line with deep buffers: the network takes a whole document at once, and delivers it for minutes.
 * Pings wait behind it, so an answer that does not come says how slow the line is, and not that nobody is there.
 */
import { afterEach, describe, expect, it } from 'vitest'
import { openDeepLine } from '../support/deepLine.ts'
import { closeTiptaps, openTiptap } from '../support/hocuspocus.ts'
import { type Running, startTroupe, temporaryDirectory } from '../support/process.ts'
import { MiB } from '../support/processes.ts'
import { until } from '../support/wait.ts'
import { closeWires, WireClient } from '../support/wire.ts'

const cleanups: (() => unknown)[] = []

afterEach(async () => {
  closeWires()
  closeTiptaps()
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

/** A document of 2 MiB behind a line of 1 MiB/s: four times as long as a ping may stay unanswered otherwise. */
const start = async (...more: string[]): Promise<{ readonly server: Running; readonly port: number }> => {
  const data = temporaryDirectory()
  const settings = ['limits.pingMs=600', 'limits.pongMs=500', 'documents.maxWindowMs=5', ...more]
  const server = await startTroupe(
    data.path,
    settings.flatMap((setting) => ['--set', setting]),
  )
  const writer = await new WireClient(`${server.ws}/docs/book`).synced()
  for (let i = 0; i < 8; i++) await writer.edit('x'.repeat(MiB / 4))
  const line = await openDeepLine(server.port, MiB)
  cleanups.push(async () => {
    line.close()
    await server.kill()
    data.remove()
  })
  return { server, port: line.port }
}

describe('a document that the network has taken and not delivered yet', () => {
  it('[SL8] comes whole over the wire of y-websocket, at the first attempt', async () => {
    const { port } = await start()
    const reader = await new WireClient(`ws://127.0.0.1:${port}/docs/book`, { isPersistent: true }).synced()
    expect(reader.text.length).toBe(2 * MiB)
    expect(reader.closings).toEqual([])
  })

  it('[SL8] comes whole over the wire of Hocuspocus, at the first attempt', async () => {
    const { port } = await start()
    const reader = openTiptap(`ws://127.0.0.1:${port}/hocuspocus`, 'book')
    await until(() => reader.provider.synced, 'the document')
    expect(reader.text.length).toBe(2 * MiB)
    expect(reader.shared.opened).toBe(1)
  })

  it('[SL9] does not keep its reader longer than limits.longestPongMs', async () => {
    const { server, port } = await start('limits.longestPongMs=700')
    const reader = new WireClient(`ws://127.0.0.1:${port}/docs/book`)
    await until(() => server.lines.some(({ msg }) => msg === 'a client that answers no ping is disconnected'), 'its end')
    expect(reader.isSynced).toBe(false)
  })
})
