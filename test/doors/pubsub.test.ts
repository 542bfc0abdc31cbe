/** The wire of the pub/sub server, frame by frame and field by field. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Output } from '../../actors/output.ts'
import { completeConfig } from '../../src/config.ts'
import { pubsubDoor } from '../../src/doors/pubsub.ts'
import { account, answer, at, client, message, messages, presence, refOf, refused } from './outputs.ts'

const { bus } = completeConfig({})
const door = pubsubDoor(bus)

const decode = (value: unknown) => door.decode(typeof value === 'string' ? value : JSON.stringify(value))
const encode = (output: Output) => door.encode(output).map((text) => JSON.parse(text) as unknown)
/** What the client hears when the door itself refuses what it said. */
const complaint = (value: unknown): unknown[] =>
  decode(value).flatMap((request) => (request.type === 'request.bad' ? encode(refused(request.ref, request.refusal)) : ['accepted']))

describe('what a pub/sub client says', () => {
  it('subscribes to topics and unsubscribes from them', () => {
    expect(decode({ type: 'subscribe', topics: ['a', 'b'] })).toEqual([
      { type: 'request.command', ref: { asked: 'subscribe' }, command: 'subscribe', params: { channels: ['a', 'b'] } },
    ])
    expect(decode({ type: 'unsubscribe', topics: ['a'] })).toEqual([
      { type: 'request.command', ref: { asked: 'unsubscribe' }, command: 'unsubscribe', params: { channels: ['a'] } },
    ])
    expect(decode({ type: 'subscribe' })).toMatchObject([{ params: { channels: [] } }])
    expect(decode({ type: 'subscribe', topics: 'news' })).toMatchObject([{ params: { channels: ['news'] } }])
  })

  it('publishes any JSON as it is, and null when there is none', () => {
    expect(decode({ type: 'publish', topic: 'a', data: { x: [1] } })).toEqual([
      {
        type: 'request.publish',
        ref: { asked: 'publish', topic: 'a' },
        message: { channel: 'a', body: { x: [1] } },
        wantsAck: false,
      },
    ])
    for (const data of [null, false, 0, '', [], 'text'])
      expect(decode({ type: 'publish', topic: 'a', data })).toMatchObject([{ message: { body: data } }])
    expect(decode({ type: 'publish', topic: 'a' })).toMatchObject([{ message: { body: null } }])
  })

  it('is told which type is unknown, as Python spells it', () => {
    const unknown = (text: string) => [{ type: 'error', code: 'INVALID_MESSAGE_TYPE', message: `Unknown message type: ${text}` }]
    expect(complaint({ type: 'zzz' })).toEqual(unknown('zzz'))
    expect(complaint({ topic: 'a' })).toEqual(unknown('None'))
    expect(complaint({ type: null })).toEqual(unknown('None'))
    expect(complaint({ type: true })).toEqual(unknown('True'))
    expect(complaint({ type: 5 })).toEqual(unknown('5'))
    expect(complaint({ type: 'x'.repeat(5_000) })).toEqual(unknown('x'.repeat(200)))
  })

  it('is told of bad JSON, of what is no object, and of too much depth', () => {
    for (const text of ['', '{', 'hello', 'null', '[]', '{"type":"ping"} x', `{"a":${'['.repeat(100)}${']'.repeat(100)}}`])
      expect([text, complaint(text)]).toEqual([text, [{ type: 'error', code: 'INVALID_JSON', message: expect.any(String) }]])
  })

  it('is told of a publish without a topic', () => {
    expect(complaint({ type: 'publish', data: 1 })).toEqual([{ type: 'error', code: 'MESSAGE_MALFORMED', message: expect.any(String) }])
  })

  it('may nest as deep as the limit says, and no deeper', () => {
    const nested = (levels: number) => `{"type":"publish","topic":"a","data":${'['.repeat(levels)}"]]]"${']'.repeat(levels)}}`
    expect(complaint(nested(bus.depth - 1))).toEqual(['accepted'])
    expect(complaint(nested(bus.depth))).toMatchObject([{ code: 'INVALID_JSON' }])
  })

  it('may be as large as the limit says, and no larger', () => {
    const sized = (bytes: number) => `{"type":"publish","topic":"a","data":"${'x'.repeat(bytes - 40)}"}`
    expect(sized(100)).toHaveLength(100)
    expect(complaint(sized(bus.smallMessageBytes))).toEqual(['accepted'])
    expect(complaint(sized(bus.smallMessageBytes + 1))).toMatchObject([{ code: 'MESSAGE_TOO_LARGE' }])
  })

  it('never makes the door throw', () => {
    const kinds = fc.constantFrom('subscribe', 'unsubscribe', 'publish', 'ping', '__proto__', 'toString')
    fc.assert(fc.property(fc.string(), (text) => void complaint(text)))
    fc.assert(fc.property(fc.jsonValue(), (value) => void complaint(JSON.stringify(value))))
    fc.assert(
      fc.property(kinds, fc.jsonValue(), fc.jsonValue(), (type, topic, data) => void complaint({ type, topic, topics: topic, data })),
    )
  })
})

