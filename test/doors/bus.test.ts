/** The wire of the bus, as docs/wire/bus.md has it. */
import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Account } from '../../actors/account.ts'
import { errorTable } from '../../actors/errors.ts'
import type { ChannelMessage, Json, Member, Output, PresenceOutput } from '../../actors/output.ts'
import type { ClientRequest } from '../../actors/request.ts'
import { options } from '../../src/config.ts'
import { busDoor } from '../../src/doors/bus.ts'

const MiB = 1024 * 1024
const door = busDoor({ messageBytes: MiB, depth: 64 })
const decode = (value: unknown) => door.decode(JSON.stringify(value))
const decodeOne = (value: unknown): ClientRequest => {
  const requests = decode(value)
  expect(requests).toHaveLength(1)
  return requests[0] as ClientRequest
}
const encode = (output: Output): Record<string, unknown>[] => door.encode(output).map((frame) => JSON.parse(frame))
/** What is said about a request that is refused: code and text without that of the table. */
const refusal = (request: ClientRequest) => {
  if (request.type !== 'request.bad') return request.type
  const { code, message, rule } = request.refusal
  return [code, message.slice(errorTable[code].text.length + 2), ...(rule === undefined ? [] : [rule])]
}

const at = Date.parse('2025-12-01T02:50:13.918Z')
const iso = '2025-12-01T02:50:13.918Z'
const stored = (fields: Partial<ChannelMessage> = {}): ChannelMessage => ({
  channel: 'general',
  offset: 7,
  epoch: 'e1',
  time: at,
  id: 'm1',
  user: 'ann',
  sender: 'ann',
  client: 'c1',
  body: { text: 'hi' },
  kind: 'message',
  ...fields,
})
const account: Account = { user: 'ann', tenant: '', isAnonymous: true, permissions: ['*'] }
const answer = (command: string, data: Json, ref: unknown = {}): Output => ({
  type: 'output.answer',
  ref,
  command,
  at,
  account,
  client: 'c1',
  data,
})

