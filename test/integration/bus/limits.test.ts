/** Limits of the bus: what is too large, too deep, too much, too fast, or no message at all. */
import { describe, expect, it } from 'vitest'
import { openRawWebSocket } from '../../support/attacks.ts'
import { connected, named } from '../../support/bus.ts'
import { serve } from '../../support/service.ts'
import { until } from '../../support/wait.ts'
import { SeededRandom } from '../../support/world.ts'

const seed = Number(process.env.SEED ?? 20_261_121)

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
