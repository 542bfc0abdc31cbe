/** The wire of ArqonBus itself, envelope by envelope. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Output, Refusal } from '../../actors/output.ts'
import { completeConfig } from '../../src/config.ts'
import { arqonbusDoor } from '../../src/doors/arqonbus.ts'
import { channelOf, placeOf } from '../../src/doors/arqonbusEnvelope.ts'
import { account, answer, at, client, member, message, messages, presence, refOf, refused } from './outputs.ts'

const { bus } = completeConfig({})
const door = arqonbusDoor(bus)
const id = 'arq_1700000000000000000_7_c0ffee'
const anyId = expect.stringMatching(/^arq_\d+_\d+_[0-9a-f]{6}$/)
const clientId = 'arq_client_000102030405060708090a0b0c0d0e0f'
const timestamp = '2026-11-20T20:14:25.750000'

const decode = (value: unknown) => door.decode(typeof value === 'string' ? value : JSON.stringify(value))
type Frame = { readonly [field: string]: unknown; readonly payload: { readonly [field: string]: unknown } }
const encode = (output: Output): Frame[] => door.encode(output).map((text) => JSON.parse(text) as Frame)
const envelope = (type: string, fields: object) => ({
  id: anyId,
  timestamp,
  type,
  version: '1.0',
  payload: {},
  args: {},
  metadata: {},
  ...fields,
})
/** What the client hears when the door itself refuses what it said. */
const complaint = (value: unknown): Frame[] =>
  decode(value).flatMap((request) => (request.type === 'request.bad' ? encode(refused(request.ref, request.refusal)) : []))
const complaints = (value: object): unknown => complaint({ type: 'message', ...value })[0]?.payload.errors

describe('an envelope of a client', () => {
  it('may leave out all but its type', () => {
    for (const type of ['message', 'telemetry']) expect(complaint({ type })).toEqual([])
    const whole = { id, timestamp: '2026-02-20T10:00:00Z', type: 'message', version: '1.0', payload: {}, args: {}, metadata: {} }
    expect(
      complaint({ ...whole, room: 'r', channel: 'c', sender: 's', from_client: 'f', to_client: 't', request_id: 'x', status: 'y' }),
    ).toEqual([])
  })

  it('has no other fields', () => {
    expect(complaint({ type: 'message', channel: 'test', content: 'Hello ArqonBus!', sender: 'test-client' })).toEqual([
      envelope('error', {
        payload: { code: 'message.malformed' },
        sender: 'arqonbus',
        error:
          "Internal server error: Failed to create envelope from data: Envelope.__init__() got an unexpected keyword argument 'content'",
        error_code: 'INTERNAL_ERROR',
      }),
    ])
  })

  it('is JSON, an object and not too deep', () => {
    for (const text of ['{', '', '[]', 'null', `{"payload":${'{"a":'.repeat(70)}1${'}'.repeat(71)}`])
      expect([text, complaint(text)]).toMatchObject([
        text,
        [{ type: 'error', error: expect.stringMatching(/^Internal server error: Invalid JSON: /), error_code: 'INTERNAL_ERROR' }],
      ])
  })

  it('has an id of the protocol, which its errors name', () => {
    expect(complaint({ id: 'arq_cmd_001', type: 'message' })).toEqual([
      envelope('error', {
        payload: { errors: ['Invalid message ID format: arq_cmd_001'] },
        sender: 'arqonbus',
        request_id: 'arq_cmd_001',
        error: 'Message validation failed',
        error_code: 'VALIDATION_ERROR',
      }),
    ])
    for (const good of [id, 'arq_1_2_ABCDEF', 'arq_01ARZ3NDEKTSV4RRFFQ69G5FAV'])
      expect([good, complaints({ id: good })]).toEqual([good, undefined])
    for (const bad of ['x', 'arq_', 'arq_1_2_abcde', 'arq_a_2_abcdef', 'arq_1_2_3_abcdef', 'arq_01ARZ3NDEKTSV4RRFFQ69G5FAU'])
      expect([bad, complaints({ id: bad })]).toEqual([bad, [`Invalid message ID format: ${bad}`]])
    expect(complaints({ id: '' })).toEqual(['Message ID is required'])
    expect(complaints({ id: null })).toEqual(['Message ID is required'])
  })

  it('has a type that there is, and version 1.0', () => {
    expect(complaints({ type: 'event' })).toEqual(['Unsupported message type: event'])
    expect(complaints({ type: '' })).toEqual(['Message type is required'])
    expect(complaints({ version: '2.0' })).toEqual(['Unsupported protocol version: 2.0'])
    expect(complaints({ version: null })).toEqual(['Protocol version is required'])
  })

  it('has what its type needs, and fields of the right kind', () => {
    expect(complaints({ type: 'command' })).toEqual(["Field 'command' is required for command messages"])
    expect(complaints({ type: 'response' })).toEqual(["Field 'request_id' is required for response messages"])
    expect(complaints({ type: 'response', request_id: id })).toEqual(['Response messages must include status'])
    expect(complaints({ type: 'error' })).toEqual(["Field 'error' is required for error messages"])
    expect(complaints({ payload: null })).toEqual(["Field 'payload' is required for message messages"])
    expect(complaints({ payload: [], room: 5, args: 'x' })).toEqual([
      "Field 'room' must be a string",
      "Field 'payload' must be an object",
      "Field 'args' must be an object",
    ])
  })

  it('has a time that Python reads', () => {
    for (const timestamp of ['2026-02-20', '2026-02-20T10:00:00', '2026-02-20T10:00:00.123456', '2026-02-20 10:00:00+01:00'])
      expect([timestamp, complaint({ type: 'message', timestamp })]).toEqual([timestamp, []])
    for (const timestamp of ['now', '', 5, null, '2026-02-30T25:00:00', '20.2.2026'])
      expect([timestamp, complaint({ type: 'message', timestamp })]).toMatchObject([timestamp, [{ error_code: 'INTERNAL_ERROR' }]])
  })

  it('has causal metadata in order', () => {
    const causal = { sequence: 1, vector_clock: { a: 0, b: 3 }, causal_parent_id: id }
    expect(complaints({ metadata: causal })).toBeUndefined()
    expect(complaints({ metadata: { sequence: 0, vector_clock: { a: -1 }, causal_parent_id: 'x' } })).toHaveLength(3)
  })
})