describe('a message of the client', () => {
  const message = { type: 'message', channel: 'general', content: { text: 'hi' } }

  it('is published to its channel; content, id, sender and metadata are those of the client', () => {
    expect(decodeOne({ ...message, id: 'a', sender: 'ann', metadata: { priority: 'high' } })).toEqual({
      type: 'request.publish',
      ref: { id: 'a', channel: 'general' },
      message: { channel: 'general', body: { text: 'hi' }, kind: 'message', id: 'a', sender: 'ann', metadata: { priority: 'high' } },
      wantsAck: false,
    })
  })

  it('may be an event, and then comes out as one', () => {
    expect(decodeOne({ ...message, type: 'event' })).toMatchObject({ message: { kind: 'event' } })
    expect(encode({ type: 'output.messages', channel: 'general', messages: [stored({ kind: 'event' })] })[0]?.type).toBe('event')
  })

  it.each([['text'], [''], [0], [false], [null], [[1, 2]], [{}]])('has any content: %j', (content) => {
    expect(decodeOne({ ...message, content })).toMatchObject({ message: { body: content } })
  })

  it.each([
    ['the channel', { channel: 'c', room: 'r' }, 'c'],
    ['the room when there is no channel', { channel: undefined, room: 'r' }, 'r'],
    ['the inbox of a recipient', { channel: undefined, metadata: { recipient: 'bob' } }, 'private_bob'],
    ['the inbox of a recipient, whatever channel stands there', { channel: 'general', metadata: { recipient: 'bob' } }, 'private_bob'],
    ['the inbox that the channel names', { channel: 'private_bob' }, 'private_bob'],
  ])('goes to %s', (_, fields, channel) => {
    expect(decodeOne({ ...message, ...fields })).toMatchObject({ type: 'request.publish', message: { channel } })
  })

  it('leaves it to the client actor whether a name can be that of a channel', () => {
    for (const channel of ['', '~other/x', '$telemetry', 'x'.repeat(300)])
      expect(decodeOne({ ...message, channel })).toMatchObject({ message: { channel } })
  })

  it('asks for an ack with `ack` and knows it again by its request id', () => {
    expect(decodeOne({ ...message, ack: true, request_id: 5 })).toMatchObject({ wantsAck: true, ref: { requestId: 5, channel: 'general' } })
  })

  it('may have null where something is absent, as Python writes it, and an empty sender', () => {
    const nothing = { id: null, room: null, metadata: null, ack: null, request_id: null, sender: '' }
    expect(decodeOne({ ...message, ...nothing })).toEqual(decodeOne(message))
  })

  it.each([
    [{ content: undefined }, 'content: required'],
    [{ channel: undefined }, 'channel, room or metadata.recipient: required'],
    [{ metadata: { recipient: ['bob', 'eve'] } }, 'metadata.recipient: must be a text'],
    [{ metadata: { recipient: 7 } }, 'metadata.recipient: must be a text'],
    [{ channel: 5 }, 'channel: must be a text'],
    [{ id: 5 }, 'id: must be a text of 1 to 255 characters'],
    [{ id: '' }, 'id: must be a text of 1 to 255 characters'],
    [{ id: 'x'.repeat(256) }, 'id: must be a text of 1 to 255 characters'],
    [{ id: '\ud800' }, 'id: must be a text of 1 to 255 characters'],
    [{ sender: { name: 'ann' } }, 'sender: must be a text of 0 to 255 characters'],
    [{ room: 'x'.repeat(256) }, 'room: must be a text of 0 to 255 characters'],
    [{ metadata: 'x' }, 'metadata: must be an object'],
    [{ metadata: [] }, 'metadata: must be an object'],
    [{ ack: 'yes' }, 'ack: must be true or false'],
    [{ request_id: {} }, 'request_id: must be a number or a text of at most 255 characters'],
  ])('is refused with %j', (fields, detail) => {
    expect(refusal(decodeOne({ ...message, ...fields }))).toEqual(['message.malformed', detail])
  })

  it('takes ids of 1 and of 255 characters', () => {
    for (const id of ['x', 'x'.repeat(255)]) expect(decodeOne({ ...message, id })).toMatchObject({ message: { id } })
  })

  it('is refused with its ids in the answer, so that the client knows which one it was', () => {
    const { ref } = decodeOne({ ...message, id: 'a', request_id: 'r', metadata: 1 }) as Extract<ClientRequest, { type: 'request.bad' }>
    const output: Output = {
      type: 'output.refused',
      ref,
      command: undefined,
      at,
      refusal: { code: 'access.denied', message: 'no', rule: 'needs x' },
    }
    expect(encode(output)).toEqual([
      { type: 'error', code: 'access.denied', error: 'no', rule: 'needs x', channel: 'general', id: 'a', request_id: 'r', timestamp: iso },
    ])
  })
})

describe('a frame of the client', () => {
  it.each([
    ['', 'not JSON'],
    ['{"type":"message"', 'not JSON'],
    ['[]', 'not a JSON object'],
    ['"message"', 'not a JSON object'],
    ['null', 'not a JSON object'],
    ['{}', 'type: must be one of message, event, command, batch, heartbeat'],
    ['{"type":"toString"}', 'type: must be one of message, event, command, batch, heartbeat'],
    ['{"type":["message"]}', 'type: must be one of message, event, command, batch, heartbeat'],
  ])('%s is refused: %s', (text, detail) => {
    expect(door.decode(text).map(refusal)).toEqual([['message.malformed', detail]])
  })

  const nested = (levels: number) => `{"type":"message","channel":"c","content":${'['.repeat(levels - 1)}${']'.repeat(levels - 1)}}`
  it('nests 64 levels deep and no deeper', () => {
    expect(door.decode(nested(64))).toMatchObject([{ type: 'request.publish' }])
    expect(door.decode(nested(65)).map(refusal)).toEqual([['message.malformed', 'nested deeper than 64 levels', 'bus.depth 64']])
    expect(door.decode(nested(300_000))).toHaveLength(1)
  })

  it('may have any number of brackets in a text', () => {
    expect(decodeOne({ type: 'message', channel: 'c', content: `${'[{"\\'.repeat(500)}` })).toMatchObject({ type: 'request.publish' })
  })

  it('has at most `messageBytes`, counted in UTF-8', () => {
    const small = busDoor({ messageBytes: 100, depth: 64 })
    const text = (bytes: number) => JSON.stringify({ type: 'heartbeat', x: 'é'.repeat(20) }).padEnd(bytes - 20)
    expect(small.decode(text(100))).toEqual([{ type: 'request.heartbeat' }])
    expect(small.decode(text(101)).map(refusal)).toEqual([['message.too_large', 'at most 100 bytes', 'bus.messageBytes 100']])
  })

  it('named __proto__ changes nothing but itself', () => {
    const text = '{"type":"command","command":"x","args":{"__proto__":{"a":1}},"__proto__":{"b":1}}'
    const [request] = door.decode(text) as [Extract<ClientRequest, { type: 'request.command' }>]
    expect(Object.getPrototypeOf(request.params)).toBe(Object.prototype)
    expect([({} as { a?: 1 }).a, ({} as { b?: 1 }).b]).toEqual([undefined, undefined])
  })
})

