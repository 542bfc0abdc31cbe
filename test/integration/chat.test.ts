/** The chat system over the wire: the built program, real sockets, a real disk. Its exercises, its pitfalls, and its bugs. */
import { existsSync, readdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { BusClient, closeBusClients, type Frame } from '../support/bus.ts'
import { type Running, startTroupe, temporaryDirectory } from '../support/process.ts'
import { serve } from '../support/service.ts'
import { until } from '../support/wait.ts'

interface ChatFrame extends Frame {
  // biome-ignore lint/suspicious/noExplicitAny: what a frame holds is what the tests ask
  readonly data?: any
}

interface ChatMessage {
  readonly id: string
  readonly room: string
  readonly user: string
  readonly content: string
  readonly sequence: number
  readonly timestamp: number
}

/** A client of the course: it knows its name, and what it heard in which order. */
class ChatClient {
  readonly wire: BusClient
  user = ''

  constructor(url: string) {
    this.wire = new BusClient(url)
  }

  async opened(): Promise<this> {
    await this.wire.opened()
    this.user = (await this.frame('connected')).data.user
    return this
  }

  get frames(): readonly ChatFrame[] {
    return this.wire.frames
  }

  send(message: object): void {
    this.wire.send(message)
  }

  say(room: string, content: string): void {
    this.send({ type: 'message', data: { room, content } })
  }

  frame(type: string, from = 0, fits: (frame: ChatFrame) => boolean = () => true): Promise<ChatFrame> {
    return this.wire.frame<ChatFrame>((frame) => frame.type === type && fits(frame), `a ${type} frame`, from)
  }

  /** Sends it, and resolves with the next frame of this type that is about the room. */
  async ask(type: 'presence' | 'history', room: string, more: object = {}): Promise<ChatFrame> {
    const from = this.frames.length
    this.send({ type, room, ...more })
    return this.frame(type, from, ({ data }) => data.room === room)
  }

  /** Resolves with the frames that joining brought. */
  async join(room: string): Promise<readonly ChatFrame[]> {
    const from = this.frames.length
    this.send({ type: 'join', room })
    await this.frame('presence', from)
    await this.settled() // what belongs to the answer came before the answer to this
    return this.frames.slice(from).filter(({ data }) => data?.room === room)
  }

  /** Everything sent so far has been dealt with. */
  async settled(): Promise<void> {
    const from = this.frames.length
    this.send({ type: 'presence', room: 'nobody is here' })
    await this.frame('presence', from, ({ data }) => data.room === 'nobody is here')
  }

  /** What was said in a room, without the words of the system. */
  messages(room: string): readonly ChatMessage[] {
    return this.said(room).filter(({ user }) => user !== 'system')
  }

  said(room: string): readonly ChatMessage[] {
    return this.frames.filter(({ type, data }) => type === 'message' && data.room === room).map(({ data }) => data)
  }

  system(room: string): readonly string[] {
    return this.said(room)
      .filter(({ user }) => user === 'system')
      .map(({ content }) => content)
  }

  hears(room: string, content: string): Promise<void> {
    return until(() => this.said(room).some((message) => message.content === content), `${this.user} hears ${content}`)
  }
}

const uuid = expect.stringMatching(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
const number = expect.any(Number)
const systemMessage = (room: string, content: string, sequence: number) => ({
  type: 'message',
  data: { id: uuid, room, user: 'system', content, sequence, timestamp: number },
})

const connect = (server: Running): Promise<ChatClient> => new ChatClient(`${server.ws}/chat`).opened()

describe('a chat client', () => {
  const { server, data } = serve()

  it('[CW1] is greeted with its id and a name made of it, and with nothing else', async () => {
    const ann = await connect(server())
    await ann.settled()
    const { clientId } = ann.frames[0]?.data ?? {}
    expect(ann.frames[0]).toEqual({ type: 'connected', data: { clientId: uuid, user: `user_${clientId.slice(0, 8)}` } })
    expect(ann.frames).toHaveLength(2)
    expect((await connect(server())).user).not.toBe(ann.user)
  })

  it('[CW2] that joins is told who is there, then that it joined, then what was said: field by field', async () => {
    const [ann, bob] = [await connect(server()), await connect(server())]
    const online = ({ user }: ChatClient) => ({ user, status: 'online', lastSeen: number })
    expect(await ann.join('golden')).toEqual([
      { type: 'presence', data: { room: 'golden', users: [online(ann)] } },
      systemMessage('golden', `${ann.user} joined the room`, 0),
    ])
    ann.say('golden', 'first')
    await ann.hears('golden', 'first')
    const message = { id: uuid, room: 'golden', user: ann.user, content: 'first', sequence: 1, timestamp: number }
    expect(ann.frames.at(-1)).toEqual({ type: 'message', data: message })

    const joined = await bob.join('golden')
    expect(joined).toEqual([
      { type: 'presence', data: { room: 'golden', users: expect.arrayContaining([online(ann), online(bob)]) } },
      systemMessage('golden', `${bob.user} joined the room`, 1),
      { type: 'history', data: { room: 'golden', messages: [message] } },
    ])
    expect(joined[0]?.data.users).toHaveLength(2)
    await ann.hears('golden', `${bob.user} joined the room`)
    expect(ann.frames.at(-1)).toEqual(systemMessage('golden', `${bob.user} joined the room`, 1))
  })

  it('[CW5] that is not in the room is told so, word by word, and the others hear nothing', async () => {
    const [ann, bob] = [await connect(server()), await connect(server())]
    await ann.join('closed')
    bob.say('closed', 'hello?')
    bob.send({ type: 'message', data: { content: 'to nobody' } })
    await bob.settled()
    const told = bob.frames.filter(({ type }) => type === 'error')
    expect(told).toEqual(Array(2).fill({ type: 'error', data: { message: 'Not subscribed to room' } }))
    await ann.settled()
    expect(ann.messages('closed')).toEqual([])
  })

  it('[CW6] gets the messages after a sequence, at most 100, in order; of an unknown room none', async () => {
    const ann = await connect(server())
    await ann.join('long')
    for (let n = 1; n <= 130; n++) ann.say('long', `message ${n}`)
    await ann.hears('long', 'message 130')
    const sequences = async (since?: number) => {
      const { data } = await ann.ask('history', 'long', since === undefined ? {} : { since })
      return data.messages.map(({ sequence }: ChatMessage) => sequence)
    }
    const upTo = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, index) => from + index)
    expect(await sequences()).toEqual(upTo(1, 100))
    expect(await sequences(0)).toEqual(upTo(1, 100))
    expect(await sequences(100)).toEqual(upTo(101, 130))
    expect(await sequences(130)).toEqual([])
    expect(await ann.ask('history', 'never entered')).toEqual({ type: 'history', data: { room: 'never entered', messages: [] } })
    expect(await ann.ask('presence', 'never entered')).toEqual({ type: 'presence', data: { room: 'never entered', users: [] } })
  })

  it('[CW2] gets the latest 50 when it joins, not the first', async () => {
    const [ann, bob] = [await connect(server()), await connect(server())]
    await ann.join('busy')
    for (let n = 1; n <= 60; n++) ann.say('busy', `${n}`)
    await ann.hears('busy', '60')
    const history = (await bob.join('busy')).find(({ type }) => type === 'history')
    expect(history?.data.messages.map(({ content }: ChatMessage) => Number(content))).toEqual(Array.from({ length: 50 }, (_, n) => n + 11))
  })

  it('[CW7] that leaves hears nothing more of the room, and the others hear that it left', async () => {
    const [ann, bob] = [await connect(server()), await connect(server())]
    await ann.join('parting')
    await bob.join('parting')
    await ann.hears('parting', `${bob.user} joined the room`)
    const before = bob.frames.length
    bob.send({ type: 'leave', room: 'parting' })
    await ann.hears('parting', `${bob.user} left the room`)
    ann.say('parting', 'all alone')
    await ann.hears('parting', 'all alone')
    bob.say('parting', 'and one more thing')
    await bob.settled()
    expect(bob.frames.slice(before).map(({ type }) => type)).toEqual(['error', 'presence'])
    expect((await ann.ask('presence', 'parting')).data.users).toMatchObject([{ user: ann.user }])
  })

  it('[CW8] that joins again is not announced again', async () => {
    const [ann, bob] = [await connect(server()), await connect(server())]
    await ann.join('twice')
    await bob.join('twice')
    const again = await bob.join('twice')
    expect(again.map(({ type }) => type)).toEqual(['presence'])
    bob.say('twice', 'still here')
    await ann.hears('twice', 'still here')
    expect(ann.system('twice')).toEqual([`${ann.user} joined the room`, `${bob.user} joined the room`])
  })

  it('[CW10] hears nothing of what is no message, and goes on', async () => {
    const ann = await connect(server())
    await ann.join('sturdy')
    const before = ann.frames.length
    const nonsense = ['', '{', 'null', '[]', '{}', { type: 'dance' }, { type: 'join' }, { type: 'message' }, { type: 'message', data: 5 }]
    for (const value of nonsense) ann.wire.send(value)
    await ann.settled()
    expect(ann.frames.slice(before).map(({ type }) => type)).toEqual(['presence'])
    ann.say('sturdy', 'x'.repeat(70_000))
    expect((await ann.frame('error')).data).toMatchObject({ code: 'message.too_large', rule: 'bus.smallMessageBytes 65536' })
    ann.say('sturdy', 'well')
    await ann.hears('sturdy', 'well')
    expect(ann.messages('sturdy').map(({ sequence }) => sequence)).toEqual([1])
  })

  it('[CW13] may give a room the name of a path, which is but a name', async () => {
    const ann = await connect(server())
    const name = `escaped-from-${basename(data)}`
    const before = readdirSync(data, { recursive: true })
    for (const room of [`../../${name}`, join(tmpdir(), name), `a/../${name}`, name, '..']) {
      await ann.join(room)
      ann.say(room, 'hello')
      await ann.hears(room, 'hello')
      expect((await ann.ask('history', room)).data.messages).toMatchObject([{ room, content: 'hello', sequence: 1 }])
    }
    const places = [join(data, name), join(data, '..', name), join(data, '../..', name), join(process.cwd(), name)]
    expect(places.filter((place) => existsSync(place))).toEqual([])
    expect(readdirSync(data, { recursive: true })).toEqual(before)
  })

  it('that asks for a room that cannot be is told why', async () => {
    const ann = await connect(server())
    ann.send({ type: 'join', room: '' })
    expect((await ann.frame('error')).data).toMatchObject({ code: 'channel.bad_name', message: expect.any(String) })
    ann.send({ type: 'join', room: '$telemetry' })
    await until(() => ann.frames.filter(({ type }) => type === 'error').length === 2)
  })
})

