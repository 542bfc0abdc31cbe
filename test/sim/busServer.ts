/**
 * One process of the server: the real actor system with the real kinds of the bus, and what `src/server.ts` and `src/edge.ts` plug
 * them into, on simulated time, network and disk.
 */
import type { Account, Roster } from '../../actors/account.ts'
import { type ChannelOptions, channelKind } from '../../actors/channel.ts'
import { type ClientInput, type ClientMessage, type ClientOptions, clientKind } from '../../actors/client.ts'
import { directoryKind } from '../../actors/directory.ts'
import type { ErrorCode } from '../../actors/errors.ts'
import { TroupeError } from '../../actors/errors.ts'
import type { Appended, Entry, Journals, Offset, ReadOptions, Snapshot } from '../../actors/journal.ts'
import type { ChannelMessage, Output } from '../../actors/output.ts'
import { ActorSystem } from '../../actors/system/system.ts'
import { TelemetryBuffer, telemetryKind } from '../../actors/telemetry.ts'
import { userKind } from '../../actors/user.ts'
import type { Log, World } from '../../actors/world.ts'
import { Passing } from '../support/passingJournals.ts'
import { SeededRandom } from '../support/world.ts'
import type { BusListener, BusSocket, ServerSide } from './busNetwork.ts'
import type { StoredChannel, Violate } from './busOracle.ts'
import type { Events, Trace } from './events.ts'

export interface BusSettings {
  readonly sliceMs: number
  readonly channel: Omit<ChannelOptions, 'journals' | 'observe'>
  readonly client: Omit<ClientOptions, 'roster' | 'tap' | 'observe'>
  readonly readMs: () => number
  /** A read fails now and then. */
  readonly failsToRead: () => boolean
}

export interface BusServerHost {
  readonly events: Events
  readonly trace: Trace
  readonly violate: Violate
  saw(what: string): void
  stored(address: string): StoredChannel
  /** Who comes on this socket, and how its protocol treats it. */
  inputOf(socket: BusSocket): Omit<ClientInput, 'sink'>
}

/** What actors may log as an error when the disk refuses something. */
const expectedErrors = [
  'messages could not be stored',
  'an actor could not be stored; its state is read again',
  'wake-ups could not be stored',
]
/** Of channels that went before what was meant for them arrived. */
const expectedDeadLetters: readonly ErrorCode[] = [
  'actor.stopped',
  'system.closed',
  'channel.not_joined',
  'channel.unavailable',
  'channel.closed',
  'channel.unknown',
  'storage.full',
  'storage.failed',
  'journal.corrupt',
]

type Expected = { readonly expected?: Offset | 'none' }

/** Calls of a dead process are never answered; reads take their time, and fail now and then. */
class ProcessJournals extends Passing {
  readonly #server: BusServer
  readonly #settings: BusSettings

  constructor(journals: Journals, server: BusServer, settings: BusSettings) {
    super(journals)
    this.#server = server
    this.#settings = settings
  }

  override append(journal: string, entries: readonly Uint8Array[], options?: Expected): Promise<Appended> {
    return this.#guard(() => super.append(journal, entries, options))
  }

  override saveSnapshot(journal: string, offset: Offset, data: Uint8Array, options?: { readonly trim?: boolean }): Promise<void> {
    return this.#guard(() => super.saveSnapshot(journal, offset, data, options))
  }

  override trim(journal: string, before: Offset): Promise<void> {
    this.#server.look(journal)
    return this.#guard(() => super.trim(journal, before))
  }

  override remove(journal: string): Promise<void> {
    this.#server.look(journal)
    return this.#guard(() => super.remove(journal))
  }

  override read(journal: string, options?: ReadOptions): Promise<Entry[]> {
    return this.#read(journal, () => super.read(journal, options))
  }

  override head(journal: string): ReturnType<Journals['head']> {
    return this.#guard(() => super.head(journal))
  }

  override snapshot(journal: string): Promise<Snapshot | undefined> {
    return this.#read(journal, () => super.snapshot(journal))
  }

  #read<T>(journal: string, call: () => Promise<T>): Promise<T> {
    return this.#guard(async () => {
      await this.#server.wait(this.#settings.readMs())
      if (journal.startsWith('channel/') && this.#settings.failsToRead()) {
        this.#server.host.saw('a read fails')
        throw new TroupeError('journal.corrupt', journal)
      }
      return call()
    })
  }

  #guard<T>(call: () => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      if (this.#server.isDead) return
      call().then(
        (value) => this.#server.isDead || resolve(value),
        (error) => this.#server.isDead || reject(error),
      )
    })
  }
}

/** A message that an output shows, or a page of an answer. */
const messagesOf = (output: Output): readonly ChannelMessage[] => {
  if (output.type === 'output.messages') return output.messages
  if (output.type === 'output.acknowledged') return [output.message]
  if (output.type !== 'output.answer') return []
  const { messages } = (output.data ?? {}) as { readonly messages?: readonly ChannelMessage[] }
  return messages ?? []
}

export class BusServer implements BusListener {
  readonly host: BusServerHost
  readonly number: number
  readonly system: ActorSystem
  readonly roster: Roster = new Map()
  readonly journals: ProcessJournals
  isDead = false
  #isClosing = false
  readonly #sockets = new Map<string, BusSocket>()
  readonly #checked = new WeakSet<Output>()

