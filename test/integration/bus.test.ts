/** The message bus over the wire: the built program, real sockets, a real disk. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { openRawWebSocket } from '../support/attacks.ts'
import { BusClient, closeBusClients, type Frame } from '../support/bus.ts'
import { type Running, startTroupe, temporaryDirectory } from '../support/process.ts'
import { MiB } from '../support/processes.ts'
import { until } from '../support/wait.ts'
import { SeededRandom } from '../support/world.ts'

const seed = Number(process.env.SEED ?? 20_261_121)

const connected = (server: Running): Promise<BusClient> => new BusClient(`${server.ws}/`).opened()

/** A client that goes by a name, and so has an inbox and a status. */
const named = async (server: Running, username: string): Promise<BusClient> => {
  const client = await connected(server)
  await client.command('set_status', { username, status: 'online' })
  return client
}

interface Service {
  readonly server: () => Running
  /** Ends the process in this way and starts the next on the same port and disk. */
  restart(signal: NodeJS.Signals): Promise<void>
}

/** A server for all tests of a describe. */
const serve = (...settings: string[]): Service => {
  const data = temporaryDirectory()
  let running: Running | undefined
  const start = async (...more: string[]) => {
    running = await startTroupe(data.path, [...settings.flatMap((setting) => ['--set', setting]), ...more])
  }
  beforeAll(() => start())
  afterEach(closeBusClients)
  afterAll(async () => {
    await running?.kill()
    data.remove()
  })
  const server = (): Running => {
    if (running === undefined) throw new Error('the server is not there yet')
    return running
  }
  return {
    server,
    restart: async (signal) => {
      const { port, exited } = server()
      server().signal(signal)
      await exited
      await start('--port', String(port))
    },
  }
}

const isoTime = expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)