describe('exercise 1, basic chat: two clients in one room', () => {
  const { server } = serve()

  it('[CW4] hear each other and themselves, and that one leaves', async () => {
    const [ann, bob] = [await connect(server()), await connect(server())]
    await ann.join('general')
    await bob.join('general')
    ann.say('general', 'hello bob')
    await bob.hears('general', 'hello bob')
    bob.say('general', 'hello ann')
    for (const client of [ann, bob]) {
      await client.hears('general', 'hello ann')
      expect(client.messages('general').map(({ user, content, sequence }) => [user, content, sequence])).toEqual([
        [ann.user, 'hello bob', 1],
        [bob.user, 'hello ann', 2],
      ])
    }
    expect(ann.messages('general')).toEqual(bob.messages('general'))
    bob.send({ type: 'leave', room: 'general' })
    await ann.hears('general', `${bob.user} left the room`)
  })
})

describe('exercise 2, ordering: many clients that send rapidly', () => {
  const { server } = serve()
  const room = 'race'
  const [senders, each] = [6, 50]

  it('[CW3] get sequence numbers without holes or doubles, the same for everybody, and in the history of who comes back', async () => {
    const clients = await Promise.all(Array.from({ length: senders }, () => connect(server())))
    for (const client of clients) await client.join(room)
    for (let n = 0; n < each; n++) for (const [index, client] of clients.entries()) client.say(room, `${index}:${n}`)
    const total = senders * each
    const numbers = Array.from({ length: total }, (_, index) => index + 1)
    for (const client of clients) {
      await until(() => client.messages(room).length >= total, 'all messages')
      expect(client.messages(room).map(({ sequence }) => sequence)).toEqual(numbers)
      expect(client.messages(room)).toEqual(clients[0]?.messages(room))
    }
    const heard = clients[0]?.messages(room) ?? []
    expect(new Set(heard.map(({ id }) => id)).size).toBe(total)
    for (let index = 0; index < senders; index++) {
      const own = heard.filter(({ content }) => content.startsWith(`${index}:`)).map(({ content }) => content)
      expect(own).toEqual(Array.from({ length: each }, (_, n) => `${index}:${n}`))
    }

    const [first] = clients
    first?.wire.terminate()
    const back = await connect(server())
    const replayed: ChatMessage[] = []
    for (;;) {
      const { data } = await back.ask('history', room, { since: replayed.at(-1)?.sequence ?? 0 })
      if (data.messages.length === 0) break
      replayed.push(...data.messages)
    }
    expect(replayed).toEqual(heard)
  })
})

