/** Server-sent events over the wire: the built program, real sockets, a real disk. */
import { afterEach, describe, expect, it } from 'vitest'
import { BusClient } from '../support/bus.ts'
import { closeReaders, EventReader } from '../support/events.ts'
import { channelPath, type HttpClient, secret, tokenOf } from '../support/http.ts'
import { serve } from '../support/service.ts'
import { until } from '../support/wait.ts'

/** A server, and what is asked of it here. */
const serveEvents = (...settings: readonly string[]) => {
  const service = serve(...settings)
  afterEach(closeReaders)
  return {
    ...service,
    /** Opens a stream. */
    read: (channel: string, query = '', headers: Record<string, string> = {}) =>
      new EventReader(service.server().http + channelPath(channel, `/events${query}`), headers),
  }
}

const numbers = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, n) => from + n)
const publishNumbers = async (http: HttpClient, channel: string, from: number, to: number): Promise<void> => {
  const { status, body } = await http.publish(channel, { messages: numbers(from, to).map((n) => ({ content: { n } })) })
  expect([status, body.results.filter((result: object) => 'error' in result)]).toEqual([200, []])
}
const heard = (reader: EventReader, channel?: string): number[] => reader.contents(channel).map((content) => (content as { n: number }).n)

describe('a stream', () => {
  const { server, http, read } = serveEvents()

  it('[SE1] begins with where the channel is, and brings what is published through any door', async () => {
    const reader = await read('news').ready()
    expect([reader.status, reader.headers['content-type'], reader.headers['cache-control'], reader.headers['x-accel-buffering']]).toEqual([
      200,
      'text/event-stream; charset=utf-8',
      'no-store',
      'no',
    ])
    expect(reader.retryMs).toBeGreaterThan(0)
    expect(reader.events[0]).toMatchObject({ event: 'ready', data: { channel: 'news', sequence: 0, recovered: null, replayed: 0 } })
    const member = await new BusClient(`${server().ws}/`).opened()
    await member.publish('news', { n: 1 })
    const { body } = await http().publish('news', { content: { n: 2 } })
    await until(() => heard(reader).length === 2, 'both messages')
    const [first, second] = reader.named('message')
    expect([first, second]).toMatchObject([
      { data: { type: 'message', channel: 'news', content: { n: 1 }, sequence: 1 } },
      { data: { id: body.id, content: { n: 2 }, sequence: 2 } },
    ])
    expect(second?.id).toBe(`${body.epoch}:2`)
  })

  it('[SE12] of $telemetry brings what happens on the server', async () => {
    const reader = await read('$telemetry').ready()
    const member = await new BusClient(`${server().ws}/`).opened()
    await member.join('watched')
    await until(() => reader.named('telemetry').length > 0, 'an event')
    expect(reader.named('telemetry')[0]).toMatchObject({ data: { channel: '$telemetry', content: { type: 'telemetry' } } })
  })

  it('[SE2] can begin with the last messages', async () => {
    await publishNumbers(http(), 'archive', 1, 20)
    const reader = await read('archive', '?rewind=5').ready()
    await publishNumbers(http(), 'archive', 21, 22)
    await until(() => heard(reader).length === 7, 'old and new messages')
    expect(heard(reader)).toEqual(numbers(16, 22))
    expect(reader.named('ready')[0]?.data).toMatchObject({ replayed: 5, sequence: 20 })
  })

  it('[SE3] tells who comes and goes, and shows its reader unless told not to', async () => {
    const watcher = await new BusClient(`${server().ws}/`).opened()
    await watcher.join('lobby')
    const silent = await read('lobby', '?presence=false').ready()
    const reader = await read('lobby').ready()
    await watcher.frame((frame) => (frame.content as { type?: string } | undefined)?.type === 'user_joined', 'the reader')
    expect(watcher.events('user_joined')).toHaveLength(1)
    const bob = await new BusClient(`${server().ws}/`).opened()
    await bob.command('set_status', { username: 'bob', status: 'online' })
    await bob.join('lobby')
    await until(() => reader.named('presence').length > 0, 'bob')
    expect(reader.named('presence').at(-1)?.data).toMatchObject({ channel: 'lobby', content: { type: 'user_joined', user: 'bob' } })
    expect(silent.named('presence')).toEqual([])
  })

  it('[SE4] goes on after the channel is deleted, and says so', async () => {
    const reader = await read('doomed').ready()
    await http().send('DELETE', channelPath('doomed'))
    await until(() => reader.named('closed').length === 1, 'the end of the channel')
    expect(reader.named('closed')[0]?.data.content).toMatchObject({ type: 'channel_deleted', channel: 'doomed' })
    expect(reader.hasEnded).toBe(false)
  })

  it('[SE5] brings several channels, with one place for all of them', async () => {
    const open = (headers = {}) => new EventReader(`${server().http}/v1/events?channel=left&channel=right&channel=left`, headers)
    const reader = await open().ready(2)
    await publishNumbers(http(), 'left', 1, 3)
    await publishNumbers(http(), 'right', 1, 2)
    await until(() => reader.named('message').length === 5, 'both channels')
    reader.close()
    await publishNumbers(http(), 'left', 4, 5)
    await publishNumbers(http(), 'right', 3, 3)
    const back = await open({ 'last-event-id': reader.lastId }).ready(2)
    await until(() => back.named('message').length === 3, 'what was missed')
    expect([heard(back, 'left'), heard(back, 'right')]).toEqual([[4, 5], [3]])
    expect(back.named('ready').map(({ data }) => data.recovered)).toEqual([true, true])
  })
})