describe('a message', () => {
  const { server } = serve()

  it('[BW1] comes to every member in the envelope of the guide, on a connection that was silent before', async () => {
    const [a, b] = await Promise.all([connected(server()), connected(server())])
    expect([a.texts, b.texts]).toEqual([[], []])
    for (const client of [a, b]) await client.join('envelope')
    const metadata = { recipient: null, trace: ['x', 1] }
    a.send({ type: 'message', channel: 'envelope', content: { text: 'hi' }, sender: 'ada', id: 'm-1', metadata, extra: 'ignored' })
    const wanted = {
      id: 'm-1',
      type: 'message',
      timestamp: isoTime,
      sender: 'ada',
      channel: 'envelope',
      content: { text: 'hi' },
      metadata,
      sequence: 1,
      epoch: expect.stringMatching(/./),
    }
    for (const client of [a, b]) expect(await client.frame(({ sequence }) => sequence === 1)).toEqual(wanted)
  })

  it('[BW2] keeps its content as it was, whatever is in it; what is neither object nor text is put into `data`', async () => {
    const [a, b] = await Promise.all([connected(server()), connected(server())])
    await b.join('content')
    const objects = [
      '{}',
      '{"__proto__":{"a":1},"constructor":2}',
      '{"timestamp":"2025-01-01T00:00:00","n":1e-7}',
      '{"deep":[[[{"x":null}]]]}',
    ]
    const texts = ['""', '"text"', '"déjà 漢字 𝄞 \\u0000 \\ud800"', `"${'x'.repeat(70_000)}"`]
    const wrapped = ['1', 'null', 'true', '[1,2]', '-0.5']
    for (const content of [...objects, ...texts, ...wrapped]) a.send(`{"type":"message","channel":"content","content":${content}}`)
    const all = objects.length + texts.length + wrapped.length
    await until(() => b.messages('content').length === all, 'all messages')
    const heard = b.texts.filter((_, index) => typeof b.frames[index]?.sequence === 'number')
    for (const [index, content] of [...objects, ...texts].entries())
      expect(heard[index]).toContain(`"content":${JSON.stringify(JSON.parse(content)).replace(/^{"a":1},/, '')}`)
    expect(b.contents('content').slice(-wrapped.length)).toEqual(wrapped.map((content) => ({ data: JSON.parse(content) })))
  })

  it('[BW3] reaches the members from somebody who never joined, who hears the first eight of its own and no more', async () => {
    const [outsider, member] = await Promise.all([connected(server()), connected(server())])
    await member.join('budget')
    for (let n = 0; n < 20; n++) outsider.send({ type: 'message', channel: 'budget', content: { n } })
    await until(() => member.messages('budget').length === 20, 'all at the member')
    await outsider.settled()
    expect(outsider.contents('budget')).toEqual(Array.from({ length: 8 }, (_, n) => ({ n })))
    expect(member.contents('budget')).toEqual(Array.from({ length: 20 }, (_, n) => ({ n })))
    for (let n = 0; n < 20; n++) member.send({ type: 'message', channel: 'budget', content: { own: n } })
    await until(() => member.messages('budget').length === 40, 'all of its own')
  })

  it('[BW4] goes to nobody outside of its channel', async () => {
    const [a, b] = await Promise.all([connected(server()), connected(server())])
    await a.join('inside')
    await b.join('outside')
    expect(await a.publish('inside', 'x')).toMatchObject({ type: 'ack' })
    await b.settled()
    expect(b.messages()).toEqual([])
  })

  it('[BW5] is numbered 1, 2, 3 in one order for all, whoever sends', async () => {
    const clients = await Promise.all(Array.from({ length: 5 }, () => connected(server())))
    await Promise.all(clients.map((client) => client.join('order')))
    for (let n = 0; n < 100; n++)
      for (const [from, client] of clients.entries()) client.send({ type: 'message', channel: 'order', content: { from, n } })
    await until(() => clients.every((client) => client.messages('order').length === 500), 'all messages at all')
    const [first, ...others] = clients.map((client) => client.messages('order'))
    expect(first?.map(({ sequence }) => sequence)).toEqual(Array.from({ length: 500 }, (_, index) => index + 1))
    for (const heard of others) expect(heard).toEqual(first)
    for (const from of clients.keys()) {
      const own = first?.map(({ content }) => content as { from: number; n: number }).filter((content) => content.from === from)
      expect(own?.map(({ n }) => n)).toEqual(Array.from({ length: 100 }, (_, n) => n))
    }
  })

  it('[BW6] is acknowledged where that is asked for, with what names its place', async () => {
    const client = await connected(server())
    const joined = await client.join('acknowledged')
    const ack = await client.publish('acknowledged', 'x', { id: 'mine' })
    expect(ack).toEqual({
      type: 'ack',
      id: 'mine',
      channel: 'acknowledged',
      sequence: joined.data.sequence + 1,
      epoch: expect.stringMatching(/./),
      timestamp: isoTime,
      repeated: false,
      request_id: expect.any(String),
    })
    client.send({ type: 'message', channel: 'acknowledged', content: 'y' })
    await client.settled()
    expect(client.frames.filter(({ type }) => type === 'ack')).toHaveLength(1)
  })

  it('[BW7] that comes again under its id is there once, and is answered like the first; another one under this id is refused', async () => {
    const [a, b] = await Promise.all([connected(server()), connected(server())])
    await b.join('again')
    const first = await a.publish('again', { n: 1 }, { id: 'm', sender: 'ada' })
    const again = await a.publish('again', { n: 1 }, { id: 'm', sender: 'ada' })
    const other = await a.publish('again', { n: 2 }, { id: 'm', sender: 'ada' })
    const somebodyElse = await b.publish('again', { n: 3 }, { id: 'm', sender: 'bob' })
    expect(again).toEqual({ ...first, repeated: true, request_id: again.request_id })
    expect(other).toMatchObject({ type: 'error', code: 'message.id_reused', id: 'm', channel: 'again' })
    expect(somebodyElse).toMatchObject({ type: 'ack', repeated: false, sequence: 2 })
    await b.settled()
    expect(b.contents('again')).toEqual([{ n: 1 }, { n: 3 }])
  })

  it('[BW8] in a batch is published as if it had come alone; one that is refused takes no other with it', async () => {
    const [a, b] = await Promise.all([connected(server()), connected(server())])
    await b.join('batch')
    const messages = [
      { channel: 'batch', content: 1, id: 'a' },
      { type: 'event', channel: 'batch', content: { n: 2 } },
      { channel: 'batch' },
      'nothing',
      { type: 'command', command: 'status' },
      { channel: 'batch', content: 'last' },
    ]
    a.send({ type: 'batch', messages, ack: true, request_id: 'r' })
    await until(() => a.frames.filter(({ type }) => type === 'ack' || type === 'error').length === 6, 'six answers')
    await until(() => b.messages('batch').length === 3, 'three messages')
    expect(b.messages('batch').map(({ type, content }) => [type, content])).toEqual([
      ['message', { data: 1 }],
      ['event', { n: 2 }],
      ['message', 'last'],
    ])
    expect(a.frames.filter(({ type }) => type === 'ack').map(({ sequence, request_id }) => [sequence, request_id])).toEqual([
      [1, 'r'],
      [2, 'r'],
      [3, 'r'],
    ])
    expect(a.frames.filter(({ type }) => type === 'error').map(({ code }) => code)).toEqual(Array(3).fill('message.malformed'))
    a.send({ type: 'batch', messages: Array(1_001).fill({ channel: 'batch', content: 0 }), request_id: 'large' })
    expect(await a.frame(({ request_id }) => request_id === 'large')).toMatchObject({ type: 'error', code: 'message.too_large' })
    a.send({ type: 'batch', messages: [] })
    await a.settled()
    expect((await a.command('channel_info', { channel: 'batch' })).data.sequence).toBe(3)
  })

  it('[BW9] without a channel goes to the room that it names; an event of a client can be told from one of the server', async () => {
    const [a, b] = await Promise.all([connected(server()), connected(server())])
    await b.join('lobby')
    a.send({ type: 'event', room: 'lobby', content: { type: 'user_joined', user: 'nobody' }, sender: 'ada' })
    expect(await b.frame(({ type }) => type === 'event')).toMatchObject({ channel: 'lobby', room: 'lobby', sender: 'ada', sequence: 1 })
    a.send({ type: 'message', channel: 'lobby', room: 'elsewhere', content: 'x' })
    expect(await b.frame(({ sequence }) => sequence === 2)).toMatchObject({
      channel: 'lobby',
      room: 'elsewhere',
      sender: expect.any(String),
    })
  })

  it('[BW10] that was said before the client closed its connection is published', async () => {
    const reader = await connected(server())
    await reader.join('goodbye')
    const writer = await connected(server())
    writer.send({ type: 'command', command: 'join_channel', channel: 'goodbye' })
    for (let n = 0; n < 500; n++) writer.send({ type: 'message', channel: 'goodbye', content: { n } })
    writer.socket.close(1000)
    await writer.closed
    await until(() => reader.messages('goodbye').length === 500, 'all 500')
  })

  it('[BW11] may be close to 1 MiB, and then comes through whole; what would not fit into 1 MiB with its envelope is refused', async () => {
    const [a, b] = await Promise.all([connected(server()), connected(server())])
    await b.join('large')
    const fitting = 'é'.repeat((MiB - 16 * 1024) / 2)
    expect(await a.publish('large', fitting)).toMatchObject({ type: 'ack' })
    await until(() => b.messages('large').length === 1, 'the message')
    expect(b.contents('large')).toEqual([fitting])
    for (const characters of [MiB - 100, MiB, MiB + 512 * 1024]) {
      const from = a.frames.length
      a.send({ type: 'message', channel: 'large', content: 'x'.repeat(characters) })
      expect(await a.frame(({ type }) => type === 'error', 'a refusal', from)).toMatchObject({
        code: 'message.too_large',
        rule: expect.any(String),
      })
    }
    await b.settled()
    expect(b.messages('large')).toHaveLength(1)
    expect(Math.max(...b.texts.map((text) => Buffer.byteLength(text)))).toBeLessThanOrEqual(MiB)
    a.send('x'.repeat(3 * MiB))
    expect((await a.closed).code).toBe(1009)
  })
})