describe('exercise 3, presence', () => {
  const graceMs = 150
  const { server } = serve(`bus.graceMs=${graceMs}`, 'limits.pingMs=1000', 'limits.pongMs=800', 'bus.silentMs=1800', 'bus.heartbeatMs=100')
  const users = async (client: ChatClient, room: string) =>
    (await client.ask('presence', room)).data.users.map(({ user }: { user: string }) => user).sort()

  it('is of each room by itself, and told when it changes', async () => {
    const [ann, bob, cyd] = [await connect(server()), await connect(server()), await connect(server())]
    await ann.join('red')
    await ann.join('blue')
    await bob.join('red')
    await cyd.join('blue')
    expect(await users(cyd, 'red')).toEqual([ann.user, bob.user].sort())
    expect(await users(cyd, 'blue')).toEqual([ann.user, cyd.user].sort())
    await ann.hears('blue', `${cyd.user} joined the room`)
    expect(ann.system('red')).toEqual([ann, bob].map(({ user }) => `${user} joined the room`))
    expect(ann.system('blue')).toEqual([ann, cyd].map(({ user }) => `${user} joined the room`))
    expect(bob.system('blue')).toEqual([])
  })

  it('[CW7] ends for a client that is killed without a word', async () => {
    const [ann, bob] = [await connect(server()), await connect(server())]
    await ann.join('sudden')
    await bob.join('sudden')
    bob.wire.terminate()
    await ann.hears('sudden', `${bob.user} left the room`)
    expect(await users(ann, 'sudden')).toEqual([ann.user])
  })

  it('[CW7] ends for a client whose network is gone, though its connection seems to stand', async () => {
    const [ann, bob] = [await connect(server()), await connect(server())]
    await ann.join('frozen')
    await bob.join('frozen')
    bob.wire.socket.pause() // hears nothing any more, and answers no ping
    await ann.hears('frozen', `${bob.user} left the room`)
    expect(await users(ann, 'frozen')).toEqual([ann.user])
  })

  it('[CW9] lasts for a client that only listens: it hears heartbeats, and its pongs keep it online', async () => {
    const [ann, bob] = [await connect(server()), await connect(server())]
    await ann.join('quiet')
    await bob.join('quiet')
    const heartbeats = () => bob.frames.filter(({ type }) => type === 'heartbeat')
    await until(() => heartbeats().length >= 25, 'heartbeats for longer than silence lasts')
    expect(heartbeats()[0]).toEqual({ type: 'heartbeat' })
    expect((await ann.ask('presence', 'quiet')).data.users).toMatchObject([{ status: 'online' }, { status: 'online' }])
    expect(ann.system('quiet')).toEqual([ann, bob].map(({ user }) => `${user} joined the room`))
  })
})

