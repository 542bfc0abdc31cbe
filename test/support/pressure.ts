/**
 * Publishers and subscribers of the bus that go on whatever happens to the server: publishers send every message again, under the
 * same id, until it is acknowledged; subscribers come back with the position that they have. Both note what the server must
 * never do; `faults` is empty in the end.
 */
import { expect } from 'vitest'
import { WebSocket } from 'ws'
import { type ErrorCode, errorTable } from '../../actors/errors.ts'
import type { BusClient } from './bus.ts'
import { until } from './wait.ts'
import type { SeededRandom } from './world.ts'

interface Heard {
  readonly type: string
  readonly id?: string
  readonly channel?: string
  readonly sequence?: number
  readonly code?: string
  readonly request_id?: string
  // biome-ignore lint/suspicious/noExplicitAny: whatever the server says
  readonly [field: string]: any
}

/** A socket that is opened again, a moment after it ended, until it is stopped. */
abstract class Persistent {
  readonly faults: string[]
  readonly name: string
  connections = 0
  readonly #url: string
  readonly #chance: SeededRandom
  #socket: WebSocket | undefined
  #isWanted = true

  constructor(name: string, url: string, chance: SeededRandom, faults: string[]) {
    this.name = name
    this.faults = faults
    this.#url = url
    this.#chance = chance
  }

  protected abstract opened(): void
  protected abstract heard(frame: Heard): void
  protected closed(): void {}

