/** What is said on a socket that several documents share, as its door understands and spells it. `name`: the lane, exactly as its client spells it. */
import type { DocumentRequest } from './documentMessages.ts'
import type { Publication } from './publication.ts'
import type { Sink } from './socketLife.ts'

/** What a client says. `document`: which one it means by the name. */
export type LaneRequest =
  | { readonly type: 'lane.token'; readonly name: string; readonly document: string; readonly token: string; readonly knowsPing: boolean }
  | { readonly type: 'lane.request'; readonly name: string; readonly document: string; readonly request: DocumentRequest }
  /** The client has no more to say or to hear here. */
  | { readonly type: 'lane.leave'; readonly name: string }
  /** The lane is known; what was said on it is not. */
  | { readonly type: 'lane.garbage'; readonly name: string; readonly detail: string }
  /** No document can have this name. Only a token is answered: providers send it first, and what follows is no second offence. */
  | { readonly type: 'lane.misnamed'; readonly name: string; readonly detail: string; readonly isToken: boolean }
  | { readonly type: 'lane.pong' }
  /** It is of another protocol, and so is all that will follow. */
  | { readonly type: 'lane.foreign'; readonly detail: string }
  /** Not even a lane could be found in it. */
  | { readonly type: 'lane.unreadable'; readonly detail: string }

/** What goes out. */
export type LaneOutput =
  | { readonly type: 'lane.publish'; readonly name: string; readonly publication: Publication }
  /** "Send a token." */
  | { readonly type: 'lane.tokenWanted'; readonly name: string }
  /** "You stay out." */
  | { readonly type: 'lane.denied'; readonly name: string; readonly reason: string }
  /** "You are no longer synchronised." */
  | { readonly type: 'lane.closed'; readonly name: string; readonly reason: string }
  /** "Who are you?" */
  | { readonly type: 'lane.presenceWanted'; readonly name: string }
  /** Only to clients that know it. */
  | { readonly type: 'lane.ping' }

export interface SharedSink extends Sink<LaneOutput> {
  /** Drops what is left of some answers. */
  discard(isUnwanted: (answer: LaneOutput) => boolean): void
  /** Messages that were dealt with, for they waited, are now on their way in. */
  arrived(messages: number, bytes: number): void
}