describe('a command', () => {
  const { server } = serve()
  let client: BusClient
  const ok = async (command: string, parameters: object = {}) => {
    const answer = await client.command(command, parameters)
    expect(answer).toMatchObject({ type: 'command_response', command, success: true, timestamp: isoTime })
    return answer.data
  }
  const refused = async (command: string, parameters: object = {}) => {
    const answer = await client.command(command, parameters)
    expect(answer).toMatchObject({ type: 'command_response', command, success: false, error: expect.stringMatching(/./) })
    return answer.code
  }

  it('[BC1] status, ping and help say what is there', async () => {
    client = await connected(server())
    expect(await ok('status')).toMatchObject({ server: 'troupe', version: expect.any(String), channels: [], uptime_ms: expect.any(Number) })
    expect(await ok('ping')).toEqual({ pong: true, timestamp: isoTime })
    const { commands } = await ok('help')
    const wanted =
      'status ping authenticate set_status create_channel delete_channel join_channel leave_channel list_channels channel_info members create_room list_rooms history subscribe_telemetry help'
    expect(commands.map(({ name }: { name: string }) => name)).toEqual(expect.arrayContaining(wanted.split(' ')))
    for (const { help } of commands) expect(help).toMatch(/./)
    expect((await ok('help', { topic: 'ignored' })).commands).toEqual(commands)
    client.send({ type: 'command', command: 'help', data: { command: 'ping' }, request_id: 'one' })
    expect((await client.frame(({ request_id }) => request_id === 'one')).data).toMatchObject({ commands: [{ name: 'ping' }] })
  })

  it('[BC2] create_channel, list_channels, channel_info and delete_channel manage channels', async () => {
    client = await connected(server())
    expect(await ok('create_channel', { channel: 'made/one', description: 'first' })).toEqual({
      channel: 'made/one',
      description: 'first',
      created_at: isoTime,
    })
    await ok('create_channel', { channel: 'made/two' })
    expect(await refused('create_channel', { channel: 'made/one' })).toBe('channel.exists')
    expect(await refused('create_channel')).toBe('command.bad_parameters')
    const names = ({ channels }: { channels: { name: string }[] }) => channels.map(({ name }) => name)
    const listed = await ok('list_channels', { prefix: 'made/' })
    expect(listed).toMatchObject({
      channels: [{ name: 'made/one', description: 'first', created_at: isoTime }, { name: 'made/two' }],
      has_more: false,
    })
    expect(names(await ok('list_channels'))).toEqual(expect.arrayContaining(['made/one', 'made/two']))
    const page = await ok('list_channels', { prefix: 'made/', limit: 1 })
    expect([names(page), page.has_more]).toEqual([['made/one'], true])
    expect(names(await ok('list_channels', { prefix: 'made/', after: 'made/one' }))).toEqual(['made/two'])
    await client.publish('made/one', 'x')
    expect(await ok('channel_info', { channel: 'made/one' })).toMatchObject({
      ...{
        channel: 'made/one',
        description: 'first',
        created_at: isoTime,
        room: false,
        sequence: 1,
        first_sequence: 1,
        members: 0,
        connections: 0,
      },
    })
    await client.join('made/one')
    expect(await ok('delete_channel', { channel: 'made/one' })).toEqual({ channel: 'made/one' })
    expect(await client.frame(({ type }) => type === 'event')).toMatchObject({ channel: 'made/one', content: { type: 'channel_deleted' } })
    expect(await refused('delete_channel', { channel: 'made/one' })).toBe('channel.unknown')
    expect(names(await ok('list_channels', { prefix: 'made/' }))).toEqual(['made/two'])
    expect((await ok('status')).channels).toEqual([])
    expect((await ok('join_channel', { channel: 'made/one' })).sequence).toBe(0)
  })

  it('[BC3] join_channel and leave_channel, subscribe and unsubscribe say what the client is in', async () => {
    client = await connected(server())
    expect(await ok('join_channel', { channel: 'in/a' })).toMatchObject({
      ...{ channel: 'in/a', description: '', created_at: isoTime, room: false, sequence: 0, recovered: null, replayed: 0 },
    })
    await ok('join_channel', { channel: 'in/a' })
    expect(await ok('subscribe', { channels: ['in/b', 'in/c'] })).toEqual({ channels: ['in/a', 'in/b', 'in/c'] })
    expect(await refused('subscribe', { channels: ['in/d', '~no'] })).toBe('channel.bad_name')
    expect((await ok('status')).channels).toEqual(['in/a', 'in/b', 'in/c'])
    expect(await ok('unsubscribe', { channels: ['in/b', 'in/never'] })).toEqual({ channels: ['in/a', 'in/c'] })
    expect(await ok('leave_channel', { channel: 'in/a' })).toMatchObject({ channel: 'in/a', left: true })
    expect(await ok('leave_channel', { channel: 'in/a' })).toMatchObject({ channel: 'in/a', left: false })
    expect((await ok('status')).channels).toEqual(['in/c'])
    await client.publish('in/a', 'not heard', { sender: 'x'.repeat(20) })
    for (let n = 0; n < 8; n++) client.send({ type: 'message', channel: 'in/b', content: n }) // the echo budget
    await client.settled()
    expect(await refused('join_channel')).toBe('command.bad_parameters')
    expect(await refused('join_channel', { channel: 7 })).toBe('command.bad_parameters')
    expect(await refused('join_channel', { channel: 'in/a', recover: 'soon' })).toBe('command.bad_parameters')
  })

  it.each([
    ['empty', ''],
    ['of a tenant', '~other/secret'],
    ['reserved', '$telemetry'],
    ['with a control character', 'a\nb'],
    ['with an invisible character', 'a\u200bb'],
    ['of 256 bytes', 'é'.repeat(128)],
    ['ill-formed', 'a\ud800'],
  ])('[BC4] a name that is %s is that of no channel, for no command and no message', async (_what, channel) => {
    client = await connected(server())
    for (const command of ['join_channel', 'create_channel', 'history', 'members', 'channel_info', 'delete_channel'])
      expect([command, await refused(command, { channel })]).toEqual([command, 'channel.bad_name'])
    const answer = await client.publish(channel, 'x')
    expect(answer).toMatchObject({
      type: 'error',
      code: channel === '' ? expect.stringMatching(/^(channel.bad_name|message.malformed)$/) : 'channel.bad_name',
    })
  })

  it('[BC5] names that look the same are the same: they are normalised', async () => {
    client = await connected(server())
    await ok('join_channel', { channel: 'caf\u00e9' })
    expect(await client.publish('cafe\u0301', 'x')).toMatchObject({ type: 'ack', channel: 'caf\u00e9' })
    await until(() => client.messages().length === 1, 'the message')
  })

  it('[BC6] history pages through a channel in both directions, by sequence and by time', async () => {
    client = await connected(server())
    for (let n = 1; n <= 30; n++) await client.publish('past', { n })
    const sequences = async (range: object) => {
      const { messages, has_more } = await ok('history', { channel: 'past', ...range })
      return [messages.map(({ sequence }: Frame) => sequence), has_more]
    }
    const numbers = (first: number, last: number) => Array.from({ length: last - first + 1 }, (_, index) => first + index)
    expect(await sequences({})).toEqual([numbers(1, 30), false])
    expect(await sequences({ limit: 5 })).toEqual([numbers(26, 30), true])
    expect(await sequences({ limit: 5, before: 26 })).toEqual([numbers(21, 25), true])
    expect(await sequences({ limit: 5, after: 0 })).toEqual([numbers(1, 5), true])
    expect(await sequences({ limit: 50, after: 25, direction: 'forwards' })).toEqual([numbers(26, 30), false])
    expect(await sequences({ after: 30 })).toEqual([[], false])
    const { messages, epoch, first_sequence, sequence } = await ok('history', { channel: 'past', limit: 1_000 })
    expect([first_sequence, sequence, epoch]).toEqual([1, 30, (await client.join('past')).data.epoch])
    expect(messages[9]).toMatchObject({ type: 'message', channel: 'past', content: { n: 10 }, sequence: 10, timestamp: isoTime })
    const at = messages[9].timestamp
    const since = messages.filter(({ timestamp }: Frame) => (timestamp as string) >= at).map((frame: Frame) => frame.sequence)
    expect(await sequences({ since: at, limit: 1_000 })).toEqual([since, false])
    const until_ = messages.filter(({ timestamp }: Frame) => (timestamp as string) <= at).map((frame: Frame) => frame.sequence)
    expect(await sequences({ until: Date.parse(at), limit: 1_000 })).toEqual([until_, false])
    for (const wrong of [{ limit: 0 }, { limit: 1_001 }, { limit: 'all' }, { since: 'yesterday' }, { direction: 'up' }, { after: -1 }])
      expect([wrong, await refused('history', { channel: 'past', ...wrong })]).toEqual([wrong, 'command.bad_parameters'])
  })

  it('[BC7] an answer that would be too large is cut, and says that there is more', async () => {
    client = await connected(server())
    for (let n = 0; n < 20; n++) await client.publish('heavy', 'x'.repeat(100_000))
    const seen: number[] = []
    for (let after = 0, pages = 0; ; pages++) {
      const { messages, has_more } = await ok('history', { channel: 'heavy', after, limit: 1_000 })
      seen.push(...messages.map(({ sequence }: Frame) => sequence))
      after = seen.at(-1) ?? 0
      if (!has_more) {
        expect(pages).toBeGreaterThan(0)
        break
      }
    }
    expect(seen).toEqual(Array.from({ length: 20 }, (_, index) => index + 1))
    expect(Math.max(...client.texts.map((text) => Buffer.byteLength(text)))).toBeLessThanOrEqual(MiB)
  })

  it('[BC8] publish answers with the place of the message; its id is a parameter, for at the top `id` is that of the frame', async () => {
    client = await connected(server())
    const data = await ok('publish', { args: { channel: 'by-command', content: { n: 1 }, id: 'c' } })
    expect(data).toEqual({ channel: 'by-command', id: 'c', sequence: 1, epoch: expect.any(String), repeated: false })
    expect(await ok('publish', { args: { channel: 'by-command', content: { n: 1 }, id: 'c' } })).toEqual({ ...data, repeated: true })
    expect(await refused('publish', { channel: 'by-command' })).toBe('command.bad_parameters')
  })

  it('[BC9] members and set_status show who is there, and authenticate gives a name where nobody checks it', async () => {
    client = await connected(server())
    expect(await ok('authenticate', { username: 'ada', password: 'anything' })).toMatchObject({ user: 'ada' })
    expect(await ok('set_status', { status: 'busy' })).toEqual({ user: 'ada', status: 'busy' })
    await ok('join_channel', { channel: 'people' })
    expect(await ok('members', { channel: 'people' })).toMatchObject({
      channel: 'people',
      members: [{ user: 'ada', status: 'busy', connections: 1, last_seen: isoTime }],
    })
    expect(await ok('status')).toMatchObject({ user: 'ada', status: 'busy', channels: ['people'] })
    expect(await refused('set_status', { status: 'asleep' })).toBe('command.bad_parameters')
    expect(await refused('authenticate', { username: 'ada' })).toBe('command.bad_parameters')
    expect(await refused('authenticate', { token: 'not.a.token' })).toBe('auth.failed')
    expect(await ok('status')).toMatchObject({ user: 'ada' })
  })

  it('[BC10] subscribe_telemetry tells what happens, unsubscribe_telemetry ends it', async () => {
    client = await connected(server())
    await ok('subscribe_telemetry', { events: ['joined'] })
    const other = await connected(server())
    await other.join('watched')
    const isTelemetry = ({ content }: Frame) => (content as { type?: string } | undefined)?.type === 'telemetry'
    expect(await client.frame(isTelemetry)).toMatchObject({
      type: 'event',
      content: { events: expect.arrayContaining([expect.objectContaining({ event: 'joined', channel: 'watched' })]) },
    })
    await ok('unsubscribe_telemetry')
    const heard = client.frames.length
    await other.join('unwatched')
    await other.settled()
    await client.settled()
    expect(client.frames.slice(heard).filter(isTelemetry)).toEqual([])
  })

  it('[BC11] takes its parameters at the top, in data, in args or in payload.parameters; what stands nearer to the top wins', async () => {
    client = await connected(server())
    const [top, data, args, nested] = ['at/top', 'in/data', 'in/args', 'in/parameters'].map((channel) => ({ channel }))
    const frames: [object, unknown][] = [
      [{ ...top, data, args, payload: { parameters: nested } }, 'at/top'],
      [{ data, args, payload: { parameters: nested } }, 'in/data'],
      [{ args, payload: { parameters: nested } }, 'in/args'],
      [{ payload: { parameters: nested } }, 'in/parameters'],
    ]
    for (const [parameters, channel] of frames) expect((await ok('create_channel', parameters)).channel).toBe(channel)
  })

  it('[BC12] that is not known is refused, and one without a name is malformed', async () => {
    client = await connected(server())
    expect(await refused('dance')).toBe('command.unknown')
    expect(await refused('constructor')).toBe('command.unknown')
    client.send({ type: 'command', request_id: 9 })
    expect(await client.frame(({ request_id }) => request_id === 9)).toMatchObject({ code: 'message.malformed' })
  })

  it('[BC13] is answered in the order in which it came, before whatever happens later, also in a busy channel', async () => {
    client = await connected(server())
    const writer = await connected(server())
    const stop = { now: false }
    const writing = (async () => {
      for (let n = 0; !stop.now; n++) {
        writer.send({ type: 'message', channel: 'busy', content: { n } })
        if (n % 20 === 0) await writer.settled()
      }
    })()
    await until(() => writer.frames.length > 20, 'some messages')
    const commands = ['join_channel', 'history', 'channel_info', 'members', 'leave_channel']
    const sent = Array.from({ length: 100 }, (_, n) => commands[n % commands.length] as string)
    for (const [n, command] of sent.entries()) client.send({ type: 'command', command, channel: 'busy', request_id: n, rewind: 3 })
    await client.frame(({ request_id }) => request_id === 99)
    stop.now = true
    await writing
    const answers = client.frames.filter(({ type }) => type === 'command_response')
    expect(answers.map(({ request_id, command }) => [request_id, command])).toEqual(sent.map((command, n) => [n, command]))
    // Between a join and the leave after it, the sequences have no hole; after the leave nothing comes.
    let next: number | undefined
    for (const frame of client.frames) {
      if (frame.type === 'message' && frame.channel === 'busy') {
        expect(frame.sequence).toBe(next)
        next = (next as number) + 1
      } else if (frame.command === 'join_channel') {
        const { sequence, replayed } = frame.data as { sequence: number; replayed: number }
        next = sequence - replayed + 1
      } else if (frame.command === 'leave_channel') next = undefined
    }
  })
})