describe('what a pub/sub client hears', () => {
  it('is greeted with its user and a naive time of microseconds, and hears a heartbeat at once and every 30 s', () => {
    expect(door.encode({ type: 'output.greeting', client, account: account('u1'), at })).toEqual([
      '{"type":"connected","client_id":"u1","timestamp":"2026-11-20T20:14:25.750000"}',
    ])
    expect(door.encode({ type: 'output.heartbeat', at })).toEqual(['{"type":"heartbeat"}'])
    expect(door.manners).toMatchObject({ greets: true, heartbeatMs: 30_000, beatsAtOnce: true })
  })

  it('hears all its topics after each change', () => {
    const [subscribe, unsubscribe] = ['subscribe', 'unsubscribe'].map((type) => refOf(decode({ type, topics: ['b'] })))
    expect(encode(answer(subscribe, 'subscribe', { channels: ['a', 'b'] }))).toEqual([{ type: 'subscribed', topics: ['a', 'b'] }])
    expect(encode(answer(unsubscribe, 'unsubscribe', { channels: ['a'] }))).toEqual([{ type: 'unsubscribed', topics: ['a'] }])
  })

  it('hears messages with topic, data, from and time, and nothing else', () => {
    expect(door.encode(messages(message({ body: [1, { a: null }], sender: 'u1' })))).toEqual([
      '{"type":"message","topic":"general","data":[1,{"a":null}],"from":"u1","timestamp":"2026-11-20T20:14:25.750000"}',
    ])
    expect(door.encode(messages(message({ offset: 1 }), message({ offset: 2 })))).toHaveLength(2)
  })

  it('hears pong after ping', () => {
    expect(door.encode(answer(refOf(decode({ type: 'ping' })), 'ping', { pong: true, timestamp: at }))).toEqual(['{"type":"pong"}'])
  })

  it('hears nothing of its own messages, of others who come and go, and no acknowledgement', () => {
    expect(door.manners).toMatchObject({ echo: 'never', acknowledges: false, hasPresence: false })
    expect(encode(presence())).toEqual([])
    expect(encode({ type: 'output.acknowledged', ref: undefined, message: message(), isRepeated: false })).toEqual([])
  })

  it('may ask 100 times in 60 s, and is told when that was too often', () => {
    expect(door.manners.rate).toEqual({ count: 100, withinMs: 60_000 })
    expect(pubsubDoor({ ...bus, pubsubRequestsPerMinute: 0 }).manners.rate).toBeUndefined()
    const limited = { code: 'rate.limited', rule: 'requests of one connection', retryAfterMs: 900 } as const
    const requests = [...decode({ type: 'ping' }), ...decode('{'), ...decode({ type: 'zzz' }), ...decode({ type: 'publish', topic: 'a' })]
    for (const request of requests)
      expect(encode(refused('ref' in request ? request.ref : undefined, limited))).toEqual([
        { type: 'error', code: 'RATE_LIMITED', message: 'Too many requests' },
      ])
  })

  it('is told every other refusal in capitals, with the rule', () => {
    const ref = refOf(decode({ type: 'publish', topic: 'secret' }))
    expect(encode(refused(ref, { code: 'access.denied', message: 'no', rule: 'needs channel:secret:write' }))).toEqual([
      { type: 'error', code: 'ACCESS_DENIED', message: 'no', topic: 'secret', rule: 'needs channel:secret:write' },
    ])
    expect(encode(refused(undefined, { code: 'command.bad_parameters' }))).toMatchObject([{ code: 'COMMAND_BAD_PARAMETERS' }])
  })

  it('is told when a topic ends, when messages were lost, and when one is larger than a frame may be', () => {
    expect(encode({ type: 'output.closed', channel: 'news', isRoom: false, reason: 'deleted', at })).toEqual([
      { type: 'error', code: 'CHANNEL_CLOSED', message: 'The topic was deleted', topic: 'news' },
    ])
    expect(encode({ type: 'output.gap', channel: 'news', epoch: 'e', offset: 7, at })).toEqual([
      { type: 'error', code: 'MESSAGES_LOST', message: 'Messages were missed', topic: 'news' },
    ])
    expect(encode(messages(message({ body: 'x'.repeat(1024 * 1024) })))).toEqual([
      { type: 'error', code: 'MESSAGE_TOO_LARGE', message: 'A message of 1048676 bytes was left out', topic: 'general' },
    ])
  })

  it('is turned away with 1008 and the words of the original', () => {
    expect(door.deny?.({ code: 'auth.required', message: '' })).toEqual({ close: 1008, reason: 'Missing authentication' })
    for (const code of ['auth.failed', 'auth.expired', 'auth.revoked'] as const)
      expect(door.deny?.({ code, message: '' })).toEqual({ close: 1008, reason: 'Invalid authentication' })
    expect(door.deny?.({ code: 'connection.origin', message: '' })).toBeUndefined()
  })
})