describe('a message that would not fit into a frame when it comes back', () => {
  const text = (content: string) => `{"type":"message","channel":"c","content":${content}}`
  it.each([
    ['a file', `"${'x'.repeat(MiB - 1_000)}"`],
    ['numbers that are longer when they are written again', `[${'1e20,'.repeat(100_000)}1]`],
    ['metadata', `1,"metadata":{"x":"${'x'.repeat(MiB - 1_000)}"}`],
  ])('is refused: %s', (_, content) => {
    expect(refusal(door.decode(text(content))[0] as ClientRequest)).toEqual([
      'message.too_large',
      expect.stringMatching(/^\d+ bytes with its envelope, and no frame above 1048576 is sent$/),
      'bus.messageBytes 1048576',
    ])
  })

  it('and the largest that is taken comes back in a frame that fits, in a history, too, with the longest names', () => {
    const taken = (size: number) => door.decode(text(`"${'x'.repeat(size)}"`))[0]?.type === 'request.publish'
    let [size, over] = [MiB / 2, MiB]
    while (over - size > 1) taken((size + over) >> 1) ? (size = (size + over) >> 1) : (over = (size + over) >> 1)
    expect(size).toBeGreaterThan(MiB - 16 * 1024)
    const longest = '"'.repeat(255)
    const message = stored({ body: 'x'.repeat(size), channel: longest, sender: longest, user: longest, id: longest.slice(0, 40) })
    const frames = [
      ...door.encode({ type: 'output.messages', channel: longest, messages: [message] }),
      ...door.encode(
        answer(
          'history',
          { channel: longest, messages: [message as unknown as Json], epoch: 'e'.repeat(22) },
          { requestId: '\u0001'.repeat(255) },
        ),
      ),
    ]
    expect(frames.map((frame) => JSON.parse(frame).type)).toEqual(['message', 'command_response'])
    expect(frames.map((frame) => Buffer.byteLength(frame) <= MiB && JSON.parse(frame).success !== false)).toEqual([true, true])
  })

  it('is not even measured when it is small: a limit below the envelope refuses nothing', () => {
    expect(busDoor({ messageBytes: 200, depth: 8 }).decode(text('1'))).toMatchObject([{ type: 'request.publish' }])
  })
})

