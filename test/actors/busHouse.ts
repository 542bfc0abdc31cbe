/**
 * The bus without its doors: real clients, channels, directory, users and telemetry on a simulated disk and clock, and sockets
 * that write down what their client is told.
 */
import type { Account, Roster } from '../../actors/account.ts'
import { channelKind } from '../../actors/channel.ts'
import { type ClientInput, type ClientMessage, type ClientOptions, clientKind } from '../../actors/client.ts'
import type { Command, PublishOptions } from '../../actors/command.ts'
import { directoryKind } from '../../actors/directory.ts'
import { type ErrorCode, TroupeError } from '../../actors/errors.ts'
import type { Journals } from '../../actors/journal.ts'
import type { Output, Refusal } from '../../actors/output.ts'
import type { ClientRequest, Manners } from '../../actors/request.ts'
import { type Sink, socketLimits } from '../../actors/socketLife.ts'
import type { ActorSystem } from '../../actors/system/system.ts'
import { TelemetryBuffer, telemetryKind } from '../../actors/telemetry.ts'
import { userKind } from '../../actors/user.ts'
import { builtinCommands } from '../../src/bus/commands.ts'
import { SimulatedDisk } from '../support/simJournals.ts'
import { quiet, type SimulatedClock, type TestWorld, testWorld } from '../support/world.ts'
import { type Numbers, numbers } from './channelHouse.ts'
import { house } from './house.ts'

export const busManners: Manners = {
  door: 'bus',
  greets: false,
  echo: 'budget',
  acknowledges: false,
  mustJoinToPublish: false,
  canLogIn: true,
  hasPresence: true,
  hasInbox: true,
  trustsSender: true,
  heartbeatMs: undefined,
  beatsAtOnce: false,
  rate: undefined,
  nameOf: (client) => client,
}

export interface Arrival {
  readonly manners?: Partial<Manners>
  readonly account?: Partial<Account>
  readonly hasLoggedIn?: boolean
  readonly start?: readonly ClientRequest[]
}

export type Settings = Partial<Omit<ClientOptions, 'commands' | 'observe' | 'tap' | 'roster'>> & {
  readonly bus?: Partial<Numbers>
  /** Beside the built-in ones. */
  readonly commands?: readonly Command[]
  readonly world?: TestWorld
}

/** A command without a schema. */
export const command = (name: string, run: Command['run'], more: Partial<Command> = {}): Command => ({
  name,
  help: name,
  params: { '~standard': { version: 1, vendor: 'test', validate: (value) => ({ value: value as never }) } },
  run,
  ...more,
})

/** Something that goes on when the test says so. */
export const gate = <Value = void>() => {
  let open!: (value: Value) => void // set before the constructor returns
  let refuse!: (error: unknown) => void
  const passed = new Promise<Value>((resolve, reject) => {
    open = resolve
    refuse = reject
  })
  return { passed, open, refuse }
}

/** `news 3 "hello"`, `answer join_channel`, `bob joined news` */
export const spell = (output: Output): string[] => {
  switch (output.type) {
    case 'output.messages':
      return output.messages.map(({ channel, offset, body }) => `${channel} ${offset} ${JSON.stringify(body)}`)
    case 'output.answer':
      return [`answer ${output.command}`]
    case 'output.refused':
      return [`refused ${output.command === undefined ? '' : `${output.command} `}${output.refusal.code}`]
    case 'output.acknowledged':
      return [`ack ${output.message.channel} ${output.message.offset}${output.isRepeated ? ' again' : ''}`]
    case 'output.presence':
      return [`${output.user} ${output.change === 'status' ? output.status : output.change} ${output.channel}`]
    case 'output.closed':
      return [`${output.channel} ${output.reason}`]
    case 'output.gap':
      return [`gap ${output.channel} ${output.offset}`]
    case 'output.telemetry':
      return output.events.map(({ event, user }) => `telemetry ${event} ${user}`)
    default:
      return [output.type.slice('output.'.length)]
  }
}

/** A socket whose network takes everything at once, until it is told not to. */
class RecordedSink implements Sink<Output> {
  readonly outputs: Output[] = []
  /** Frames of the client that may be followed by others. */
  handledMessages = 0
  closing: { readonly code: ErrorCode | 'cut'; readonly detail: string } | undefined
  /** The network takes nothing. */
  isFrozen = false
  /** What is sent goes nowhere, as when the client has closed and the socket has not ended. */
  isClosing = false
  /** Called for each ping; by default the client answers. */
  pinged: () => void = () => {}
  /** Called with everything that is sent; may throw as a door does. */
  sending: (output: Output) => void = () => {}
  queuedBytes = 0
  queuedWrites = 0
  sentBytes = 0
  receivedBytes = 0
  readonly isAnswering = false
  readonly isPaused = false