describe('exercise 4, persistence', () => {
  const { server, restart } = serve()

  it.each(['SIGTERM', 'SIGKILL'] as const)(
    '[CW11] keeps every message that was heard over a %s, and counts on from there',
    async (signal) => {
      const room = `kept over ${signal}`
      const [ann, bob] = [await connect(server()), await connect(server())]
      await ann.join(room)
      await bob.join(room)
      for (let n = 1; n <= 40; n++) (n % 2 ? ann : bob).say(room, `${n}`)
      await until(() => bob.messages(room).length === 40, 'all messages')
      // More are under way while the server ends: what anybody heard of them must be there, too.
      for (let n = 41; n <= 2_000; n++) ann.say(room, `${n}`)
      await until(() => bob.messages(room).length > 60, 'some more messages')
      await restart(signal)

      const cyd = await connect(server())
      const joined = await cyd.join(room)
      const latest = joined.find(({ type }) => type === 'history')?.data.messages as ChatMessage[]
      const last = latest.at(-1)?.sequence ?? 0
      expect(latest).toHaveLength(Math.min(50, last))
      const replayed: ChatMessage[] = []
      while ((replayed.at(-1)?.sequence ?? 0) < last)
        replayed.push(...(await cyd.ask('history', room, { since: replayed.at(-1)?.sequence ?? 0 })).data.messages)
      expect(replayed.map(({ sequence }) => sequence)).toEqual(Array.from({ length: last }, (_, index) => index + 1))
      for (const heard of [ann, bob].map((client) => client.messages(room)))
        expect(heard).toEqual(heard.map(({ sequence }) => replayed[sequence - 1]))
      cyd.say(room, 'after')
      await cyd.hears(room, 'after')
      expect(cyd.messages(room)).toMatchObject([{ content: 'after', sequence: last + 1 }])
      expect((await cyd.ask('history', room)).data.messages).toEqual([...replayed, ...cyd.messages(room)].slice(0, 100))
    },
  )
})