describe('presence', () => {
  const graceMs = 400
  const { server, restart } = serve(`bus.graceMs=${graceMs}`, 'bus.silentMs=1200', 'limits.pingMs=30000')
  const summary = (client: BusClient) =>
    client.events().map(({ content }) => [content.type, content.user, ...('status' in content ? [content.status] : [])])
  /** Signs of life, so that nobody counts as silent. */
  const lively = (...clients: BusClient[]): (() => void) => {
    const timer = setInterval(() => {
      for (const client of clients) if (client.socket.readyState === client.socket.OPEN) client.send({ type: 'heartbeat' })
    }, 300)
    return () => clearInterval(timer)
  }

  it('[BP1] tells the others, and not oneself, who comes, how somebody is, and who leaves', async () => {
    const [ada, bob] = await Promise.all([named(server(), 'ada'), named(server(), 'bob')])
    const stop = lively(ada, bob)
    await ada.join('presence')
    expect((await bob.join('presence')).data.members.map(({ user }: { user: string }) => user).sort()).toEqual(['ada', 'bob'])
    await bob.command('set_status', { status: 'away' })
    await bob.command('set_status', { status: 'away' })
    await bob.command('leave_channel', { channel: 'presence' })
    await until(() => ada.events('user_left').length > 0, 'the end')
    expect(ada.events().map(({ content }) => content)).toMatchObject([
      { type: 'user_joined', user: 'bob', channel: 'presence', status: 'online' },
      { type: 'user_status', user: 'bob', channel: 'presence', status: 'away' },
      { type: 'user_left', user: 'bob', channel: 'presence' },
    ])
    expect(ada.events()[0]).toMatchObject({ type: 'event', timestamp: isoTime, channel: 'presence' })
    expect(bob.events()).toEqual([])
    stop()
  })

  it('[BP2] counts a user with two connections once, and as gone only when both are', async () => {
    const watcher = await named(server(), 'watcher')
    await watcher.join('twice')
    const [first, second] = await Promise.all([named(server(), 'cora'), named(server(), 'cora')])
    const stop = lively(watcher, first, second)
    for (const client of [first, second]) await client.join('twice')
    const { members } = (await watcher.command('members', { channel: 'twice' })).data
    expect(members.find(({ user }: { user: string }) => user === 'cora')).toMatchObject({ connections: 2, status: 'online' })
    await first.command('set_status', { status: 'busy' })
    await until(() => watcher.events('user_status').length > 0, 'the status')
    expect((await second.command('status')).data.status).toBe('busy')
    first.terminate()
    await second.command('leave_channel', { channel: 'twice' })
    await until(() => watcher.events('user_left').length > 0, 'the end')
    expect(summary(watcher).map(([type, user]) => [type, user])).toEqual([
      ['user_joined', 'cora'],
      ['user_status', 'cora'],
      ['user_left', 'cora'],
    ])
    stop()
  })

  it('[BP3] says nothing of a connection that comes back within the grace, and `lost` when it does not', async () => {
    const watcher = await named(server(), 'watcher')
    await watcher.join('grace')
    const first = await named(server(), 'dora')
    const stop = lively(watcher)
    await first.join('grace')
    await until(() => watcher.events('user_joined').length === 1, 'Dora')
    first.terminate()
    const second = await named(server(), 'dora')
    await second.join('grace')
    second.terminate()
    await until(() => watcher.events('user_left').length === 1, 'the end of Dora')
    expect(watcher.events().map(({ content }) => [content.type, content.reason])).toEqual([
      ['user_joined', undefined],
      ['user_left', 'lost'],
    ])
    const { members } = (await watcher.command('members', { channel: 'grace' })).data
    expect(members.map(({ user }: { user: string }) => user)).toEqual(['watcher'])
    stop()
  })

  it('[BP4] takes a client that gives no sign of life for offline, and one that does so again for online', async () => {
    const [watcher, silent] = await Promise.all([named(server(), 'watcher'), named(server(), 'silent')])
    const stop = lively(watcher)
    await watcher.join('silence')
    await silent.join('silence')
    await until(() => watcher.events('user_offline').length === 1, 'the silence')
    silent.send({ type: 'heartbeat' })
    await until(() => watcher.events('user_online').length === 1, 'the sign of life')
    expect(summary(watcher)).toEqual([
      ['user_joined', 'silent', 'online'],
      ['user_offline', 'silent', 'offline'],
      ['user_online', 'silent', 'online'],
    ])
    expect(silent.frames.filter(({ type }) => type !== 'command_response')).toEqual([])
    stop()
  })

  it.each(['SIGTERM', 'SIGKILL'] as const)('[BP5] after %s shows those who came back, and nobody else', async (signal) => {
    const channel = `deploy-${signal}`
    const before = await Promise.all(['ada', 'bob', 'cora'].map((name) => named(server(), name)))
    for (const client of before) await client.join(channel)
    await before[0]?.publish(channel, 'there is a history')
    await restart(signal)
    const [ada, bob] = await Promise.all(['ada', 'bob'].map((name) => named(server(), name)))
    if (ada === undefined || bob === undefined) throw new Error('unreachable')
    const stop = lively(ada, bob)
    await ada.join(channel)
    await bob.join(channel)
    const users = async () => (await ada.command('members', { channel })).data.members.map(({ user }: { user: string }) => user).sort()
    await until(async () => (await users()).join() === 'ada,bob', 'the members')
    const about = ada.events().map(({ content }) => `${content.type} ${content.user}`)
    // In good order the old process notes who is there: no storm. After a kill nobody knows, and Bob is new.
    expect(about).toEqual(signal === 'SIGTERM' ? ['user_left cora'] : ['user_joined bob'])
    stop()
  })

  it('[BP6] is not for those who joined nothing: they hear of nobody', async () => {
    const [outsider, insider] = await Promise.all([named(server(), 'outsider'), named(server(), 'insider')])
    await insider.join('closed')
    await insider.command('set_status', { status: 'away' })
    await outsider.settled()
    expect(outsider.events()).toEqual([])
  })
})

