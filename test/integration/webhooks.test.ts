/** Webhooks of the built server: signed, debounced, tried again, through a kill. */
import { createHmac, randomBytes } from 'node:crypto'
import { createServer, type IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { WebsocketProvider } from 'y-websocket'
import * as Y from 'yjs'
import { startTroupe, temporaryDirectory } from '../support/process.ts'
import { until } from '../support/wait.ts'

interface Received {
  readonly headers: IncomingHttpHeaders
  readonly body: string
}

const key = randomBytes(32)

describe('webhooks', () => {
  const received: Received[] = []
  let status = 204
  const receiver = createServer((request, response) => {
    let body = ''
    request.on('data', (chunk) => {
      body += chunk
    })
    request.on('end', () => {
      received.push({ headers: request.headers, body })
      response.writeHead(status).end()
    })
  })
  const data = temporaryDirectory()
  let flags: string[] = []

  beforeAll(async () => {
    await new Promise<void>((resolve) => receiver.listen(0, '127.0.0.1', resolve))
    const url = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/hook`
    const receivers = JSON.stringify([{ name: 'site', url, secret: `whsec_${key.toString('base64')}`, prefix: 'notes/' }])
    flags = ['--set', `webhooks.receivers=${receivers}`, '--set', 'webhooks.quietMs=100', '--set', 'webhooks.retryMs=50']
  })
  afterAll(() => {
    receiver.close()
    data.remove()
  })

  it('[WW1] an edit is told, signed as Standard Webhooks wants it; what is not asked for is not; a kill loses nothing', async () => {
    const first = await startTroupe(data.path, flags)
    const edit = async (ws: string, name: string, text: string) => {
      const doc = new Y.Doc()
      const provider = new WebsocketProvider(`${ws}/docs`, name, doc, { WebSocketPolyfill: WebSocket as never, disableBc: true })
      await until(() => provider.synced)
      doc.getText('t').insert(0, text)
      return provider
    }
    const ws = (http: string) => http.replace('http', 'ws')
    const providers = [await edit(ws(first.http), 'elsewhere', 'quiet'), await edit(ws(first.http), 'notes/today', 'hello')]
    await until(() => received.length > 0)
    const [{ headers, body }] = received as [Received]
    expect(JSON.parse(body)).toMatchObject({
      type: 'document.changed',
      data: { document: 'notes/today', tenant: '', users: [], offset: 1 },
    })
    const signed = `${headers['webhook-id']}.${headers['webhook-timestamp']}.${body}`
    expect(headers['webhook-signature']).toBe(`v1,${createHmac('sha256', key).update(signed).digest('base64')}`)

    status = 500
    received.length = 0
    providers.push(await edit(ws(first.http), 'notes/later', 'while the receiver is ill'))
    await until(() => received.length > 1)
    for (const provider of providers) provider.destroy()
    first.signal('SIGKILL')
    await first.exited
    status = 204
    received.length = 0
    const second = await startTroupe(data.path, flags)
    await until(() => received.length > 0)
    expect(JSON.parse(received[0]?.body ?? '')).toMatchObject({ type: 'document.changed', data: { document: 'notes/later' } })
    await second.kill()
  })

  it('[WW3] a receiver hears of a document that gets a name of its prefix, or loses it', async () => {
    const troupe = await startTroupe(data.path, flags)
    received.length = 0
    const ask = (path: string, to?: string) =>
      fetch(`${troupe.http}/v1/documents/${path}`, {
        method: to === undefined ? 'PUT' : 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(to === undefined ? { content: { t: 'x' } } : { to }),
      })
    await ask('drafts%2Fa')
    await ask('drafts%2Fa/rename', 'notes/a')
    await ask('notes%2Fa/rename', 'drafts/b')
    await ask('drafts%2Fb/rename', 'drafts/c')
    await ask('notes%2Fend')
    await until(() => received.some(({ body }) => body.includes('notes/end')), 'the last one')
    const heard = received.map(({ body }) => JSON.parse(body) as { type: string; data: { document: string; to?: string } })
    expect(heard.filter(({ type }) => type === 'document.renamed').map(({ data }) => [data.document, data.to])).toEqual([
      ['drafts/a', 'notes/a'],
      ['notes/a', 'drafts/b'],
    ])
    await troupe.kill()
  })

  it('[WW2] a receiver without a proper secret is refused at the start', async () => {
    const bad = JSON.stringify([{ name: 'site', url: 'https://example.org/', secret: 'whsec_short' }])
    await expect(startTroupe(temporaryDirectory().path, ['--set', `webhooks.receivers=${bad}`])).rejects.toThrow(/secret|exited|config/)
  })
})
