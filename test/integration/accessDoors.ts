/**
 * A visitor for each door: it comes with a token, or none, asks to hear what is said in the lobby, says something there, or
 * says it in the name of another. It tells how it was refused; what really came of it, others have to tell.
 */
import type { ClientRequest, IncomingMessage } from 'node:http'
import { BusClient, type Frame } from '../support/bus.ts'
import { EventReader } from '../support/events.ts'
import { channelPath, HttpClient, type Reply } from '../support/http.ts'
import type { Running } from '../support/process.ts'
import { until } from '../support/wait.ts'
import { WireClient } from '../support/wire.ts'

export const doorNames = ['bus', 'chat', 'pubsub', 'arqonbus', 'documents', 'events', 'REST'] as const
export type DoorName = (typeof doorNames)[number]

/** The channel, topic, room and document of all tests. */
export const place = 'lobby'

export interface Visitor {
  /** Refused, or there. */
  arrived(): Promise<void>
  listen?(): Promise<void>
  say?(words: string): Promise<void>
  /** In the name of `name`. */
  forge?(words: string, name: string): Promise<void>
  /** Everything that was sent so far has been dealt with. */
  settled(): Promise<void>
  /** All that it has been told. */
  readonly heard: string
  /** The first thing that it was refused, in the words of the wire. */
  readonly refusal: string | undefined
  /** How the connection ended. */
  readonly ending: string | undefined
}

// biome-ignore lint/suspicious/noExplicitAny: what a frame holds is what the tests ask
type AnyFrame = Frame & { readonly [field: string]: any }

const query = (token: string | undefined): string => (token === undefined ? '' : `?token=${token}`)
const bearer = (token: string | undefined): Record<string, string> => (token === undefined ? {} : { authorization: `Bearer ${token}` })
const told = (code: string, rule: string | undefined): string => (rule === undefined || rule === '' ? code : `${code}: ${rule}`)
const closed = (code: number, reason: string): string => `${code} ${reason}`

// ── JSON over a WebSocket ──────────────────────────────────────────────────────────────────────────────────────────

/** How a protocol says things, and what it says when it refuses. */
interface Protocol {
  readonly path: string
  readonly join: object
  readonly say: (words: string) => object
  readonly forge?: (words: string, name: string) => object
  /** `ask` is sent, and a frame that `answers` comes for it after everything before. */
  readonly settle: { readonly ask: object; readonly answers: (frame: AnyFrame) => boolean }
  readonly refusal: (frame: AnyFrame) => string | undefined
}

let ids = 0
const arqonId = (): string => `arq_1700000000000000000_${++ids}_c0ffee`

const protocols: Readonly<Record<'bus' | 'chat' | 'pubsub' | 'arqonbus', Protocol>> = {
  bus: {
    path: '/',
    join: { type: 'command', command: 'join_channel', channel: place },
    say: (content) => ({ type: 'message', channel: place, content }),
    forge: (content, sender) => ({ type: 'message', channel: place, content, sender }),
    settle: { ask: { type: 'command', command: 'ping' }, answers: ({ command }) => command === 'ping' },
    refusal: ({ code, rule }) => (code === undefined ? undefined : told(code, rule)),
  },
  chat: {
    path: '/chat',
    join: { type: 'join', room: place },
    say: (content) => ({ type: 'message', data: { room: place, content } }),
    forge: (content, user) => ({ type: 'message', data: { room: place, content, user }, user, sender: user }),
    settle: { ask: { type: 'presence', room: 'elsewhere' }, answers: ({ data }) => data?.room === 'elsewhere' },
    refusal: ({ type, data }) => (type === 'error' && data.room !== 'elsewhere' ? told(data.code ?? data.message, data.rule) : undefined),
  },
  pubsub: {
    path: '/ws',
    join: { type: 'subscribe', topics: [place] },
    say: (data) => ({ type: 'publish', topic: place, data }),
    forge: (data, from) => ({ type: 'publish', topic: place, data, from, client_id: from, sender: from }),
    settle: { ask: { type: 'ping' }, answers: ({ type }) => type === 'pong' },
    refusal: ({ type, code, rule }) => (type === 'error' ? told(code, rule) : undefined),
  },
  arqonbus: {
    path: '/arqonbus',
    join: { type: 'command', command: 'join_channel', args: { room: 'default', channel: place } },
    say: (content) => ({ type: 'message', room: 'default', channel: place, payload: { content } }),
    forge: (content, sender) => ({ type: 'message', room: 'default', channel: place, payload: { content }, sender, from_client: sender }),
    settle: {
      ask: { type: 'command', command: 'ping' },
      answers: ({ type, command }) => type === 'command_response' && command === 'ping',
    },
    refusal: ({ type, error_code: code, payload }) =>
      type === 'error' || (type === 'response' && code !== undefined) ? told(code, (payload.data ?? payload).rule) : undefined,
  },
}

class SocketVisitor implements Visitor {
  readonly #wire: BusClient
  readonly #protocol: Protocol
  #refusedUpgrade: string | undefined

