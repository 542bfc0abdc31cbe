/**
 * What a client of the bus hears: the channels that it is in, and what they say, in order and without holes.
 *
 *   push ──→ held? ──→ gap? ──→ own message? ──→ socket
 *
 * While a command is answered everything else waits, and while a channel is joined what is new there waits for what was missed.
 * Not an actor: a part of one, with its scope.
 */
import { type ChannelRequest, inboxOf, type Joined } from './channelMessages.ts'
import type { JoinOptions } from './command.ts'
import type { ChannelMessage, ClosedOutput, MessagesOutput, Output, PresenceOutput, Status } from './output.ts'
import type { Manners } from './request.ts'
import type { Sink, SocketLife } from './socketLife.ts'
import type { Address } from './system/address.ts'
import type { Scope } from './system/scope.ts'

export interface Subscription {
  readonly address: Address
  epoch: string
  /** Of the last message that the client has. */
  offset: number
  readonly isInbox: boolean
}

export interface SubscribeOptions extends JoinOptions {
  readonly isInbox: boolean
  readonly cursor?: string
}

/** What a feed has to know of its client when it joins a channel. */
export interface Listener {
  readonly client: string
  readonly user: string
  readonly shownStatus: Status
  addressOf(channel: string): Address
}

/** Outputs that wait for the answer to a command. More than the network may owe a client would end it anyway. */
const heldLimit = 1_000
/** A command that takes longer no longer holds back what other channels say. */
const holdMs = 1_000
const rejoinMs = 1_000
/** Messages of an inbox count as delivered when the network has taken them, looked at so often. */
const seenMs = 500
const joinTimeoutMs = 30_000

export class ClientFeed {
  readonly #scope: Scope
  readonly #life: SocketLife<Output>
  readonly #sink: Sink<Output>
  readonly #manners: Manners
  readonly #listener: Listener
  readonly #subscriptions = new Map<string, Subscription>()
  /** A command is being answered; outputs wait. */
  #isAnswering = false
  /** Channels of which the client has not yet heard what it missed. */
  readonly #joining = new Set<string>()
  /** Those of them that wait for the answer to the present command. */
  #joined: string[] = []
  #held: (() => void)[] = []
  /** What was missed of channels, and came while a command was answered; goes out before anything that is new in them. */
  #late: (() => void)[] = []
  #isSeenPlanned = false
  #isDeaf = false

  constructor(scope: Scope, life: SocketLife<Output>, sink: Sink<Output>, manners: Manners, listener: Listener) {
    this.#scope = scope
    this.#life = life
    this.#sink = sink
    this.#manners = manners
    this.#listener = listener
  }

  // ── channels ───────────────────────────────────────────────────────────────────────────────────────────────────

