/**
 * Commands: what a client can ask for by name. The built-in ones and those of users are defined in the same way and stand in
 * one table; every door maps its own messages onto them.
 */
import type { Account, Credentials, Decision, Resource } from './account.ts'
import type { ChannelState, DirectoryPage, Joined, Page, Published, Range } from './channelMessages.ts'
import type { ChannelInfo, Json, JsonObject, Member, Position, Status } from './output.ts'
import type { Address } from './system/address.ts'
import type { Message } from './system/message.ts'
import type { AskOptions } from './system/scope.ts'
import type { EpochMs, Log } from './world.ts'

/** A validator of the Standard Schema (standardschema.dev, version 1); zod, valibot and arktype make them. */
export interface Schema<Value> {
  readonly '~standard': {
    readonly version: 1
    readonly vendor: string
    readonly validate: (value: unknown) => Validation<Value> | Promise<Validation<Value>>
    readonly types?: { readonly input: unknown; readonly output: Value } | undefined
  }
}
export type Validation<Value> =
  | { readonly value: Value; readonly issues?: undefined }
  | { readonly issues: readonly { readonly message: string; readonly path?: readonly unknown[] | undefined }[] }

export interface Command<Params = never> {
  /** `[a-z][a-z0-9_.-]*` */
  readonly name: string
  /** One line for `help`. */
  readonly help: string
  readonly params: Schema<Params>
  /** False: also for clients that have not logged in although they must. Default true. */
  readonly needsAccount?: boolean
  /**
   * What it returns, or what its promise brings, is the answer; it must be a JSON value (undefined: null). Throw a
   * TroupeError to refuse; `new TroupeError('command.failed', text)` shows the text to the client.
   * Runs in the actor of the client: one command of a client at a time, in the order in which they came.
   */
  run(params: Params, session: Session): unknown
}

export interface JoinOptions {
  readonly recover?: Position
  readonly rewind?: { readonly count: number } | { readonly since: EpochMs }
}

export interface PublishOptions {
  readonly channel: string
  readonly body: Json
  readonly id?: string
  readonly sender?: string
  readonly metadata?: JsonObject
  readonly room?: string
  readonly kind?: string
}

/**
 * The client that a command runs for, and everything it may do. Every method checks what the account may do and rejects with
 * `access.denied`, or with the error of whom it asks.
 */
export interface Session {
  /** Id of the connection. */
  readonly client: string
  readonly account: Account
  readonly status: Status
  readonly log: Log
  now(): EpochMs
  /** Names of the channels that it is in. */
  readonly channels: readonly string[]
  /** Errors: those of the authenticator. From then on the client is that account; it leaves what that one may not read. */
  authenticate(credentials: Credentials): Promise<Account>
  /** For clients that did not log in: the name that they want to go by. Errors: `access.denied` for others. */
  rename(user: string): Promise<void>
  setStatus(status: Status): Promise<void>
  join(channel: string, options?: JoinOptions): Promise<Joined>
  /** False when it was not there. */
  leave(channel: string): Promise<boolean>
  publish(message: PublishOptions): Promise<Published>
  history(channel: string, range: Range): Promise<Page>
  members(channel: string): Promise<readonly Member[]>
  create(
    channel: string,
    options: { readonly description?: string; readonly isRoom?: boolean; readonly ttlMs?: number },
  ): Promise<ChannelInfo>
  delete(channel: string): Promise<void>
  describe(channel: string): Promise<ChannelState>
  list(options: {
    readonly prefix?: string
    readonly after?: string
    readonly limit?: number
    readonly isRoom?: boolean
  }): Promise<DirectoryPage>
  /** Undefined: no more events. Errors: `access.denied`. */
  watch(events: readonly string[] | undefined): void
  may(resource: Resource, name: string, action: string): Decision
  tell<M extends Message>(address: Address, message: M): boolean
  ask<M extends Message>(address: Address, message: M, options?: AskOptions): Promise<unknown>
}