describe('a message', () => {
  it('goes to the channel of its room, and is acknowledged with its id and payload', () => {
    const sent = { id, type: 'message', room: 'demo', channel: 'general', payload: { content: 'hello' } }
    const requests = decode(sent)
    expect(requests).toEqual([
      {
        type: 'request.publish',
        ref: { asked: 'message', id },
        message: { channel: 'demo/general', body: { content: 'hello' }, id },
        wantsAck: true,
      },
    ])
    const stored = message({ id, channel: 'demo/general', body: { content: 'hello' } })
    expect(encode({ type: 'output.acknowledged', ref: refOf(requests), message: stored, isRepeated: false })).toEqual([
      envelope('message_response', {
        id,
        payload: { content: 'hello' },
        metadata: { offset: 7, epoch: 'epoch-1', repeated: false },
        sender: 'arqonbus',
      }),
    ])
  })

  it('gets an id from the server when it has none', () => {
    const requests = decode({ type: 'message', room: 'r', channel: 'c', metadata: { a: 1 } })
    expect(requests).toMatchObject([{ message: { channel: 'r/c', metadata: { a: 1 } } }])
    const [first] = encode({ type: 'output.acknowledged', ref: refOf(requests), message: message(), isRepeated: false })
    const [second] = encode(messages(message()))
    expect([first?.id, second?.id]).toEqual([anyId, first?.id])
  })

  it('without room or channel leads nowhere, and is acknowledged', () => {
    const requests = decode({ id, type: 'message', channel: 'alone', payload: { a: 1 } })
    expect(requests).toMatchObject([{ type: 'request.command', command: 'ping' }])
    expect(encode(answer(refOf(requests), 'ping', { pong: true }))).toEqual([
      envelope('message_response', { id, payload: { a: 1 }, sender: 'arqonbus' }),
    ])
    expect(decode({ type: 'telemetry', channel: 'alone' })).toEqual([])
  })

  it('reaches the others as an envelope with the id of the client that sent it', () => {
    expect(door.manners).toMatchObject({ echo: 'never', acknowledges: true, greets: true, heartbeatMs: undefined })
    const sent = message({ id, channel: 'demo/general', user: clientId, sender: clientId, body: { content: 'hello' }, metadata: { a: 1 } })
    expect(encode(messages(sent))).toEqual([
      envelope('message', {
        id,
        payload: { content: 'hello' },
        metadata: { a: 1, sequence: 7, offset: 7 },
        room: 'demo',
        channel: 'general',
        sender: clientId,
      }),
    ])
  })

  it('keeps a sequence of its publisher, and says who spoke in another name', () => {
    const sent = message({ sender: 'sensor-1', body: 'plain', metadata: { sequence: 3 } })
    expect(encode(messages(sent))).toEqual([
      envelope('message', {
        payload: { content: 'plain' },
        metadata: { sequence: 3, offset: 7 },
        room: 'default',
        channel: 'general',
        sender: clientId,
        from_client: 'sensor-1',
      }),
    ])
    expect(encode(messages(message({ client: '', sender: 'http', metadata: { sequence: 'x' } })))).toMatchObject([
      { sender: 'http', metadata: { sequence: 7 } },
    ])
  })

  it('of type telemetry is passed on as such, and not acknowledged', () => {
    const requests = decode({ type: 'telemetry', room: 'r', channel: 'c', payload: { load: 1 } })
    expect(requests).toMatchObject([{ message: { channel: 'r/c', body: { load: 1 }, kind: 'telemetry' }, wantsAck: false }])
    expect(encode({ type: 'output.acknowledged', ref: refOf(requests), message: message(), isRepeated: false })).toEqual([])
    expect(encode(messages(message({ kind: 'telemetry' })))).toMatchObject([{ type: 'telemetry' }])
    expect(encode(messages(message({ kind: 'event' })))).toMatchObject([{ type: 'message' }])
  })

  it('that could not leave again is not taken in, for numbers grow on the way', () => {
    const sized = (numbers: number) =>
      `{"id":"${id}","type":"message","room":"r","channel":"c","payload":{"a":[${'1e20,'.repeat(numbers)}0]}}`
    expect(decode(sized(40_000))).toMatchObject([{ type: 'request.publish' }])
    expect(complaint(sized(100_000))).toMatchObject([
      {
        type: 'error',
        request_id: id,
        error: expect.stringMatching(/\d+ bytes with its envelope/),
        error_code: 'VALIDATION_ERROR',
        payload: { code: 'message.too_large', rule: expect.stringMatching(/^bus.messageBytes \d+$/) },
      },
    ])
  })

  it('that is larger than a frame may be is left out, and that is said', () => {
    const large = message({ body: { text: 'x'.repeat(1024 * 1024) } })
    const frames = encode(messages(large))
    expect(frames).toMatchObject([{ type: 'error', error_code: 'VALIDATION_ERROR', payload: { code: 'message.too_large', offset: 7 } }])
    const [ack] = door.encode({ type: 'output.acknowledged', ref: { asked: 'message', id }, message: large, isRepeated: false })
    expect(JSON.parse(ack ?? '')).toMatchObject({ type: 'message_response', id, payload: {} })
  })
})