describe('a room', () => {
  const { server, restart } = serve()

  it('[BR1] is a channel with an end: its members are told, its history is gone, its name is free', async () => {
    const client = await connected(server())
    const made = (await client.command('create_room', { room: 'game', ttl: 1 })).data
    expect(made).toMatchObject({ room: 'game', channel: 'game', ttl: 1, expires_at: isoTime })
    expect((await client.command('create_room', { room: 'game', ttl: 1 })).code).toBe('channel.exists')
    expect((await client.command('create_room', { room: 'other', ttl: -1 })).code).toBe('command.bad_parameters')
    const { data } = await client.join('game')
    expect(data).toMatchObject({ room: true, expires_at: made.expires_at })
    await client.publish('game', 'x')
    const rooms = async () => (await client.command('list_rooms')).data.rooms.map(({ name }: { name: string }) => name)
    expect(await rooms()).toContain('game')
    expect((await client.command('list_channels')).data.channels).toEqual([])
    const event = await client.frame(({ type }) => type === 'event')
    expect(event).toMatchObject({ channel: 'game', content: { type: 'room_expired' } })
    expect((event.timestamp as string) >= made.expires_at).toBe(true)
    expect(await rooms()).not.toContain('game')
    const again = await client.join('game')
    expect(again.data).toMatchObject({ room: false, sequence: 0 })
  })

  it.each(['SIGTERM', 'SIGKILL'] as const)('[BR2] keeps its deadline over %s, be it before or after the restart', async (signal) => {
    const before = await connected(server())
    const [soon, later] = [`soon-${signal}`, `later-${signal}`]
    await before.command('create_room', { room: soon, ttl: 0.15 })
    const { data } = await before.command('create_room', { room: later, ttl: 3 })
    for (const channel of [soon, later]) await before.publish(channel, 'x')
    await restart(signal)
    const after = await connected(server())
    const joined = await after.join(later, { rewind: 10 })
    expect(joined.data).toMatchObject({ expires_at: data.expires_at, replayed: 1 })
    await until(async () => (await after.command('channel_info', { channel: soon })).data?.sequence !== 1, 'the end of the first')
    const event = await after.frame(({ type }) => type === 'event')
    expect(event).toMatchObject({ channel: later, content: { type: 'room_expired' } })
    expect((event.timestamp as string) >= data.expires_at).toBe(true)
  })
})

