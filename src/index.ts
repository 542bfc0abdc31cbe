/**
 * The library: what programs may import from `troupe`.
 */
import { scopedId } from '../actors/account.ts'
import type { Page, Published, Range } from '../actors/channelMessages.ts'
import type { Journals } from '../actors/journal.ts'
import type { Json, JsonObject } from '../actors/output.ts'
import type { Revocation, RevocationRequest } from '../actors/revocations.ts'
import type { Address } from '../actors/system/address.ts'
import type { DeadLetter } from '../actors/system/deadLetters.ts'
import type { ActorDefinition, Message } from '../actors/system/definition.ts'
import type { AskOptions } from '../actors/system/scope.ts'
import type { ActorInfo, Health } from '../actors/system/system.ts'
import type { Stopped } from '../actors/system/watch.ts'
import type { World } from '../actors/world.ts'
import { type ConfigInput, completeConfig } from './config.ts'
import type { DocumentHandle } from './documents/handle.ts'
import type { Rechecked, RecheckRequest } from './documents/recheck.ts'
import type { PluginSource } from './extend/plugins.ts'
import { type ListenerInfo, TroupeServer } from './server.ts'
import { openLog } from './telemetry/log.ts'

export type { Account, Authenticate, Credentials, Decision, DocumentAccess, Resource } from '../actors/account.ts'
export type { Page, Published, Range } from '../actors/channelMessages.ts'
export type { Command, PublishOptions, Schema, Session } from '../actors/command.ts'
export type { DocumentDescription } from '../actors/documentMessages.ts'
export { type ErrorCode, errorTable, isTroupeError, TroupeError } from '../actors/errors.ts'
export type { DocumentChange, DocumentCheck, HookClient, Hooks } from '../actors/hooks.ts'
export type * from '../actors/journal.ts'
export type { ChannelMessage, Json, JsonObject } from '../actors/output.ts'
export type { Address } from '../actors/system/address.ts'
export type { DeadLetter } from '../actors/system/deadLetters.ts'
export {
  type ActorDefinition,
  defineActor,
  type EventSourcing,
  type Handlers,
  type LogicDefinition,
  type Message,
  type PassivationOptions,
  type Resume,
  type TableDefinition,
  type WriteAhead,
} from '../actors/system/definition.ts'
export { type AskOptions, currentScope, reply, type Scope, type TimerOptions, tell } from '../actors/system/scope.ts'
export type { ActorInfo, Health } from '../actors/system/system.ts'
export type { Stopped, StopReason } from '../actors/system/watch.ts'
export type * from '../actors/world.ts'
export type { Operation } from '../crdt/operations.ts'
export type { AuthProvider } from './auth/provider.ts'
export type { Config, ConfigInput } from './config.ts'
export type { AgentSession } from './documents/agent.ts'
export type { Made as ChangeMade } from './documents/edits.ts'
export type { ChangedBy, ConnectOptions, DocumentHandle, InitialContent, Participant } from './documents/handle.ts'
export type { Rechecked, RecheckRequest } from './documents/recheck.ts'
export { defineCommand } from './extend/commands.ts'
export { defineMessageType, type MessageType } from './extend/messageTypes.ts'
export { definePlugin, type Plugin, type PluginContext, type PluginSource } from './extend/plugins.ts'
export type { ListenerInfo } from './server.ts'
export * as journalRules from './storage/admission.ts'
export { type JournalsOpener, type OpenJournals, registerJournals } from './storage/registry.ts'
export { StatusBoard } from './storage/statusBoard.ts'
export { name, version } from './version.ts'

export interface TroupeOptions extends Omit<ConfigInput, 'plugins'> {
  /** Commands, hooks, message types, actors, logins and backends of your own: plugins, functions that make one, paths of modules. */
  readonly plugins?: readonly PluginSource[]
  /** Kinds of your own. */
  readonly actors?: readonly ActorDefinition[]
  /** False: no port is opened, only actors and journals. Default true. */
  readonly isListening?: boolean
  /** Instead of the configured backend. Closed by `close()`. */
  readonly journals?: Journals
  /** Instead of the machine's clock, event loop and chance. */
  readonly world?: World
}

export interface ServerPublishOptions {
  readonly id?: string
  /** Default `server`. */
  readonly sender?: string
  readonly metadata?: JsonObject
  /** Default: the one without a name. */
  readonly tenant?: string
}

