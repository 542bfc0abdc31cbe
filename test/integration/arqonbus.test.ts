/** ArqonBus's own protocol over the wire: the built program, as its SDK would meet it. */
import { describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { BusClient, type Frame } from '../support/bus.ts'
import type { Running } from '../support/process.ts'
import { serve } from '../support/service.ts'
import { until } from '../support/wait.ts'

const anyId = expect.stringMatching(/^arq_\d+_\d+_[0-9a-f]{6}$/)
const naiveTime = expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}$/)
const envelope = (type: string, fields: object) => ({
  id: anyId,
  timestamp: naiveTime,
  type,
  version: '1.0',
  payload: {},
  args: {},
  metadata: {},
  ...fields,
})

let ids = 0
const newId = (): string => `arq_1700000000000000000_${++ids}_c0ffee`

interface Envelope extends Frame {
  // biome-ignore lint/suspicious/noExplicitAny: what an envelope holds is what the tests ask
  readonly [field: string]: any
}

class NativeClient {
  readonly wire: BusClient

  constructor(url: string) {
    this.wire = new BusClient(url)
  }

  async opened(): Promise<this> {
    await this.wire.opened()
    await this.wire.frame(({ payload }) => (payload as { welcome?: string }).welcome !== undefined)
    return this
  }

  get clientId(): string {
    return (this.wire.frames[0] as Envelope).payload.client_id
  }

  /** Sends it and resolves with the next envelope of this type that is about it. */
  ask(type: string, message: { readonly id?: string; readonly [field: string]: unknown }): Promise<Envelope> {
    const { id = newId() } = message
    const from = this.wire.frames.length
    this.wire.send({ ...message, id })
    return this.wire.frame<Envelope>((frame) => frame.type === type && (frame.id === id || frame.request_id === id), type, from)
  }

  /** Runs a command; both of its answers. */
  async command(command: string, args: object = {}): Promise<{ readonly response: Envelope; readonly done: Envelope }> {
    const id = newId()
    const from = this.wire.frames.length
    this.wire.send({ id, type: 'command', command, args })
    const done = await this.wire.frame<Envelope>((frame) => frame.type === 'command_response' && frame.id === id, command, from)
    const [response] = this.wire.frames.slice(from).filter(({ request_id }) => request_id === id) as Envelope[]
    if (response === undefined) throw new Error(`${command}: no response`)
    return { response, done }
  }

  /** What others said. */
  get heard(): readonly Envelope[] {
    return (this.wire.frames as Envelope[]).filter(({ type, sender }) => type === 'message' && sender !== 'arqonbus')
  }
}

const connect = (server: Running): Promise<NativeClient> => new NativeClient(`${server.ws}/arqonbus`).opened()