describe('room and channel', () => {
  it('name one channel, which other doors know by one name', () => {
    expect(channelOf('demo', 'general')).toBe('demo/general')
    expect(['default', 'general', undefined].map((room) => channelOf(room, 'general'))).toEqual(['general', 'general', 'general'])
    expect(channelOf('demo', undefined)).toBe('demo')
    expect(placeOf('general')).toEqual({ room: 'default', channel: 'general' })
    expect(placeOf('sensors/cellar/1')).toEqual({ room: 'sensors', channel: 'cellar/1' })
  })

  it('of any channel lead back to it', () => {
    const names = fc.oneof(
      fc.string({ minLength: 1 }),
      fc.array(fc.constantFrom('a', '/', 'default'), { minLength: 1 }).map((parts) => parts.join('')),
    )
    fc.assert(
      fc.property(names, (name) => {
        const { room, channel } = placeOf(name)
        expect([room === '', channel === '', channelOf(room, channel)]).toEqual([false, false, name])
      }),
    )
  })
})

describe('a command', () => {
  const commandOf = (value: object) =>
    decode({ id, type: 'command', ...value })[0] as unknown as { command: string; params: object; ref: unknown }

  it('takes its parameters from args, from the payload, or from room and channel', () => {
    const forms = [
      { command: 'join_channel', channel: 'general' },
      { command: 'join_channel', args: { channel: 'general' } },
      { command: 'join_channel', args: { room: 'default', channel: 'general' } },
      { command: 'join_channel', args: { channel_id: 'general' } },
      { payload: { command: 'join_channel', parameters: { channel_id: 'general' } } },
    ]
    for (const form of forms) expect(commandOf(form)).toMatchObject({ command: 'join_channel', params: { channel: 'general' } })
    expect(commandOf({ command: 'join_channel', args: { room: 'demo', channel: 'general', rewind: 5 } }).params).toEqual({
      channel: 'demo/general',
      rewind: 5,
    })
    expect(commandOf({ command: 'create_room', args: { room: 'game', ttl: 60 } }).params).toEqual({ room: 'game', ttl: 60 })
    expect(commandOf({ command: 'my_own', room: 'r', args: { channel_id: 5 } }).params).toEqual({ room: 'r', channel_id: 5 })
  })

  it('is answered twice, with what it brought and with whether it went well', () => {
    const { ref } = commandOf({ command: 'create_channel', args: { channel: 'news' } })
    expect(encode(answer(ref, 'create_channel', { channel: 'news', description: '', created_at: at }))).toEqual([
      envelope('response', {
        payload: { message: 'Command create_channel done', data: { channel: 'news', description: '', created_at: timestamp } },
        sender: 'arqonbus',
        request_id: id,
        status: 'success',
      }),
      envelope('command_response', { id, payload: { result: 'ok' }, sender: 'arqonbus', command: 'create_channel' }),
    ])
  })

  it('that fails says why, twice', () => {
    const { ref } = commandOf({ command: 'delete_channel', args: { channel: 'news' } })
    const refusal: Refusal = { code: 'access.denied', message: 'no', rule: 'needs channel:news:delete' }
    expect(encode(refused(ref, refusal))).toEqual([
      envelope('response', {
        payload: { message: 'no', data: { code: 'access.denied', rule: 'needs channel:news:delete' } },
        sender: 'arqonbus',
        request_id: id,
        status: 'error',
        error_code: 'AUTHORIZATION_ERROR',
      }),
      envelope('command_response', { id, payload: { result: 'error' }, sender: 'arqonbus', command: 'delete_channel' }),
    ])
  })

  it.each([
    ['command.unknown', 'NOT_FOUND'],
    ['channel.unknown', 'NOT_FOUND'],
    ['channel.exists', 'CHANNEL_EXISTS'],
    ['command.bad_parameters', 'VALIDATION_ERROR'],
    ['auth.failed', 'AUTHORIZATION_ERROR'],
    ['rate.limited', 'RATE_LIMIT_EXCEEDED'],
    ['command.failed', 'EXECUTION_ERROR'],
    ['channel.unavailable', 'EXECUTION_ERROR'],
  ] as const)('that is refused with %s has the error code %s', (code, errorCode) => {
    expect(encode(refused(commandOf({ command: 'members' }).ref, { code }))[0]).toMatchObject({ error_code: errorCode })
  })

  it('without an id gets one, the same in both answers', () => {
    const [response, done] = encode(answer(refOf(decode({ type: 'command', command: 'ping' })), 'ping', { pong: true, timestamp: at }))
    expect(response).toMatchObject({ request_id: anyId, payload: { data: { pong: true, timestamp } } })
    expect(done?.id).toBe(response?.request_id)
  })

  it('that joins is followed by the messages that were asked for', () => {
    const { ref } = commandOf({ command: 'join_channel', args: { channel: 'general', rewind: 1 } })
    const data = {
      channel: 'general',
      created_at: at,
      epoch: 'e',
      sequence: 7,
      members: [member('ann')],
      messages: [message()],
      channels: ['general'],
    }
    const frames = encode(answer(ref, 'join_channel', data))
    expect(frames.map(({ type }) => type)).toEqual(['response', 'command_response', 'message'])
    expect(frames[0]?.payload.data).toEqual({
      channel: 'general',
      created_at: timestamp,
      epoch: 'e',
      sequence: 7,
      members: [{ user: 'ann', status: 'online', connections: 1, joined_at: '2026-11-20T20:14:24.750000', last_seen: timestamp }],
      replayed: 1,
    })
    expect(frames[2]).toEqual(encode(messages(message()))[0])
  })

  it('of a user is answered as it is', () => {
    const data = { messages: [1], timestamp: 5, members: 'x' }
    expect(encode(answer(commandOf({ command: 'mine' }).ref, 'mine', data))[0]?.payload.data).toEqual(data)
    expect(encode(answer(commandOf({ command: 'mine' }).ref, 'mine', [1]))[0]?.payload.data).toEqual({ value: [1] })
  })

  it('whose answer is larger than a frame may be has failed', () => {
    const frames = encode(answer(commandOf({ command: 'mine' }).ref, 'mine', 'x'.repeat(1024 * 1024)))
    expect(frames).toMatchObject([{ status: 'error', error_code: 'VALIDATION_ERROR' }, { payload: { result: 'error' } }])
  })

  it('history.get brings the newest first, 100 of them', () => {
    for (const command of ['history.get', 'op.history.get']) {
      const args = { room: 'science', since: '2026-02-20T00:00:00Z' }
      const { params, ref, command: ours } = commandOf({ command, args })
      expect([ours, params]).toEqual(['history', { channel: 'science', limit: 100, direction: 'backwards', since: '2026-02-20T00:00:00Z' }])
      const data = { channel: 'science', messages: [message({ offset: 1 }), message({ offset: 2 })] }
      const [first] = encode(answer(ref, 'history', data))
      const entry = (offset: number) => ({
        envelope: encode(messages(message({ offset })))[0],
        stored_at: timestamp,
        storage_metadata: { backend: 'journal' },
      })
      expect(first?.payload).toEqual({
        message: 'History window retrieved',
        data: { entries: [entry(2), entry(1)], count: 2, room: 'science', channel: null, since: args.since, until: null, limit: 100 },
      })
    }
  })

  it('history.replay brings them in order, at most 1000', () => {
    const args = { room: 'ops', channel: 'events', from_ts: '2026-02-20', to_ts: '2026-02-21', strict_sequence: true, limit: 5_000 }
    const { params, ref } = commandOf({ command: 'op.history.replay', args })
    expect(params).toEqual({ channel: 'ops/events', limit: 1_000, direction: 'forwards', since: '2026-02-20', until: '2026-02-21' })
    const [first] = encode(answer(ref, 'history', { messages: [message({ offset: 1 }), message({ offset: 2 })] }))
    expect(first?.payload).toMatchObject({
      message: 'History replay window retrieved',
      data: {
        count: 2,
        ...args,
        limit: 1_000,
        entries: [{ envelope: { metadata: { offset: 1 } } }, { envelope: { metadata: { offset: 2 } } }],
      },
    })
  })

  it('finds an empty window where there is no such channel', () => {
    const { ref } = commandOf({ command: 'history.get', args: { room: 'nowhere' } })
    expect(encode(refused(ref, { code: 'channel.unknown' }))).toMatchObject([
      { status: 'success', payload: { data: { entries: [], count: 0 } } },
      { payload: { result: 'ok' } },
    ])
    expect(encode(refused(commandOf({ command: 'history' }).ref, { code: 'channel.unknown' }))[0]).toMatchObject({ status: 'error' })
  })
})

