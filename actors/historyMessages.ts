/**
 * What a document is asked about its past. All are asks. Errors of all: `document.no_history`, `document.busy`, `document.unavailable`, those of
 * the store; of those with a `Moment`: `document.pruned`, `document.version_unknown`; of those that look at content: `document.history_too_large`;
 * of those with a `request`: `document.key_reused`, and what was done before is answered as it was then; of those that change the
 * document: `document.outcome_unknown`, as for `document.edit`.
 */
import type { RequestKey } from '../crdt/change.ts'
import type { Content } from '../crdt/content.ts'
import type { ChangeGroup } from '../crdt/history.ts'
import type { Difference } from '../crdt/historyDiff.ts'
import type { RevertedAuthor } from '../crdt/historyRevert.ts'
import type { NamedVersion } from './historyVersions.ts'
import type { Offset } from './journal.ts'
import type { EpochMs } from './world.ts'

/** After the change with this offset; 0 is before the first. Or: after all that was stored up to this time. Or: a version with a name. */
export type Moment = { readonly offset: Offset } | { readonly time: EpochMs } | { readonly version: string }

export type HistoryRequest =
  /** `HistoryPage`. */
  | {
      readonly type: 'document.history'
      /** Changes after this one, oldest first; or before this one, newest first. Neither: newest first. */
      readonly after?: Offset
      readonly before?: Offset
      /** Most groups. Default 50, at most 1 000. */
      readonly limit?: number
      /** A pause of this length ends a group. Default 5 minutes. */
      readonly gapMs?: number
    }
  /** `HistoryView`. Without `withContent`, the update alone. */
  | { readonly type: 'document.view'; readonly at: Moment; readonly withContent: boolean }
  /** `HistoryDifference`. Without `to`, up to now. */
  | { readonly type: 'document.diff'; readonly from: Moment; readonly to?: Moment; readonly gapMs?: number }
  /** `NamedVersion[]`, by offset. */
  | { readonly type: 'document.version.list' }
  /** `NamedVersion`, of now if there is no `at`. Errors: `document.full` when there are too many. */
  | {
      readonly type: 'document.version.create'
      readonly name: string
      readonly description?: string
      readonly user: string
      readonly at?: Moment
      readonly request?: RequestKey | undefined
    }
  /** `NamedVersion`. */
  | { readonly type: 'document.version.rename'; readonly id: string; readonly name?: string; readonly description?: string }
  | { readonly type: 'document.version.delete'; readonly id: string }
  /** `Reversion`. The document gets the content that it had, as a change of `user`. `expected`: only if it is exactly at one of these. */
  | {
      readonly type: 'document.restore'
      readonly to: Moment
      readonly user: string
      readonly expected?: readonly Place[] | undefined
      readonly request?: RequestKey | undefined
    }
  /**
   * `Reversion`. What this author did after `from` up to `to` (default: ever) is taken back, as a change of `user`; what others did
   * stays. `expected` as above.
   */
  | {
      readonly type: 'document.rollback'
      readonly of: RevertedAuthor
      readonly from?: Moment
      readonly to?: Moment
      readonly user: string
      readonly expected?: readonly Place[] | undefined
      readonly request?: RequestKey | undefined
    }
  /** `Pruned`. What was before this moment is forgotten for good; named versions stay. Without `before`: what the options say. */
  | { readonly type: 'document.prune'; readonly before?: Moment }

export interface HistoryPage {
  readonly groups: readonly ChangeGroup[]
  /** Of the next page: its `after` or `before`. Undefined: there is none. */
  readonly next?: Offset
  /** Of the oldest moment that can be shown, and of the last change. */
  readonly first: Offset
  readonly last: Offset
  /** Of what is packed. */
  readonly bytes: number
}

export interface HistoryView {
  readonly offset: Offset
  readonly update: Uint8Array
  readonly roots: Readonly<Record<string, Content>>
}

export interface HistoryDifference {
  readonly from: Offset
  readonly to: Offset
  readonly roots: Readonly<Record<string, Difference>>
}

/** The document as it was right after a change. */
export interface Place {
  readonly epoch: string
  readonly offset: Offset
}

export interface Reversion {
  /** Of the change that did it, or of the last change when there was nothing to do. */
  readonly offset: Offset
  /** `undo`: content kept its identity; `replacement`: some was written anew; `none`: nothing differed. */
  readonly means: 'none' | 'undo' | 'replacement'
}

export interface Pruned {
  /** Of the oldest moment that can be shown. */
  readonly first: Offset
  readonly bytes: number
}

export type { NamedVersion }
