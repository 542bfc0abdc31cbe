/** The pub/sub server over the wire: the built program and real sockets. Its transcript field by field, and none of its bugs. */
import { createHmac } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { BusClient, type Frame } from '../support/bus.ts'
import type { Running } from '../support/process.ts'
import { serve } from '../support/service.ts'
import { until } from '../support/wait.ts'

const naiveTime = expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}$/)

/** A client of the original: it knows its name, and what it heard in which order. */
class PubsubClient {
  readonly wire: BusClient

  constructor(url: string) {
    this.wire = new BusClient(url)
  }

  async opened(): Promise<this> {
    await this.wire.opened()
    await this.next('heartbeat', 0)
    return this
  }

  get frames(): readonly Frame[] {
    return this.wire.frames
  }

  get id(): unknown {
    return this.frames[0]?.client_id
  }

  next(type: string, from = this.frames.length): Promise<Frame> {
    return this.wire.frame((frame) => frame.type === type, `a ${type} frame`, from)
  }

  /** Sends it and resolves with the next frame of this type. */
  ask(message: object | string, type: string): Promise<Frame> {
    const answer = this.next(type)
    this.wire.send(message)
    return answer
  }

  subscribe(...topics: readonly string[]): Promise<Frame> {
    return this.ask({ type: 'subscribe', topics }, 'subscribed')
  }

  publish(topic: string, data?: unknown): void {
    this.wire.send({ type: 'publish', topic, ...(data !== undefined && { data }) })
  }

  /** Everything sent so far has been dealt with. */
  async settled(): Promise<void> {
    await this.ask({ type: 'ping' }, 'pong')
  }

  get messages(): readonly Frame[] {
    return this.frames.filter(({ type }) => type === 'message')
  }
}

const connect = (server: Running, query = ''): Promise<PubsubClient> => new PubsubClient(`${server.ws}/ws${query}`).opened()

