/**
 * What a client of the bus hears: the channels that it is in, and what they say, in order and without holes.
 *
 *   push ──→ from its channel? ──→ held? ──→ gap? ──→ own message? ──→ socket
 *
 * While a command is answered everything else waits, and while a channel is joined what is new there waits for what was missed.
 * A channel that stops, fails or skips something is joined again from where the client is, until it answers.
 * Not an actor: a part of one, with its scope.
 */
import type { ChannelRequest, Joined } from './channelMessages.ts'
import type { ClientAccess } from './clientAccess.ts'
import type { JoinOptions } from './command.ts'
import { isTroupeError, TroupeError } from './errors.ts'
import type { Offset } from './journal.ts'
import type { ChannelMessage, ClosedOutput, CrowdOutput, MessagesOutput, Output, Status } from './output.ts'
import type { Manners } from './request.ts'
import type { Sink, SocketLife } from './socketLife.ts'
import type { Address } from './system/address.ts'
import type { Scope } from './system/scope.ts'

/** A channel that the client is in, or is coming into. */
export interface Membership {
  readonly address: Address
  /** The private messages to its user: not a channel that the client joined. */
  readonly isInbox: boolean
}

interface Place extends Membership {
  /** The channel has answered. */
  isIn: boolean
  epoch: string
  /** Of the last message that the client has. */
  offset: Offset
  /** What is new in the channel waits for it. */
  join: Join | undefined
  /** The channel has said goodbye; the client may not know yet. */
  isClosed: boolean
}

/** From the question to a channel until the client knows what it missed there. */
interface Join {
  readonly isOfCommand: boolean
  /** What the client is told when no command is being answered. */
  missed: Output | undefined
  /** Answered, and not told yet. */
  isAnswered: boolean
  /** The channel stopped meanwhile and may know nothing of the client. */
  isOutdated: boolean
  /** Refused; asked again by and by. */
  isPaused: boolean
}

type ChannelOutput = MessagesOutput | CrowdOutput | ClosedOutput

/** Outputs that wait for the answer to a command. More than the network may owe a client would end it anyway. */
const heldLimit = 1_000
/** A command that takes longer no longer holds back what other channels say. */
const holdMs = 1_000
const rejoinMs = 1_000
/** Messages of an inbox count as delivered when a ping that was sent after them is answered; looked at so often. */
const seenMs = 500
const joinTimeoutMs = 30_000

const isOfChannel = (output: Output | CrowdOutput): output is ChannelOutput =>
  output.type === 'output.messages' || output.type === 'output.crowd' || output.type === 'output.closed'

/** Whoever asks again will not find it either. */
const isGone = (error: unknown): boolean => isTroupeError(error, 'channel.unknown') || isTroupeError(error, 'channel.closed')

export class ClientFeed {
  readonly #scope: Scope
  readonly #life: SocketLife<Output>
  readonly #sink: Sink<Output>
  readonly #manners: Manners
  readonly #access: ClientAccess
  readonly #shownStatus: () => Status
  readonly #places = new Map<string, Place>()
  /** A command is being answered, */
  #isAnswering = false
  /** and everything else waits for it. */
  #isHolding = false
  #held: (() => void)[] = []
  #isDeaf = false
  #isSeenPlanned = false
  /** What counts as delivered when the client answers the ping. */
  #probe: { readonly address: Address; readonly cursor: string; readonly offset: Offset } | undefined
  /** What the network had taken before the last message of the inbox. */
  #takenBefore = 0

  constructor(
    scope: Scope,
    life: SocketLife<Output>,
    sink: Sink<Output>,
    manners: Manners,
    access: ClientAccess,
    shownStatus: () => Status,
  ) {
    this.#scope = scope
    this.#life = life
    this.#sink = sink
    this.#manners = manners
    this.#access = access
    this.#shownStatus = shownStatus
  }

  // ── channels ───────────────────────────────────────────────────────────────────────────────────────────────────