describe('an ArqonBus client', () => {
  const { server } = serve('--listen=0:arqonbus')

  it('[AW1] is welcomed with its id', async () => {
    const ann = await connect(server())
    expect(ann.wire.frames).toEqual([
      envelope('message', {
        payload: { welcome: 'Connected to ArqonBus', client_id: expect.stringMatching(/^arq_client_[0-9a-f]{32}$/) },
        sender: 'arqonbus',
      }),
    ])
  })

  it('[AW2] has what is no envelope refused, and stays connected', async () => {
    const ann = await connect(server())
    ann.wire.send({ type: 'message', channel: 'test', content: 'Hello ArqonBus!', sender: 'test-client' })
    expect(await ann.wire.frame(({ type }) => type === 'error')).toEqual(
      envelope('error', {
        payload: { code: 'message.malformed' },
        sender: 'arqonbus',
        error: expect.stringContaining("got an unexpected keyword argument 'content'"),
        error_code: 'INTERNAL_ERROR',
      }),
    )
    expect(await ann.ask('error', { type: 'event' })).toMatchObject({ error_code: 'VALIDATION_ERROR', error: 'Message validation failed' })
    ann.wire.send(Buffer.from([1, 2, 3]))
    await ann.wire.frame(({ error_code: code }) => code === 'INFRA_PROTOCOL_ERROR')
    ann.wire.send('{')
    await ann.wire.frame(({ error }) => String(error).startsWith('Internal server error: Invalid JSON: '))
    expect((await ann.command('ping')).done.payload).toEqual({ result: 'ok' })
  })

  it('[AW3] has each message acknowledged under its id; the others in the channel hear it, the sender does not', async () => {
    const [ann, bob] = [await connect(server()), await connect(server())]
    for (const client of [ann, bob]) await client.command('join_channel', { room: 'demo', channel: 'general' })
    const message = { type: 'message', room: 'demo', channel: 'general', payload: { content: 'hello' } }
    const ack = await ann.ask('message_response', message)
    expect(ack).toEqual(
      envelope('message_response', {
        id: expect.stringMatching(/_c0ffee$/),
        payload: { content: 'hello' },
        metadata: { offset: 1, epoch: expect.any(String), repeated: false },
        sender: 'arqonbus',
      }),
    )
    await until(() => bob.heard.length === 1, 'the message')
    expect(bob.heard).toEqual([
      envelope('message', {
        id: ack.id,
        payload: { content: 'hello' },
        metadata: { sequence: 1, offset: 1 },
        room: 'demo',
        channel: 'general',
        sender: ann.clientId,
      }),
    ])
    expect(await ann.ask('message_response', { ...message, id: ack.id })).toMatchObject({ metadata: { offset: 1, repeated: true } })
    expect(await ann.ask('message_response', { type: 'message', channel: 'alone', payload: { a: 1 } })).toMatchObject({ payload: { a: 1 } })
    await bob.command('ping')
    expect([ann.heard.length, bob.heard.length]).toEqual([0, 1])
  })

  it('[AW4] runs every command that ArqonBus has a name for, in each of its forms', async () => {
    const ann = await connect(server())
    const commands: readonly (readonly [string, object])[] = [
      ['create_channel', { channel: 'made', description: 'by hand' }],
      ['list_channels', {}],
      ['join_channel', { channel_id: 'made' }],
      ['channel_info', { room: 'default', channel: 'made' }],
      ['history', { channel: 'made', limit: 5 }],
      ['leave_channel', { channel: 'made' }],
      ['delete_channel', { channel: 'made' }],
      ['status', {}],
      ['ping', {}],
      ['help', {}],
    ]
    for (const [command, args] of commands) {
      const { response, done } = await ann.command(command, args)
      expect([command, response]).toMatchObject([command, { type: 'response', status: 'success', sender: 'arqonbus' }])
      expect(done).toMatchObject({ command, payload: { result: 'ok' } })
    }
    ann.wire.send({ type: 'command', command: 'join_channel', channel: 'flat' })
    ann.wire.send({ type: 'command', payload: { command: 'status', parameters: {} } })
    await ann.wire.frame<Envelope>(
      (frame) => frame.type === 'response' && ((frame as Envelope).payload.data.channels ?? []).includes('flat'),
      'the status',
    )
  })

  it('[AW4] is told, twice, what went wrong', async () => {
    const ann = await connect(server())
    const unknown = await ann.command('op.omega.status')
    expect(unknown.response).toMatchObject({ status: 'error', error_code: 'NOT_FOUND', payload: { data: { code: 'command.unknown' } } })
    expect(unknown.done.payload).toEqual({ result: 'error' })
    expect((await ann.command('join_channel')).response).toMatchObject({ error_code: 'VALIDATION_ERROR' })
    expect((await ann.command('delete_channel', { channel: 'nowhere' })).response).toMatchObject({ error_code: 'NOT_FOUND' })
  })

  it('[AW5] gets windows of the history: the newest first, or in order', async () => {
    const ann = await connect(server())
    const place = { room: 'ops', channel: 'events' }
    for (let idx = 1; idx <= 3; idx++) await ann.ask('message_response', { type: 'message', ...place, payload: { idx } })
    const window = async (command: string, args: object) => {
      const { data } = (await ann.command(command, { ...place, ...args })).response.payload
      return data.entries.map((entry: { envelope: Envelope }) => entry.envelope.payload.idx)
    }
    const [minuteAgo, inAMinute] = [-60_000, 60_000].map((ms) => new Date(Date.now() + ms).toISOString())
    expect(await window('history.get', { limit: 2 })).toEqual([3, 2])
    expect(await window('op.history.replay', { from_ts: minuteAgo, to_ts: inAMinute, strict_sequence: true })).toEqual([1, 2, 3])
    expect(await window('history.replay', { from_ts: inAMinute?.replace('Z', '+00:00') })).toEqual([])
    expect(await window('history.get', { room: 'no such', limit: 2 })).toEqual([])
  })

  it('[AW6] comes back to what it missed', async () => {
    const [ann, bob] = [await connect(server()), await connect(server())]
    const { response } = await bob.command('join_channel', { channel: 'journal' })
    const say = (n: number) => ann.ask('message_response', { type: 'message', room: 'default', channel: 'journal', payload: { n } })
    await say(1)
    await until(() => bob.heard.length === 1, 'the first')
    await bob.wire.close()
    await say(2)
    await say(3)
    const [first] = bob.heard
    const { epoch } = (await ann.command('channel_info', { channel: 'journal' })).response.payload.data
    expect(response.payload.data).toMatchObject({ sequence: 0 })
    const again = await connect(server())
    const back = await again.command('join_channel', { channel: 'journal', recover: { epoch, sequence: first?.metadata.offset } })
    expect(back.response.payload.data).toMatchObject({ recovered: true, replayed: 2 })
    await until(() => again.heard.length === 2, 'what was missed')
    expect(again.heard.map(({ payload }) => payload.n)).toEqual([2, 3])
  })

  it('speaks its protocol at every path of a listener of profile arqonbus', async () => {
    const ann = await new NativeClient(`ws://127.0.0.1:${server().ports[1]}/`).opened()
    expect(ann.clientId).toMatch(/^arq_client_/)
  })
})

describe('where clients must log in', () => {
  const { server } = serve('auth.anonymous=false', 'auth.jwtSecret=a secret of the tests, long enough for HS256')

  it.each([
    ['', 'Missing bearer token'],
    ['Bearer nonsense', 'Invalid token'],
  ])('[AW7] an ArqonBus client with the header %j is answered 401 and %s', async (authorization, details) => {
    const socket = new WebSocket(`${server().ws}/arqonbus`, { headers: authorization === '' ? {} : { authorization } })
    const answer = await new Promise<object>((resolve, reject) => {
      socket.on('open', () => reject(new Error('it was let in')))
      socket.on('error', () => {})
      socket.on('unexpected-response', (_request, response) => {
        let body = ''
        response.on('data', (chunk: Buffer) => {
          body += chunk.toString()
        })
        response.on('end', () =>
          resolve({ status: response.statusCode, realm: response.headers['www-authenticate'], body: JSON.parse(body) }),
        )
      })
    })
    socket.terminate()
    expect(answer).toEqual({ status: 401, realm: 'Bearer realm="arqonbus"', body: { error: 'Unauthorized', details } })
  })
})
