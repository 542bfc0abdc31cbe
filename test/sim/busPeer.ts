/**
 * A program at the other end of a socket of the bus: it publishes under ids of its own until it is told that the message is there,
 * listens to channels, comes back with what it has, and checks whatever it hears against what it knows.
 */
import { scopedId } from '../../actors/account.ts'
import { inboxOf } from '../../actors/channelMessages.ts'
import type { ErrorCode } from '../../actors/errors.ts'
import type { ChannelMessage, Member, Output, Position, PresenceOutput, Refusal, Status } from '../../actors/output.ts'
import type { ClientRequest, Manners } from '../../actors/request.ts'
import type { EpochMs } from '../../actors/world.ts'
import type { SeededRandom } from '../support/world.ts'
import type { BusSocket, ClientSide } from './busNetwork.ts'
import type { StoredChannel, Violate } from './busOracle.ts'
import type { Events } from './events.ts'

export interface Name {
  readonly user: string
  readonly tenant: string
}

export interface PeerHost {
  readonly events: Events
  readonly random: SeededRandom
  readonly violate: Violate
  readonly replayMessages: number
  readonly historyMessages: number
  note(text: string): void
  saw(what: string): void
  stored(address: string): StoredChannel
  connect(peer: BusPeer): BusSocket
  /** What was told to somebody who reads in this name. */
  told(name: Name, message: ChannelMessage): void
  acknowledged(message: ChannelMessage, tenant: string): void
}

/** A message until it is acknowledged. */
interface Outgoing {
  readonly id: string
  readonly channel: string
  readonly tenant: string
}

type Asked =
  | { readonly kind: 'publish'; readonly message: Outgoing }
  | { readonly kind: 'join'; readonly channel: string; readonly recover?: Position; readonly rewind?: number }
  | { readonly kind: 'leave'; readonly channel: string }
  | { readonly kind: 'history'; readonly channel: string; readonly after: number }
  | { readonly kind: 'login'; readonly name: Name }
  | { readonly kind: 'other' }

interface Subscription {
  position: Position
  /** Who else is there, as far as was told. */
  readonly others: Map<string, Status>
  /** Of when that is, by the clock of the server. */
  readonly joinedAt: EpochMs
  /** Not all that happened to the others could be told. */
  isTainted: boolean
  /** The answer to a join jumped to there, so it has to be said that something was lost. */
  owedGap: Position | undefined
}

interface JoinData {
  readonly epoch: string
  readonly sequence: number
  readonly recovered: boolean | null
  readonly messages: readonly ChannelMessage[]
  readonly members: readonly Member[]
}

const spell = (output: Output): readonly string[] => {
  if (output.type === 'output.messages') return output.messages.map(({ channel, offset, id }) => `${id} at ${offset} of ${channel}`)
  if (output.type === 'output.answer') return [`the answer to ${output.command}`]
  if (output.type === 'output.presence') return [`${output.user} ${output.change} ${output.status} in ${output.channel}`]
  return [`${output.type} ${'channel' in output ? output.channel : ''}`]
}

const isSame = (one: Position, other: Position): boolean => one.epoch === other.epoch && one.offset === other.offset

export class BusPeer implements ClientSide {
  readonly label: string
  readonly manners: Manners
  /** An account, or a name that it speaks in; undefined: the server names it after its connection. As of what it said. */
  name: Name | undefined
  /** As of what it heard. */
  #is: Name | undefined
  /** What it was called on this connection. */
  readonly mine = new Set<string>()
  readonly isAccount: boolean
  /** Channels that it wants to be in, and where it was in each of them. */
  readonly wanted = new Map<string, Position | undefined>()
  readonly #host: PeerHost
  socket: BusSocket | undefined
  isOpen = false
  shouldConnect = false
  /** As of what was heard. */
  readonly channels = new Map<string, Subscription>()
  readonly #asked = new Map<number, Asked>()
  /** Refs of commands that are to be answered, in the order in which they were sent. */
  #commands: number[] = []
  readonly #outbox = new Map<string, Outgoing>()
  readonly #sent = new Set<string>()
  #refs = 0
  #ids = 0
  #inbox: Position | undefined
  #connections = 0

