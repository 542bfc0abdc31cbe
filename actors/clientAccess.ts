/**
 * What an account may do with channels, without being connected: publish, read, create, delete. Checks the name, the
 * permission and the hooks, then asks the channel or the directory. A client actor and HTTP both go through here.
 */
import { type Account, type Decision, decide, hasInvisible, type Resource, scopedId } from './account.ts'
import {
  type ChannelRequest,
  type ChannelState,
  type DirectoryPage,
  type DirectoryRequest,
  type Draft,
  directoryAddress,
  inboxOwner,
  isReserved,
  type Page,
  type Published,
  type Range,
} from './channelMessages.ts'
import type { PublishOptions } from './command.ts'
import { type ErrorCode, isTroupeError, TroupeError } from './errors.ts'
import type { HookClient, Hooks } from './hooks.ts'
import type { ChannelInfo, Member, Refusal } from './output.ts'
import { type Address, idDefect } from './system/address.ts'

export interface AccessOptions {
  readonly hooks: Hooks
  /** The name in `sender` is that of a publisher that did not log in. */
  readonly trustsSender: boolean
  readonly ask: (address: Address, message: ChannelRequest | DirectoryRequest) => Promise<unknown>
  readonly roomTtlMs: number
  /** For those who may publish only where they are: whether they are there. */
  readonly isIn?: (channel: string) => boolean
}

/** Channels that are looked through for one that the account may read, where a page has none. */
const searchedChannels = 1_000

/** What the actor system says about an actor that cannot be reached is of no use to a client. */
const unreachable: ReadonlySet<ErrorCode> = new Set(['actor.ask_timeout', 'actor.mailbox_full', 'actor.stopped', 'actor.failed'])

export const refusalOf = (error: unknown): Refusal => {
  if (!isTroupeError(error)) return { code: 'command.failed', message: new TroupeError('command.failed').message }
  const { code, detail, rule, retryAfterMs } = error
  if (unreachable.has(code)) return { code: 'channel.unavailable', message: new TroupeError('channel.unavailable').message }
  const isOwnText = (code === 'command.failed' || code === 'hook.rejected') && detail !== ''
  return {
    code,
    message: isOwnText ? detail : error.message,
    ...(rule === undefined ? {} : { rule }),
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  }
}

/** A message that passed every check. */
export interface Prepared {
  readonly channel: string
  readonly draft: Draft
}

export class ClientAccess {
  /** Who acts; changes when the client logs in. */
  party: HookClient
  readonly #options: AccessOptions

  constructor(party: HookClient, options: AccessOptions) {
    this.party = party
    this.#options = options
  }

  get account(): Account {
    return this.party.account
  }

  may(resource: Resource, name: string, action: string): Decision {
    return decide(this.account, resource, name, action)
  }

  demand(resource: Resource, name: string, action: string): void {
    const { isAllowed, rule } = this.may(resource, name, action)
    if (!isAllowed) throw new TroupeError('access.denied', rule, { rule })
  }

  /** Throws `channel.bad_name`, `access.denied`. Returns the normalised name. */
  admit(channel: string, action: 'read' | 'write' | 'create' | 'delete'): string {
    const name = this.#name(channel)
    if (action !== 'write' && !this.#owns(name))
      throw new TroupeError('access.denied', `private messages to ${inboxOwner(name)}`, { rule: 'only the user reads an inbox' })
    this.demand('channel', name, action)
    return name
  }

  /** For whoever is in a channel, and has become somebody else. */
  mayStayIn(name: string): boolean {
    return this.#owns(name) && this.may('channel', name, 'read').isAllowed
  }

  #owns(name: string): boolean {
    const owner = inboxOwner(name)
    return owner === undefined || owner === this.account.user
  }

  #name(channel: string): string {
    const name = channel.normalize('NFC')
    const defect = name.startsWith('~') || isReserved(name) ? 'it begins with ~ or $' : idDefect(this.#id(name))
    if (defect !== undefined || hasInvisible(name)) throw new TroupeError('channel.bad_name', defect ?? 'it has invisible characters')
    return name
  }

