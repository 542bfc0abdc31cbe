/** What `/metrics` of the built server tells of documents and presence. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Running, startTroupe, temporaryDirectory } from '../support/process.ts'
import { until } from '../support/wait.ts'
import { closeWires, encodePresence, WireClient, wire } from '../support/wire.ts'

const data = temporaryDirectory()
let server: Running

beforeAll(async () => {
  server = await startTroupe(data.path, ['--set', 'limits.awarenessBurst=5', '--set', 'limits.awarenessPerSecond=1'])
})
afterAll(async () => {
  closeWires()
  await server.kill()
  data.remove()
})

const metric = async (name: string): Promise<number> => {
  const text = await fetch(`${server.http}/metrics`).then((response) => response.text())
  const line = text.split('\n').find((line) => line.startsWith(`${name} `))
  return Number(line?.split(' ')[1] ?? Number.NaN)
}

const say = (client: WireClient, id: number, clock: number): void => {
  client.send(wire.awareness(encodePresence([{ client: id, clock, state: `{"at":${clock}}` }])))
}

describe('the metrics of documents', () => {
  it('[MD1] tell how sizes and clients are spread over the documents, and name none', async () => {
    expect(await metric('troupe_documents_open')).toBe(0)
    const crowd = await Promise.all(Array.from({ length: 5 }, () => new WireClient(`${server.ws}/docs/crowd`).synced()))
    const alone = await new WireClient(`${server.ws}/docs/alone`).synced()
    await alone.edit('x'.repeat(5_000))
    await until(async () => (await metric('troupe_documents_open')) === 2, 'both documents')
    expect(await metric('troupe_document_clients{quantile="0.5"}')).toBe(1)
    expect(await metric('troupe_document_clients{quantile="1"}')).toBe(5)
    expect(await metric('troupe_document_bytes{quantile="1"}')).toBeGreaterThan(5_000)
    expect(await metric('troupe_document_bytes{quantile="0.5"}')).toBeLessThan(100)
    for (const client of [...crowd, alone]) client.close()
    await until(async () => (await metric('troupe_documents_open')) === 0, 'nobody')
    expect(await metric('troupe_document_clients{quantile="1"}')).toBeNaN()
    const text = await fetch(`${server.http}/metrics`).then((response) => response.text())
    expect(text).not.toContain('crowd')
  })

  it('[MD2] count presence: what came, what was overtaken, what was known, and how often it was told to whom', async () => {
    const [speaker, echo, reader] = await Promise.all(Array.from({ length: 3 }, () => new WireClient(`${server.ws}/docs/present`).synced()))
    if (speaker === undefined || echo === undefined || reader === undefined) throw new Error('three clients')
    say(speaker, 7, 1)
    await until(() => reader.presence.get(7)?.state === '{"at":1}', 'the first state')
    await until(async () => (await metric('troupe_presence_sent_total')) === 3, 'what was sent')
    const { clock } = reader.presence.get(7) ?? { clock: 0 }
    say(echo, 7, clock)
    await until(async () => (await metric('troupe_presence_states_total{result="known"}')) === 1, 'the echo')
    const counts = ['received_total', 'dropped_total', 'states_total{result="news"}', 'windows_total']
    const numbers = () => Promise.all(counts.map((name) => metric(`troupe_presence_${name}`)))
    expect(await numbers()).toEqual([2, 0, 1, 1])
    expect(await metric('troupe_presence_states')).toBe(1)
    // A few are let through at once; of the others only the last.
    for (let at = 0; at < 30; at++) say(speaker, 7, clock + 1 + at)
    await until(() => reader.presence.get(7)?.state === `{"at":${clock + 30}}`, 'the last state')
    const [received = 0, dropped = 0, news = 0, windows = 0] = await numbers()
    expect(dropped).toBeGreaterThan(10)
    expect([received, dropped + news + 1]).toEqual([32, 32])
    expect(windows + (await metric('troupe_presence_collapsed_total'))).toBe(news)
    expect(await metric('troupe_presence_sent_total')).toBe(3 * windows)
    speaker.close()
    await until(async () => (await metric('troupe_presence_states')) === 0, 'nobody')
  })
})