describe('what else the server says', () => {
  it('welcomes with the id of the client', () => {
    expect(door.manners.nameOf(client)).toBe(clientId)
    expect(encode({ type: 'output.greeting', client, account: account(clientId), at })).toEqual([
      envelope('message', { payload: { welcome: 'Connected to ArqonBus', client_id: clientId }, sender: 'arqonbus' }),
    ])
  })

  it('has always the same id for the same thing', () => {
    for (const output of [messages(message()), presence(), refused(undefined, { code: 'rate.limited' })])
      expect(door.encode(output)).toEqual(door.encode(output))
  })

  it('refuses binary frames and operators', () => {
    expect(encode(refused(undefined, { code: 'message.malformed' }))[0]).toMatchObject({ error_code: 'INFRA_PROTOCOL_ERROR' })
    expect(complaint({ id, type: 'operator.join', payload: { group: 'g' } })[0]).toMatchObject({ request_id: id, error_code: 'NOT_FOUND' })
    expect(decode({ type: 'response', request_id: id, status: 'success' })).toEqual([])
  })

  it('tells of endings, losses and events as telemetry, and nothing of who comes and goes', () => {
    expect(encode({ type: 'output.closed', channel: 'demo/x', isRoom: true, reason: 'expired', at })).toEqual([
      envelope('telemetry', { payload: { event_type: 'room_closed', reason: 'expired' }, room: 'demo', channel: 'x', sender: 'arqonbus' }),
    ])
    expect(encode({ type: 'output.gap', channel: 'x', epoch: 'e', offset: 9, at })).toMatchObject([
      { type: 'telemetry', payload: { event_type: 'messages_lost', epoch: 'e', offset: 9 } },
    ])
    expect(encode({ type: 'output.telemetry', events: [{ event: 'joined', at, tenant: '', channel: 'x' }] })).toEqual([
      envelope('telemetry', {
        payload: { event_type: 'joined', timestamp, tenant: '', channel: 'x' },
        room: 'arqonbus.telemetry',
        channel: 'events',
        sender: 'arqonbus',
      }),
    ])
    expect(encode(presence())).toEqual([])
    expect(encode({ type: 'output.heartbeat', at })).toEqual([])
  })

  it('turns away with 401 and the reason', () => {
    const denied = (code: Refusal['code']) => door.deny?.({ code, message: '' })
    expect(denied('auth.required')).toEqual({
      status: '401 Unauthorized',
      headers: { 'content-type': 'application/json', 'www-authenticate': 'Bearer realm="arqonbus"' },
      body: '{"error":"Unauthorized","details":"Missing bearer token"}',
    })
    expect(denied('auth.expired')).toMatchObject({ body: '{"error":"Unauthorized","details":"Invalid token"}' })
    expect(denied('connection.too_many')).toBeUndefined()
  })
})

