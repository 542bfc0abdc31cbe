/**
 * A client of the bus that keeps every frame it hears, so that a test sees each one and their order. It says what it is told
 * to say and nothing by itself.
 */
import { WebSocket } from 'ws'
import type { Running } from './process.ts'
import { until } from './wait.ts'

export interface Frame {
  readonly type: string
  readonly [field: string]: unknown
}

export interface Answer extends Frame {
  readonly command: string
  readonly success: boolean
  // biome-ignore lint/suspicious/noExplicitAny: what an answer holds is what the tests ask
  readonly data?: any
  readonly error?: string
  readonly code?: string
}

export interface BusClosing {
  readonly code: number
  readonly reason: string
}

/** Zeros, with which nothing is to be masked, byte by byte: attacks send hundreds of megabytes. */
const generateMask = (mask: Buffer): unknown => mask.fill(0)

const open = new Set<BusClient>()

/** Ends all clients of the test without a word. */
export const closeBusClients = (): void => {
  for (const client of [...open]) client.terminate()
}

export class BusClient {
  /** Text frames as they came, parsed. */
  readonly frames: Frame[] = []
  /** The same as text: what was really on the wire. */
  readonly texts: string[] = []
  readonly socket: WebSocket
  readonly closed: Promise<BusClosing>
  closing: BusClosing | undefined
  #requests = 0

  constructor(url: string, options: { readonly headers?: Record<string, string>; readonly protocols?: string[] } = {}) {
    this.socket = new WebSocket(url, options.protocols ?? [], { headers: options.headers ?? {}, perMessageDeflate: false, generateMask })
    open.add(this)
    this.socket.on('error', () => undefined) // 'close' follows
    this.socket.on('message', (data: Buffer, isBinary) => {
      const text = data.toString('utf8')
      this.texts.push(text)
      this.frames.push(isBinary ? { type: 'binary', text } : (JSON.parse(text) as Frame))
    })
    this.closed = new Promise((resolve) =>
      this.socket.on('close', (code, reason) => {
        open.delete(this)
        this.closing = { code, reason: reason.toString() }
        resolve(this.closing)
      }),
    )
  }

  async opened(): Promise<this> {
    await until(() => this.socket.readyState !== WebSocket.CONNECTING, 'the connection')
    if (this.socket.readyState !== WebSocket.OPEN) throw new Error(`refused: ${JSON.stringify(this.closing)}`)
    return this
  }

  send(message: unknown): void {
    this.socket.send(typeof message === 'string' || message instanceof Uint8Array ? message : JSON.stringify(message))
  }

  /** The first frame from `from` on that fits, waiting for it. */
  async frame<F extends Frame = Frame>(fits: (frame: Frame) => boolean, what = 'a frame', from = 0): Promise<F> {
    let found: Frame | undefined
    await until(() => {
      found = this.frames.slice(from).find(fits)
      return found !== undefined || this.closing !== undefined
    }, what)
    if (found === undefined) throw new Error(`${what} did not come before the end (${JSON.stringify(this.closing)})`)
    return found as F
  }

  #request(): string {
    return `request-${++this.#requests}`
  }

  /** Runs a command and resolves with its answer, be it yes or no. */
  async command(command: string, parameters: object = {}): Promise<Answer> {
    const request = this.#request()
    this.send({ type: 'command', command, ...parameters, request_id: request })
    return this.frame<Answer>((frame) => frame.request_id === request, `the answer to ${command}`)
  }

  /** Publishes and resolves when it is on disk, or with the error. */
  async publish(channel: string, content: unknown, more: object = {}): Promise<Frame> {
    const request = this.#request()
    this.send({ type: 'message', channel, content, ack: true, ...more, request_id: request })
    return this.frame((frame) => frame.request_id === request, `the acknowledgement of a message to ${channel}`)
  }

  async join(channel: string, parameters: object = {}): Promise<Answer> {
    const answer = await this.command('join_channel', { channel, ...parameters })
    if (!answer.success) throw new Error(`join ${channel}: ${answer.error}`)
    return answer
  }

  /** What was published in a channel, as far as it was heard. */
  messages(channel?: string): Frame[] {
    return this.frames.filter(
      (frame) => typeof frame.sequence === 'number' && frame.type !== 'ack' && (channel === undefined || frame.channel === channel),
    )
  }

  contents(channel?: string): unknown[] {
    return this.messages(channel).map(({ content }) => content)
  }

  /** Events of the server about a channel: who joined, left, and so on. */
  events(type?: string): (Frame & { readonly content: { readonly type: string; readonly [field: string]: unknown } })[] {
    type Event = Frame & { readonly content: { readonly type: string } }
    return this.frames.filter(
      (frame): frame is Event =>
        frame.type === 'event' && frame.sequence === undefined && (type === undefined || (frame as Event).content.type === type),
    )
  }

  /** Everything sent so far has been dealt with: commands are answered in order, after the messages before them. */
  async settled(): Promise<void> {
    const answer = await this.command('ping')
    if (!answer.success) throw new Error(`ping: ${answer.error}`)
  }

  close(code = 1000): Promise<BusClosing> {
    this.socket.close(code)
    return this.closed
  }

  terminate(): void {
    open.delete(this)
    this.socket.terminate()
  }
}

export const connected = (server: Running): Promise<BusClient> => new BusClient(`${server.ws}/`).opened()

/** A client that goes by a name, and so has an inbox and a status. */
export const named = async (server: Running, username: string): Promise<BusClient> => {
  const client = await connected(server)
  await client.command('set_status', { username, status: 'online' })
  return client
}

/** Times on the wire. */
export const isoTime = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/
