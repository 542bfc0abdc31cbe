/**
 * What a channel (`channel/…`) and the directory of channels (`directory/…`) can be asked. All of these are asks; the sender
 * is the client actor, or nobody (HTTP, programs).
 */
import type { Offset } from './journal.ts'
import type { ChannelInfo, ChannelMessage, Json, JsonObject, Member, Position, Status } from './output.ts'
import type { Address } from './system/address.ts'
import type { EpochMs } from './world.ts'

/** A message before it is stored. */
export interface Draft {
  readonly body: Json
  readonly user: string
  readonly sender: string
  readonly client: string
  readonly kind: string
  /** The client's own id; a second publish with the same one returns the first result. */
  readonly id?: string
  readonly metadata?: JsonObject
  readonly room?: string
}

export interface Published {
  readonly message: ChannelMessage
  /** A message of this id was there already; `message` is the first one. */
  readonly isRepeated: boolean
}

export interface Range {
  /** Most messages; default 50. */
  readonly limit?: number
  /** Only messages after (before) this offset. */
  readonly after?: Offset
  readonly before?: Offset
  /** Only messages from (until) this time, both included. */
  readonly since?: EpochMs
  readonly until?: EpochMs
  /** `backwards`: the newest that fit. The result is in ascending order all the same. Default backwards. */
  readonly direction?: 'forwards' | 'backwards'
}

export interface Page {
  readonly messages: readonly ChannelMessage[]
  readonly epoch: string
  /** Of the oldest message that is kept, and of the newest. */
  readonly first: Offset
  readonly offset: Offset
  /** There are more in the direction asked for. */
  readonly hasMore: boolean
}

export interface Joined {
  readonly info: ChannelInfo
  readonly epoch: string
  readonly offset: Offset
  /** Undefined when nobody asked for recovery. False: `messages` is empty and the client has to start anew. */
  readonly isRecovered: boolean | undefined
  /** What was missed, or the last ones (`rewind`). */
  readonly messages: readonly ChannelMessage[]
  readonly members: readonly Member[]
  /** False when this connection was a member already. */
  readonly isNew: boolean
  /** The others were told; false when the user was there already, or back within the grace. */
  readonly isAnnounced: boolean
}

export interface ChannelState extends ChannelInfo {
  readonly epoch: string
  readonly first: Offset
  readonly offset: Offset
  readonly members: number
  readonly connections: number
}

export type ChannelRequest =
  | {
      readonly type: 'channel.join'
      readonly user: string
      readonly status: Status
      /** False: counts as a reader, is not shown to others, hears nothing of them. */
      readonly isPresent: boolean
      /** Where the client was; it gets what it missed. */
      readonly recover?: Position
      /** The last so many messages, or those since a time. */
      readonly rewind?: { readonly count: number } | { readonly since: EpochMs }
      /** Everything after the cursor of this name, which `channel.seen` moves. */
      readonly cursor?: string
    }
  | { readonly type: 'channel.leave' }
  | { readonly type: 'channel.publish'; readonly draft: Draft }
  | { readonly type: 'channel.history'; readonly range: Range }
  | { readonly type: 'channel.members' }
  | { readonly type: 'channel.info' }
  /** From a member: its user is now away, busy …, or goes by another name. */
  | { readonly type: 'channel.status'; readonly status: Status; readonly user?: string }
  /** Everything up to `offset` has been handed to somebody who reads in this name. */
  | { readonly type: 'channel.seen'; readonly cursor: string; readonly offset: Offset }
  /** From the directory: everybody is told, the history goes. */
  | { readonly type: 'channel.remove'; readonly reason: 'deleted' | 'expired'; readonly isRoom: boolean }

export type DirectoryRequest =
  /** What a channel asks when it is loaded. Errors: `channel.unknown` when it is not there and `create` is false. */
  | { readonly type: 'directory.open'; readonly name: string; readonly create: boolean; readonly by: string }
  /** Errors: `channel.exists`. */
  | {
      readonly type: 'directory.create'
      readonly name: string
      readonly description: string
      readonly by: string
      readonly isRoom: boolean
      /** Rooms only. */
      readonly ttlMs?: number
    }
  /** Answered when everybody was told and the history is gone. Errors: `channel.unknown`. */
  | { readonly type: 'directory.delete'; readonly name: string }
  | { readonly type: 'directory.info'; readonly name: string }
  | {
      readonly type: 'directory.list'
      readonly prefix?: string
      readonly after?: string
      readonly limit?: number
      readonly isRoom?: boolean
    }

export interface DirectoryPage {
  readonly channels: readonly ChannelInfo[]
  readonly hasMore: boolean
}

/** The directory of a tenant. */
export const directoryAddress = (tenant: string): Address => (tenant === '' ? 'directory/default' : `directory/~${tenant}`)

/** What happens on the server, as if it were a channel. */
export const telemetryChannel = '$telemetry'
/** Names that the server keeps for itself. */
export const isReserved = (channel: string): boolean => channel.startsWith('$')
const inboxPrefix = 'private_'
/** The channel of the private messages to a user. Only the user may read it. */
export const inboxOf = (user: string): string => `${inboxPrefix}${user}`
export const inboxOwner = (channel: string): string | undefined =>
  channel.startsWith(inboxPrefix) ? channel.slice(inboxPrefix.length) : undefined
