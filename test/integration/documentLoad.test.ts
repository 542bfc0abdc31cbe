/** Many who come at once, and many documents that nobody has open: against a running server with small limits. */
import { HocuspocusProvider, HocuspocusProviderWebsocket } from '@hocuspocus/provider'
import { afterEach, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { type Running, startTroupe, temporaryDirectory } from '../support/process.ts'
import { until } from '../support/wait.ts'
import { closeWires, WireClient } from '../support/wire.ts'

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

const metric = async (server: Running, name: string): Promise<number> => {
  const text = await fetch(`${server.http}/metrics`).then((response) => response.text())
  return Number(new RegExp(`^${name} (.+)$`, 'm').exec(text)?.[1] ?? Number.NaN)
}

describe('many who come at once', () => {
  it('[BGI10] get their document one after the other; those for whom it would take too long are told when to come back', async () => {
    const server = await start('limits.connectionsPerSecond=10', 'limits.joinWaitMs=1000')
    const clients = Array.from({ length: 40 }, () => new WireClient(`${server.ws}/docs/rush`))
    await until(() => clients.every(({ isSynced, closings }) => isSynced || closings.length > 0), 'an answer for all')
    const refused = clients.flatMap(({ closings }) => closings)
    expect(refused.length).toBeGreaterThan(10)
    expect(refused.length).toBeLessThan(40)
    for (const { code, reason } of refused) {
      expect(code).toBe(1013)
      expect(reason).toMatch(/^document\.busy: retry after \d+ ms$/)
    }
    expect(new Set(refused.map(({ reason }) => reason)).size).toBeGreaterThan(refused.length / 2)
    await (clients.find(({ isSynced }) => isSynced) as WireClient).edit('in')
  })

  it('[BGI11] are all served when their turn comes, on every listener and both wires, with what they said meanwhile', async () => {
    const data = temporaryDirectory()
    const server = await startTroupe(data.path, ['--listen', '0:yjs', '--set', 'limits.connectionsPerSecond=20'])
    cleanups.push(() => server.kill().then(data.remove))
    const [main, yjs] = server.ports.map((port) => `ws://127.0.0.1:${port}`) as [string, string]
    const synced: (() => boolean)[] = []
    for (const url of [`${main}/docs`, yjs])
      for (let n = 0; n < 8; n++) {
        const client = new WireClient(`${url}/room`)
        synced.push(() => client.isSynced)
      }
    for (const url of [`${main}/hocuspocus`, yjs])
      for (let n = 0; n < 4; n++) {
        const socket = new HocuspocusProviderWebsocket({ url, WebSocketPolyfill: WebSocket })
        const provider = new HocuspocusProvider({ websocketProvider: socket, name: 'room' })
        provider.attach()
        cleanups.push(
          () => provider.destroy(),
          () => socket.destroy(),
        )
        synced.push(() => provider.isSynced)
      }
    await until(() => synced.every((isSynced) => isSynced()), 'everybody')
  })
})

describe('documents that nobody has open', () => {
  it('[BGI12] leave memory when all together weigh too much, and come back when somebody asks', async () => {
    const server = await start('documents.memoryBytes=300000', 'documents.idleMs=600000')
    for (let i = 0; i < 6; i++) {
      const client = await new WireClient(`${server.ws}/docs/large-${i}`).synced()
      await client.edit('x'.repeat(100_000))
      client.close()
    }
    await until(async () => (await metric(server, 'troupe_documents_bytes')) <= 300_000, 'room')
    await until(async () => (await metric(server, 'troupe_actors\\{kind="document"\\}')) <= 3, 'those that left')
    const again = await new WireClient(`${server.ws}/docs/large-0`).synced()
    expect(again.text.length).toBe(100_000)
  })
})