  get channels(): readonly string[] {
    return [...this.#subscriptions].filter(([, { isInbox }]) => !isInbox).map(([name]) => name)
  }

  /** Joins a channel. What is new there waits until `caughtUp`, or until the present command is answered. */
  async subscribe(name: string, options: SubscribeOptions): Promise<Joined> {
    const { isInbox, ...rest } = options
    const address = this.#listener.addressOf(name)
    const isPresent = this.#manners.hasPresence && !isInbox
    this.#joining.add(name)
    try {
      const request: ChannelRequest = {
        type: 'channel.join',
        user: this.#listener.user,
        status: this.#listener.shownStatus,
        isPresent,
        ...rest,
      }
      const joined = (await this.#scope.ask(address, request, { timeoutMs: joinTimeoutMs })) as Joined // what a channel answers
      this.#scope.watch(address)
      this.#subscriptions.set(name, { address, epoch: joined.epoch, offset: joined.offset, isInbox })
      return joined
    } catch (error) {
      this.#joining.delete(name)
      throw error
    }
  }

  /** Hears no more of a channel; the address of the channel, if it was in it. */
  forget(name: string): Subscription | undefined {
    const subscription = this.#subscriptions.get(name)
    if (subscription === undefined) return undefined
    this.#scope.unwatch(subscription.address)
    this.#subscriptions.delete(name)
    return subscription
  }

  get(name: string): Subscription | undefined {
    return this.#subscriptions.get(name)
  }

  *[Symbol.iterator](): IterableIterator<[string, Subscription]> {
    yield* [...this.#subscriptions]
  }

  /** The channel failed, or something was missed: join again from where the client is. */
  rejoin(name: string): void {
    const known = this.#subscriptions.get(name)
    if (known === undefined || this.#joining.has(name)) return
    const { epoch, offset, isInbox } = known
    this.subscribe(name, { isInbox, recover: { epoch, offset } }).then(
      (joined) => this.caughtUp(name, joined),
      (error) => {
        this.#scope.log.warn({ client: this.#scope.address, channel: name, error: String(error) }, 'a channel could not be joined again')
        if (!this.#life.isClosed) this.#scope.after(`rejoin:${name}`, rejoinMs, { type: 'client.rejoin', channel: name })
      },
    )
  }

  /** What was missed goes out, then what is new. */
  caughtUp(channel: string, joined: Joined): void {
    if (this.#life.isClosed) return
    if (this.#isAnswering) {
      this.#late.push(() => this.caughtUp(channel, joined))
      return
    }
    const { isRecovered, epoch, offset, messages } = joined
    if (isRecovered === false) this.#life.send({ type: 'output.gap', channel, isRecovered, epoch, offset, at: this.#scope.now() })
    else if (messages.length > 0) this.#life.send({ type: 'output.messages', channel, messages })
    this.#joining.delete(channel)
    this.#release()
  }

  channelStopped(address: Address): void {
    for (const [name, subscription] of this.#subscriptions) if (subscription.address === address) this.rejoin(name)
  }

  // ── messages ───────────────────────────────────────────────────────────────────────────────────────────────────

  push(output: Output): void {
    if (this.#life.isClosed || this.#isDeaf) return
    if (!this.#isHeld(output)) return this.#deliver(output)
    if (this.#held.length >= heldLimit) this.#life.close('connection.slow', 'while a command was answered')
    else this.#held.push(() => this.push(output))
  }

  #isHeld(output: Output): boolean {
    return this.#isAnswering || ('channel' in output && this.#joining.has(output.channel))
  }

  #deliver(output: Output): void {
    switch (output.type) {
      case 'output.messages':
        return this.#deliverMessages(output)
      case 'output.presence':
        return this.#deliverPresence(output)
      case 'output.closed':
        return this.#deliverClosed(output)
      default:
        this.#life.send(output)
    }
  }

  #deliverMessages(output: MessagesOutput): void {
    const { channel, messages } = output
    const subscription = this.#subscriptions.get(channel)
    const [first] = messages
    if (subscription === undefined || first === undefined) return
    if (first.offset !== subscription.offset + 1) {
      if (first.offset <= subscription.offset) return this.#deliverNewer(output, subscription)
      return this.rejoin(channel) // some are missing; they come with the answer
    }
    subscription.offset += messages.length
    subscription.epoch = first.epoch
    if (subscription.isInbox) this.markUnseen()
    if (this.#manners.echo !== 'never') return this.#life.send(output)
    this.#sendToOthers(output)
  }

  /** Overlaps with what the client has. */
  #deliverNewer({ type, channel, messages }: MessagesOutput, { offset }: Subscription): void {
    const newer = messages.filter((message) => message.offset > offset)
    if (newer.length > 0) this.#deliverMessages({ type, channel, messages: newer })
  }

  #sendToOthers(output: MessagesOutput): void {
    const own = (message: ChannelMessage) => message.client === this.#listener.client
    if (!output.messages.some(own)) return this.#life.send(output)
    const messages = output.messages.filter((message) => !own(message))
    if (messages.length > 0) this.#life.send({ ...output, messages })
  }

  #deliverPresence(output: PresenceOutput): void {
    if (this.#manners.hasPresence && output.client !== this.#listener.client && this.#subscriptions.has(output.channel))
      this.#life.send(output)
  }

  #deliverClosed(output: ClosedOutput): void {
    if (this.forget(output.channel) !== undefined) this.#life.send(output)
  }

  /** An answer to something other than a command: it may not overtake that of a command. */
  hand(output: Output): void {
    if (!this.#isAnswering) this.#life.send(output)
    else this.#held.push(() => this.#life.send(output))
  }

  /** A command is about to be answered: nothing may come between. */
  hold(): void {
    this.#isAnswering = true
    this.#scope.after('release', holdMs, { type: 'client.release' })
  }

  /** A channel that the present command joined. */
  joinedByCommand(name: string): void {
    this.#joined.push(name)
  }

  /** The command is answered. */
  answered(): void {
    for (const channel of this.#joined.splice(0)) this.#joining.delete(channel)
    this.#release()
  }

  /** The command is answered, or takes too long: what waited goes out, but for channels that are still being joined. */
  #release(): void {
    this.#isAnswering = false
    this.#scope.cancel('release')
    const waiting = [...this.#late, ...this.#held]
    this.#late = []
    this.#held = []
    for (const proceed of waiting) proceed()
  }

  releaseLate(): void {
    if (this.#isAnswering) this.#release()
  }

  /** There is nobody any more who could hear; from now on nothing counts as delivered. */
  deafen(): void {
    this.#isDeaf = true
  }

  /** The inbox has something that is not known to be delivered. */
  markUnseen(): void {
    if (this.#isSeenPlanned) return
    this.#isSeenPlanned = true
    this.#scope.after('seen', seenMs, { type: 'client.seen' })
  }

  /** What the network has not taken yet was not delivered. */
  seen(): void {
    this.#isSeenPlanned = false
    const { user } = this.#listener
    const subscription = this.#subscriptions.get(inboxOf(user))
    if (this.#isDeaf || subscription === undefined || subscription.offset === 0) return
    if (this.#sink.queuedBytes > 0 || this.#joining.has(inboxOf(user))) return this.markUnseen()
    this.#scope.tell(subscription.address, { type: 'channel.seen', cursor: user, offset: subscription.offset })
  }
}