describe('a private message', () => {
  const { server, restart } = serve()

  it('[BX1] goes to all connections of its user and to nobody else, by channel or by recipient', async () => {
    const [ada, ...bobs] = await Promise.all([named(server(), 'ada'), named(server(), 'bob'), named(server(), 'bob')])
    const eve = await named(server(), 'eve')
    await ada.publish('private_bob', { text: 'one' })
    await ada.publish('lobby', { text: 'two' }, { metadata: { recipient: 'bob' } })
    for (const bob of bobs) {
      await until(() => bob.messages().length === 2, 'both messages')
      expect(bob.messages()).toMatchObject([
        { channel: 'private_bob', sender: 'ada', content: { text: 'one' } },
        { channel: 'private_bob', sender: 'ada', content: { text: 'two' }, metadata: { recipient: 'bob' } },
      ])
    }
    await eve.settled()
    expect(eve.messages()).toEqual([])
    for (const command of ['join_channel', 'history', 'members', 'channel_info', 'delete_channel']) {
      const answer = await eve.command(command, { channel: 'private_bob' })
      expect([command, answer.code, answer.rule]).toEqual([command, 'access.denied', expect.any(String)])
    }
    expect((await eve.command('list_channels')).data.channels.filter(({ name }: { name: string }) => name.startsWith('private_'))).toEqual(
      [],
    )
    expect((await bobs[0]?.command('history', { channel: 'private_bob' }))?.data.messages).toHaveLength(2)
  })

  it('[BX2] waits for a user who is not there, over a restart, and comes once', async () => {
    const ada = await named(server(), 'ada')
    for (let n = 0; n < 3; n++) await ada.publish('private_cora', { n })
    await restart('SIGKILL')
    const cora = await named(server(), 'cora')
    await until(() => cora.messages().length === 3, 'what waited')
    expect(cora.contents()).toEqual([{ n: 0 }, { n: 1 }, { n: 2 }])
    await until(async () => {
      const again = await named(server(), 'cora')
      await again.settled()
      await again.settled()
      const count = again.messages().length
      again.terminate()
      return count === 0
    }, 'the end of the repetition')
    await (await connected(server())).publish('private_cora', { n: 3 })
    await until(() => cora.messages().length === 4, 'the next one')
  })
})