describe('a reader that comes back', () => {
  const { http, read, restart } = serveEvents('bus.replayMessages=50')

  it.each(['SIGKILL', 'SIGTERM'] as const)('[SE6] gets exactly what it missed, also over a %s', async (signal) => {
    const channel = `feed-${signal}`
    await publishNumbers(http(), channel, 1, 3)
    const reader = await read(channel, '?rewind=10').ready()
    await until(() => heard(reader).length === 3, 'the first messages')
    await restart(signal)
    await reader.ended()
    if (signal === 'SIGTERM') expect(reader.events.at(-1)).toMatchObject({ event: 'end', data: { code: 'system.closed' } })
    await publishNumbers(http(), channel, 4, 30)
    const back = await read(channel, '?rewind=10', { 'last-event-id': reader.lastId }).ready()
    await publishNumbers(http(), channel, 31, 32)
    await until(() => heard(back).length === 29, 'what was missed and what is new')
    expect(heard(back)).toEqual(numbers(4, 32))
    expect(back.named('ready')[0]?.data).toMatchObject({ recovered: true, replayed: 27 })
  })

  it('[SE6] from the beginning of a stream on which nothing came', async () => {
    const reader = await read('quiet').ready()
    reader.close()
    await publishNumbers(http(), 'quiet', 1, 2)
    const back = await read('quiet', '', { 'last-event-id': reader.lastId }).ready()
    await until(() => heard(back).length === 2, 'what was missed')
    expect(back.named('ready')[0]?.data.recovered).toBe(true)
  })

  it('[SE7] is told when it missed too much, and gets none of it', async () => {
    const reader = await read('flood').ready()
    reader.close()
    await publishNumbers(http(), 'flood', 1, 51)
    const back = await read('flood', '', { 'last-event-id': reader.lastId }).ready()
    expect(back.named('ready')[0]).toMatchObject({ data: { recovered: false, replayed: 0, sequence: 51 } })
    await publishNumbers(http(), 'flood', 52, 52)
    await until(() => heard(back).length > 0, 'the next message')
    expect(heard(back)).toEqual([52])
    // It has a place again.
    back.close()
    await publishNumbers(http(), 'flood', 53, 54)
    const third = await read('flood', '', { 'last-event-id': back.lastId }).ready()
    await until(() => heard(third).length === 2, 'what was missed')
    expect([third.named('ready')[0]?.data.recovered, heard(third)]).toEqual([true, [53, 54]])
  })

  it.each(['another:5', 'nonsense', '1'])('[SE7] is told when nobody knows where it was (%s)', async (id) => {
    await publishNumbers(http(), 'known', 1, 2)
    const reader = await read('known', '', { 'last-event-id': id }).ready()
    expect(reader.named('ready')[0]?.data.recovered).toBe(false)
  })
})