describe('a pub/sub client', () => {
  const { server } = serve()

  it('[PW1] is greeted, hears a heartbeat at once, and nothing else', async () => {
    const ann = await connect(server())
    await ann.settled()
    expect(ann.frames).toEqual([
      { type: 'connected', client_id: expect.stringMatching(/^client_[0-9a-f]{8}$/), timestamp: naiveTime },
      { type: 'heartbeat' },
      { type: 'pong' },
    ])
  })

  it('[PW1] that speaks before it listens is greeted all the same, and first', async () => {
    const wire = await new BusClient(`${server().ws}/ws`).opened()
    wire.send({ type: 'subscribe', topics: ['early'] })
    await wire.frame(({ type }) => type === 'subscribed')
    expect(wire.frames.map(({ type }) => type)).toEqual(['connected', 'heartbeat', 'subscribed'])
  })

  it('[PW2] hears all its topics after each change', async () => {
    const ann = await connect(server())
    expect(await ann.subscribe('a', 'b')).toEqual({ type: 'subscribed', topics: ['a', 'b'] })
    expect(await ann.subscribe('c', 'a')).toEqual({ type: 'subscribed', topics: ['a', 'b', 'c'] })
    expect(await ann.ask({ type: 'unsubscribe', topics: ['a', 'zzz'] }, 'unsubscribed')).toEqual({
      type: 'unsubscribed',
      topics: ['b', 'c'],
    })
    expect(await ann.subscribe()).toEqual({ type: 'subscribed', topics: ['b', 'c'] })
    expect(await ann.ask({ type: 'unsubscribe' }, 'unsubscribed')).toEqual({ type: 'unsubscribed', topics: ['b', 'c'] })
  })

  it('[PW3] hears what others publish, field by field, in the order in which it was published, and nothing of its own', async () => {
    const [ann, bob] = [await connect(server()), await connect(server())]
    await ann.subscribe('news')
    await bob.subscribe('news')
    const values = [{ a: [1, null] }, 'text', 5, false, null, []]
    for (const value of values) ann.publish('news', value)
    ann.publish('news')
    await until(() => bob.messages.length === values.length + 1, 'all messages')
    expect(bob.messages).toEqual(
      [...values, null].map((data) => ({ type: 'message', topic: 'news', data, from: ann.id, timestamp: naiveTime })),
    )
    await ann.settled()
    expect(ann.messages).toEqual([])
    expect(ann.frames.map(({ type }) => type)).toEqual(['connected', 'heartbeat', 'subscribed', 'pong'])
  })

  it('[PW9] hears what happens on the server under the topic $telemetry', async () => {
    const [watcher, ann] = [await connect(server()), await connect(server())]
    await watcher.subscribe('$telemetry')
    await ann.subscribe('watched')
    await until(() => watcher.messages.length > 0, 'an event')
    expect(watcher.messages[0]).toMatchObject({
      topic: '$telemetry',
      from: 'server',
      timestamp: naiveTime,
      data: { event: expect.any(String) },
    })
  })

  it('[PW3] may publish to topics that it has not subscribed to, also to those that nobody has', async () => {
    const [ann, bob] = [await connect(server()), await connect(server())]
    await bob.subscribe('open')
    ann.publish('open', 1)
    ann.publish('nobody listens', 2)
    await ann.settled()
    expect(ann.frames.map(({ type }) => type)).toEqual(['connected', 'heartbeat', 'pong'])
    await until(() => bob.messages.length === 1, 'the message')
    await bob.ask({ type: 'unsubscribe', topics: ['open'] }, 'unsubscribed')
    ann.publish('open', 3)
    await ann.settled()
    await bob.settled()
    expect(bob.messages.map(({ data }) => data)).toEqual([1])
  })

  it('[PW4] is told of an unknown type, of bad JSON and of what is missing, and stays connected', async () => {
    const ann = await connect(server())
    expect(await ann.ask({ type: 'zzz' }, 'error')).toEqual({
      type: 'error',
      code: 'INVALID_MESSAGE_TYPE',
      message: 'Unknown message type: zzz',
    })
    expect(await ann.ask({ topic: 'a' }, 'error')).toMatchObject({ message: 'Unknown message type: None' })
    expect(await ann.ask('this is no JSON', 'error')).toMatchObject({ code: 'INVALID_JSON' })
    expect(await ann.ask('[1]', 'error')).toMatchObject({ code: 'INVALID_JSON' })
    expect(await ann.ask({ type: 'publish', data: 1 }, 'error')).toMatchObject({ code: 'MESSAGE_MALFORMED' })
    expect(await ann.ask({ type: 'subscribe', topics: 5 }, 'error')).toMatchObject({ code: 'COMMAND_BAD_PARAMETERS' })
    expect(await ann.ask({ type: 'subscribe', topics: ['fine', ''] }, 'error')).toMatchObject({ code: 'CHANNEL_BAD_NAME' })
    expect(await ann.ask({ type: 'publish', topic: 'a', data: 'x'.repeat(70_000) }, 'error')).toMatchObject({
      code: 'MESSAGE_TOO_LARGE',
      rule: 'bus.smallMessageBytes 65536',
    })
    expect(await ann.subscribe()).toEqual({ type: 'subscribed', topics: [] })
  })

  it('[PW5] may ask 100 times in a minute; each further request is refused, and the connection stands', async () => {
    const [ann, bob] = [await connect(server()), await connect(server())]
    await bob.subscribe('flood')
    await ann.subscribe('flood')
    for (let n = 1; n <= 104; n++) ann.publish('flood', n)
    const errors = () => ann.frames.filter(({ type }) => type === 'error')
    await until(() => errors().length === 5, 'the refusals')
    expect(errors()).toEqual(Array(5).fill({ type: 'error', code: 'RATE_LIMITED', message: 'Too many requests' }))
    await until(() => bob.messages.length >= 99, 'the messages')
    expect(bob.messages.map(({ data }) => data)).toEqual(Array.from({ length: 99 }, (_, index) => index + 1))
    bob.publish('flood', 'from another connection')
    expect(await ann.next('message', 0)).toMatchObject({ data: 'from another connection' })
  })
})