describe('a client that comes back', () => {
  const { server, restart } = serve('bus.replayMessages=10')
  const fill = async (client: BusClient, channel: string, count: number) => {
    for (let n = 0; n < count; n++) client.send({ type: 'message', channel, content: { n } })
    await client.settled()
    await until(async () => (await client.command('channel_info', { channel })).data.sequence >= count, 'the messages')
  }
  const heardAfter = (client: BusClient, channel: string) => client.messages(channel).map(({ sequence }) => sequence)

  it('[BV1] gets exactly what it missed, before anything new, and is told so', async () => {
    const writer = await connected(server())
    const first = await connected(server())
    await first.join('missed')
    await writer.publish('missed', 1)
    const { epoch } = (await first.command('channel_info', { channel: 'missed' })).data
    first.terminate()
    for (let n = 2; n <= 8; n++) await writer.publish('missed', n)
    const second = await connected(server())
    writer.send({ type: 'message', channel: 'missed', content: 9 })
    const { data } = await second.join('missed', { recover: { epoch, sequence: 1 } })
    expect(data).toMatchObject({ recovered: true, epoch, replayed: data.sequence - 1 })
    await until(() => second.messages('missed').length === 8, 'the rest')
    expect(heardAfter(second, 'missed')).toEqual([2, 3, 4, 5, 6, 7, 8, 9])
    const up = await connected(server())
    expect((await up.join('missed', { recover: { epoch, sequence: 9 } })).data).toMatchObject({ recovered: true, replayed: 0 })
  })

  it('[BV2] is told when that cannot be had, and gets no part of it', async () => {
    const writer = await connected(server())
    await fill(writer, 'gone', 30)
    const { epoch } = (await writer.command('channel_info', { channel: 'gone' })).data
    const positions = {
      'more than is replayed': { epoch, sequence: 19 },
      'another epoch': { epoch: 'another', sequence: 25 },
      'the future': { epoch, sequence: 31 },
    }
    for (const [what, recover] of Object.entries(positions)) {
      const client = await connected(server())
      expect([what, (await client.join('gone', { recover })).data]).toMatchObject([
        what,
        { recovered: false, replayed: 0, sequence: 30, epoch },
      ])
      await client.settled()
      expect(client.messages()).toEqual([])
    }
    const client = await connected(server())
    expect((await client.join('gone', { recover: { epoch, sequence: 20 } })).data).toMatchObject({ recovered: true, replayed: 10 })
    await writer.command('delete_channel', { channel: 'gone' })
    await fill(writer, 'gone', 25)
    const anew = await connected(server())
    expect((await anew.join('gone', { recover: { epoch, sequence: 20 } })).data.recovered).toBe(false)
  })

  it('[BV3] may ask for the last messages instead, by number or by time', async () => {
    const writer = await connected(server())
    for (let n = 0; n < 6; n++) await writer.publish('rewound', { n })
    const [a, b] = await Promise.all([connected(server()), connected(server())])
    expect((await a.join('rewound', { rewind: 4 })).data).toMatchObject({ recovered: null, replayed: 4 })
    await a.settled()
    expect(heardAfter(a, 'rewound')).toEqual([3, 4, 5, 6])
    const { messages } = (await b.command('history', { channel: 'rewound' })).data
    const at = messages[3].timestamp
    const since = messages.filter(({ timestamp }: Frame) => (timestamp as string) >= at)
    expect((await b.join('rewound', { rewind: { since: at } })).data.replayed).toBe(since.length)
    await b.settled()
    expect(b.contents('rewound')).toEqual(since.map(({ content }: Frame) => content))
  })

  it.each(['SIGTERM', 'SIGKILL'] as const)('[BV4] over %s finds the same epoch and goes on where it was, and so do ids', async (signal) => {
    const channel = `restart-${signal}`
    const before = await connected(server())
    await before.join(channel)
    const first = await before.publish(channel, { n: 1 }, { id: 'one', sender: 'ada' })
    const second = await before.publish(channel, { n: 2 }, { id: 'two', sender: 'ada' })
    await restart(signal)
    if (signal === 'SIGTERM') expect((await before.closed).code).toBe(1012)
    const after = await connected(server())
    expect(await after.publish(channel, { n: 2 }, { id: 'two', sender: 'ada' })).toMatchObject({
      repeated: true,
      sequence: second.sequence,
      epoch: first.epoch,
    })
    expect(await after.publish(channel, { n: 3 }, { id: 'three', sender: 'ada' })).toMatchObject({ repeated: false, sequence: 3 })
    const { data } = await after.join(channel, { recover: { epoch: first.epoch, sequence: first.sequence } })
    expect(data).toMatchObject({ recovered: true, replayed: 2, epoch: first.epoch })
    await until(() => after.messages(channel).filter(({ content }) => (content as { n: number }).n === 3).length > 0, 'the third')
  })
})

