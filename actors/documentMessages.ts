/**
 * What a document is told and asked, by connections, by HTTP, by programs of the server.
 *
 *   connection ── join, sync, update, awareness, … ──→ document ──→ publications, `connection.refused`
 *   server     ── state, edit, …                   ──→ document ──→ answers
 */
import type { Author, DoneRequest, RequestKey } from '../crdt/change.ts'
import type { Account, DocumentAccess } from './account.ts'
import type { ErrorCode } from './errors.ts'
import type { HistoryRequest } from './historyMessages.ts'
import type { Offset } from './journal.ts'
import type { Address } from './system/address.ts'
import type { EpochMs } from './world.ts'

/** What a client of a document may say. */
export type DocumentRequest =
  /** "This is what I have": answered with what is missing; unless `isReply`, the same is asked back. */
  | { readonly type: 'document.sync'; readonly stateVector: Uint8Array; readonly isCounted?: boolean; readonly isReply?: boolean }
  /**
   * The client asked "what do I lack?" and counts its changes anew from here; the question itself (`isCounted`) comes later, for
   * another one is being answered.
   */
  | { readonly type: 'document.countAnew' }
  /** `isAnswer`: everything that the client has beyond the server, and not one change. */
  | { readonly type: 'document.update'; readonly update: Uint8Array; readonly isAnswer: boolean }
  | { readonly type: 'document.awareness'; readonly update: Uint8Array }
  /** "Who is here?" */
  | { readonly type: 'document.presence' }
  /** Given back when everything that came before it from this client is on disk. */
  | { readonly type: 'document.barrier'; readonly payload: Uint8Array }
  /** "Which epoch does the document have?" */
  | { readonly type: 'document.epoch' }
  /** "Tell me, now and whenever it changes, whether the disk takes what is written." */
  | { readonly type: 'document.storage' }
  /** A text of the application's own protocol; never stored. */
  | { readonly type: 'document.stateless'; readonly payload: string }

/** How somebody takes part in a document. */
export interface Participation {
  readonly access: DocumentAccess
  readonly account: Account
  /** True: every update of this client is answered with a part `saved` or `refused`. False: the echo of the update is the answer. */
  readonly wantsReceipts: boolean
  /** It is told when the disk refuses what clients write, and when it accepts again. Others may ask for that (`document.storage`). */
  readonly wantsStorageNews?: boolean
  /** The epoch of the document that the client says it knows; undefined when it says nothing. */
  readonly epoch?: string
  /** By which way, where it is not an editor; see `Author`. */
  readonly via?: string
}

export type DocumentMessage =
  /**
   * An ask: resolves when the document is loaded and the sender gets its publications.
   * Errors: `document.unknown`, `document.deleted`, `document.renamed`, `document.epoch`, `document.full`, those of the store.
   */
  | ({ readonly type: 'document.join' } & Participation)
  | { readonly type: 'document.leave' }
  /** What the sender may do has changed. */
  | { readonly type: 'document.access'; readonly access: DocumentAccess }
  | DocumentRequest
  | HistoryRequest
  /** An ask: resolves when everything that its sender sent before has been taken in. */
  | { readonly type: 'document.pulse' }
  /** An ask: `DocumentBytes`. */
  | { readonly type: 'document.state' }
  /**
   * An ask: resolves with `Edited` when the change is on disk. `access`: of its author, default `write`. `birthBan`: what forbids the
   * author to bring the document into being. `ownClient`: the client id that the server gave the change. `expectedOffset`: only if
   * the document is still there, and all of it on disk. `expectedEpoch`: what the change was made from; of other content it knows nothing,
   * so it is `document.changed` with an `expectedOffset`, else `document.unavailable`: make it anew. `request`: if it was done before, that is the answer. Errors: `document.invalid`,
   * `document.changed`, `document.unsaved`, `document.key_reused`, `access.denied`, those of the store, and `document.outcome_unknown`
   * when the disk refuses what was taken in already; of all others nothing was done.
   */
  | {
      readonly type: 'document.edit'
      readonly update: Uint8Array
      readonly author: Author
      readonly access?: DocumentAccess
      readonly birthBan?: string | undefined
      readonly ownClient?: number | undefined
      readonly expectedOffset?: Offset
      readonly expectedEpoch?: string
      readonly request?: DoneRequest | undefined
    }
  /** An ask: `Edited` when a change with this key was made here, once it is on disk; else undefined. Errors as above. */
  | { readonly type: 'document.recall'; readonly request: RequestKey }
  /** An ask: `DocumentDescription` when a copy with this key came here, whatever has become of its source; else undefined. Errors as above. */
  | { readonly type: 'document.received'; readonly request: RequestKey }
  /** An ask: who is here, as awareness updates (`Uint8Array[]`). */
  | { readonly type: 'document.present' }
  /** Tells everybody who has it open. */
  | { readonly type: 'document.broadcast'; readonly payload: string }
  | DocumentLifeRequest
  | { readonly type: 'actor.stopped'; readonly address: Address }
  | { readonly type: 'document.flush' }
  | { readonly type: 'document.expire' }
  | { readonly type: 'document.tellPresence' }
  | { readonly type: 'document.raisePresence' }
  | { readonly type: 'document.guard' }
  /** From itself: the next slice of its shadow. */
  | { readonly type: 'document.slice' }
  | { readonly type: 'document.compact' }
  | { readonly type: 'document.look' }
  | { readonly type: 'document.news' }
  /** From itself, while something is refused because its tenant is full. */
  | { readonly type: 'document.room' }
  /** From itself, when it is damaged. */
  | { readonly type: 'document.reload' }