  /** Without the inbox. */
  get channels(): readonly string[] {
    return [...this.#places].filter(([, { isIn, isInbox }]) => isIn && !isInbox).map(([name]) => name)
  }

  get(name: string): Membership | undefined {
    const place = this.#places.get(name)
    return place?.isIn === true ? place : undefined
  }

  /** Those too that are being joined. */
  has(name: string): boolean {
    return this.#places.has(name)
  }

  /** Those too that are being joined. */
  *[Symbol.iterator](): IterableIterator<[string, Membership]> {
    yield* [...this.#places]
  }

  /**
   * Joins for a command, whose answer tells what was missed, if that was asked for. A member that asks for nothing stays where it
   * is: what the answer jumped over, nobody would deliver. Errors: those of the channel, `channel.not_joined` when it was left
   * before it answered.
   */
  async join(name: string, options: JoinOptions): Promise<Joined> {
    if (this.#life.isClosed) throw new TroupeError('actor.stopped', this.#scope.address)
    const known = this.#places.get(name)
    const place = known === undefined || known.isClosed ? this.#enter(name, known?.isInbox ?? false) : known
    const isExplicit = options.recover !== undefined || options.rewind !== undefined
    const join = this.#begin(name, place, true)
    const joined = await this.#ask(place, isExplicit ? options : this.#whereabouts(place)).catch((error) => {
      this.#goOn(name, place, join, () => this.#refused(name, place, error))
      throw error
    })
    if (this.#life.isClosed || this.#places.get(name) !== place) throw new TroupeError('channel.not_joined', name)
    // Joined twice at the same time, the later one counts.
    if (place.join === join) this.#arrived(name, place, join, joined, isExplicit)
    const { offset, messages } = joined
    return isExplicit ? joined : { ...joined, offset: offset - messages.length, isRecovered: undefined, messages: [] }
  }

  /** Hears the inbox of its user, from where its readers are. */
  follow(name: string): void {
    if (!this.#life.isClosed) this.#catchUp(name, this.#places.get(name) ?? this.#enter(name, true))
  }

  leave(name: string): void {
    const place = this.#places.get(name)
    if (place === undefined) return
    this.#forget(name, place)
    // One that is gone would be made anew by it.
    if (!place.isClosed) this.#scope.tell(place.address, { type: 'channel.leave' })
  }

  channelStopped(address: Address): void {
    for (const [name, place] of this.#places) {
      if (place.address !== address) continue
      if (place.join === undefined) this.rejoin(name)
      else place.join.isOutdated = true
    }
  }

  /** The channel failed, or something was missed: join again from where the client is. */
  rejoin(name: string): void {
    const place = this.#places.get(name)
    if (this.#isDeaf || place === undefined || place.isClosed || (place.join !== undefined && !place.join.isPaused)) return
    this.#catchUp(name, place)
  }

  // ── joining ────────────────────────────────────────────────────────────────────────────────────────────────────

  #enter(name: string, isInbox: boolean): Place {
    const address = this.#access.addressOf(name)
    const place = { address, isInbox, isIn: false, epoch: '', offset: 0, join: undefined, isClosed: false }
    this.#places.set(name, place)
    return place
  }

  #forget(name: string, { address }: Place): void {
    this.#scope.unwatch(address)
    this.#scope.cancel(`rejoin:${name}`)
    this.#places.delete(name)
  }

  /** From now on the answer to an earlier question does not count. */
  #begin(name: string, place: Place, isOfCommand: boolean): Join {
    const join = { isOfCommand, missed: undefined, isAnswered: false, isOutdated: false, isPaused: false }
    place.join = join
    this.#scope.cancel(`rejoin:${name}`)
    // Not only when it has answered: a channel that stops right after its answer would not be missed.
    this.#scope.watch(place.address)
    return join
  }

  /** Unless the client has left meanwhile, or asked again. */
  #goOn(name: string, place: Place, join: Join, run: () => void): void {
    if (this.#places.get(name) === place && place.join === join) this.#life.guarded('channel.unavailable', run)
  }

  #ask({ address, isInbox }: Place, options: JoinOptions & { readonly cursor?: string }): Promise<Joined> {
    const request: ChannelRequest = {
      type: 'channel.join',
      user: this.#access.account.user,
      status: this.#shownStatus(),
      isPresent: this.#manners.hasPresence && !isInbox,
      ...options,
    }
    return this.#scope.ask(address, request, { timeoutMs: joinTimeoutMs }) as Promise<Joined> // what a channel answers
  }

  #whereabouts({ isIn, isInbox, epoch, offset }: Place): JoinOptions & { readonly cursor?: string } {
    if (isIn) return { recover: { epoch, offset } }
    return isInbox ? { cursor: this.#access.account.user } : {}
  }