  constructor(host: PeerHost, label: string, manners: Manners, name: Name | undefined, isAccount: boolean) {
    this.#host = host
    this.label = label
    this.manners = manners
    this.name = name
    this.#is = name
    this.isAccount = isAccount
  }

  // ── the connection ─────────────────────────────────────────────────────────────────────────────────────────────

  connect(): void {
    this.shouldConnect = true
    if (this.socket !== undefined) return
    this.#connections++
    this.#is = this.name
    this.socket = this.#host.connect(this)
  }

  opened(): void {
    this.isOpen = true
    this.#host.note(`${this.label} is connected`)
    for (const channel of this.wanted.keys()) this.join(channel)
    for (const message of this.#outbox.values()) this.#send(message)
  }

  closed(code: ErrorCode | 'cut'): void {
    this.#host.note(`${this.label} is closed: ${code}`)
    this.#forget()
    const connection = this.#connections
    this.#host.events.after(20 + this.#host.random.next() * 1_000, () => {
      if (this.shouldConnect && connection === this.#connections) this.connect()
    })
  }

  /** In good order, perhaps with something said in the same breath. */
  disconnect(): void {
    this.shouldConnect = false
    this.socket?.end()
    this.#forget()
  }

  /** Its network goes without a word. */
  vanish(): void {
    if (this.socket === undefined) return
    this.socket.vanish()
    this.closed('cut')
  }

  /** Nothing passes; the client notices by and by. */
  cut(): void {
    const { socket } = this
    if (socket === undefined) return
    socket.isCut = true
    this.#host.events.after(1_000 + this.#host.random.next() * 5_000, () => this.socket === socket && this.vanish())
  }