describe('what is refused', () => {
  const { server, http, read } = serveEvents(
    `auth.jwtSecret=${secret}`,
    'auth.anonymous=false',
    'auth.clockSkewMs=0',
    'limits.connections=4',
  )
  const as = async (user: string, permissions: readonly string[], expiresInS?: number) => ({
    authorization: `Bearer ${await tokenOf(user, { permissions }, expiresInS)}`,
  })

  it('[SE8] is refused with a status, and not with a stream that a browser would open for ever', async () => {
    const refused = async (reader: EventReader) => {
      await reader.ended()
      return [reader.status, JSON.parse(reader.body).error.code]
    }
    expect(await refused(read('a'))).toEqual([401, 'auth.required'])
    const headers = await as('ann', ['channel:a:read', 'command:*'])
    expect(await refused(read('b', '', headers))).toEqual([403, 'access.denied'])
    expect(await refused(read('a', '?channel=b', headers))).toEqual([403, 'access.denied'])
    expect(await refused(read('private_bob', '', headers))).toEqual([403, 'access.denied'])
    expect(await refused(read('a', '?rewind=many', headers))).toEqual([400, 'command.bad_parameters'])
    expect(await refused(new EventReader(`${server().http}/v1/events`, headers))).toEqual([400, 'command.bad_parameters'])
    const many = numbers(1, 17).map((n) => `channel=a${n}`)
    expect(await refused(new EventReader(`${server().http}/v1/events?${many.join('&')}`, headers))).toEqual([400, 'command.bad_parameters'])
    expect(await refused(read('a', '', await as('ann', ['channel:a:read'])))).toEqual([403, 'access.denied'])
    await until(async () => (await http().get('/status')).body.connections.total === 0, 'nobody left behind')
  })

  it('[SE9] ends when the account does, and says why', async () => {
    const token = await tokenOf('ann', { permissions: ['*'] }, 2)
    const reader = await read('a', `?token=${token}`).ready()
    await reader.ended()
    expect(reader.events.at(-1)).toMatchObject({ event: 'end', data: { code: 'auth.expired' } })
  })

  it('[SE9] ends when the account is revoked, and says why', async () => {
    const reader = await read('a', '', await as('eve', ['*'])).ready()
    const admin = http().with(await as('root', ['admin', 'revoke']))
    expect((await admin.send('POST', '/v1/revocations', { user: 'eve' })).status).toBe(201)
    await reader.ended()
    expect(reader.events.at(-1)).toMatchObject({ event: 'end', data: { code: 'auth.revoked' } })
  })

  it('[SE9] is refused beyond the connections that there may be', async () => {
    const headers = await as('ann', ['*'])
    await until(async () => (await http().get('/status')).body.connections.total === 0, 'the end of the readers before')
    for (let n = 0; n < 4; n++) await read('a', '', headers).ready()
    const fifth = read('a', '', headers)
    await fifth.ended()
    expect([fifth.status, fifth.headers['retry-after']]).toEqual([503, '1'])
  })
})

describe('a reader that does not read', () => {
  const { http, read } = serveEvents('limits.outboundBytes=262144')

  it('[SE10] is cut off, and others go on', async () => {
    const frozen = await read('torrent').ready()
    const reader = await read('torrent').ready()
    frozen.freeze()
    const text = 'x'.repeat(100_000)
    let sent = 0
    const connections = async () => (await http().get('/status')).body.connections.total
    // The kernel takes some MB before anything waits here.
    while ((await connections()) === 2 && sent < 1_000)
      expect((await http().publish('torrent', { content: { n: ++sent, text } })).status).toBe(201)
    expect(await connections()).toBe(1)
    await until(() => heard(reader).length === sent, 'all of it')
    expect(heard(reader)).toEqual(numbers(1, sent))
  })

  it('[SE11] and leaves, is gone for the others, too', async () => {
    const watcher = await read('room').ready()
    const reader = await read('room').ready()
    await until(() => watcher.named('presence').length === 1, 'its coming')
    reader.close()
    await until(async () => (await http().get(channelPath('room'))).body.connections === 1, 'its going')
  })
})
