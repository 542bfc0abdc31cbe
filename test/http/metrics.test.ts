import { Registry } from 'prom-client'
import { describe, expect, it } from 'vitest'
import { busMetrics } from '../../src/telemetry/busMetrics.ts'

const stage = () => {
  const registry = new Registry()
  const metrics = busMetrics(registry, { connections: () => 3, channels: () => 2, telemetryWatchers: () => 1 })
  /** Value of a line of the text that Prometheus reads. */
  const value = async (line: string): Promise<number> => {
    const found = (await registry.metrics()).split('\n').find((row) => row.startsWith(`${line} `))
    return Number(found?.slice(line.length + 1))
  }
  return { ...metrics, registry, value }
}

describe('metrics of the bus', () => {
  it('have the names of the ArqonBus guide', async () => {
    const { clients, registry, value } = stage()
    clients.request('request.publish')
    clients.request('request.command')
    clients.answered('ping', 4)
    const text = await registry.metrics()
    for (const [name, type] of [
      ['arqonbus_messages_total', 'counter'],
      ['arqonbus_connections_active', 'gauge'],
      ['arqonbus_processing_seconds', 'histogram'],
    ])
      expect(text).toContain(`# TYPE ${name} ${type}`)
    expect(await value('arqonbus_messages_total')).toBe(2)
    expect(await value('arqonbus_connections_active')).toBe(3)
    expect(await value('arqonbus_processing_seconds_sum')).toBeCloseTo(0.004)
  })

  it('count what channels and clients do', async () => {
    const { channels, clients, value } = stage()
    channels.published(5, 20)
    channels.published(1, 2)
    channels.delivered(500)
    channels.delivered(7)
    channels.refused('message.id_reused')
    clients.refused('rate.limited')
    clients.login('ok')
    clients.login('auth.failed')
    clients.login('auth.failed')
    const expected = {
      troupe_channel_messages_total: 6,
      troupe_channel_commits_total: 2,
      troupe_channel_deliveries_total: 507,
      troupe_channel_commit_seconds_sum: 0.022,
      troupe_channels: 2,
      troupe_telemetry_watchers: 1,
      'troupe_channel_refused_total{code="message.id_reused"}': 1,
      'troupe_client_refused_total{code="rate.limited"}': 1,
      'troupe_logins_total{result="ok"}': 1,
      'troupe_logins_total{result="auth.failed"}': 2,
    }
    for (const [line, count] of Object.entries(expected)) expect([line, await value(line)]).toEqual([line, count])
  })

  it('do not grow with the names that a program makes up for its commands', async () => {
    const { clients, registry, value } = stage()
    for (let n = 0; n < 600; n++) clients.answered(`made_up_${n}`, 1)
    const rows = (await registry.metrics()).split('\n').filter((row) => row.startsWith('troupe_client_answers_total{'))
    expect(rows).toHaveLength(501)
    expect(await value('troupe_client_answers_total{command="other"}')).toBe(100)
  })
})
