/** Channels, their directory and listeners that keep what they hear, on one disk that outlives the processes. */
import { type ChannelObserver, type ChannelOptions, channelKind } from '../../actors/channel.ts'
import type {
  ChannelRequest,
  ChannelState,
  DirectoryPage,
  DirectoryRequest,
  Draft,
  Joined,
  Page,
  Published,
  Range,
} from '../../actors/channelMessages.ts'
import { directoryKind } from '../../actors/directory.ts'
import type { Journals } from '../../actors/journal.ts'
import type { ChannelInfo, ChannelMessage, Member, Output, PresenceOutput, Push, Status } from '../../actors/output.ts'
import { defineActor } from '../../actors/system/definition.ts'
import type { ActorSystem } from '../../actors/system/system.ts'
import { userKind } from '../../actors/user.ts'
import { type DiskOptions, SimulatedDisk } from '../support/simJournals.ts'
import { quiet, type SimulatedClock, type TestWorld, testWorld } from '../support/world.ts'
import { house, track } from './house.ts'

export type Numbers = Omit<ChannelOptions, 'journals' | 'observe'>

export const numbers: Numbers = {
  historyMessages: 10_000,
  historyMs: 7 * 24 * 3_600_000,
  replayMessages: 300,
  repeatMessages: 10_000,
  repeatMs: 600_000,
  graceMs: 5_000,
  maxWindowMs: 25,
  idleMs: 120_000,
  autoCreate: true,
}

export type Heard = Output | { readonly type: 'client.status'; readonly status: Status }

type ListenerMessage =
  | { readonly type: 'listener.ask'; readonly address: string; readonly message: { readonly type: string } }
  | Push
  | { readonly type: 'client.status'; readonly status: Status }

/** Stands for a client: asks in its own name, and writes down what it is told. */
const listenerKind = (heard: (client: string, output: Heard) => void) =>
  defineActor<null, ListenerMessage>({
    kind: 'client',
    state: () => null,
    handlers: {
      'listener.ask': (_, { address, message }, scope) => scope.ask(address, message, { timeoutMs: 60_000 }),
      'client.push': (_, { output }, scope) => {
        if (output.type === 'output.crowd') for (const change of output.changes) heard(scope.id, change)
        else heard(scope.id, output)
      },
      'client.status': (_, message, scope) => heard(scope.id, message),
    },
  })

export interface Place {
  readonly world?: TestWorld
  readonly disk?: DiskOptions
  /** Instead of the simulated disk. */
  readonly open?: (world: TestWorld) => Promise<Journals>
}

export class ChannelHouse {
  readonly world: TestWorld
  readonly disk: SimulatedDisk
  readonly #numbers: Numbers
  readonly #open: () => Promise<Journals>
  readonly #hasSlowDisk: boolean
  readonly heard = new Map<string, Heard[]>()
  readonly logged: string[] = []
  readonly observed = { published: 0, delivered: 0, refused: [] as string[], recovered: [] as string[] }
  system!: ActorSystem // set by boot
  journals!: Journals // set by boot

  private constructor(given: Partial<Numbers>, { world = testWorld(), disk = {}, open }: Place) {
    this.world = world
    this.#numbers = { ...numbers, ...given }
    this.disk = new SimulatedDisk(this.world.clock, disk)
    this.#hasSlowDisk = disk.flushMs !== undefined
    this.#open = open === undefined ? async () => this.disk.open() : () => open(this.world)
  }

  static async boot(given: Partial<Numbers> = {}, place: Place = {}): Promise<ChannelHouse> {
    const built = new ChannelHouse(given, place)
    await built.boot()
    return built
  }

  get clock(): SimulatedClock {
    return this.world.clock
  }