  send(output: Output): void {
    if (this.isClosing) return
    this.sending(output)
    this.outputs.push(output)
    if (!this.isFrozen) this.sentBytes += 100
    else {
      this.queuedBytes += 100
      this.queuedWrites++
    }
  }

  thaw(): void {
    this.isFrozen = false
    this.sentBytes += this.queuedBytes
    this.queuedBytes = 0
    this.queuedWrites = 0
  }

  ping(): void {
    this.pinged()
  }

  pause(): void {}
  resume(): void {}

  handled(messages: number): void {
    this.handledMessages += messages
  }

  close(code: ErrorCode, detail: string): void {
    this.closing ??= { code, detail }
  }

  terminate(): void {
    this.closing ??= { code: 'cut', detail: '' }
  }
}

let refs = 0

export class BusClient {
  readonly id: string
  readonly sink = new RecordedSink()
  readonly #house: BusHouse
  #messages = 0

  constructor(house: BusHouse, id: string, { manners, account, hasLoggedIn = false, start }: Arrival) {
    this.id = id
    this.#house = house
    const input: ClientInput = {
      sink: this.sink,
      manners: { ...busManners, ...manners },
      account: { user: id, tenant: '', isAnonymous: true, permissions: ['*'], ...account },
      hasLoggedIn,
      remote: '127.0.0.1',
      ...(start === undefined ? {} : { start }),
    }
    this.sink.pinged = () => this.tell({ type: 'connection.pong' })
    house.system.begin(this.address, input)
  }

  get address(): string {
    return `client/${this.id}`
  }

  tell(message: ClientMessage, from?: string): boolean {
    return this.#house.system.tell(this.address, message, from)
  }

  /** One frame with these requests, whatever becomes of them. */
  say(...requests: readonly ClientRequest[]): void {
    this.#messages += requests.length
    this.tell({ type: 'client.receive', requests })
  }

  /** Runs a command and resolves with its data, or with its refusal. */
  // biome-ignore lint/suspicious/noExplicitAny: the answers are what the tests ask
  async run(name: string, params: object = {}): Promise<any> {
    const ref = ++refs
    this.say({ type: 'request.command', ref, command: name, params })
    await quiet()
    const output = this.answerOf(ref)
    return output?.type === 'output.answer' ? output.data : output?.type === 'output.refused' ? output.refusal : undefined
  }

  async join(...channels: readonly string[]): Promise<void> {
    for (const channel of channels) {
      const { code } = ((await this.run('join_channel', { channel })) ?? { code: 'no answer' }) as { readonly code?: string }
      if (code !== undefined) throw new Error(`${this.id} cannot join ${channel}: ${code}`)
    }
  }

  /** Publishes and resolves when it is quiet. */
  async publish(channel: string, body: PublishOptions['body'], more: Partial<PublishOptions> = {}, wantsAck = false): Promise<void> {
    this.say(publishing(channel, body, more, wantsAck))
    await quiet()
  }

  /** The client closes the connection. */
  async close(): Promise<void> {
    this.sink.isClosing = true
    this.tell({ type: 'connection.gone' })
    await quiet()
  }

  answerOf(ref: unknown): Extract<Output, { ref: unknown }> | undefined {
    return this.sink.outputs.find((output): output is Extract<Output, { ref: unknown }> => 'ref' in output && output.ref === ref)
  }

  get isThere(): boolean {
    return this.#house.isThere(this.address)
  }

  /** Messages that hold the socket back, for they are not dealt with. */
  get owed(): number {
    return this.#messages - this.sink.handledMessages
  }

  get heard(): string[] {
    return this.sink.outputs.flatMap(spell)
  }