export interface Troupe {
  /**
   * Puts a message into the mailbox of an actor, activating it if need be. False when it was refused; it then lies in the
   * dead letters with the reason.
   */
  tell<M extends Message>(address: Address, message: M): boolean
  /**
   * Sends a message and waits for the answer; of a durable actor, until what the answer is based on is on disk.
   * Errors: `actor.failed`, `actor.unhandled`, `actor.ask_timeout`, `actor.mailbox_full`, `actor.stopped`,
   * `actor.unknown_kind`, `actor.bad_address`, `system.closed`, `storage.full`, `storage.failed`.
   */
  ask<Answer = unknown, M extends Message = Message>(address: Address, message: M, options?: AskOptions): Promise<Answer>
  /** Calls back when the actor stops for good. Returns a function that ends the watch. */
  watch(address: Address, stopped: (stopped: Stopped) => void): () => void
  /** Brings an actor to life with an input. No effect on one that lives. */
  begin(address: Address, input?: unknown): void
  /** Stops an actor and its children. */
  stop(address: Address): void
  /** Lets an actor that failed too often receive messages again. */
  restart(address: Address): boolean
  /** The actors in memory. */
  actors(prefix?: string, limit?: number): ActorInfo[]
  /** The state of an actor in memory; undefined when it is not there. */
  inspect(address: Address): unknown
  /** Messages that could not be handled, oldest first. */
  deadLetters(): DeadLetter[]
  /** Sends a dead letter again. False when there is none of this id, or it was refused again. */
  replay(id: number): boolean
  health(): Health
  /**
   * Publishes in the name of the server: no permission is asked for and no hook is called. On disk when it resolves; a second
   * one with the same `id` and `sender` gives the first. Errors: `actor.bad_address` for what is no name, `channel.unknown` where
   * channels are not made by publishing, `message.malformed`, `message.id_reused`, `channel.unavailable`, those of the disk.
   */
  publish(channel: string, body: Json, options?: ServerPublishOptions): Promise<Published>
  /**
   * Messages of a channel, oldest first; without a range the last 50. Errors: `actor.bad_address`, `channel.unknown`,
   * `channel.unavailable`, those of the disk.
   */
  history(channel: string, range?: Range & { readonly tenant?: string }): Promise<Page>
  /** A document, to read, change and take part in. Errors: `connection.bad_name`. */
  document(name: string, options?: { readonly tenant?: string }): DocumentHandle
  /**
   * From now on the account or token is refused, and its connections are closed; on disk when it resolves.
   * Errors: `command.bad_parameters`, `auth.too_many_revocations`, those of the disk.
   */
  revoke(request: RevocationRequest): Promise<Revocation>
  /**
   * What may have changed in the application's own database: for each client that has a document open and matches, the access is
   * computed again (permissions, `refresh` of the account provider, hook `onDocumentAccess`) and applied in place. Resolves when that
   * is done, with the number of connections by what became of them.
   */
  recheck(request?: RecheckRequest): Promise<Rechecked>
  readonly journals: Journals
  /** Where the server listens. */
  readonly listeners: readonly ListenerInfo[]
  /** Takes no more, stores what it has, ends. Resolves when all is on disk. */
  close(): Promise<void>
}

const channelAddress = (tenant: string, channel: string): Address => `channel/${scopedId(tenant, channel)}`

/**
 * Starts a Troupe in this process: actors, journals and, unless told otherwise, the server.
 *
 * Errors: `config.invalid`, `actor.bad_definition`, `storage.locked`, `storage.corrupt`, `storage.newer_format`,
 * `storage.read_only`, and those of listening on a port.
 *
 * @example
 * const troupe = await createTroupe({ actors: [counter], isListening: false })
 * await troupe.ask('counter/visits', { type: 'add', by: 1 })
 * await troupe.close()
 */
export const createTroupe = async (options: TroupeOptions = {}): Promise<Troupe> => {
  const { actors = [], plugins = [], isListening = true, journals, world, ...given } = options
  const config = completeConfig(given)
  const server = await TroupeServer.start({
    config,
    log: openLog(config.log),
    actors,
    plugins,
    isListening,
    ...(journals === undefined ? {} : { journals }),
    ...(world === undefined ? {} : { world }),
  })
  const { system } = server
  return {
    tell: (address, message) => system.tell(address, message),
    ask: <Answer>(address: Address, message: Message, ask?: AskOptions) => system.ask(address, message, ask) as Promise<Answer>, // the caller knows its actor
    watch: (address, stopped) => system.watch(address, stopped),
    begin: (address, input) => system.begin(address, input),
    stop: (address) => system.stop(address),
    restart: (address) => system.restart(address),
    actors: (prefix, limit) => system.actors(prefix, limit),
    inspect: (address) => system.inspect(address),
    deadLetters: () => system.deadLetters(),
    replay: (id) => system.replay(id),
    health: () => system.health(),
    publish: (channel, body, { sender = 'server', tenant = '', ...rest } = {}) => {
      const draft = { body, user: sender, sender, client: '', kind: 'message', ...rest }
      return system.ask(channelAddress(tenant, channel), { type: 'channel.publish', draft }) as Promise<Published> // what a channel answers
    },
    history: (channel, { tenant = '', ...range } = {}) =>
      system.ask(channelAddress(tenant, channel), { type: 'channel.history', range }) as Promise<Page>, // what a channel answers
    document: (name, { tenant = '' } = {}) => server.document(name, tenant),
    revoke: (request) => server.revoke(request),
    recheck: (request = {}) => server.recheck(request),
    journals: server.journals,
    listeners: server.listeners,
    close: () => server.close(),
  }
}