  async boot(given: Partial<Numbers> = {}): Promise<void> {
    this.journals = await this.#open()
    const observe: ChannelObserver = {
      published: (messages) => void (this.observed.published += messages),
      delivered: (messages) => void (this.observed.delivered += messages),
      refused: (code) => void this.observed.refused.push(code),
      recovered: (result) => void this.observed.recovered.push(result),
    }
    const kinds = [
      channelKind({ ...this.#numbers, ...given, journals: this.journals, observe }),
      directoryKind(),
      userKind(),
      listenerKind((client, output) => this.hears(client).push(output)),
    ]
    const { system, logged } = house(kinds, { journals: this.journals }, this.world)
    this.system = system
    this.logged.push(...logged)
    await system.start()
  }

  /** The process ends without a word. */
  async crash(given: Partial<Numbers> = {}): Promise<void> {
    this.disk.crash()
    this.clock.forget()
    await quiet()
    await this.boot(given)
  }

  /** The process ends in good order, and the next one starts. */
  async reboot(given: Partial<Numbers> = {}): Promise<void> {
    await this.#during(this.system.close())
    await this.#during(this.journals.close())
    await this.boot(given)
  }

  /** Time goes on while something that waits for a slow disk is waited for. */
  async #during(work: Promise<unknown>): Promise<void> {
    const waited = track(work)
    for (await quiet(); this.#hasSlowDisk && waited.state === 'open'; await quiet()) this.clock.step()
    await work
  }

  // ── what clients do ────────────────────────────────────────────────────────────────────────────────────────────

  ask(client: string, address: string, message: ChannelRequest | DirectoryRequest | { readonly type: string }): Promise<unknown> {
    return this.system.ask(`client/${client}`, { type: 'listener.ask', address, message }, { timeoutMs: 60_000 })
  }

  join(client: string, channel: string, more: Partial<Extract<ChannelRequest, { type: 'channel.join' }>> = {}): Promise<Joined> {
    const request = { type: 'channel.join', user: userOf(client), status: 'online', isPresent: true, ...more } as const
    return this.ask(client, `channel/${channel}`, request) as Promise<Joined>
  }

  leave(client: string, channel: string): Promise<unknown> {
    return this.ask(client, `channel/${channel}`, { type: 'channel.leave' })
  }

  /** A client that has a name, unless the draft says otherwise. */
  publish(client: string, channel: string, body: Draft['body'], more: Partial<Draft> = {}): Promise<Published> {
    const user = userOf(client)
    const draft: Draft = { body, user, sender: user, client: `id of ${client}`, kind: 'message', ...more }
    return this.ask(client, `channel/${channel}`, { type: 'channel.publish', draft }) as Promise<Published>
  }

  async publishAll(client: string, channel: string, bodies: readonly Draft['body'][]): Promise<void> {
    await Promise.all(bodies.map((body) => this.publish(client, channel, body)))
  }

  history(channel: string, range: Range = {}): Promise<Page> {
    return this.system.ask(`channel/${channel}`, { type: 'channel.history', range }) as Promise<Page>
  }

  members(channel: string): Promise<Member[]> {
    return this.system.ask(`channel/${channel}`, { type: 'channel.members' }) as Promise<Member[]>
  }

  describe(channel: string): Promise<ChannelState> {
    return this.system.ask(`channel/${channel}`, { type: 'channel.info' }) as Promise<ChannelState>
  }

  create(name: string, more: object = {}, tenant = 'default'): Promise<ChannelInfo> {
    const request = { type: 'directory.create', name, description: '', by: 'ada', isRoom: false, ...more }
    return this.system.ask(`directory/${tenant}`, request, { timeoutMs: 60_000 }) as Promise<ChannelInfo>
  }

  remove(name: string, tenant = 'default'): Promise<unknown> {
    return this.system.ask(`directory/${tenant}`, { type: 'directory.delete', name }, { timeoutMs: 60_000 })
  }

  list(more: object = {}, tenant = 'default'): Promise<DirectoryPage> {
    return this.system.ask(`directory/${tenant}`, { type: 'directory.list', ...more }) as Promise<DirectoryPage>
  }

  /** The connection is gone without a word. */
  lose(client: string): void {
    this.system.stop(`client/${client}`)
  }

  // ── what clients heard ─────────────────────────────────────────────────────────────────────────────────────────

  hears(client: string): Heard[] {
    const known = this.heard.get(client)
    if (known !== undefined) return known
    const fresh: Heard[] = []
    this.heard.set(client, fresh)
    return fresh
  }

  messages(client: string): ChannelMessage[] {
    return this.hears(client).flatMap((output) => (output.type === 'output.messages' ? output.messages : []))
  }

  bodies(client: string): unknown[] {
    return this.messages(client).map(({ body }) => body)
  }

  presence(client: string): PresenceOutput[] {
    return this.hears(client).filter((output) => output.type === 'output.presence')
  }

  /** `ada joined`, `bob left (lost)`, `ada away` */
  news(client: string): string[] {
    return this.presence(client).map(({ user, change, status, reason }) =>
      change === 'status' ? `${user} ${status}` : `${user} ${change}${reason === undefined ? '' : ` (${reason})`}`,
    )
  }

  /** Whether an actor of this address is in memory. */
  isThere(address: string): boolean {
    return this.system.actors(address).some((actor) => actor.address === address)
  }
}

/** `ada`, `ada2` and `ada3` are connections of one user. */
const userOf = (client: string): string => client.replace(/\d+$/, '')

export const bodiesOf = (messages: readonly ChannelMessage[]): unknown[] => messages.map(({ body }) => body)
export const offsetsOf = (messages: readonly ChannelMessage[]): number[] => messages.map(({ offset }) => offset)
export const numbered = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, i) => from + i)
