/** A reader of server-sent events that keeps everything it hears, so that a test sees each event and their order. */
import { type ClientRequest, type IncomingMessage, request } from 'node:http'
import { until } from './wait.ts'

export interface StreamEvent {
  readonly event: string
  readonly id: string | undefined
  // biome-ignore lint/suspicious/noExplicitAny: what an event holds is what the tests ask
  readonly data: any
}

const open = new Set<EventReader>()

/** Ends all readers of the test without a word. */
export const closeReaders = (): void => {
  for (const reader of [...open]) reader.close()
}

export class EventReader {
  readonly events: StreamEvent[] = []
  /** Lines that are no part of an event. */
  comments = 0
  retryMs: number | undefined
  status: number | undefined
  headers: IncomingMessage['headers'] = {}
  /** Body of an answer that is no stream. */
  body = ''
  hasEnded = false
  readonly #request: ClientRequest
  #rest = ''

  constructor(url: string, headers: Readonly<Record<string, string>> = {}) {
    open.add(this)
    this.#request = request(url, { headers: { accept: 'text/event-stream', ...headers }, agent: false }, (response) => {
      this.status = response.statusCode
      this.headers = response.headers
      response.setEncoding('utf8')
      response.on('data', (text: string) => this.#take(text))
      response.on('close', () => this.#end())
    })
    this.#request.on('error', () => this.#end())
    this.#request.end()
  }

  #end(): void {
    this.hasEnded = true
    open.delete(this)
  }

  #take(text: string): void {
    if (this.status !== 200) {
      this.body += text
      return
    }
    const blocks = (this.#rest + text).split('\n\n')
    this.#rest = blocks.pop() ?? ''
    for (const block of blocks) this.#takeBlock(block.split('\n'))
  }

  #takeBlock(lines: readonly string[]): void {
    const field = (name: string) => lines.find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2)
    if (lines.some((line) => line.startsWith(':'))) this.comments++
    if (field('retry') !== undefined) this.retryMs = Number(field('retry'))
    const data = field('data')
    if (data !== undefined) this.events.push({ event: field('event') ?? 'message', id: field('id'), data: JSON.parse(data) })
  }

  /** The stream has begun: every channel is ready. Rejects with the answer when there is none. */
  async ready(channels = 1): Promise<this> {
    await until(() => this.hasEnded || this.named('ready').length >= channels, 'the beginning of the stream')
    if (this.named('ready').length < channels) throw new Error(`no stream: ${this.status} ${this.body}`)
    return this
  }

  named(event: string): StreamEvent[] {
    return this.events.filter((one) => one.event === event)
  }

  contents(channel?: string): unknown[] {
    const messages = this.named('message').filter(({ data }) => channel === undefined || data.channel === channel)
    return messages.map(({ data }) => data.content)
  }

  /** What a browser sends when it comes back. */
  get lastId(): string {
    return this.events.findLast(({ id }) => id !== undefined)?.id ?? ''
  }

  ended(): Promise<void> {
    return until(() => this.hasEnded, 'the end of the stream')
  }

  /** Stops reading; what comes waits in the network. */
  freeze(): void {
    this.#request.socket?.pause()
  }

  close(): void {
    this.#request.destroy()
    this.#end()
  }
}