describe('the door', () => {
  it('never throws, whatever comes, and every answer fits a frame', () => {
    const fields = fc.record(
      {
        id: fc.oneof(fc.constant(id), fc.jsonValue()),
        type: fc.oneof(fc.constantFrom('message', 'command', 'response', 'error', 'telemetry', 'operator.join'), fc.jsonValue()),
        ...{ payload: fc.jsonValue(), args: fc.jsonValue(), metadata: fc.jsonValue(), room: fc.jsonValue(), channel: fc.jsonValue() },
        command: fc.oneof(fc.constantFrom('join_channel', 'history.get', 'history.replay', 'ping', '__proto__'), fc.jsonValue()),
      },
      { requiredKeys: ['type'] },
    )
    fc.assert(fc.property(fc.string(), (text) => void complaint(text)))
    fc.assert(fc.property(fc.jsonValue(), (value) => void complaint(JSON.stringify(value))))
    fc.assert(
      fc.property(fields, (value) => {
        for (const request of decode(value))
          if ('ref' in request) {
            const command = request.type === 'request.command' ? request.command : 'none'
            expect(encode(refused(request.ref, { code: 'hook.rejected' })).length).toBeGreaterThan(0)
            expect(encode(answer(request.ref, command, { messages: [], members: [] }))).toBeDefined()
          }
      }),
    )
    const long = 'x'.repeat(600_000)
    for (const value of [{ id: long }, { type: 'command', command: long }, { type: long }, { [long]: 1 }])
      for (const request of decode({ type: 'message', ...value }))
        if ('ref' in request)
          for (const text of door.encode(refused(request.ref, { code: 'command.unknown', message: long.slice(0, 255) })))
            expect(text.length).toBeLessThan(10_000)
  })
})