  #catchUp(name: string, place: Place): void {
    const isRetry = place.join !== undefined
    const join = this.#begin(name, place, false)
    this.#ask(place, this.#whereabouts(place)).then(
      (joined) => this.#goOn(name, place, join, () => this.#arrived(name, place, join, joined, false)),
      (error) =>
        this.#goOn(name, place, join, () => {
          if (!isRetry)
            this.#scope.log.warn({ client: this.#scope.address, channel: name, error: String(error) }, 'a channel could not be joined')
          this.#paused(name, place, join, error)
        }),
    )
  }

  /** `isTold`: the answer to a command tells what was missed. */
  #arrived(channel: string, place: Place, join: Join, { isRecovered, epoch, offset, messages }: Joined, isTold: boolean): void {
    place.isIn = true
    place.epoch = epoch
    place.offset = isTold ? offset : offset - messages.length
    if (!isTold && isRecovered === false) join.missed = { type: 'output.gap', channel, epoch, offset, at: this.#scope.now() }
    else if (!isTold && messages.length > 0) join.missed = { type: 'output.messages', channel, messages }
    join.isAnswered = true
    if (this.#isWaiting(join)) return
    this.#tellMissed(channel, place, join)
    this.#flush()
  }

  #isWaiting({ isOfCommand }: Join): boolean {
    return this.#isHolding || (isOfCommand && this.#isAnswering)
  }

  #tellMissed(name: string, place: Place, { missed, isOutdated }: Join): void {
    place.join = undefined
    if (missed?.type === 'output.messages') this.#deliverMessages(missed, place)
    else if (missed !== undefined) this.#life.send(missed)
    if (isOutdated) this.rejoin(name)
  }

  /** A command could not join. Who was in the channel before is to stay in it. */
  #refused(name: string, place: Place, error: unknown): void {
    place.join = undefined
    if (place.isIn || place.isInbox) this.rejoin(name)
    // A question that was not answered in time may still be handled, and the channel would have a member that knows nothing of it.
    else if (isTroupeError(error, 'actor.ask_timeout')) this.leave(name)
    else this.#forget(name, place)
  }

  #paused(name: string, place: Place, join: Join, error: unknown): void {
    if (isGone(error) && !place.isInbox) {
      this.#forget(name, place)
      return this.hand({ type: 'output.closed', channel: name, isRoom: false, reason: 'deleted', at: this.#scope.now() })
    }
    join.isPaused = true
    this.#scope.after(`rejoin:${name}`, rejoinMs, { type: 'client.rejoin', channel: name })
  }

  // ── messages ───────────────────────────────────────────────────────────────────────────────────────────────────

  /** `from`: a name may stand for another channel than it did, in another tenant. */
  push(output: Output | CrowdOutput, from: Address | undefined): void {
    if (this.#life.isClosed || this.#isDeaf) return
    if (!isOfChannel(output)) return this.#isHolding ? this.#hold(() => this.#life.send(output)) : this.#life.send(output)
    const place = this.#places.get(output.channel)
    if (place === undefined || place.address !== from) return this.#stray(output, from)
    // Not only when it is told: until then the end of the channel would be taken for a failure, and joining makes a new one.
    if (output.type === 'output.closed') place.isClosed = true
    this.#proceed(output, place)
  }

  #proceed(output: ChannelOutput, place: Place): void {
    if (this.#places.get(output.channel) !== place) return
    const isWaiting = this.#isHolding || (place.join !== undefined && output.type !== 'output.closed')
    if (isWaiting) this.#hold(() => this.#proceed(output, place))
    else this.#deliver(output, place)
  }

  #hold(proceed: () => void): void {
    if (this.#held.length >= heldLimit) this.#life.close('connection.slow', 'while a command was answered')
    else this.#held.push(proceed)
  }

  /** The channel takes the client for a member, for what it was told did not arrive. */
  #stray({ type }: ChannelOutput, from: Address | undefined): void {
    if (type === 'output.messages' && from !== undefined) this.#scope.tell(from, { type: 'channel.leave' })
  }

  #deliver(output: ChannelOutput, place: Place): void {
    if (output.type === 'output.messages') return this.#deliverMessages(output, place)
    if (output.type === 'output.closed') return this.#deliverClosed(output, place)
    if (!this.#manners.hasPresence) return
    for (const change of output.changes) if (change.client !== this.#access.party.client) this.#life.send(change)
  }

  #deliverMessages(output: MessagesOutput, place: Place): void {
    const { channel, messages } = output
    const [first] = messages
    if (first === undefined) return
    // What is missing comes with the answer. Another life of the channel may have begun while this one was held.
    const isOther = place.epoch !== '' && first.epoch !== place.epoch
    if (isOther || first.offset > place.offset + 1) return this.rejoin(channel)
    if (first.offset <= place.offset) return this.#deliverNewer(output, place)
    place.epoch = first.epoch
    place.offset += messages.length
    if (place.isInbox) this.#markUnseen()
    if (this.#manners.echo === 'never') this.#sendToOthers(output)
    else this.#life.send(output)
  }

  /** Overlaps with what the client has. */
  #deliverNewer({ type, channel, messages }: MessagesOutput, place: Place): void {
    const newer = messages.filter((message) => message.offset > place.offset)
    if (newer.length > 0) this.#deliverMessages({ type, channel, messages: newer }, place)
  }

  #sendToOthers(output: MessagesOutput): void {
    const { client } = this.#access.party
    const own = (message: ChannelMessage) => message.client === client
    if (!output.messages.some(own)) return this.#life.send(output)
    const messages = output.messages.filter((message) => !own(message))
    if (messages.length > 0) this.#life.send({ ...output, messages })
  }

  #deliverClosed(output: ClosedOutput, place: Place): void {
    this.#forget(output.channel, place)
    this.#life.send(output)
    if (place.isInbox) this.follow(output.channel) // an inbox is always there
  }

  // ── answers ────────────────────────────────────────────────────────────────────────────────────────────────────

  /** An answer to something other than a command: it may not overtake that of a command. */
  hand(output: Output): void {
    if (this.#isHolding) this.#held.push(() => this.#life.send(output))
    else this.#life.send(output)
  }

  /** Its own message, for a client that is not in the channel; who comes into it meanwhile would take it for one that comes twice. */
  echo(message: ChannelMessage): void {
    const { channel } = message
    const tell = () => {
      if (!this.has(channel)) this.#life.send({ type: 'output.messages', channel, messages: [message] })
    }
    if (this.#isHolding) this.#held.push(tell)
    else tell()
  }

  /** A command is about to be answered: nothing may come between. */
  hold(): void {
    this.#isAnswering = true
    this.#isHolding = true
    this.#scope.after('release', holdMs, { type: 'client.release' })
  }

  /** The command is answered. */
  answered(): void {
    this.#isAnswering = false
    this.#scope.cancel('release')
    this.release()
  }

  /** The command is answered, or takes too long: what waited goes out, but for channels that are still being joined. */
  release(): void {
    this.#isHolding = false
    for (const [name, place] of this.#places) {
      const { join } = place
      if (join?.isAnswered === true && !this.#isWaiting(join)) this.#tellMissed(name, place, join)
    }
    this.#flush()
  }

  #flush(): void {
    if (this.#isHolding) return
    const held = this.#held
    this.#held = []
    for (const proceed of held) proceed()
  }

  /** There is nobody any more who could hear; from now on nothing counts as delivered. */
  deafen(): void {
    this.#isDeaf = true
  }

  // ── the inbox ──────────────────────────────────────────────────────────────────────────────────────────────────

  /** The inbox has something that is not known to be delivered. */
  #markUnseen(): void {
    this.#takenBefore = this.#sink.sentBytes
    this.#planSeen()
  }

  #planSeen(): void {
    if (this.#isSeenPlanned) return
    this.#isSeenPlanned = true
    this.#scope.after('seen', seenMs, { type: 'client.seen' })
  }

  /** What the network has not taken yet was not delivered; a socket that is closing takes nothing, and has nothing queued. */
  seen(): void {
    this.#isSeenPlanned = false
    const inbox = [...this.#places.values()].find(({ isInbox }) => isInbox)
    if (this.#isDeaf || inbox === undefined) return
    const isTaken = this.#sink.queuedWrites === 0 && this.#sink.sentBytes !== this.#takenBefore
    // The answer to a ping from before would say nothing about it.
    if (!isTaken || this.#life.isPinging) return this.#planSeen()
    this.#probe = { address: inbox.address, cursor: this.#access.account.user, offset: inbox.offset }
    this.#life.ping()
  }

  /** The kernel takes what a dead network never delivers; whoever answers a ping has read what came before it. */
  ponged(): void {
    if (this.#probe === undefined) return
    const { address, cursor, offset } = this.#probe
    this.#probe = undefined
    this.#scope.tell(address, { type: 'channel.seen', cursor, offset })
  }
}