  /** What was heard since the last call. */
  news(): string[] {
    const heard = this.heard.slice(this.#read)
    this.#read += heard.length
    return heard
  }
  #read = 0

  /** Of what was refused. */
  get refusals(): Refusal[] {
    return this.sink.outputs.flatMap((output) => (output.type === 'output.refused' ? [output.refusal] : []))
  }
}

export const publishing = (
  channel: string,
  body: PublishOptions['body'],
  more: Partial<PublishOptions> = {},
  wantsAck = false,
): ClientRequest => ({ type: 'request.publish', ref: ++refs, message: { channel, body, ...more }, wantsAck })

export const commanding = (name: string, params: object = {}): ClientRequest => ({
  type: 'request.command',
  ref: ++refs,
  command: name,
  params,
})

export class BusHouse {
  readonly world: TestWorld
  readonly disk: SimulatedDisk
  readonly roster: Roster = new Map()
  readonly tap = new TelemetryBuffer()
  logged: readonly string[] = []
  readonly observed: string[] = []
  readonly #settings: Settings
  readonly #clients = new Map<string, BusClient>()
  system!: ActorSystem // set by boot
  journals!: Journals // set by boot
  #intact!: Pick<Journals, 'read'> // set by boot

  private constructor(settings: Settings) {
    this.#settings = settings
    this.world = settings.world ?? testWorld()
    this.disk = new SimulatedDisk(this.world.clock)
  }

  static async boot(settings: Settings = {}): Promise<BusHouse> {
    const built = new BusHouse(settings)
    await built.boot()
    return built
  }

  get clock(): SimulatedClock {
    return this.world.clock
  }

  async boot(): Promise<void> {
    const { bus, world: _, commands: own = [], ...given } = this.#settings
    const journals = this.disk.open()
    this.journals = journals
    this.#intact = { read: journals.read.bind(journals) }
    const builtins = builtinCommands({ uptimeMs: () => 0, messageBytes: 1_048_576, checksPasswords: false, all: () => [] })
    const options: ClientOptions = {
      limits: socketLimits,
      commands: new Map([...builtins, ...own].map((one) => [one.name, one])),
      allowedCommands: [],
      authenticate: async () => {
        throw new TroupeError('auth.failed')
      },
      isLoginRequired: false,
      mayRename: true,
      hooks: {},
      channelsPerClient: 128,
      echoBudget: 8,
      silentMs: 60_000,
      roomTtlMs: 3_600_000,
      requestsPerMinute: 0,
      userRequests: undefined,
      roster: this.roster,
      tap: this.tap,
      observe: {
        request: () => {},
        answered: (name) => this.observed.push(`answered ${name}`),
        refused: (code) => this.observed.push(`refused ${code}`),
        login: (result) => this.observed.push(`login ${result}`),
      },
      ...given,
    }
    const kinds = [
      channelKind({ ...numbers, ...bus, journals }),
      directoryKind(),
      userKind(),
      clientKind(options),
      telemetryKind({ tap: this.tap }),
    ]
    const made = house(kinds, { journals }, this.world)
    this.system = made.system
    this.logged = made.logged
    await this.system.start()
  }

  /** A connection, or the one of this id that there is. */
  connect(id: string, arrival: Arrival = {}): BusClient {
    const client = new BusClient(this, id, arrival)
    this.#clients.set(id, client)
    return client
  }

  /** Clients that logged in under these names, each in these channels. */
  async members<const Names extends readonly string[]>(
    names: Names,
    ...channels: readonly string[]
  ): Promise<{ -readonly [Index in keyof Names]: BusClient }> {
    const clients: BusClient[] = []
    for (const name of names) {
      const client = this.connect(name, { account: { user: name, isAnonymous: false }, hasLoggedIn: true })
      await client.join(...channels)
      clients.push(client)
    }
    for (const client of clients) client.news()
    return clients as { -readonly [Index in keyof Names]: BusClient } // one for each name
  }

  /** From now on nothing of the journals of channels can be read. */
  breakReads(isBroken: boolean): void {
    const { read } = this.#intact
    this.journals.read = (journal, options) =>
      isBroken && journal.startsWith('channel/') ? Promise.reject(new TroupeError('journal.corrupt')) : read(journal, options)
  }

  isThere(address: string): boolean {
    return this.system.actors(address).some((actor) => actor.address === address)
  }

  /** Who is in a channel: users, and connections of all kinds. */
  async present(channel: string): Promise<{ users: string[]; connections: number }> {
    const ask = (type: string) => this.system.ask(`channel/${channel}`, { type })
    const users = (await ask('channel.members')) as { user: string; status: string }[]
    const { connections } = (await ask('channel.info')) as { connections: number }
    return { users: users.map(({ user, status }) => (status === 'online' ? user : `${user} ${status}`)).sort(), connections }
  }
}