  constructor(server: Running, protocol: Protocol, token: string | undefined) {
    this.#protocol = protocol
    this.#wire = new BusClient(server.ws + protocol.path + query(token))
    this.#wire.socket.on('unexpected-response', (_request: ClientRequest, response: IncomingMessage) => {
      response.on('data', (body: Buffer) => {
        this.#refusedUpgrade = `${response.statusCode} ${(JSON.parse(body.toString()) as { details: string }).details}`
      })
      response.on('end', () => this.#wire.terminate())
    })
  }

  async arrived(): Promise<void> {
    await until(() => this.#wire.socket.readyState === 1 || this.ending !== undefined, 'the connection')
    await this.settled()
  }

  listen(): Promise<void> {
    return this.#do(this.#protocol.join)
  }

  async say(words: string): Promise<void> {
    if (this.#protocol.path === '/chat') await this.listen() // there, who is not in the room may not speak
    await this.#do(this.#protocol.say(words))
  }

  async forge(words: string, name: string): Promise<void> {
    if (this.#protocol.path === '/chat') await this.listen()
    await this.#do((this.#protocol.forge ?? this.#protocol.say)(words, name))
  }

  #do(message: object): Promise<void> {
    this.#send(message)
    return this.settled()
  }

  #send(message: object): void {
    if (this.#wire.socket.readyState === 1) this.#wire.send(this.#protocol.path === '/arqonbus' ? { id: arqonId(), ...message } : message)
  }

  async settled(): Promise<void> {
    const { ask, answers } = this.#protocol.settle
    const from = this.#wire.frames.length
    this.#send(ask)
    await until(() => this.ending !== undefined || (this.#wire.frames as AnyFrame[]).slice(from).some(answers), 'an answer')
  }

  get heard(): string {
    return this.#wire.texts.join('\n')
  }

  get refusal(): string | undefined {
    for (const frame of this.#wire.frames as AnyFrame[]) {
      const refusal = this.#protocol.refusal(frame)
      if (refusal !== undefined) return refusal
    }
    return this.ending
  }

  get ending(): string | undefined {
    const { closing } = this.#wire
    return this.#refusedUpgrade ?? (closing === undefined ? undefined : closed(closing.code, closing.reason))
  }
}

/** For doors without a question that is answered in turn. */
const moment = () => new Promise<void>((resolve) => setTimeout(resolve, 5))

// ── documents ──────────────────────────────────────────────────────────────────────────────────────────────────────

class Editor implements Visitor {
  readonly #wire: WireClient

  constructor(server: Running, token: string | undefined) {
    this.#wire = new WireClient(`${server.ws}/docs/${place}${query(token)}`)
  }

  async arrived(): Promise<void> {
    await until(() => this.#wire.isSynced || this.ending !== undefined, 'the document')
  }

  listen(): Promise<void> {
    return this.arrived()
  }

  async say(words: string): Promise<void> {
    if (this.ending !== undefined) return
    this.#wire.text.insert(0, `${words}\n`)
    await until(() => this.#wire.isSaved || this.ending !== undefined, 'the end of the edit')
  }

  async settled(): Promise<void> {
    await moment()
  }

  get heard(): string {
    return this.#wire.text.toString()
  }

  get refusal(): string | undefined {
    return this.ending
  }

  get ending(): string | undefined {
    const [closing] = this.#wire.closings
    return closing === undefined ? undefined : closed(closing.code, closing.reason)
  }
}

// ── HTTP ───────────────────────────────────────────────────────────────────────────────────────────────────────────

const toldByHttp = (status: number, { code, rule }: { readonly code: string; readonly rule?: string }): string =>
  `${status} ${told(code, rule)}`

class StreamReader implements Visitor {
  readonly #reader: EventReader

  constructor(server: Running, token: string | undefined) {
    this.#reader = new EventReader(`${server.http}${channelPath(place, '/events')}`, bearer(token))
  }

  async arrived(): Promise<void> {
    await until(() => this.#reader.hasEnded || this.#reader.events.length > 0, 'the stream')
  }

  listen(): Promise<void> {
    return this.arrived()
  }

  async settled(): Promise<void> {
    await moment()
  }

  get heard(): string {
    return JSON.stringify(this.#reader.events)
  }

  get refusal(): string | undefined {
    const { status, body, events } = this.#reader
    if (status !== 200) return status === undefined ? undefined : toldByHttp(status, (JSON.parse(body) as { error: never }).error)
    const refused = events.find(({ event }) => event === 'error')
    return refused === undefined ? undefined : told(refused.data.code, refused.data.rule)
  }

  get ending(): string | undefined {
    return this.#reader.hasEnded ? (this.refusal ?? 'the stream ends') : undefined
  }
}

class Caller implements Visitor {
  readonly #http: HttpClient
  #heard = ''
  refusal: string | undefined
  readonly ending = undefined

  constructor(server: Running, token: string | undefined) {
    this.#http = new HttpClient(server.http, bearer(token))
  }

  #take({ status, body }: Reply): void {
    if (status >= 400) this.refusal ??= toldByHttp(status, body.error)
    else this.#heard += JSON.stringify(body)
  }

  async arrived(): Promise<void> {
    this.#take(await this.#http.get('/v1/channels'))
  }

  /** Asks anew each time, for nobody tells it anything by itself. */
  async listen(): Promise<void> {
    this.#take(await this.#http.history(place))
  }

  async say(content: string): Promise<void> {
    this.#take(await this.#http.publish(place, { content }))
  }

  async forge(content: string, sender: string): Promise<void> {
    this.#take(await this.#http.publish(place, { content, sender }))
  }

  settled(): Promise<void> {
    return this.listen()
  }

  get heard(): string {
    return this.#heard
  }
}

export const visit = (server: Running, door: DoorName, token: string | undefined): Visitor => {
  if (door === 'documents') return new Editor(server, token)
  if (door === 'events') return new StreamReader(server, token)
  return door === 'REST' ? new Caller(server, token) : new SocketVisitor(server, protocols[door], token)
}