  protected send(message: object): void {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message))
  }

  protected again(action: () => void): void {
    setTimeout(() => this.#isWanted && action(), 10 + this.#chance.below(40))
  }

  connect(): void {
    if (!this.#isWanted) return
    const socket = new WebSocket(this.#url, { perMessageDeflate: false })
    this.#socket = socket
    socket.on('error', () => undefined) // 'close' follows
    socket.on('open', () => {
      this.connections++
      this.opened()
    })
    socket.on('message', (data: Buffer) => this.heard(JSON.parse(data.toString('utf8'))))
    socket.on('close', () => {
      this.closed()
      this.again(() => this.connect())
    })
  }

  /** The network fails. */
  drop(): void {
    this.#socket?.terminate()
  }

  stop(): void {
    this.#isWanted = false
    this.#socket?.terminate()
  }

  protected fault(text: string): void {
    this.faults.push(`${this.name}: ${text}`)
  }

  /** A refusal that may be tried again; any other is a fault. */
  protected isTransient(frame: Heard): boolean {
    const isTransient = errorTable[frame.code as ErrorCode]?.retry === true
    if (!isTransient) this.fault(`was refused: ${JSON.stringify(frame)}`)
    return isTransient
  }
}

export interface Outgoing {
  readonly channel: string
  readonly id: string
}

export class Publisher extends Persistent {
  /** Where each message was said to lie, by id. */
  readonly acknowledged = new Map<string, { readonly channel: string; readonly sequence: number }>()
  /** Attempts after the first, and those that the server recognised. */
  retries = 0
  repeated = 0
  refused = 0
  readonly #messages: readonly Outgoing[]
  readonly #ahead: number
  readonly #underWay = new Map<string, Outgoing>()
  #next = 0

  /** At most `ahead` messages are unacknowledged at a time. */
  constructor(
    name: string,
    url: string,
    options: {
      readonly messages: readonly Outgoing[]
      readonly ahead: number
      readonly chance: SeededRandom
      readonly faults: string[]
    },
  ) {
    super(name, url, options.chance, options.faults)
    this.#messages = options.messages
    this.#ahead = options.ahead
  }

  get isDone(): boolean {
    return this.acknowledged.size === this.#messages.length
  }

  protected override opened(): void {
    for (const message of this.#underWay.values()) {
      this.retries++
      this.#publish(message)
    }
    this.#go()
  }

  protected override heard(frame: Heard): void {
    if (frame.type === 'message') return // the echo
    const message = this.#underWay.get(frame.id ?? '')
    if (message === undefined) return this.fault(`heard ${JSON.stringify(frame)}`)
    if (frame.type === 'error' && this.isTransient(frame)) {
      this.refused++
      this.again(() => this.#publish(message))
    }
    if (frame.type !== 'ack') return
    if (frame.channel !== message.channel) this.fault(`${message.id} was acknowledged in ${frame.channel} and not ${message.channel}`)
    if (frame.repeated === true) this.repeated++
    this.acknowledged.set(message.id, { channel: message.channel, sequence: frame.sequence ?? Number.NaN })
    this.#underWay.delete(message.id)
    this.#go()
  }

  #go(): void {
    while (this.#underWay.size < this.#ahead && this.#next < this.#messages.length) {
      const message = this.#messages[this.#next++] as Outgoing
      this.#underWay.set(message.id, message)
      this.#publish(message)
    }
  }

  #publish({ channel, id }: Outgoing): void {
    this.send({ type: 'message', channel, id, sender: this.name, content: { id }, ack: true })
  }
}

/** What a subscriber has of a channel. */
interface Track {
  /** Id of each message, by sequence. */
  readonly seen: Map<number, string>
  epoch: string | undefined
  /** All messages up to here are seen. */
  prefix: number
  /** The only sequence that may come next on this connection; undefined while it has not joined. */
  next: number | undefined
}

export class Subscriber extends Persistent {
  readonly tracks: ReadonlyMap<string, Track>
  /** How joins ended, and what came by which way. */
  readonly counts = { first: 0, recovered: 0, notRecovered: 0, lost: 0, messages: 0, fetched: 0 }

  constructor(
    name: string,
    url: string,
    options: { readonly channels: readonly string[]; readonly chance: SeededRandom; readonly faults: string[] },
  ) {
    super(name, url, options.chance, options.faults)
    this.tracks = new Map(options.channels.map((channel) => [channel, { seen: new Map(), epoch: undefined, prefix: 0, next: undefined }]))
  }

  protected override opened(): void {
    for (const channel of this.tracks.keys()) this.#join(channel)
  }

  protected override closed(): void {
    for (const track of this.tracks.values()) track.next = undefined
  }

  #join(channel: string): void {
    const { epoch, prefix } = this.tracks.get(channel) as Track
    const recover = epoch === undefined ? {} : { recover: { epoch, sequence: prefix } }
    this.send({ type: 'command', command: 'join_channel', channel, ...recover, request_id: `join ${channel}` })
  }

  #fetch(channel: string): void {
    const { prefix } = this.tracks.get(channel) as Track
    const range = { after: prefix, direction: 'forwards', limit: 100 }
    this.send({ type: 'command', command: 'history', channel, ...range, request_id: `history ${channel}` })
  }

  protected override heard(frame: Heard): void {
    if (frame.type === 'command_response') return this.#answered(frame)
    if (frame.type === 'message') return this.#message(frame)
    const { content } = frame
    if (frame.type === 'event' && content?.type === 'lost') {
      this.counts.lost++
      const track = this.tracks.get(frame.channel as string) as Track
      track.next = content.sequence + 1
      this.#fetch(frame.channel as string)
    } else if (frame.type === 'error') this.fault(`heard ${JSON.stringify(frame)}`)
  }

  #answered(frame: Heard): void {
    const [, request, channel] = /^(\S+) (.+)$/.exec(frame.request_id ?? '') ?? []
    const track = this.tracks.get(channel ?? '')
    if (track === undefined || channel === undefined) return this.fault(`heard ${JSON.stringify(frame)}`)
    const ask = request === 'join' ? () => this.#join(channel) : () => this.#fetch(channel)
    if (!frame.success) {
      if (this.isTransient(frame)) this.again(ask)
      return
    }
    const { data } = frame
    // A channel without a message has no epoch yet.
    if ((track.epoch ?? '') !== '' && data.epoch !== track.epoch) this.fault(`the epoch of ${channel} has changed`)
    track.epoch = data.epoch
    if (request === 'join') this.#joined(channel, track, data)
    else this.#fetched(channel, track, data)
  }

  #joined(
    channel: string,
    track: Track,
    data: { readonly recovered: boolean | null; readonly sequence: number; readonly replayed: number },
  ): void {
    if (data.sequence < track.prefix) this.fault(`${channel} ends at ${data.sequence}, but ${track.prefix} was there`)
    if (data.recovered === true) {
      this.counts.recovered++
      if (data.replayed !== data.sequence - track.prefix)
        this.fault(`${channel}: ${data.replayed} replayed of ${track.prefix + 1} to ${data.sequence}, said to be recovered`)
      track.next = track.prefix + 1
      return
    }
    this.counts[data.recovered === false ? 'notRecovered' : 'first']++
    track.next = data.sequence + 1
    if (data.sequence > track.prefix) this.#fetch(channel)
  }

  #fetched(channel: string, track: Track, data: { readonly messages: readonly Heard[]; readonly has_more: boolean }): void {
    for (const message of data.messages) {
      this.counts.fetched++
      this.#see(channel, track, message)
    }
    if (data.has_more) this.#fetch(channel)
  }

  #message(frame: Heard): void {
    const channel = frame.channel ?? ''
    const track = this.tracks.get(channel)
    if (track?.next === undefined) return this.fault(`heard ${frame.sequence} of ${channel} without having joined`)
    if (frame.sequence !== track.next) this.fault(`heard ${frame.sequence} of ${channel} where ${track.next} comes next`)
    track.next = (frame.sequence ?? Number.NaN) + 1
    this.counts.messages++
    this.#see(channel, track, frame)
  }

  #see(channel: string, track: Track, { id, sequence, content }: Heard): void {
    if (id === undefined || sequence === undefined) return this.fault(`a message of ${channel} without id or sequence`)
    const known = track.seen.get(sequence)
    if (known !== undefined && known !== id) this.fault(`${sequence} of ${channel} is ${known} and ${id}`)
    if (content?.id !== id) this.fault(`${id} of ${channel} has the content ${JSON.stringify(content)}`)
    track.seen.set(sequence, id)
    while (track.seen.has(track.prefix + 1)) track.prefix++
  }
}