  constructor(host: BusServerHost, number: number, seed: number, journals: Journals, settings: BusSettings) {
    this.host = host
    this.number = number
    this.journals = new ProcessJournals(journals, this, settings)
    const { events } = host
    const world: World = {
      clock: { ...events.clock, after: (ms, fire) => events.after(ms, () => this.isDead || fire()) },
      turns: {
        soon: (work) => events.soon(() => this.isDead || work()),
        later: (work) => events.after(0, () => this.isDead || work()),
      },
      random: new SeededRandom(seed),
      log: this.#log(),
    }
    const tap = new TelemetryBuffer()
    const observe = { request: () => {}, answered: () => {}, refused: () => {}, login: () => {} }
    this.system = new ActorSystem({
      world,
      journals: this.journals,
      actors: [
        channelKind({ ...settings.channel, journals: this.journals }),
        directoryKind(),
        userKind(),
        telemetryKind({ tap }),
        clientKind({ ...settings.client, roster: this.roster, tap, observe }),
      ],
      sliceMs: settings.sliceMs,
    })
  }

  wait(ms: number): Promise<void> {
    return new Promise((resolve) => this.host.events.after(ms, () => this.isDead || resolve()))
  }

  /** What is about to leave the disk is remembered. */
  look(journal: string): void {
    if (journal.startsWith('channel/')) this.host.stored(journal).refresh()
  }

  start(): Promise<void> {
    return this.system.start()
  }

  get sockets(): ReadonlyMap<string, BusSocket> {
    return this.#sockets
  }

  accept(socket: BusSocket): ServerSide | undefined {
    if (this.isDead || this.#isClosing) return undefined
    const input = this.host.inputOf(socket)
    const id = `${input.account.user === '' ? 'guest' : input.account.user}-${this.number}.${this.system.world.random.id().slice(-4)}`
    const address = `client/${id}`
    this.#sockets.set(address, socket)
    const tell = (message: ClientMessage) => {
      if (!this.isDead) this.system.tell(address, message)
    }
    const account: Account = { ...input.account, user: input.hasLoggedIn ? input.account.user : input.manners.nameOf(id) }
    this.system.begin(address, { ...input, account, sink: socket } satisfies ClientInput)
    return {
      received: (requests) => tell({ type: 'client.receive', requests }),
      pong: () => tell({ type: 'connection.pong' }),
      gone: () => {
        if (this.#sockets.delete(address)) tell({ type: 'connection.gone' })
      },
      sending: (output) => this.#sending(address, output),
      handledTooMuch: () => this.host.violate('answers', `more frames of ${address} were dealt with than came`),
    }
  }

  /** Several clients are told the same output. */
  #sending(address: string, output: Output): void {
    if (this.#checked.has(output)) return
    this.#checked.add(output)
    const tenant = this.roster.get(address)?.tenant ?? ''
    for (const message of messagesOf(output)) {
      const owner = (message.body as { readonly tenant?: string }).tenant ?? ''
      const isOwn = message.client === address.slice('client/'.length)
      const isOther = !isOwn && owner !== tenant
      if (isOther) this.host.violate('private', `${address} of ${tenant} hears ${message.id} of ${owner}`)
      this.host.stored(`channel/${owner === '' ? '' : `~${owner}/`}${message.channel}`).check(message, address)
    }
  }

  /** The end of the process, at once. `isSilent`: and of the machine, so that nobody closes its sockets. */
  kill(isSilent: boolean): void {
    this.check()
    this.isDead = true
    for (const socket of this.#sockets.values()) socket.crash(isSilent)
    this.#sockets.clear()
  }

  /** As `TroupeServer.close` does it. */
  async close(): Promise<void> {
    this.#isClosing = true
    await this.system.quiesce()
    for (const address of this.#sockets.keys()) {
      const goodbye: ClientMessage = { type: 'connection.close', code: 'system.closed', detail: '' }
      this.system.tell(address, goodbye)
    }
    await this.system.close()
    for (const socket of [...this.#sockets.values()]) socket.terminate()
    await this.journals.close()
    this.check()
    this.isDead = true
  }

  check(): void {
    if (this.isDead) return
    for (const [code, count] of this.system.deadLettersByCode()) {
      if (expectedDeadLetters.includes(code as ErrorCode)) continue
      const letter = this.system.deadLetters().find((one) => one.code === code)
      this.host.violate('failure', `${count} dead letters ${code}: ${letter?.address} ${letter?.message.type} ${letter?.detail}`)
    }
    const { failed } = this.system.health()
    if (failed.length > 0) this.host.violate('failure', `failed for good: ${failed.join(', ')}`)
  }

  #log(): Log {
    const note = (level: string) => (fields: Readonly<Record<string, unknown>>, text: string) => {
      if (this.isDead) return
      this.host.trace.note(`${level}: ${text} ${JSON.stringify(fields)}`)
      if (text === 'a slow client is disconnected' || text === 'a channel could not be joined') this.host.saw(text)
      if (level === 'error' && !expectedErrors.includes(text)) this.host.violate('failure', `${text} ${JSON.stringify(fields)}`)
    }
    return { debug: note('debug'), info: note('info'), warn: note('warn'), error: note('error') }
  }
}