describe('a command', () => {
  const params = (fields: object) => {
    const request = decodeOne({ type: 'command', command: 'history', ...fields })
    return request.type === 'request.command' ? request.params : request
  }

  it.each([
    ['flat', { channel: 'c', limit: 5 }],
    ['in data, as the tutorial has them', { data: { channel: 'c', limit: 5 } }],
    ['in args', { args: { channel: 'c', limit: 5 } }],
    ['in payload.parameters', { payload: { parameters: { channel: 'c', limit: 5 } } }],
    [
      'in all of them: the nearer to the top wins',
      { limit: 5, data: { channel: 'c', limit: 4 }, args: { limit: 3, channel: 'b' }, payload: { parameters: { limit: 2 } } },
    ],
  ])('has its parameters %s', (_, fields) => {
    expect(params(fields)).toEqual({ channel: 'c', limit: 5 })
  })

  it('has parameters in what every frame may have only where no other of that name stands', () => {
    expect(params({ id: 'i', request_id: 'r', sender: 's', data: { id: 'own' } })).toEqual({ id: 'own', sender: 's' })
    expect(params({ id: 'i' })).toEqual({ id: 'i' })
  })

  it('keeps a parameter that is named like a place for parameters and is none', () => {
    expect(params({ data: 'text', args: [] })).toEqual({ data: 'text', args: [] })
  })

  it.each([[undefined], [5], [''], ['x'.repeat(256)]])('is refused when its name is %j', (command) => {
    expect(refusal(decodeOne({ type: 'command', command, request_id: 'r' }))).toEqual([
      'message.malformed',
      'command: must be a text of 1 to 255 characters',
    ])
  })

  it('is answered with its request id', () => {
    const request = decodeOne({ type: 'command', command: 'x', request_id: 'r' }) as Extract<ClientRequest, { type: 'request.command' }>
    expect(encode(answer('x', { a: 1 }, request.ref))).toEqual([
      { type: 'command_response', command: 'x', success: true, data: { a: 1 }, timestamp: iso, request_id: 'r' },
    ])
  })

  it('that is refused is answered with text, code, rule and the seconds to wait', () => {
    const refused = { code: 'rate.limited', message: 'too many requests', rule: 'requests of one user', retryAfterMs: 2_500 } as const
    expect(encode({ type: 'output.refused', ref: { requestId: 0 }, command: 'ping', at, refusal: refused })).toEqual([
      {
        type: 'command_response',
        command: 'ping',
        success: false,
        code: 'rate.limited',
        error: 'too many requests',
        rule: 'requests of one user',
        retry_after: 2.5,
        timestamp: iso,
        request_id: 0,
      },
    ])
  })
})

describe('a batch', () => {
  const batch = (messages: unknown, fields: object = {}) => decode({ type: 'batch', messages, ...fields })

  it('is each of its messages, in order, with what is said of all of them', () => {
    const requests = batch(
      [
        { channel: 'a', content: 1 },
        { type: 'event', channel: 'b', content: 2, ack: false, request_id: 'own' },
      ],
      {
        ack: true,
        request_id: 'all',
      },
    )
    expect(requests).toEqual([
      {
        type: 'request.publish',
        ref: { requestId: 'all', channel: 'a' },
        message: { channel: 'a', body: 1, kind: 'message' },
        wantsAck: true,
      },
      {
        type: 'request.publish',
        ref: { requestId: 'own', channel: 'b' },
        message: { channel: 'b', body: 2, kind: 'event' },
        wantsAck: false,
      },
    ])
  })

  it('refuses a wrong message and publishes the others', () => {
    const requests = batch([
      { channel: 'a', content: 1 },
      5,
      { type: 'command', command: 'ping' },
      { channel: 'a' },
      { channel: 'a', content: 2 },
    ])
    expect(requests.map(refusal)).toEqual([
      'request.publish',
      ['message.malformed', 'messages[1]: must be an object'],
      ['message.malformed', 'messages[2].type: must be message or event'],
      ['message.malformed', 'content: required'],
      'request.publish',
    ])
  })

  it('has at most 1000 messages', () => {
    const messages = (count: number) => Array.from({ length: count }, (_, n) => ({ channel: 'a', content: n }))
    expect(batch(messages(1_000))).toHaveLength(1_000)
    expect(batch(messages(1_001)).map(refusal)).toEqual([['message.too_large', 'at most 1000 messages in a batch', 'batch 1000']])
    expect(batch([])).toEqual([])
    expect(batch({}).map(refusal)).toEqual([['message.malformed', 'messages: must be a list of messages']])
  })
})