  #id(name: string): string {
    return scopedId(this.account.tenant, name)
  }

  addressOf(name: string): Address {
    return `channel/${this.#id(name)}`
  }

  /** A message that may be published; a promise only where a hook brings one. */
  prepare(given: PublishOptions): Prepared | Promise<Prepared> {
    const first = this.#check(given)
    const changed = this.#options.hooks.onPublish?.(this.party, first)
    if (!(changed instanceof Promise)) return this.#draft(changed === undefined ? first : this.#check(changed))
    return changed.then((message) => this.#draft(message === undefined ? first : this.#check(message)))
  }

  #check(message: PublishOptions): PublishOptions {
    const channel = this.admit(message.channel, 'write')
    if (this.#options.isIn?.(channel) === false) throw new TroupeError('channel.not_joined')
    return { ...message, channel }
  }

  #draft(message: PublishOptions): Prepared {
    const { channel, body, id, metadata, room, kind = 'message' } = message
    const { user } = this.account
    const sender = this.#sender(message.sender)
    const { client } = this.party
    const optional = {
      ...(id === undefined ? {} : { id }),
      ...(metadata === undefined ? {} : { metadata }),
      ...(room === undefined ? {} : { room }),
    }
    return { channel, draft: { body, user, sender, client, kind, ...optional } }
  }

  #sender(claimed: string | undefined): string {
    const { account } = this
    if (claimed === undefined || claimed === account.user) return account.user
    if (account.isAnonymous && !this.#options.trustsSender) return account.user
    this.demand('sender', claimed, 'speak')
    return claimed
  }

  async publish(message: PublishOptions): Promise<Published> {
    return this.send(await this.prepare(message))
  }

  send({ channel, draft }: Prepared): Promise<Published> {
    return this.#ask<Published>(this.addressOf(channel), { type: 'channel.publish', draft })
  }

  async history(channel: string, range: Range): Promise<Page> {
    return this.#asExisting<Page>(channel, { type: 'channel.history', range })
  }

  async members(channel: string): Promise<readonly Member[]> {
    return this.#asExisting<readonly Member[]>(channel, { type: 'channel.members' })
  }

  async describe(channel: string): Promise<ChannelState> {
    return this.#asExisting<ChannelState>(channel, { type: 'channel.info' })
  }

  /** Asking about a channel must not make one. */
  async #asExisting<Answer>(channel: string, message: ChannelRequest): Promise<Answer> {
    const name = this.admit(channel, 'read')
    if (inboxOwner(name) === undefined) await this.#askDirectory({ type: 'directory.info', name })
    return this.#ask<Answer>(this.addressOf(name), message)
  }

  async create(
    channel: string,
    { description = '', isRoom = false, ttlMs }: { readonly description?: string; readonly isRoom?: boolean; readonly ttlMs?: number },
  ): Promise<ChannelInfo> {
    const name = this.admit(channel, 'create')
    const ttl = isRoom ? { ttlMs: ttlMs ?? this.#options.roomTtlMs } : {}
    const made = { type: 'directory.create' as const, name, description, by: this.account.user, isRoom, ...ttl }
    return this.#askDirectory<ChannelInfo>(made)
  }

  async delete(channel: string): Promise<void> {
    const name = this.admit(channel, 'delete')
    await this.#askDirectory({ type: 'directory.delete', name })
  }

  /** Only what the account may read. A page without any would have no name from which to ask on, so the next one is looked at, too. */
  async list(options: { prefix?: string; after?: string; limit?: number; isRoom?: boolean }): Promise<DirectoryPage> {
    let page = await this.#askDirectory<DirectoryPage>({ type: 'directory.list', ...options })
    for (;;) {
      const channels = page.channels.filter(({ name }) => this.may('channel', name, 'read').isAllowed)
      const most = options.limit ?? channels.length
      const after = page.channels.at(-1)?.name
      if (channels.length > 0 || !page.hasMore || after === undefined)
        return { channels: channels.slice(0, most), hasMore: page.hasMore || channels.length > most }
      page = await this.#askDirectory<DirectoryPage>({ type: 'directory.list', ...options, after, limit: searchedChannels })
    }
  }

  #askDirectory<Answer>(request: DirectoryRequest): Promise<Answer> {
    return this.#ask<Answer>(directoryAddress(this.account.tenant), request)
  }

  /** The answer is that of the actor that is asked. */
  #ask<Answer>(address: Address, message: ChannelRequest | DirectoryRequest): Promise<Answer> {
    return this.#options.ask(address, message) as Promise<Answer>
  }
}