describe('where clients must log in', () => {
  const secret = 'a secret of the tests, long enough for HS256'
  const { server } = serve('auth.anonymous=false', `auth.jwtSecret=${secret}`, 'bus.graceMs=100')
  const base64 = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
  const token = (claims: object, key = secret) => {
    const signed = `${base64({ alg: 'HS256', typ: 'JWT' })}.${base64({ exp: Math.floor(Date.now() / 1_000) + 600, ...claims })}`
    return `${signed}.${createHmac('sha256', key).update(signed).digest('base64url')}`
  }
  const login = (user: string) => connect(server(), `?token=${token({ user_id: user })}`)

  it('[PW6] a client goes by the user of its token', async () => {
    const [ann, bob] = [await login('u1'), await login('u2')]
    expect(ann.frames[0]).toEqual({ type: 'connected', client_id: 'u1', timestamp: naiveTime })
    await bob.subscribe('news')
    ann.publish('news', 1)
    await until(() => bob.messages.length === 1, 'the message')
    expect(bob.messages).toEqual([{ type: 'message', topic: 'news', data: 1, from: 'u1', timestamp: naiveTime }])
  })

  it.each([
    ['no token', '', 'Missing authentication'],
    ['nonsense', '?token=nonsense', 'Invalid authentication'],
    ['a token of another key', `?token=${token({ user_id: 'u1' }, 'another secret, as long as the first one')}`, 'Invalid authentication'],
    ['an expired token', `?token=${token({ user_id: 'u1', exp: 1_000_000_000 })}`, 'Invalid authentication'],
  ])('[PW6] with %s it is turned away', async (_, query, reason) => {
    const wire = new BusClient(`${server().ws}/ws${query}`)
    expect(await wire.closed).toEqual({ code: 1008, reason })
    expect(wire.frames).toEqual([])
  })

  it('[PW7] two connections of one user are two: both hear, and the end of one is not that of the other', async () => {
    const [first, second, other] = [await login('twin'), await login('twin'), await login('other')]
    await first.subscribe('both')
    await second.subscribe('both')
    other.publish('both', 1)
    await until(() => first.messages.length === 1 && second.messages.length === 1, 'both to hear')
    await first.wire.close()
    other.publish('both', 2)
    await until(() => second.messages.length === 2, 'the one that is left to hear')
    second.publish('both', 'mine')
    await second.settled()
    expect(second.messages.map(({ data }) => data)).toEqual([1, 2])
    const third = await login('twin')
    await third.subscribe('both')
    second.publish('both', 'to my other self')
    await until(() => third.messages.length === 1, 'the other self to hear')
  })
})

describe('in the long run', () => {
  const { server } = serve('bus.heartbeatMs=50', 'bus.silentMs=300', 'limits.pingMs=1000', 'limits.pongMs=800', 'limits.handshakeMs=300')

  it('[PW8] a client that only listens is kept, and hears heartbeats', async () => {
    const [ann, bob] = [await connect(server()), await connect(server())]
    await ann.subscribe('rare')
    const heartbeats = () => ann.frames.filter(({ type }) => type === 'heartbeat').length
    await until(() => heartbeats() >= 40, 'heartbeats for longer than silence lasts')
    bob.publish('rare', 'at last')
    await until(() => ann.messages.length === 1, 'the message')
    expect(ann.frames.every((frame) => frame.type !== 'heartbeat' || Object.keys(frame).length === 1)).toBe(true)
  })

  it('[PW8] a client that is gone is not counted any more, whatever it said before', async () => {
    const clients = async () =>
      ((await fetch(`${server().http}/health`).then((response) => response.json())) as { clients: number }).clients
    await until(async () => (await clients()) === 0, 'nobody to be there')
    const ann = await connect(server())
    expect(await clients()).toBe(1)
    await ann.ask('no JSON', 'error')
    ann.wire.terminate()
    await until(async () => (await clients()) === 0, 'the client to be forgotten')
  })
})

describe('a pub/sub and a bus client in one channel', () => {
  const { server } = serve('--listen=0:pubsub')

  it('hear each other, at every path of a listener of profile pubsub', async () => {
    const ann = await new PubsubClient(`ws://127.0.0.1:${server().ports[1]}/ws?token=`).opened()
    const bus = await new BusClient(`${server().ws}/`).opened()
    await ann.subscribe('shared')
    await bus.join('shared')
    expect(bus.events('user_joined')).toEqual([])
    await bus.publish('shared', { temperature: 21 }, { sender: 'sensor' })
    expect(await ann.next('message', 0)).toEqual({
      type: 'message',
      topic: 'shared',
      data: { temperature: 21 },
      from: 'sensor',
      timestamp: naiveTime,
    })
    ann.publish('shared', { ok: true })
    await until(() => bus.messages('shared').length === 2, 'the message')
    expect(bus.messages('shared').at(-1)).toMatchObject({ sender: ann.id, content: { ok: true }, sequence: 2 })
    expect((await bus.command('members', { channel: 'shared' })).data.member_count).toBe(1)
  })
})
