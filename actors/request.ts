/** What a client of the bus may say, as its door understood it, and the manners of a protocol: how its clients are treated. */
import type { PublishOptions } from './command.ts'
import type { Ref, Refusal } from './output.ts'

export type ClientRequest =
  | {
      readonly type: 'request.publish'
      readonly ref: Ref
      readonly message: PublishOptions
      /** Says when it is on disk. Refusals are said in any case. */
      readonly wantsAck: boolean
    }
  /** `params` as the client sent them; the command checks them. */
  | { readonly type: 'request.command'; readonly ref: Ref; readonly command: string; readonly params: unknown }
  /** A sign of life; nobody answers. */
  | { readonly type: 'request.heartbeat' }
  /** The door could not make sense of it: the client is told why. */
  | { readonly type: 'request.bad'; readonly ref: Ref; readonly refusal: Refusal }

export interface Manners {
  /** Name of the door, for hooks, metrics and telemetry. */
  readonly door: string
  /** The first output is a greeting. */
  readonly greets: boolean
  /**
   * What a publisher hears of its own message: as every member does; nothing; or, even where it is no member, the first
   * `echoBudget` of the connection (a client that only publishes may never read, and one that does not read stops answering
   * pings after 16 frames).
   */
  readonly echo: 'members' | 'never' | 'budget'
  /** Every publish is acknowledged. */
  readonly acknowledges: boolean
  readonly mustJoinToPublish: boolean
  /** Has a message to log in with. Others must come with a token where accounts are required. */
  readonly canLogIn?: boolean
  /** Is shown to other members and hears of them. */
  readonly hasPresence: boolean
  /** Hears private messages to its user. */
  readonly hasInbox: boolean
  /** The name in `sender` is that of the publisher if it did not log in. */
  readonly trustsSender: boolean
  /** A heartbeat this often; at once, too, when `beatsAtOnce`. Undefined: none. */
  readonly heartbeatMs: number | undefined
  readonly beatsAtOnce: boolean
  /** Requests in any `withinMs`; undefined: no limit but that of the configuration. */
  readonly rate: { readonly count: number; readonly withinMs: number } | undefined
  /** What a client is called that did not log in, by the id of its connection. */
  readonly nameOf: (client: string) => string
}