describe('what the client hears', () => {
  it('is a message in the envelope of the guide, with the time at which it was stored and its position', () => {
    const message = stored({ room: 'r', metadata: { a: 1 }, sender: 'claimed' })
    expect(encode({ type: 'output.messages', channel: 'general', messages: [message, stored({ offset: 8 })] })).toEqual([
      {
        id: 'm1',
        type: 'message',
        timestamp: iso,
        sender: 'claimed',
        channel: 'general',
        room: 'r',
        content: { text: 'hi' },
        metadata: { a: 1 },
        sequence: 7,
        epoch: 'e1',
      },
      { id: 'm1', type: 'message', timestamp: iso, sender: 'ann', channel: 'general', content: { text: 'hi' }, sequence: 8, epoch: 'e1' },
    ])
  })

  it.each([
    ['text', 'text'],
    [{ timestamp: '2025-01-01T00:00:00' }, { timestamp: '2025-01-01T00:00:00' }],
    [null, { data: null }],
    [[1], { data: [1] }],
    [5, { data: 5 }],
  ])('is content %j as %j: listeners take nothing but objects and texts', (body, content) => {
    expect(encode({ type: 'output.messages', channel: 'general', messages: [stored({ body })] })[0]?.content).toEqual(content)
  })

  it('is no answer and no error of the server when a client made it up', () => {
    for (const kind of ['command_response', 'error', 'ack', 'score'])
      expect(encode({ type: 'output.messages', channel: 'general', messages: [stored({ kind })] })[0]?.type).toBe('message')
  })

  it('is an ack for a publish that asked for it', () => {
    expect(encode({ type: 'output.acknowledged', ref: { requestId: 'r', id: 'm1' }, message: stored(), isRepeated: true })).toEqual([
      { type: 'ack', id: 'm1', channel: 'general', sequence: 7, epoch: 'e1', timestamp: iso, repeated: true, request_id: 'r' },
    ])
  })

  const presence: PresenceOutput = {
    type: 'output.presence',
    id: 'p',
    change: 'joined',
    channel: 'general',
    user: 'bob',
    client: 'c2',
    status: 'online',
    before: 'offline',
    at,
    offset: 7,
  }
  it.each([
    [{}, { type: 'user_joined', status: 'online' }],
    [
      { change: 'left', status: 'offline', before: 'away', reason: 'lost' },
      { type: 'user_left', status: 'offline', reason: 'lost' },
    ],
    [
      { change: 'status', status: 'away', before: 'online' },
      { type: 'user_status', status: 'away' },
    ],
    [
      { change: 'status', status: 'busy', before: 'offline' },
      { type: 'user_online', status: 'busy' },
    ],
    [
      { change: 'status', status: 'offline', before: 'busy' },
      { type: 'user_offline', status: 'offline' },
    ],
  ] as [Partial<PresenceOutput>, object][])('is what others do: %j', (fields, content) => {
    expect(encode({ ...presence, ...fields })).toEqual([
      { type: 'event', timestamp: iso, channel: 'general', content: { user: 'bob', channel: 'general', sequence: 7, ...content } },
    ])
  })

  it.each([
    ['expired', 'room_expired'],
    ['deleted', 'channel_deleted'],
    ['forbidden', 'channel_forbidden'],
  ] as const)('is that a channel is %s', (reason, type) => {
    expect(encode({ type: 'output.closed', channel: 'r', isRoom: true, reason, at })).toEqual([
      { type: 'event', timestamp: iso, channel: 'r', content: { type, channel: 'r' } },
    ])
  })

  it('is a gap', () => {
    expect(encode({ type: 'output.gap', channel: 'c', epoch: 'e2', offset: 9, at })).toEqual([
      { type: 'event', timestamp: iso, channel: 'c', content: { type: 'lost', channel: 'c', epoch: 'e2', sequence: 9 } },
    ])
  })

  it('is telemetry, in one frame as long as it fits', () => {
    const event = { event: 'joined', at, tenant: '', user: 'ann' }
    expect(encode({ type: 'output.telemetry', events: [event] })).toEqual([
      {
        type: 'event',
        timestamp: iso,
        channel: '$telemetry',
        content: { type: 'telemetry', events: [{ event: 'joined', tenant: '', user: 'ann', timestamp: iso }] },
      },
    ])
    const large = { ...event, text: 'x'.repeat(400_000) }
    const frames = encode({ type: 'output.telemetry', events: [large, large, large] })
    expect(frames.map(({ content }) => (content as { events: unknown[] }).events.length)).toEqual([1, 2])
    expect(encode({ type: 'output.telemetry', events: [] })).toEqual([])
  })

  it('is nothing on connect, and no heartbeat', () => {
    expect(encode({ type: 'output.greeting', client: 'c', account, at })).toEqual([])
    expect(encode({ type: 'output.heartbeat', at })).toEqual([])
  })
})