describe('the pitfalls', () => {
  const { server } = serve()

  it('"duplicate messages": [CW12] history goes to who asked for it, and is not published again', async () => {
    const [ann, bob] = [await connect(server()), await connect(server())]
    await ann.join('once')
    await bob.join('once')
    ann.say('once', 'said once')
    await bob.hears('once', 'said once')
    for (let n = 0; n < 3; n++) await bob.ask('history', 'once')
    await bob.join('once')
    ann.say('once', 'then')
    await bob.hears('once', 'then')
    for (const client of [ann, bob])
      expect(client.messages('once').map(({ content, sequence }) => [content, sequence])).toEqual([
        ['said once', 1],
        ['then', 2],
      ])
  })

  it('"old messages not received": a client that comes later is sent what was said before', async () => {
    const ann = await connect(server())
    await ann.join('early')
    ann.say('early', 'before you came')
    await ann.hears('early', 'before you came')
    const late = await (await connect(server())).join('early')
    expect(late.at(-1)).toMatchObject({ type: 'history', data: { messages: [{ content: 'before you came', sequence: 1 }] } })
  })
})

describe('a listener of profile chat', () => {
  let server: Running
  const data = temporaryDirectory()
  beforeAll(async () => {
    server = await startTroupe(data.path, ['--listen', '0:chat'])
  })
  afterEach(closeBusClients)
  afterAll(async () => {
    await server.kill()
    data.remove()
  })

  it('speaks the protocol at every path, and shares its rooms with the main one', async () => {
    const chat = `ws://127.0.0.1:${server.ports[1]}`
    const [ann, bob] = [await new ChatClient(`${chat}/`).opened(), await new ChatClient(`${chat}/any/path?x=1`).opened()]
    const cyd = await connect(server)
    for (const client of [ann, bob, cyd]) await client.join('shared')
    ann.say('shared', 'to all')
    for (const client of [ann, bob, cyd]) await client.hears('shared', 'to all')
  })
})

describe('clients of several protocols in one channel', () => {
  const { server } = serve()

  it('hear each other, each in its own words and with the same sequence', async () => {
    const channel = 'town square'
    const chat = await connect(server())
    await chat.join(channel)
    const pubsub = await new BusClient(`${server().ws}/ws`).opened()
    pubsub.send({ type: 'subscribe', topics: [channel] })
    await pubsub.frame(({ type }) => type === 'subscribed')
    const bus = await new BusClient(`${server().ws}/`).opened()
    await bus.join(channel)
    const native = await new BusClient(`${server().ws}/arqonbus`).opened()
    native.send({ type: 'command', command: 'join_channel', args: { channel } })
    await native.frame(({ type }) => type === 'command_response')

    chat.say(channel, 'from chat')
    await chat.hears(channel, 'from chat')
    pubsub.send({ type: 'publish', topic: channel, data: { from: 'pubsub' } })
    await chat.hears(channel, '{"from":"pubsub"}')
    await bus.publish(channel, { type: 'text', text: 'from the bus' }, { sender: 'somebody' })
    await chat.hears(channel, 'from the bus')
    native.send({ type: 'message', room: 'default', channel, payload: { content: 'from ArqonBus' } })
    await chat.hears(channel, 'from ArqonBus')

    expect(chat.messages(channel).map(({ content, sequence }) => [content, sequence])).toEqual([
      ['from chat', 1],
      ['{"from":"pubsub"}', 2],
      ['from the bus', 3],
      ['from ArqonBus', 4],
    ])
    await until(() => bus.messages(channel).length === 4 && pubsub.frames.filter(({ type }) => type === 'message').length === 3)
    expect(bus.messages(channel).map(({ content, sequence }) => [content, sequence])).toEqual([
      [{ type: 'text', text: 'from chat' }, 1],
      [{ from: 'pubsub' }, 2],
      [{ type: 'text', text: 'from the bus' }, 3],
      [{ content: 'from ArqonBus' }, 4],
    ])
    const ofType = (client: BusClient, type: string) => client.frames.filter((frame) => frame.type === type)
    expect(ofType(pubsub, 'message').map(({ data }) => data)).toEqual([
      { type: 'text', text: 'from chat' },
      { type: 'text', text: 'from the bus' },
      { content: 'from ArqonBus' },
    ])
    await until(() => ofType(native, 'message_response').length === 1)
    const heard = ofType(native, 'message').slice(1) // the welcome
    expect(heard.map(({ payload, metadata }) => [payload, (metadata as { offset: number }).offset])).toEqual([
      [{ type: 'text', text: 'from chat' }, 1],
      [{ from: 'pubsub' }, 2],
      [{ type: 'text', text: 'from the bus' }, 3],
    ])
    const { data } = await chat.ask('history', channel)
    expect(data.messages).toEqual(chat.messages(channel))
    const history = await bus.command('history', { channel })
    expect(history.data.messages.map(({ sequence }: { sequence: number }) => sequence)).toEqual([1, 2, 3, 4])
  })
})
