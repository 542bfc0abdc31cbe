/** The wire of the chat course, frame by frame and field by field. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Output } from '../../actors/output.ts'
import { completeConfig } from '../../src/config.ts'
import { chatDoor } from '../../src/doors/chat.ts'
import { account, answer, at, client, member, message, messages, presence, refOf, refused } from './outputs.ts'

const { bus } = completeConfig({})
const door = chatDoor(bus)
const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/

const decode = (value: unknown) => door.decode(typeof value === 'string' ? value : JSON.stringify(value))
const encode = (output: Output) => door.encode(output).map((text) => JSON.parse(text) as { type: string; data: Record<string, unknown> })
const ask = (value: object) => refOf(decode(value))

const chatMessage = (fields: object = {}) => ({
  id: '00010203-0405-4607-8809-0a0b0c0d0e0f',
  room: 'general',
  user: 'ann',
  content: 'hello',
  sequence: 7,
  timestamp: at,
  ...fields,
})

describe('what a chat client says', () => {
  it('joins with the latest 50 messages, leaves, and asks who is there', () => {
    expect(decode({ type: 'join', room: 'general' })).toEqual([
      {
        type: 'request.command',
        ref: { asked: 'join', room: 'general' },
        command: 'join_channel',
        params: { channel: 'general', rewind: 50 },
      },
    ])
    expect(decode({ type: 'leave', room: 'general' })).toMatchObject([{ command: 'leave_channel', params: { channel: 'general' } }])
    expect(decode({ type: 'presence', room: 'general' })).toMatchObject([{ command: 'members', params: { channel: 'general' } }])
  })

  it('asks for at most 100 messages after a sequence, from the oldest on', () => {
    const params = (since?: unknown) =>
      (decode({ type: 'history', room: 'r', ...(since !== undefined && { since }) })[0] as unknown as { params: object }).params
    expect(params()).toEqual({ channel: 'r', after: 0, limit: 100, direction: 'forwards' })
    expect(params(12)).toMatchObject({ after: 12 })
    expect([params('12'), params(-3), params('x'), params(2.5), params(1e300)]).toMatchObject([
      { after: 12 },
      { after: 0 },
      { after: 0 },
      { after: 2 },
      { after: Number.MAX_SAFE_INTEGER },
    ])
  })

  it('publishes what clients of the bus can read', () => {
    expect(decode({ type: 'message', data: { room: 'general', content: 'hello' } })).toEqual([
      {
        type: 'request.publish',
        ref: { asked: 'message', room: 'general' },
        message: { channel: 'general', body: { type: 'text', text: 'hello' } },
        wantsAck: false,
      },
    ])
    const bodies = [undefined, 5, { a: 1 }].map((content) => decode({ type: 'message', data: { room: 'r', content } })[0])
    expect(bodies).toMatchObject(['', '5', '{"a":1}'].map((text) => ({ message: { body: { type: 'text', text } } })))
  })

  it('is ignored when it is no message of the protocol', () => {
    const nonsense = ['', '{', 'null', '[]', '"join"', '{}', { type: 'dance' }, { type: 'join' }, { type: 'join', room: 5 }, { type: 5 }]
    const more = [{ type: 'message' }, { type: 'message', data: null }, { type: 'message', data: 'x' }, '['.repeat(1_000)]
    for (const value of [...nonsense, ...more]) expect([value, decode(value)]).toEqual([value, []])
  })

  it('is refused when it is too large, at the limit and not below', () => {
    const text = (bytes: number) => {
      const left = bytes - JSON.stringify({ type: 'message', data: { room: 'r', content: '' } }).length
      return JSON.stringify({ type: 'message', data: { room: 'r', content: 'ä'.repeat(left >> 1) + 'x'.repeat(left & 1) } })
    }
    const most = bus.smallMessageBytes
    expect(Buffer.byteLength(text(most))).toBe(most)
    expect(decode(text(most))).toMatchObject([{ type: 'request.publish' }])
    expect(decode(text(most + 1))).toMatchObject([
      { type: 'request.bad', refusal: { code: 'message.too_large', rule: `bus.smallMessageBytes ${most}` } },
    ])
  })

  it('never makes the door throw', () => {
    const kinds = fc.constantFrom('join', 'leave', 'message', 'presence', 'history', 'heartbeat', '__proto__')
    fc.assert(fc.property(fc.string(), (text) => void decode(text)))
    fc.assert(fc.property(fc.jsonValue(), (value) => void decode(JSON.stringify(value))))
    fc.assert(
      fc.property(kinds, fc.jsonValue(), fc.jsonValue(), fc.jsonValue(), (type, room, data, since) => {
        for (const request of decode({ type, room, data, since }))
          if ('ref' in request) door.encode(refused(request.ref, { code: 'hook.rejected' }))
      }),
    )
  })
})

describe('what a chat client hears', () => {
  it('is greeted with a UUID and a name made of it', () => {
    const user = door.manners.nameOf(client)
    expect(encode({ type: 'output.greeting', client, account: account(user), at })).toEqual([
      { type: 'connected', data: { clientId: '00010203-0405-4607-8809-0a0b0c0d0e0f', user: 'user_00010203' } },
    ])
    const other = door.manners.nameOf('id00000000000000000001')
    expect(other).not.toBe(door.manners.nameOf('id00000000000000000002'))
    const [greeting] = encode({ type: 'output.greeting', client: 'id00000000000000000001', account: account(other), at })
    expect(greeting?.data.clientId).toMatch(uuid)
    expect(other).toBe(`user_${String(greeting?.data.clientId).slice(0, 8)}`)
  })

  it('hears who is there, then that it joined, then what was said, in this order', () => {
    const data = {
      channel: 'general',
      sequence: 8,
      announced: true,
      members: [member('ann'), member('bob', { status: 'busy' }), member('cyd', { status: 'offline' })],
      messages: [message(), message({ offset: 8, id: 'second', body: 'plain' })],
    }
    const frames = encode(answer(ask({ type: 'join', room: 'general' }), 'join_channel', data))
    expect(frames).toEqual([
      {
        type: 'presence',
        data: {
          room: 'general',
          users: [
            { user: 'ann', status: 'online', lastSeen: at },
            { user: 'bob', status: 'away', lastSeen: at },
            { user: 'cyd', status: 'offline', lastSeen: at },
          ],
        },
      },
      {
        type: 'message',
        data: {
          id: expect.stringMatching(uuid),
          room: 'general',
          user: 'system',
          content: 'ann joined the room',
          sequence: 8,
          timestamp: at,
        },
      },
      {
        type: 'history',
        data: {
          room: 'general',
          messages: [chatMessage(), chatMessage({ id: expect.stringMatching(uuid), content: 'plain', sequence: 8 })],
        },
      },
    ])
  })

  it('hears no second announcement when it joins again, and no history of an empty room', () => {
    const data = { channel: 'general', sequence: 0, announced: false, members: [], messages: [] }
    expect(encode(answer(ask({ type: 'join', room: 'general' }), 'join_channel', data))).toEqual([
      { type: 'presence', data: { room: 'general', users: [] } },
    ])
  })

  it('hears each message with id, room, user, content, sequence and time, and nothing else', () => {
    expect(encode(messages(message(), message({ offset: 8, body: 'from a bus client', sender: 'sensor' })))).toEqual([
      { type: 'message', data: chatMessage() },
      { type: 'message', data: chatMessage({ content: 'from a bus client', user: 'sensor', sequence: 8 }) },
    ])
    const bodies = [{ temperature: 21 }, ['a', 1, null], { content: 'native' }, { content: 'x', position: 1 }, { text: 1 }]
    expect(bodies.map((body) => encode(messages(message({ body })))[0]?.data.content)).toEqual([
      '{"temperature":21}',
      '["a",1,null]',
      'native',
      '{"content":"x","position":1}',
      '{"text":1}',
    ])
  })

  it('gets a note in place of a message that is larger than a frame may be, so that the sequence has no hole', () => {
    const quotes = '"'.repeat(600_000) // twice as long as JSON, four times as JSON in JSON
    const output = messages(message({ body: { quotes } }))
    expect(Buffer.byteLength(door.encode(output)[0] ?? '')).toBeLessThan(1024 * 1024)
    expect(encode(output)).toEqual([{ type: 'message', data: chatMessage({ content: '[1200013 bytes: too large for a chat message]' }) }])
    const large = message({ body: { type: 'text', text: 'x'.repeat(1024 * 1024 - 2_048) } })
    expect(encode(messages(large))[0]?.data.content).toHaveLength(1024 * 1024 - 2_048)
  })

  it('gets as much history as fits into a frame: the latest when it joins, the first when it asks', () => {
    const many = Array.from({ length: 50 }, (_, index) => message({ offset: index + 1, body: { type: 'text', text: 'x'.repeat(60_000) } }))
    const sequences = (output: Output) => {
      const text = door.encode(output).at(-1) ?? ''
      expect(Buffer.byteLength(text)).toBeLessThan(1024 * 1024)
      return (JSON.parse(text) as { data: { messages: { sequence: number }[] } }).data.messages.map(({ sequence }) => sequence)
    }
    const joined = { channel: 'general', sequence: 50, announced: true, members: [], messages: many }
    const latest = sequences(answer(ask({ type: 'join', room: 'general' }), 'join_channel', joined))
    const first = sequences(answer(ask({ type: 'history', room: 'general' }), 'history', { channel: 'general', messages: many }))
    expect([latest.at(-1), latest.length, first[0], first.length]).toEqual([50, 15, 1, 15])
  })

  it('hears others come and go as words of the system', () => {
    const system = (content: string) => [
      { type: 'message', data: { id: expect.stringMatching(uuid), room: 'general', user: 'system', content, sequence: 7, timestamp: at } },
    ]
    expect(encode(presence())).toEqual(system('bob joined the room'))
    expect(encode(presence({ change: 'left', reason: 'left' }))).toEqual(system('bob left the room'))
    expect(encode(presence({ change: 'left', reason: 'lost' }))).toEqual(system('bob left the room'))
    expect(encode(presence({ change: 'status', status: 'away' }))).toEqual([])
    expect(door.encode(presence())).toEqual(door.encode(presence()))
  })

  it('gets presence and history when it asks, and an empty list of a room that nobody has entered', () => {
    const ofPresence = ask({ type: 'presence', room: 'general' })
    const ofHistory = ask({ type: 'history', room: 'general', since: 6 })
    expect(encode(answer(ofPresence, 'members', { channel: 'general', members: [member('ann')] }))).toEqual([
      { type: 'presence', data: { room: 'general', users: [{ user: 'ann', status: 'online', lastSeen: at }] } },
    ])
    expect(encode(answer(ofHistory, 'history', { channel: 'general', messages: [message()] }))).toEqual([
      { type: 'history', data: { room: 'general', messages: [chatMessage()] } },
    ])
    expect(encode(refused(ofHistory, { code: 'channel.unknown' }))).toEqual([{ type: 'history', data: { room: 'general', messages: [] } }])
    expect(encode(refused(ofPresence, { code: 'channel.unknown' }))).toEqual([{ type: 'presence', data: { room: 'general', users: [] } }])
  })

  it('hears nothing of its leaving', () => {
    const ref = ask({ type: 'leave', room: 'general' })
    expect(encode(answer(ref, 'leave_channel', { channel: 'general', left: true, channels: [] }))).toEqual([])
    expect(encode(refused(ref, { code: 'channel.unknown' }))).toEqual([])
  })

  it('is told, word by word, that it is not in the room', () => {
    const unsubscribed = [{ type: 'error', data: { message: 'Not subscribed to room' } }]
    expect(encode(refused(ask({ type: 'message', data: { room: 'general' } }), { code: 'channel.not_joined' }))).toEqual(unsubscribed)
    expect(encode(refused(ask({ type: 'message', data: { content: 'no room' } }), { code: 'channel.not_joined' }))).toEqual(unsubscribed)
  })

  it('is told every other refusal with its code and the rule', () => {
    const ref = ask({ type: 'join', room: 'secret' })
    const refusal = { code: 'access.denied', message: 'not for you', rule: '!channel:secret:*' } as const
    expect(encode(refused(ref, refusal))).toEqual([
      { type: 'error', data: { message: 'not for you', code: 'access.denied', room: 'secret', rule: '!channel:secret:*' } },
    ])
    expect(encode(refused(undefined, { code: 'rate.limited', message: 'slower', retryAfterMs: 1_500 }))).toEqual([
      { type: 'error', data: { message: 'slower', code: 'rate.limited', retryAfterMs: 1_500 } },
    ])
  })

  it('is told when a room ends, and when messages were lost', () => {
    expect(encode({ type: 'output.closed', channel: 'general', isRoom: true, reason: 'expired', at })).toEqual([
      { type: 'error', data: { message: 'The room has expired', code: 'channel.closed', room: 'general' } },
    ])
    expect(encode({ type: 'output.gap', channel: 'general', epoch: 'e', offset: 7, at })).toEqual([
      { type: 'error', data: { message: 'Messages were missed', code: 'messages.lost', room: 'general' } },
    ])
  })

  it('gets a heartbeat every 30 s that is nothing but a heartbeat', () => {
    expect(door.encode({ type: 'output.heartbeat', at })).toEqual(['{"type":"heartbeat"}'])
    expect(door.manners).toMatchObject({ heartbeatMs: 30_000, beatsAtOnce: false })
  })

  it('hears its own messages, but only in rooms that it is in', () => {
    expect(door.manners).toMatchObject({ echo: 'members', mustJoinToPublish: true, trustsSender: false, rate: undefined })
  })
})