describe('the answer to', () => {
  const member: Member = { user: 'bob', status: 'away', connections: 2, joinedAt: at - 5, lastSeen: at }
  const spelledMember = { user: 'bob', status: 'away', connections: 2, last_seen: iso }
  const data = (output: Output) => encode(output)[0]?.data
  const json = (value: unknown) => value as Json

  it('join_channel is the response, then what was missed, message by message', () => {
    const joined = {
      channel: 'general',
      description: '',
      created_at: at,
      room: true,
      expires_at: at,
      epoch: 'e1',
      sequence: 8,
      recovered: true,
      members: [member],
      member_count: 1,
      messages: [stored(), stored({ offset: 8, body: 'text' })],
      is_new: true,
      announced: true,
      channels: ['general'],
    }
    const frames = encode(answer('join_channel', json(joined), { requestId: 'r' }))
    expect(frames[0]).toEqual({
      type: 'command_response',
      command: 'join_channel',
      success: true,
      data: {
        channel: 'general',
        description: '',
        created_at: iso,
        room: true,
        expires_at: iso,
        epoch: 'e1',
        sequence: 8,
        recovered: true,
        members: [spelledMember],
        member_count: 1,
        replayed: 2,
      },
      timestamp: iso,
      request_id: 'r',
    })
    expect(frames.slice(1)).toEqual(encode({ type: 'output.messages', channel: 'general', messages: joined.messages }))
  })

  it('history has messages in their envelopes', () => {
    const message = stored()
    expect(data(answer('history', json({ channel: 'general', messages: [message], has_more: false })))).toEqual({
      channel: 'general',
      messages: encode({ type: 'output.messages', channel: 'general', messages: [message] }),
      has_more: false,
    })
  })

  it.each([
    ['members', { channel: 'c', members: [member] }, { channel: 'c', members: [spelledMember] }],
    [
      'list_channels',
      { channels: [{ name: 'c', created_at: at }], has_more: true },
      { channels: [{ name: 'c', created_at: iso }], has_more: true },
    ],
    ['list_rooms', { rooms: [{ name: 'r', expires_at: at }] }, { rooms: [{ name: 'r', expires_at: iso }] }],
    ['channel_info', { channel: 'c', created_at: at, members: 3 }, { channel: 'c', created_at: iso, members: 3 }],
    ['create_channel', { channel: 'c', created_at: at }, { channel: 'c', created_at: iso }],
    ['create_room', { room: 'r', ttl: 5, expires_at: at }, { room: 'r', ttl: 5, expires_at: iso }],
    ['revoke', { user: 'ann', tenant: '', before: at }, { user: 'ann', tenant: '', before: iso }],
    ['ping', { pong: true, timestamp: at }, { pong: true, timestamp: iso }],
  ])('%s has times as ISO 8601', (command, raw, spelled) => {
    expect(data(answer(command, json(raw)))).toEqual(spelled)
  })

  it.each([[null], [5], ['text'], [[1]], [{ timestamp: 5, members: 'all', created_at: 1 }]])(
    'a command of a program goes out as it is: %j',
    (value) => {
      expect(data(answer('analytics', value))).toEqual(value)
    },
  )

  it('a command that is too large for a frame is that, and no frame', () => {
    expect(encode(answer('export', 'x'.repeat(MiB), { requestId: 'r' }))).toMatchObject([
      { type: 'command_response', command: 'export', success: false, code: 'message.too_large', request_id: 'r' },
    ])
  })

  it('nothing: a message that grew too large inside leaves a note with its sequence', () => {
    expect(encode({ type: 'output.messages', channel: 'general', messages: [stored({ body: 'x'.repeat(MiB) })] })).toEqual([
      {
        type: 'event',
        timestamp: iso,
        channel: 'general',
        content: { type: 'message_too_large', id: 'm1', channel: 'general', sequence: 7, bytes: expect.any(Number) },
      },
    ])
  })
})

