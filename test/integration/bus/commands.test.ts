/** Commands of the bus over the wire, each with what it answers and how it is refused. */
import { describe, expect, it } from 'vitest'
import { type BusClient, connected, type Frame, isoTime } from '../../support/bus.ts'
import { MiB } from '../../support/processes.ts'
import { serve } from '../../support/service.ts'
import { until } from '../../support/wait.ts'

const aTime = expect.stringMatching(isoTime)

describe('a command', () => {
  const { server } = serve()
  let client: BusClient
  const ok = async (command: string, parameters: object = {}) => {
    const answer = await client.command(command, parameters)
    expect(answer).toMatchObject({ type: 'command_response', command, success: true, timestamp: aTime })
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
    expect(await ok('ping')).toEqual({ pong: true, timestamp: aTime })
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
      created_at: aTime,
    })
    await ok('create_channel', { channel: 'made/two' })
    expect(await refused('create_channel', { channel: 'made/one' })).toBe('channel.exists')
    expect(await refused('create_channel')).toBe('command.bad_parameters')
    const names = ({ channels }: { channels: { name: string }[] }) => channels.map(({ name }) => name)
    const listed = await ok('list_channels', { prefix: 'made/' })
    expect(listed).toMatchObject({
      channels: [{ name: 'made/one', description: 'first', created_at: aTime }, { name: 'made/two' }],
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
        created_at: aTime,
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
      ...{ channel: 'in/a', description: '', created_at: aTime, room: false, sequence: 0, recovered: null, replayed: 0 },
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
    ['reserved', '$inner'],
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
    expect(messages[9]).toMatchObject({ type: 'message', channel: 'past', content: { n: 10 }, sequence: 10, timestamp: aTime })
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

  it('[BC8] publish answers with the place of the message, and repeated with its id, with that of the first', async () => {
    client = await connected(server())
    const data = await ok('publish', { args: { channel: 'by-command', content: { n: 1 }, id: 'c' } })
    expect(data).toEqual({ channel: 'by-command', id: 'c', sequence: 1, epoch: expect.any(String), repeated: false })
    expect(await ok('publish', { channel: 'by-command', content: { n: 1 }, id: 'c' })).toEqual({ ...data, repeated: true })
    expect(await refused('publish', { channel: 'by-command' })).toBe('command.bad_parameters')
  })

  it('[BC9] members and set_status show who is there, and authenticate gives a name where nobody checks it', async () => {
    client = await connected(server())
    expect(await ok('authenticate', { username: 'ada', password: 'anything' })).toMatchObject({ user: 'ada' })
    expect(await ok('set_status', { status: 'busy' })).toEqual({ user: 'ada', status: 'busy' })
    await ok('join_channel', { channel: 'people' })
    expect(await ok('members', { channel: 'people' })).toMatchObject({
      channel: 'people',
      members: [{ user: 'ada', status: 'busy', connections: 1, last_seen: aTime }],
    })
    expect(await ok('status')).toMatchObject({ user: 'ada', status: 'busy', channels: ['people'] })
    expect(await refused('set_status', { status: 'asleep' })).toBe('command.bad_parameters')
    expect(await refused('authenticate', { username: 'ada' })).toBe('command.bad_parameters')
    expect(await refused('authenticate', { token: 'not.a.token' })).toBe('auth.failed')
    expect(await ok('status')).toMatchObject({ user: 'ada' })
  })

  it('[BC10] subscribe_telemetry tells what happens, unsubscribe_telemetry ends it', async () => {
    client = await connected(server())
    expect(await ok('join_channel', { channel: '$telemetry' })).toMatchObject({ channel: '$telemetry', sequence: 0, members: [] })
    expect((await ok('status')).channels).toEqual(['$telemetry'])
    expect(await ok('leave_channel', { channel: '$telemetry' })).toMatchObject({ left: true })
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
