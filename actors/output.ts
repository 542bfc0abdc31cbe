/**
 * What a client of the bus is told, whatever its protocol. Doors spell it; one output goes to many clients and is encoded
 * once for each door, so it is immutable from the moment it is sent.
 */
import type { Account } from './account.ts'
import type { ErrorCode } from './errors.ts'
import type { Offset } from './journal.ts'
import type { EpochMs } from './world.ts'

/** A JSON value. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json }
export type JsonObject = { readonly [key: string]: Json }

export const statuses = ['online', 'away', 'busy', 'offline'] as const
export type Status = (typeof statuses)[number]

/** Where somebody is in a channel: everything up to and including `offset` is known. */
export interface Position {
  readonly epoch: string
  readonly offset: Offset
}

/** One message of a channel, as it lies in the journal. */
export interface ChannelMessage {
  /** As its tenant knows it. */
  readonly channel: string
  readonly offset: Offset
  readonly epoch: string
  /** When it was stored. */
  readonly time: EpochMs
  /** The client's, if it gave one, else the server's. */
  readonly id: string
  /** Who published it: the account, and the name that it spoke in. */
  readonly user: string
  readonly sender: string
  /** Id of the connection; empty for the server itself and for HTTP. */
  readonly client: string
  readonly body: Json
  /** What the envelope says beside `message`, e.g. `event`. */
  readonly kind: string
  readonly metadata?: JsonObject
  readonly room?: string
}

export interface Member {
  readonly user: string
  readonly status: Status
  readonly connections: number
  readonly joinedAt: EpochMs
  readonly lastSeen: EpochMs
}

export interface ChannelInfo {
  readonly name: string
  readonly description: string
  readonly createdAt: EpochMs
  readonly createdBy: string
  readonly isRoom: boolean
  /** Rooms end then. */
  readonly expiresAt?: EpochMs
}

export interface MessagesOutput {
  readonly type: 'output.messages'
  readonly channel: string
  /** By offset, without holes. */
  readonly messages: readonly ChannelMessage[]
}

export interface PresenceOutput {
  readonly type: 'output.presence'
  readonly id: string
  readonly change: 'joined' | 'left' | 'status'
  readonly channel: string
  readonly user: string
  /** Whose connection brought it about; its own client is not told, for it knows. */
  readonly client: string
  readonly status: Status
  /** The status before; of a newcomer and of somebody who left, `offline` and what it was. */
  readonly before: Status
  /** Why somebody left: said so, or was not heard of any more. */
  readonly reason?: 'left' | 'lost'
  readonly at: EpochMs
  /** Of the last message of the channel. */
  readonly offset: Offset
}

/** To a client actor only, which tells its client one by one: what happened in a window. */
export interface CrowdOutput {
  readonly type: 'output.crowd'
  readonly channel: string
  readonly changes: readonly PresenceOutput[]
}

export interface ClosedOutput {
  readonly type: 'output.closed'
  readonly channel: string
  readonly isRoom: boolean
  readonly reason: 'deleted' | 'expired' | 'forbidden'
  readonly at: EpochMs
}

/** Whatever a door needs to spell the answer to a request; nobody else looks at it. */
export type Ref = unknown

/** Why something was not done. */
export interface Refusal {
  readonly code: ErrorCode
  readonly message: string
  /** The permission, limit or hook that decided. */
  readonly rule?: string
  readonly retryAfterMs?: number
}

export interface TelemetryEvent {
  readonly event: string
  readonly at: EpochMs
  readonly tenant: string
  readonly [field: string]: Json
}

export type Output =
  | { readonly type: 'output.greeting'; readonly client: string; readonly account: Account; readonly at: EpochMs }
  | MessagesOutput
  | PresenceOutput
  | ClosedOutput
  /** The answer to a command. `data` is that of the command (see src/bus/commands.ts). */
  | {
      readonly type: 'output.answer'
      readonly ref: Ref
      readonly command: string
      readonly at: EpochMs
      readonly account: Account
      readonly client: string
      readonly data: Json
    }
  | {
      readonly type: 'output.refused'
      readonly ref: Ref
      readonly command: string | undefined
      readonly at: EpochMs
      readonly refusal: Refusal
    }
  /** A publish that asked for it is on disk. */
  | { readonly type: 'output.acknowledged'; readonly ref: Ref; readonly message: ChannelMessage; readonly isRepeated: boolean }
  /** Messages up to `offset` were missed while connected, and cannot be had any more. */
  | {
      readonly type: 'output.gap'
      readonly channel: string
      readonly epoch: string
      readonly offset: Offset
      readonly at: EpochMs
    }
  | { readonly type: 'output.telemetry'; readonly events: readonly TelemetryEvent[] }
  | { readonly type: 'output.heartbeat'; readonly at: EpochMs }

/** To a client actor: tell your client. */
export interface Push {
  readonly type: 'client.push'
  readonly output: Output | CrowdOutput
}
export const push = (output: Output | CrowdOutput): Push => ({ type: 'client.push', output })