describe('whatever comes and goes', () => {
  const someOf = (...values: unknown[]) => fc.oneof(fc.jsonValue(), ...values.map((value) => fc.constant(value)))
  const looksRight = fc.record(
    {
      type: someOf('message', 'event', 'command', 'batch', 'heartbeat'),
      channel: someOf('general', 'private_bob'),
      room: someOf('r'),
      content: fc.jsonValue(),
      id: someOf('a'),
      sender: someOf('ann'),
      metadata: someOf({ recipient: 'bob' }),
      ack: someOf(true),
      request_id: someOf(1),
      command: someOf('history'),
      data: fc.jsonValue(),
      args: fc.jsonValue(),
      payload: someOf({ parameters: { limit: 1 } }),
      messages: fc.oneof(fc.jsonValue(), fc.array(fc.record({ channel: someOf('c'), content: fc.jsonValue() }, { requiredKeys: [] }))),
    },
    { requiredKeys: ['type'] },
  )

  it('decode never throws, and every request is one that the client actor knows', () => {
    const known = ['request.publish', 'request.command', 'request.heartbeat', 'request.bad']
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string({ unit: 'binary' }),
          fc.json(),
          looksRight.map((value) => JSON.stringify(value)),
        ),
        (text) => {
          for (const request of door.decode(text)) {
            expect(known).toContain(request.type)
            if (request.type === 'request.publish') {
              expect(typeof request.message.channel).toBe('string')
              expect(request.message.body).not.toBeUndefined()
            }
          }
        },
      ),
      { numRuns: 1_000 },
    )
  })

  const time = fc.integer({ min: 0, max: 4e12 })
  const message = fc.record({
    channel: fc.string(),
    offset: fc.nat(),
    epoch: fc.string(),
    time,
    id: fc.string(),
    user: fc.string(),
    sender: fc.string(),
    client: fc.string(),
    body: fc.jsonValue(),
    kind: fc.oneof(fc.constant('message'), fc.constant('event'), fc.string()),
  }) as unknown as fc.Arbitrary<ChannelMessage>
  const status = fc.constantFrom('online', 'away', 'busy', 'offline')
  const refused = fc.record({ code: fc.constantFrom(...Object.keys(errorTable)), message: fc.string(), retryAfterMs: fc.nat() })
  const commands = ['join_channel', 'history', 'members', 'list_channels', 'channel_info', 'create_room', 'ping', 'status', 'x']
  const ref = fc.constantFrom(undefined, {}, { requestId: 1, id: 'a', channel: 'c' })
  const outputs = fc.oneof(
    fc.record({ type: fc.constant('output.messages'), channel: fc.string(), messages: fc.array(message) }),
    fc.record({
      type: fc.constant('output.presence'),
      change: fc.constantFrom('joined', 'left', 'status'),
      channel: fc.string(),
      user: fc.string(),
      status,
      before: status,
      at: time,
      offset: fc.nat(),
    }),
    fc.record({
      type: fc.constant('output.closed'),
      channel: fc.string(),
      reason: fc.constantFrom('deleted', 'expired', 'forbidden'),
      at: time,
    }),
    fc.record({
      type: fc.constant('output.answer'),
      ref,
      command: fc.constantFrom(...commands),
      at: time,
      data: fc.oneof(
        fc.jsonValue(),
        fc.record(
          { messages: fc.array(message), members: fc.constant([]), created_at: fc.oneof(time, fc.jsonValue()) },
          { requiredKeys: [] },
        ),
      ),
    }),
    fc.record({
      type: fc.constant('output.refused'),
      ref,
      command: fc.option(fc.string(), { nil: undefined }),
      at: time,
      refusal: refused,
    }),
    fc.record({ type: fc.constant('output.acknowledged'), ref, message, isRepeated: fc.boolean() }),
    fc.record({
      type: fc.constant('output.gap'),
      channel: fc.string(),
      epoch: fc.string(),
      offset: fc.nat(),
      at: time,
    }),
    fc.record({
      type: fc.constant('output.telemetry'),
      events: fc.array(fc.record({ event: fc.string(), at: time, tenant: fc.string() })),
    }),
  ) as unknown as fc.Arbitrary<Output>

  /** What ends the listeners of the guide's clients, and content types that they read fields of. */
  const expectSafe = (frame: Record<string, unknown>, relayed: readonly ChannelMessage[]) => {
    expect(typeof frame.type).toBe('string')
    const { content } = frame
    if (content === undefined) return
    const isUsers = relayed.some(({ id, offset }) => frame.id === id && frame.sequence === offset)
    if (typeof content === 'string') return expect(isUsers).toBe(true)
    expect(typeof content === 'object' && content !== null && !Array.isArray(content)).toBe(true)
    if (isUsers) return
    const { type, timestamp = '' } = content as { type?: unknown; timestamp?: unknown }
    expect(['edit', 'cursor', 'undo', 'sensor_data', 'alert', 'text', 'private']).not.toContain(type)
    expect(typeof timestamp).toBe('string')
  }

  const relayedBy = (output: Output): readonly ChannelMessage[] => {
    if (output.type === 'output.messages') return output.messages
    const { messages } = output.type === 'output.answer' ? ((output.data ?? {}) as { messages?: ChannelMessage[] }) : {}
    return Array.isArray(messages) ? messages : []
  }

  it('every frame is an object with a type, and its content an object or a text of a user; the same output gives the same frames', () => {
    fc.assert(
      fc.property(outputs, (output) => {
        const frames = door.encode(output)
        for (const frame of frames) expectSafe(JSON.parse(frame), relayedBy(output))
        expect(door.encode(structuredClone(output))).toEqual(frames)
      }),
      { numRuns: 1_000 },
    )
  })
})

