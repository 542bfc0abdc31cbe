/** What a command may do for a client that is connected. What needs no connection is `ClientAccess`, for HTTP too. */
import type { Account, Credentials, Decision, Resource } from './account.ts'
import {
  type ChannelState,
  type DirectoryPage,
  type Joined,
  type Page,
  type Published,
  type Range,
  telemetryChannel,
} from './channelMessages.ts'
import type { ClientIdentity, ClientParts } from './clientIdentity.ts'
import type { JoinOptions, PublishOptions, Session } from './command.ts'
import { TroupeError } from './errors.ts'
import type { Hooks } from './hooks.ts'
import type { ChannelInfo, Member, Status } from './output.ts'
import type { Address } from './system/address.ts'
import type { Message } from './system/message.ts'
import type { AskOptions } from './system/scope.ts'
import type { EpochMs, Log } from './world.ts'

export interface SessionOptions {
  readonly hooks: Hooks
  readonly channelsPerClient: number
}

export class ClientSession implements Session {
  readonly #parts: ClientParts
  readonly #identity: ClientIdentity
  readonly #options: SessionOptions

  constructor(parts: ClientParts, identity: ClientIdentity, options: SessionOptions) {
    this.#parts = parts
    this.#identity = identity
    this.#options = options
  }

  // ── the client ─────────────────────────────────────────────────────────────────────────────────────────────────

  get client(): string {
    return this.#parts.scope.id
  }

  get account(): Account {
    return this.#identity.account
  }

  get status(): Status {
    return this.#identity.status
  }

  get log(): Log {
    return this.#parts.scope.log
  }

  now(): EpochMs {
    return this.#parts.scope.now()
  }

  authenticate(credentials: Credentials): Promise<Account> {
    return this.#identity.authenticate(credentials)
  }

  async rename(user: string): Promise<void> {
    this.#identity.rename(user)
  }

  setStatus(status: Status): Promise<void> {
    return this.#identity.setStatus(status)
  }

  watch(events: readonly string[] | undefined): void {
    this.#identity.watch(events)
  }

  may(resource: Resource, name: string, action: string): Decision {
    return this.#parts.access.may(resource, name, action)
  }

  // ── channels ───────────────────────────────────────────────────────────────────────────────────────────────────

  get channels(): readonly string[] {
    const { channels } = this.#parts.feed
    return this.#identity.isWatching ? [...channels, telemetryChannel] : channels
  }

  async join(channel: string, options: JoinOptions = {}): Promise<Joined> {
    const { access, feed, emit } = this.#parts
    const { hooks, channelsPerClient } = this.#options
    if (channel === telemetryChannel) return this.#joinTelemetry()
    const name = access.admit(channel, 'read')
    if (!feed.has(name) && this.channels.length >= channelsPerClient)
      throw new TroupeError('channel.too_many', undefined, { rule: `bus.channelsPerClient ${channelsPerClient}` })
    await hooks.onJoin?.(access.party, name)
    const joined = await feed.join(name, options)
    emit('joined', { channel: name })
    return joined
  }

  /** A channel only by its name: nothing is kept, so there is nothing to come back to. */
  #joinTelemetry(): Joined {
    const isNew = !this.#identity.isWatching
    this.watch([])
    const info = { name: telemetryChannel, description: 'What happens on the server', createdAt: 0, createdBy: '', isRoom: false }
    return { info, epoch: '', offset: 0, isRecovered: undefined, messages: [], members: [], isNew, isAnnounced: false }
  }

  async leave(channel: string): Promise<boolean> {
    const { access, feed, emit, afterwards } = this.#parts
    if (channel === telemetryChannel) {
      const wasWatching = this.#identity.isWatching
      if (wasWatching) this.watch(undefined)
      return wasWatching
    }
    const name = channel.normalize('NFC')
    const membership = feed.get(name)
    if (membership === undefined || membership.isInbox) return false
    feed.leave(name)
    afterwards('onLeave', () => this.#options.hooks.onLeave?.(access.party, name))
    emit('left', { channel: name })
    return true
  }

  publish(message: PublishOptions): Promise<Published> {
    return this.#parts.access.publish(message)
  }

  history(channel: string, range: Range): Promise<Page> {
    return this.#parts.access.history(channel, range)
  }

  members(channel: string): Promise<readonly Member[]> {
    return this.#parts.access.members(channel)
  }

  describe(channel: string): Promise<ChannelState> {
    return this.#parts.access.describe(channel)
  }

  list(options: { prefix?: string; after?: string; limit?: number; isRoom?: boolean }): Promise<DirectoryPage> {
    return this.#parts.access.list(options)
  }

  async create(channel: string, options: { description?: string; isRoom?: boolean; ttlMs?: number }): Promise<ChannelInfo> {
    const made = await this.#parts.access.create(channel, options)
    this.#parts.emit('channel_created', { channel: made.name })
    return made
  }

  async delete(channel: string): Promise<void> {
    await this.#parts.access.delete(channel)
    this.#parts.emit('channel_deleted', { channel: channel.normalize('NFC'), reason: 'deleted' })
  }

  // ── actors ─────────────────────────────────────────────────────────────────────────────────────────────────────

  tell<M extends Message>(address: Address, message: M): boolean {
    return this.#parts.scope.tell(address, message)
  }

  ask<M extends Message>(address: Address, message: M, options?: AskOptions): Promise<unknown> {
    return this.#parts.scope.ask(address, message, options)
  }
}
