/**
 * Hooks: functions of the user that see what clients do before it is done, and may rewrite or refuse it.
 *
 * To refuse, throw: `new TroupeError('hook.rejected', text)` shows the text to the client; anything else that is thrown
 * shows only the name of the hook. A hook that returns a promise holds back what this client does next, and nobody else.
 */
import type { SharedDocument } from '../crdt/shadow.ts'
import type { Account, DocumentAccess } from './account.ts'
import type { PublishOptions } from './command.ts'

export interface HookClient {
  readonly client: string
  readonly account: Account
  /** `bus`, `chat`, `pubsub`, `arqonbus`, `sse`, `http`; of documents `yjs`, `hocuspocus`, `agent`. */
  readonly door: string
}

type Awaitable<Value> = Value | Promise<Value>

/** A change that is about to be stored, and the document as it would be. */
export interface DocumentChange {
  /** Its name in its tenant. */
  readonly document: string
  readonly tenant: string
  /** Whose change it is; empty: of nobody who logged in. */
  readonly user: string
  /** By which way, where it was no editor: `http`, `agent`, `restore`, … */
  readonly via: string
  /** With the change in it. For reading, and only until the hook returns. */
  readonly doc: SharedDocument
  readonly update: Uint8Array
}

/** Throws to refuse. Synchronous: changes of a document are in an order, and none is told about before those ahead of it. */
export type DocumentCheck = (change: DocumentChange) => void

export interface Hooks {
  readonly onConnect?: (client: HookClient) => Awaitable<void>
  /** May return another account instead. */
  readonly onAuthenticate?: (client: HookClient, account: Account) => Awaitable<Account | void>
  readonly onJoin?: (client: HookClient, channel: string) => Awaitable<void>
  /** May return another message instead. */
  readonly onPublish?: (client: HookClient, message: PublishOptions) => Awaitable<PublishOptions | void>
  /**
   * A client opens a document, or `troupe.recheck` asks anew. `access` is what its permissions say. May return another one, a
   * stronger one too; `none` sends the client away.
   */
  readonly onDocumentAccess?: (
    client: HookClient,
    document: string,
    access: DocumentAccess | 'none',
  ) => Awaitable<DocumentAccess | 'none' | void>
  /**
   * Sees each change of a document before it is stored; what it refuses is neither stored nor told to anybody. With `documents`, a
   * pattern of names (`*` is any run of characters), all others are spared the cost of being kept as a `Y.Doc`, too.
   */
  readonly onDocumentChange?: DocumentCheck | { readonly documents: string | readonly string[]; readonly check: DocumentCheck }
  /** A stateless message of a client in a document that it has open. True: everybody who has the document open gets it. */
  readonly onStateless?: (client: HookClient, document: string, payload: string) => Awaitable<boolean | void>
  /** What happened already cannot be refused; errors are logged. */
  readonly onLeave?: (client: HookClient, channel: string) => Awaitable<void>
  readonly onDisconnect?: (client: HookClient) => Awaitable<void>
}