/** The whole channel, page by page. */
const history = async (client: BusClient, channel: string): Promise<{ readonly id: string; readonly sequence: number }[]> => {
  const all: { id: string; sequence: number }[] = []
  for (;;) {
    const answer = await client.command('history', { channel, after: all.length, direction: 'forwards', limit: 100 })
    expect(answer).toMatchObject({ success: true })
    all.push(...answer.data.messages)
    if (!answer.data.has_more) return all
  }
}

/**
 * Waits until everybody is done, then: each channel holds every message once, numbered without a hole, where its acknowledgement
 * said; every subscriber has the same ones in the same order; nobody saw what must not be.
 */
export const expectOneOrder = async (
  reader: BusClient,
  channels: readonly string[],
  { publishers, subscribers, faults }: { publishers: readonly Publisher[]; subscribers: readonly Subscriber[]; faults: readonly string[] },
): Promise<void> => {
  await until(() => publishers.every(({ isDone }) => isDone) || faults.length > 0, 'all acknowledgements')
  expect(faults).toEqual([])
  for (const channel of channels) {
    const stored = await history(reader, channel)
    const ids = stored.map(({ id }) => id)
    expect([channel, stored.map(({ sequence }) => sequence)]).toEqual([channel, ids.map((_, index) => index + 1)])
    const sent = publishers.flatMap(({ acknowledged }) => [...acknowledged].filter(([, { channel: its }]) => its === channel))
    expect([channel, [...ids].sort()]).toEqual([channel, sent.map(([id]) => id).sort()])
    for (const [id, { sequence }] of sent) expect([channel, id, ids[sequence - 1]]).toEqual([channel, id, id])
    for (const { name, tracks } of subscribers) {
      const track = tracks.get(channel)
      if (track === undefined) continue
      await until(() => track.prefix >= ids.length, `message ${ids.length} of ${channel} at ${name}, which has ${track.prefix}`)
      expect([name, channel, ids.map((_, index) => track.seen.get(index + 1))]).toEqual([name, channel, ids])
      expect(track.seen.size).toBe(ids.length)
    }
  }
  expect(faults).toEqual([])
}

const sum = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b, 0)

/** What happened on the way. */
export const tally = (publishers: readonly Publisher[], subscribers: readonly Subscriber[]): Record<string, number> => {
  const counts = ['first', 'recovered', 'notRecovered', 'lost', 'messages', 'fetched'] as const
  return {
    acknowledged: sum(publishers.map(({ acknowledged }) => acknowledged.size)),
    retries: sum(publishers.map(({ retries }) => retries)),
    repeated: sum(publishers.map(({ repeated }) => repeated)),
    refused: sum(publishers.map(({ refused }) => refused)),
    connections: sum([...publishers, ...subscribers].map(({ connections }) => connections)),
    ...Object.fromEntries(counts.map((name) => [name, sum(subscribers.map(({ counts }) => counts[name]))])),
  }
}