/**
 * The life of a document as a whole. All are asks, answered with `DocumentDescription` when it is on disk; that of another name for
 * `copy` and `rename`. `by`: the user who does it, empty for nobody known. Each may be asked again when the answer was lost.
 *
 * With a `request` that was done before, the answer is the description as it is now.
 *
 * Errors: `document.unknown`, `document.exists`, `document.deleted`, `document.renamed` (the detail is the new name),
 * `document.invalid`, `document.full`, `document.unavailable` (it is being moved; ask again), `document.key_reused`, those of the store:
 * nothing was done. `document.outcome_unknown`: it may be done yet.
 */
export type DocumentLifeRequest =
  | { readonly type: 'document.describe' }
  /** A new document; also in the place of one that was deleted, whose content goes for good. */
  | { readonly type: 'document.create'; readonly by: string; readonly update?: Uint8Array; readonly request?: RequestKey | undefined }
  /** Closes it for everybody. The content stays for `documents.deletedMs`, the name is refused until it is created or restored. */
  | { readonly type: 'document.remove'; readonly by: string }
  | { readonly type: 'document.undelete'; readonly by: string }
  /** The content and its history go at once and for good. `ifDue`: only when it was deleted long enough ago. */
  | { readonly type: 'document.purge'; readonly by: string; readonly ifDue?: boolean }
  /** Begins anew with no content or this one. Whoever has the old content is refused from then on. */
  | { readonly type: 'document.reset'; readonly by: string; readonly update?: Uint8Array; readonly request?: RequestKey | undefined }
  | { readonly type: 'document.copy'; readonly by: string; readonly to: string; readonly request?: RequestKey | undefined }
  | { readonly type: 'document.rename'; readonly by: string; readonly to: string }
  /** From another document, which is being copied or renamed: entries of its journal. */
  | {
      readonly type: 'document.receive'
      readonly by: string
      readonly from: DocumentOrigin
      readonly entries: readonly Uint8Array[]
      readonly request?: RequestKey | undefined
    }
/** Where the content of a document came from. */
export interface DocumentOrigin {
  readonly name: string
  readonly epoch: string
  readonly isMove: boolean
  /** Of its changes, those that are in its history alone. Its history comes along with the rest. */
  readonly skipped?: Offset
  /** Of the document that is moved. */
  readonly createdAt: EpochMs
  readonly createdBy: string
}

export interface DocumentDescription {
  readonly name: string
  /** Empty before the first change. */
  readonly epoch: string
  readonly createdAt: EpochMs
  /** Empty: nobody known. */
  readonly createdBy: string
  readonly updatedAt: EpochMs
  /** Snapshot and tail. */
  readonly bytes: number
  /** Of the last change on disk. */
  readonly offset: Offset
  readonly connections: number
  /** Changes that wait for the disk. */
  readonly unsaved: number
  /** Growing is refused. */
  readonly isFull: boolean
  readonly deleted?: DocumentDeletion
  readonly renamedFrom?: string
  /** Why nobody can open it. */
  readonly damage?: string
}

export interface DocumentDeletion {
  readonly at: EpochMs
  readonly by: string
  /** The content goes then; it can be restored until then. Undefined: it has gone. */
  readonly purgeAt?: EpochMs
  readonly renamedTo?: string
}

/** A document as it lies in memory; the bytes are shared and never written to. */
export interface DocumentBytes {
  /** One update; empty when there is none. */
  readonly snapshot: Uint8Array
  /** What came since, in order. Some of it may not be on disk yet. */
  readonly tail: readonly Uint8Array[]
  readonly stateVector: Uint8Array
  /** Of the journal; empty before the first change. */
  readonly epoch: string
  /** Of the last change on disk. */
  readonly offset: Offset
  /** Changes that wait for the disk. */
  readonly unsaved: number
}

export interface Edited {
  /** Of the change, or of the last one before it when it brought nothing new. */
  readonly offset: Offset
  /** False: the document had all of it. */
  readonly isNew: boolean
  /** That of its request. */
  readonly answer: string
}

/** To a connection: its client broke a rule, or cannot be served. */
export interface Refused {
  readonly type: 'connection.refused'
  readonly code: ErrorCode
  readonly detail: string
}