  #forget(): void {
    this.socket = undefined
    this.isOpen = false
    for (const [channel, { position }] of this.channels) if (this.wanted.has(channel)) this.wanted.set(channel, position)
    this.channels.clear()
    this.#asked.clear()
    this.#commands = []
    this.#inbox = undefined
    this.mine.clear()
  }

  // ── what it says ───────────────────────────────────────────────────────────────────────────────────────────────

  #ask(asked: Asked): number {
    const ref = ++this.#refs
    this.#asked.set(ref, asked)
    if (asked.kind !== 'publish') this.#commands.push(ref)
    return ref
  }

  command(name: string, params: object, asked: Asked = { kind: 'other' }): void {
    if (!this.isOpen) return
    this.#host.note(`${this.label} runs ${name} ${JSON.stringify(params)}`)
    this.socket?.say([{ type: 'request.command', ref: this.#ask(asked), command: name, params }])
  }

  /** `how`: where a member that joins again says that it is, or how much it wants to hear once more. */
  join(channel: string, how: { readonly recover?: Position; readonly rewind?: number } = {}): void {
    const known = this.channels.has(channel) ? undefined : this.wanted.get(channel)
    this.wanted.set(channel, known)
    const { rewind, recover = rewind === undefined ? known : undefined } = how
    const position = recover === undefined ? {} : { recover: { epoch: recover.epoch, sequence: recover.offset } }
    const asked = {
      kind: 'join' as const,
      channel,
      ...(recover === undefined ? {} : { recover }),
      ...(rewind === undefined ? {} : { rewind }),
    }
    this.command('join_channel', { channel, ...position, ...(rewind === undefined ? {} : { rewind }) }, asked)
  }

  leave(channel: string): void {
    this.wanted.delete(channel)
    this.command('leave_channel', { channel }, { kind: 'leave', channel })
  }

  login(name: Name): void {
    if (!this.isOpen) return
    this.name = name
    // Ids are those of a name: whoever sent these is another one.
    this.#outbox.clear()
    this.command('authenticate', { token: JSON.stringify(name) }, { kind: 'login', name })
  }

  /** Messages in one frame, or in a frame each. */
  publish(channels: readonly string[], isBatch: boolean): void {
    const messages = channels.map((channel): Outgoing => ({ id: `${this.label}.${++this.#ids}`, channel, tenant: this.name?.tenant ?? '' }))
    for (const message of messages) this.#outbox.set(message.id, message)
    if (!this.isOpen) return
    const requests = messages.map((message) => this.#requestOf(message))
    if (isBatch) this.socket?.say(requests)
    else for (const request of requests) this.socket?.say([request])
  }

  #send(message: Outgoing): void {
    if (this.isOpen) this.socket?.say([this.#requestOf(message)])
  }

  #requestOf(message: Outgoing): ClientRequest {
    const { id, channel, tenant } = message
    this.#host.note(`${this.label} publishes ${id} to ${channel}`)
    this.#sent.add(id)
    const sender = this.isAccount || this.name === undefined ? {} : { sender: this.name.user }
    return {
      type: 'request.publish',
      ref: this.#ask({ kind: 'publish', message }),
      message: { channel, id, body: { tenant }, ...sender },
      wantsAck: true,
    }
  }

  /** What it waits for. */
  get open(): string | undefined {
    for (const asked of this.#asked.values()) return JSON.stringify(asked)
    for (const { id } of this.#outbox.values()) return `the acknowledgement of ${id}`
    return undefined
  }

  /** What it has not heard of a channel that it is in. */
  behind(channel: string): string | undefined {
    const subscription = this.channels.get(channel)
    if (subscription === undefined) return 'it is not in it'
    const last = this.#host.stored(this.#address(channel)).last
    return this.#isWhereItWas(channel, subscription.position, last) ? undefined : `on disk it is at ${JSON.stringify(last)}`
  }

  // ── what it hears ──────────────────────────────────────────────────────────────────────────────────────────────

  heard(output: Output): void {
    this.#host.note(`${this.label} hears ${spell(output).join(', ')}`)
    switch (output.type) {
      case 'output.messages':
        return this.#hear(output.channel, output.messages)
      case 'output.answer':
        this.mine.add(output.account.user)
        return this.#answered(this.#takeCommand(output.ref as number), output.data, output.at)
      case 'output.acknowledged':
        return this.#acknowledged(output.ref as number, output.message)
      case 'output.refused':
        return this.#refused(output.ref as number, output.command, output.refusal)
      case 'output.presence':
        return this.#present(output)
      case 'output.closed':
        return this.#close(output.channel)
      case 'output.gap':
        return this.#gap(output.channel, { epoch: output.epoch, offset: output.offset })
      default:
        this.#host.violate('answers', `${this.label} hears ${output.type}`)
    }
  }

  #takeCommand(ref: number): Asked {
    const due = this.#commands.shift()
    if (due !== ref) this.#host.violate('answers', `${this.label} hears the answer to ${ref} and waits for that to ${due}`)
    return this.#take(ref)
  }

  #take(ref: number): Asked {
    const asked = this.#asked.get(ref)
    if (asked === undefined) this.#host.violate('answers', `${this.label} hears a second answer to ${ref}`)
    this.#asked.delete(ref)
    return asked ?? { kind: 'other' }
  }

  #address(channel: string): string {
    return `channel/${scopedId(this.#is?.tenant ?? '', channel)}`
  }

  #hear(channel: string, messages: readonly ChannelMessage[]): void {
    const isEcho = messages.every(({ id }) => this.#sent.has(id))
    const subscription = this.channels.get(channel)
    if (channel === this.#inboxName && subscription === undefined) {
      for (const message of messages) this.#hearPrivately(message)
      return
    }
    if (subscription === undefined) {
      if (this.manners.echo !== 'budget' || !isEcho) this.#host.violate('order', `${this.label} hears ${channel} and is not in it`)
      return
    }
    for (const message of messages) {
      const { position } = subscription
      if (subscription.owedGap !== undefined) this.#host.violate('honest', `${this.label} hears nothing of what it lost in ${channel}`)
      this.#follows(channel, position, message)
      subscription.position = { epoch: message.epoch, offset: message.offset }
    }
  }

  /** Own messages are left out for some, so those have holes there and nowhere else. */
  #follows(channel: string, { epoch, offset }: Position, message: ChannelMessage): void {
    const isNext = message.offset === offset + 1 && (epoch === message.epoch || epoch === '')
    if (isNext) return
    const skipped = this.manners.echo === 'never' && message.offset > offset && (epoch === message.epoch || epoch === '')
    if (skipped && this.#areOwn(channel, message.epoch, offset + 1, message.offset - 1)) return
    this.#host.violate('order', `${this.label} at ${offset} of ${epoch} in ${channel} hears ${message.offset} of ${message.epoch}`)
  }

  #areOwn(channel: string, epoch: string, from: number, to: number): boolean {
    const stored = this.#host.stored(this.#address(channel))
    for (let offset = from; offset <= to; offset++) if (!this.#sent.has(stored.idAt(epoch, offset) ?? '')) return false
    return true
  }

  get #inboxName(): string | undefined {
    return this.#is === undefined || !this.manners.hasInbox ? undefined : inboxOf(this.#is.user)
  }

  #hearPrivately(message: ChannelMessage): void {
    const { channel, epoch, offset } = message
    if (this.#inbox !== undefined) this.#follows(channel, this.#inbox, message)
    this.#inbox = { epoch, offset }
    if (this.#is !== undefined) this.#host.told(this.#is, message)
  }

  #answered(asked: Asked, data: unknown, at: EpochMs): void {
    if (asked.kind === 'join') this.#joined(asked, data as JoinData, at)
    else if (asked.kind === 'leave') this.channels.delete(asked.channel)
    else if (asked.kind === 'history') this.#read(asked, data as { readonly messages: readonly ChannelMessage[] })
    else if (asked.kind === 'login') this.#becomes(asked.name)
  }

  #becomes(name: Name): void {
    this.#host.note(`${this.label} is ${name.user} of ${name.tenant}`)
    if (name.user !== this.#is?.user || name.tenant !== this.#is.tenant) this.#inbox = undefined
    this.#is = name
    // Whether the one that it was is still there, it is not told.
    for (const subscription of this.channels.values()) subscription.isTainted = true
  }

  #joined({ channel, recover, rewind }: Extract<Asked, { kind: 'join' }>, data: JoinData, joinedAt: EpochMs): void {
    const { epoch, sequence, recovered, messages, members } = data
    const before = this.channels.get(channel)
    const position = { epoch, offset: sequence }
    const others = new Map(members.map(({ user, status }) => [user, status]))
    const subscription: Subscription = { position, others, joinedAt, isTainted: false, owedGap: undefined }
    this.channels.set(channel, subscription)
    if (recover !== undefined) {
      if (recovered === null) this.#host.violate('honest', `${this.label} asked to recover ${channel} and hears nothing of it`)
      if (recovered === true) this.#isWhole(channel, recover, position, messages)
      else this.#isLost(channel, recover, position)
      this.#host.saw(recovered === true ? (messages.length > 0 ? 'recovered' : 'nothing was missed') : 'not recovered')
    } else if (rewind !== undefined) {
      const [first] = messages
      if (first !== undefined) this.#isWhole(channel, { epoch, offset: first.offset - 1 }, position, messages)
      if (messages.length > rewind) this.#host.violate('honest', `${this.label} hears ${messages.length} messages and asked for ${rewind}`)
    } else if (before !== undefined) {
      this.#host.saw('a member joins again')
      if (messages.length > 0) this.#host.violate('order', `${this.label} joins ${channel} again and hears what it has`)
      // What its protocol leaves out counts as heard.
      if (!this.#isWhereItWas(channel, before.position, position)) subscription.owedGap = position
    }
  }

  #isWhereItWas(channel: string, before: Position, now: Position): boolean {
    if (isSame(before, now) || (before.epoch === '' && now.offset === 0)) return true
    return (
      this.manners.echo === 'never' &&
      (before.epoch === now.epoch || before.epoch === '') &&
      this.#areOwn(channel, now.epoch, before.offset + 1, now.offset)
    )
  }

  #isWhole(channel: string, from: Position, to: Position, messages: readonly ChannelMessage[]): void {
    let position = from
    for (const message of messages) {
      if (message.offset !== position.offset + 1 || message.epoch !== to.epoch)
        this.#host.violate('honest', `${this.label} gets ${message.offset} of ${channel} after ${position.offset}`)
      position = { epoch: message.epoch, offset: message.offset }
    }
    if (position.offset !== to.offset || (from.epoch !== to.epoch && from.epoch !== ''))
      this.#host.violate('honest', `${this.label} at ${from.offset} of ${channel} recovers ${messages.length} to ${to.offset}`)
  }

  /** Something that cannot be had. */
  #isLost(channel: string, from: Position, to: Position): void {
    if (from.epoch !== to.epoch && !(from.epoch === '' && from.offset === 0)) return
    // It may have published there since, and heard nothing of it.
    if (from.epoch === '' && this.manners.echo === 'never') return
    const missed = to.offset - from.offset
    const first = Math.max(this.#host.stored(this.#address(channel)).firstOf(to.epoch), to.offset - this.#host.historyMessages + 1)
    if (missed <= this.#host.replayMessages && first <= from.offset + 1)
      this.#host.violate(
        'honest',
        `${this.label} at ${JSON.stringify(from)} of ${channel} is told that it lost what led to ${JSON.stringify(to)}`,
      )
  }

  #gap(channel: string, position: Position): void {
    const subscription = this.channels.get(channel)
    if (subscription === undefined) {
      if (channel !== this.#inboxName) this.#host.violate('order', `${this.label} hears of a gap in ${channel} and is not in it`)
      this.#inbox = undefined
      return
    }
    this.#host.saw('a gap')
    if (subscription.owedGap === undefined) this.#isLost(channel, subscription.position, position)
    else if (!isSame(subscription.owedGap, position)) this.#host.violate('honest', `${this.label} hears of another gap in ${channel}`)
    subscription.owedGap = undefined
    subscription.position = position
  }

  #read({ channel, after }: Extract<Asked, { kind: 'history' }>, { messages }: { readonly messages: readonly ChannelMessage[] }): void {
    for (const [index, { offset }] of messages.entries()) {
      const before = index === 0 ? after : (messages[index - 1] as ChannelMessage).offset // index > 0
      if (index === 0 ? offset <= before : offset !== before + 1)
        this.#host.violate('order', `${this.label} reads ${offset} after ${before} in ${channel}`)
    }
  }

  #close(channel: string): void {
    if (channel === this.#inboxName) {
      this.#inbox = undefined
      return
    }
    if (!this.channels.delete(channel)) this.#host.violate('order', `${this.label} hears the end of ${channel} and is not in it`)
    this.#host.saw('a channel ends')
    if (!this.wanted.has(channel)) return
    this.wanted.set(channel, undefined)
    this.#again(() => this.#joinIfWanted(channel))
  }

  #joinIfWanted(channel: string): void {
    if (this.wanted.has(channel) && !this.channels.has(channel)) this.join(channel)
  }

  /** By and by, if it is still connected. */
  #again(run: () => void): void {
    const { socket } = this
    this.#host.events.after(100 + this.#host.random.next() * 1_000, () => this.isOpen && this.socket === socket && run())
  }

  #present({ channel, change, user, status }: PresenceOutput): void {
    const subscription = this.channels.get(channel)
    if (subscription === undefined) return this.#host.violate('presence', `${this.label} hears of ${user} in ${channel}, where it is not`)
    if (change === 'left') subscription.others.delete(user)
    else subscription.others.set(user, status)
  }

  #acknowledged(ref: number, message: ChannelMessage): void {
    const asked = this.#take(ref)
    if (asked.kind !== 'publish' || asked.message.id !== message.id)
      return this.#host.violate('answers', `${this.label} hears of ${message.id} in the answer to ${ref}`)
    this.#outbox.delete(message.id)
    // Where own messages are left out, nobody else may be there to hear it.
    if (this.manners.echo !== 'never') this.#host.acknowledged(message, asked.message.tenant)
  }

  #refused(ref: number, command: string | undefined, { code }: Refusal): void {
    const asked = command === undefined ? this.#take(ref) : this.#takeCommand(ref)
    this.#host.saw(`refused ${code}`)
    this.#host.note(`${this.label} is refused ${asked.kind}: ${code}`)
    if (code === 'channel.unknown' && (asked.kind === 'publish' || asked.kind === 'join')) {
      const channel = asked.kind === 'publish' ? asked.message.channel : asked.channel
      this.#again(() => this.command('create_channel', { channel }))
    }
    if (asked.kind === 'publish') {
      const { message } = asked
      if (code === 'message.id_reused') this.#host.violate('once', `${this.label}: ${message.id} is another message`)
      this.#again(() => this.#outbox.has(message.id) && this.#send(message))
    } else if (asked.kind === 'join') this.#again(() => this.#joinIfWanted(asked.channel))
    else if (asked.kind === 'login') this.#host.violate('failure', `${this.label} cannot log in: ${code}`)
  }
}