describe('limits', () => {
  const { server } = serve('bus.channelsPerClient=3', 'bus.depth=20', 'limits.outboundBytes=262144', 'bus.historyMessages=1000')

  it('[BL1] a message may nest as deep as the limit and no deeper', async () => {
    const client = await connected(server())
    await client.join('deep')
    const nested = (depth: number) => `${'['.repeat(depth)}${']'.repeat(depth)}`
    client.send(`{"type":"message","channel":"deep","content":${nested(19)}}`)
    client.send(`{"type":"message","channel":"deep","content":${nested(20)}}`)
    client.send(`{"type":"message","channel":"deep","content":${nested(400_000)}}`)
    client.send(`{"type":"message","channel":"deep","content":"${'['.repeat(100)}"}`)
    await until(() => client.messages().length === 2, 'those that may pass')
    await until(() => client.frames.filter(({ code }) => code === 'message.malformed').length === 2, 'two refusals')
    expect(client.frames.find(({ type }) => type === 'error')).toMatchObject({ rule: 'bus.depth 20' })
  })

  it('[BL2] a client is in so many channels and no more, and may go on when it left one', async () => {
    const client = await connected(server())
    for (const channel of ['a', 'b', 'c', 'c']) await client.join(channel)
    const answer = await client.command('join_channel', { channel: 'd' })
    expect([answer.code, answer.rule]).toEqual(['channel.too_many', 'bus.channelsPerClient 3'])
    await client.command('leave_channel', { channel: 'a' })
    await client.join('d')
  })

  it('[BL3] a client that does not read is cut off; the others hear everything, in time and in order', async () => {
    const frozen = await openRawWebSocket(server().port, '/')
    const join = Buffer.from(JSON.stringify({ type: 'command', command: 'join_channel', channel: 'flood' }))
    frozen.socket.write(Buffer.concat([Buffer.from([0x81, 0x80 | join.length, 0, 0, 0, 0]), join]))
    await until(() => frozen.received().includes('command_response'), 'its join')
    frozen.socket.pause()
    const [writer, reader] = await Promise.all([connected(server()), connected(server())])
    await reader.join('flood')
    const content = 'x'.repeat(64 * 1024)
    const slow = () => server().lines.find(({ msg }) => msg === 'a slow client is disconnected')
    let sent = 0
    while (slow() === undefined && sent < 1_000) {
      for (let n = 0; n < 10; n++) writer.send({ type: 'message', channel: 'flood', content: `${sent++} ${content}` })
      await until(() => reader.messages('flood').length >= sent, `${sent} messages at the reader`)
    }
    expect(slow()).toBeDefined()
    expect(reader.messages('flood').map(({ sequence }) => sequence)).toEqual(Array.from({ length: sent }, (_, index) => index + 1))
    expect(reader.closing).toBeUndefined()
    const { members } = (await reader.command('members', { channel: 'flood' })).data
    expect(members.filter(({ connections }: { connections: number }) => connections > 0)).toHaveLength(1)
    frozen.socket.resume()
    await frozen.ended
  })

  it('[BL4] a binary frame is refused and the connection goes on', async () => {
    const client = await connected(server())
    client.send(Buffer.from('{"type":"heartbeat"}'))
    expect(await client.frame(({ type }) => type === 'error')).toMatchObject({ code: 'message.malformed' })
    await client.settled()
  })

  it(`[BL5] whatever a client says, every wrong frame is answered with an error, and nobody else notices (seed ${seed})`, async () => {
    const chance = new SeededRandom(seed)
    const [bystander, writer] = await Promise.all([connected(server()), connected(server())])
    await bystander.join('calm')
    const scalars = ['null', '1', '"x"', 'true', '[]', '{}', '-1', '1e999', '"\\ud800"', '{"a":[1]}', '"__proto__"']
    const keys = [
      'type',
      'channel',
      'room',
      'content',
      'command',
      'id',
      'request_id',
      'metadata',
      'sender',
      'ack',
      'messages',
      'data',
      'payload',
      'args',
      '__proto__',
      'recover',
      'limit',
      'ttl',
    ]
    const types = ['"message"', '"event"', '"command"', '"batch"', '"heartbeat"', '"ack"']
    const commands = [
      '"join_channel"',
      '"history"',
      '"create_room"',
      '"set_status"',
      '"authenticate"',
      '"subscribe"',
      '"help"',
      '"members"',
    ]
    const object = () => {
      const fields = Array.from({ length: chance.below(6) }, () => {
        const key = chance.pick(keys)
        return `"${key}":${key === 'type' && chance.chance(0.8) ? chance.pick(types) : chance.pick(scalars)}`
      })
      if (chance.chance(0.7)) fields.unshift(`"type":${chance.pick(types)}`)
      if (chance.chance(0.3)) fields.push(`"command":${chance.pick(commands)}`)
      return `{${fields.join(',')}}`
    }
    const broken = () => {
      const text = object()
      const at = chance.below(text.length)
      return text.slice(0, at) + chance.pick(['', '"', '{', '\u0000', '\\', ',', '𝄞']) + text.slice(at + chance.below(3))
    }
    for (let round = 0; round < 10; round++) {
      const fuzzer = await connected(server())
      for (let n = 0; n < 200; n++) fuzzer.send(chance.pick([object, object, broken, () => chance.pick(scalars), () => ''])())
      await until(() => fuzzer.closing !== undefined || fuzzer.frames.length > 0, 'an answer')
      if (fuzzer.closing === undefined) await fuzzer.settled()
      expect([round, fuzzer.closing]).toEqual([round, undefined])
      for (const frame of fuzzer.frames) expect(['message', 'event', 'ack', 'command_response', 'error']).toContain(frame.type)
      for (const frame of fuzzer.frames.filter(({ type, success }) => type === 'error' || success === false))
        expect(frame).toMatchObject({ code: expect.stringMatching(/^[a-z]+\.[a-z_]+$/), error: expect.stringMatching(/./) })
      expect(fuzzer.frames.filter(({ code }) => code === 'command.failed')).toEqual([])
      fuzzer.terminate()
    }
    for (const text of ['', '{', 'null', '[]', '"x"', '{}', '{"type":"message"}', '{"type":7}', '{"type":"message","channel":"c"}']) {
      const from = writer.frames.length
      writer.send(text)
      expect([text, (await writer.frame(({ type }) => type === 'error', text, from)).code]).toEqual([text, 'message.malformed'])
    }
    await writer.publish('calm', 'still here')
    await until(() => bystander.messages('calm').length === 1, 'the message')
    const worse = server().lines.filter(({ level }) => level >= 50)
    expect(worse).toEqual([])
  })

  it('[BL6] a channel keeps so many messages and says from where on', async () => {
    const client = await connected(server())
    for (let n = 0; n < 1_500; n++) client.send({ type: 'message', channel: 'long', content: { n } })
    await until(async () => (await client.command('channel_info', { channel: 'long' })).data.sequence === 1_500, 'all messages')
    const oldest = async () => (await client.command('history', { channel: 'long', after: 0, limit: 1 })).data
    await until(async () => (await oldest()).first_sequence > 1, 'the end of the oldest')
    const { messages, first_sequence } = await oldest()
    expect(messages[0].sequence).toBe(first_sequence)
    expect(first_sequence).toBeLessThanOrEqual(501)
    expect((await client.join('long', { rewind: 5 })).data).toMatchObject({ sequence: 1_500, replayed: 5 })
  })
})

describe('rates', () => {
  const { server } = serve(
    'bus.requestsPerMinute=10',
    'bus.userRequestsPerMinute=15',
    'bus.allowedCommands=status,ping,set_status,join_channel',
  )

  it('[BT1] above the limit of a connection everything is refused with the time to wait, and nothing is dropped silently', async () => {
    const client = await connected(server())
    for (let n = 0; n < 14; n++)
      client.send(n % 2 === 0 ? { type: 'message', channel: 'r', content: n, ack: true } : { type: 'command', command: 'ping' })
    const answers = () => client.frames.filter(({ type }) => ['ack', 'command_response', 'error'].includes(type))
    await until(() => answers().length === 14, 'an answer to each')
    const refused = answers().filter(({ code }) => code !== undefined)
    expect(refused).toHaveLength(4)
    for (const answer of refused)
      expect(answer).toMatchObject({ code: 'rate.limited', retry_after: expect.any(Number), rule: expect.any(String) })
    expect(refused.map(({ type }) => type).sort()).toEqual(['command_response', 'command_response', 'error', 'error'])
    client.send({ type: 'heartbeat' })
    expect(client.closing).toBeUndefined()
  })

  it('[BT2] the connections of a user have a limit together', async () => {
    const [first, second] = await Promise.all([named(server(), 'ada'), named(server(), 'ada')])
    const codes: unknown[] = []
    for (let n = 0; n < 9; n++) for (const client of [first, second]) codes.push((await client.command('ping')).code)
    expect(codes.slice(0, 12)).toEqual(Array(12).fill(undefined))
    expect(codes.slice(-3)).toEqual(Array(3).fill('rate.limited'))
    const other = await named(server(), 'bob')
    expect((await other.command('ping')).success).toBe(true)
  })

  it('[BT3] a command that is not on the list of allowed ones is refused with the name of the list', async () => {
    const client = await connected(server())
    const answer = await client.command('history', { channel: 'r' })
    expect([answer.code, answer.rule]).toEqual(['access.denied', 'bus.allowedCommands'])
    expect((await client.command('status')).success).toBe(true)
  })
})