describe('docs/wire/bus.md', () => {
  const page = readFileSync(new URL('../../docs/wire/bus.md', import.meta.url), 'utf8')
  const named = (pattern: RegExp) => [...new Set(page.match(pattern) ?? [])]

  it('names errors and options that there are', () => {
    const codes = named(/`(message|channel|auth|access|hook|rate|command|storage)\.[a-z_]+`/g).map((text) => text.slice(1, -1))
    expect(codes.length).toBeGreaterThan(10)
    for (const code of codes) expect(Object.keys(errorTable)).toContain(code)
    const paths = named(/`(bus|limits)\.\w+`/g).map((text) => text.slice(1, -1))
    expect(paths.length).toBeGreaterThan(10)
    for (const path of paths) expect(options.map((option) => option.path)).toContain(path)
  })

  it('shows frames that the door takes', () => {
    const frames = [...page.matchAll(/^\{"type":"(?:message|command|batch)".*\}$/gm)]
      .map(([frame]) => frame)
      .filter((frame) => !frame.includes('…,'))
    expect(frames.length).toBeGreaterThan(3)
    for (const frame of frames) for (const request of door.decode(frame)) expect([frame, request.type]).not.toEqual([frame, 'request.bad'])
  })

  it('lists every event of the server', () => {
    const types = ['user_joined', 'user_left', 'user_status', 'user_online', 'user_offline', 'room_expired', 'channel_deleted']
    for (const type of [...types, 'channel_forbidden', 'lost', 'message_too_large', 'telemetry'])
      expect(page).toMatch(new RegExp(`^\\|.*\`${type}\`.*\\|$`, 'm'))
  })
})
