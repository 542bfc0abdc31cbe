/**
 * A document in the hands of a program in the same process: `troupe.document(name)`. No permission is asked for, unless the program
 * names an account. What it changes goes the way of all changes: hooks see it, everybody who has the document open gets it, and it is
 * on disk when it is reported.
 */
import * as Y from 'yjs'
import { type Account, scopedId } from '../../actors/account.ts'
import type { DocumentBytes, DocumentDescription, DocumentLifeRequest } from '../../actors/documentMessages.ts'
import { TroupeError } from '../../actors/errors.ts'
import type {
  HistoryDifference,
  HistoryPage,
  HistoryRequest,
  HistoryView,
  Moment,
  NamedVersion,
  Pruned,
  Reversion,
} from '../../actors/historyMessages.ts'
import type { Json, JsonObject } from '../../actors/output.ts'
import type { Address } from '../../actors/system/address.ts'
import { decodeAwareness } from '../../crdt/awareness.ts'
import type { Author, RequestKey } from '../../crdt/change.ts'
import { materialize } from '../../crdt/compact.ts'
import type { Operation } from '../../crdt/operations.ts'
import type { DocumentWork } from '../../crdt/work.ts'
import { type AgentHost, AgentSession } from './agent.ts'
import { askDocument, demandExistence } from './ask.ts'
import { changeBy, contentBy, readAs, updateSince } from './content.ts'
import type { DocumentEdits, Made } from './edits.ts'
import { documentName } from './name.ts'
import { operations as operationsSchema } from './operations.ts'
import { requestKey } from './requestKey.ts'

/** Who makes a change, for history. Defaults: nobody known, `server`. */
export interface ChangedBy {
  readonly user?: string
  readonly via?: string
}

/** For what must not be done twice when its answer was lost: asked again with the same key, it is answered as before. */
export interface Repeatable {
  readonly key?: string
}

export interface Participant {
  /** Client id in the document. */
  readonly client: number
  readonly state: JsonObject
}

/** What a document begins with: nothing, or one of these. */
export interface InitialContent {
  readonly operations?: readonly Operation[]
  readonly update?: Uint8Array
}

export interface ConnectOptions {
  readonly user: string
  /** Default `agent`. */
  readonly via?: string
  /** What others see of it, e.g. `{ user: { name: 'Proofreader', color: '#a0f' } }`. Without it nobody sees it. */
  readonly presence?: JsonObject
  /** Whose permissions count. Default: everything is allowed. */
  readonly account?: Account
}

type Span<Type extends HistoryRequest['type']> = Omit<Extract<HistoryRequest, { readonly type: Type }>, 'type'>

export interface DocumentsNeeds extends AgentHost {
  readonly work: DocumentWork
  readonly edits: DocumentEdits
  /** Sessions of agents, which end with the server. */
  readonly agents: Set<AgentSession>
}

export class DocumentHandle {
  readonly name: string
  readonly tenant: string
  readonly #address: Address
  readonly #needs: DocumentsNeeds

  /** Errors: `connection.bad_name`. */
  constructor(needs: DocumentsNeeds, name: string, tenant = '') {
    this.name = documentName(name)
    this.tenant = tenant
    this.#address = `document/${scopedId(tenant, this.name)}`
    this.#needs = needs
  }

  // ── reading ────────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * What is in the document, or in one root of it. Without a root: `json` and `roots` tell of all, the others of the only root that
   * has this form. Errors: `document.unknown`, `document.deleted`, `command.bad_parameters` for a root of another form.
   */
  get(format: 'text' | 'html', root?: string): Promise<string>
  get(format?: 'json' | 'roots' | 'prosemirror' | 'delta', root?: string): Promise<Json>
  async get(format: 'json' | 'roots' | 'prosemirror' | 'delta' | 'text' | 'html' = 'json', root?: string): Promise<Json> {
    const text = await readAs(this.#needs.work, await this.#existing(), { format, ...(root !== undefined && { root }) })
    return format === 'text' || format === 'html' ? text : (JSON.parse(text) as Json) // it was spelled as JSON
  }

  /** As one Yjs update (V1): everything, or what somebody with this state vector lacks. */
  async state(since?: Uint8Array): Promise<{ update: Uint8Array; stateVector: Uint8Array; epoch: string; offset: number }> {
    const bytes = await this.#existing()
    const { stateVector, epoch, offset } = bytes
    return { update: await updateSince(this.#needs.work, bytes, since), stateVector, epoch, offset }
  }

  /** Errors: `document.unknown`. */
  describe(): Promise<DocumentDescription> {
    return this.#life({ type: 'document.describe' })
  }

  /** Who is here and shows it. */
  async participants(): Promise<readonly Participant[]> {
    const updates = await this.#ask<readonly Uint8Array[]>({ type: 'document.present' })
    return updates.flatMap((update) => {
      const entries = decodeAwareness(update)
      if ('ok' in entries) return []
      return entries.flatMap(({ client, state }) => (state === null ? [] : [{ client, state: JSON.parse(state) as JsonObject }]))
    })
  }

  async #existing(): Promise<DocumentBytes> {
    await demandExistence(this.#needs.system, this.#address)
    return this.#ask<DocumentBytes>({ type: 'document.state' })
  }

  // ── changing ───────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * Calls a function with the document as it is and stores what it changes; when it throws, nothing is changed. The function is
   * synchronous, and is called again should somebody have taken the id of its change, or the document be loaded anew. On disk when it
   * resolves. Errors: what the function throws, `document.deleted`, `document.invalid`, those of the disk: nothing was done.
   * `document.outcome_unknown`: nobody knows; with a `key` it can be asked again.
   */
  transact(change: (doc: Y.Doc) => void, by: ChangedBy & Repeatable = {}): Promise<Made> {
    return this.#needs.edits.change({
      address: this.#address,
      author: authorOf(by),
      request: this.#key(by, ['transact']), // nobody can tell two functions apart
      make: ({ snapshot, tail }, client) => changeOf(materialize(snapshot, tail), client, change),
    })
  }

  /** JSON Patch and operations on texts: all of them, or none. Errors: `command.bad_parameters`, `document.misfit`, `document.changed`. */
  async edit(operations: readonly Operation[], by: ChangedBy & Repeatable = {}): Promise<Made> {
    const checked = checkedOperations(operations)
    return this.#needs.edits.change({
      address: this.#address,
      author: authorOf(by),
      request: this.#key(by, ['edit', JSON.stringify(checked)]),
      make: (state, client) => changeBy(this.#needs.work, state, checked, client),
    })
  }

  /** Adds a Yjs update (V1). */
  append(update: Uint8Array, by: ChangedBy = {}): Promise<Made> {
    return this.#needs.edits.append({ address: this.#address, author: authorOf(by), update })
  }

  /** Tells everybody who has the document open; nothing is stored. */
  broadcast(payload: string): void {
    this.#needs.system.tell(this.#address, { type: 'document.broadcast', payload })
  }

  // ── its life ───────────────────────────────────────────────────────────────────────────────────────────────────

  /** Errors: `document.exists`. */
  async create(content: InitialContent = {}, { user = '', ...by }: ChangedBy & Repeatable = {}): Promise<DocumentDescription> {
    const initial = await this.#initial(content)
    return this.#life({
      type: 'document.create',
      by: user,
      request: this.#key({ user, ...by }, ['create', ...whatOf(content)]),
      ...initial,
    })
  }

  /** It can be restored for `documents.deletedMs`. */
  remove({ user = '' }: ChangedBy = {}): Promise<DocumentDescription> {
    return this.#life({ type: 'document.remove', by: user })
  }

  undelete({ user = '' }: ChangedBy = {}): Promise<DocumentDescription> {
    return this.#life({ type: 'document.undelete', by: user })
  }

  /** Content and history go for good. */
  purge({ user = '' }: ChangedBy = {}): Promise<DocumentDescription> {
    return this.#life({ type: 'document.purge', by: user })
  }

  /** Begins anew; whoever has the old content is refused. */
  async reset(content: InitialContent = {}, { user = '', ...by }: ChangedBy & Repeatable = {}): Promise<DocumentDescription> {
    const initial = await this.#initial(content)
    return this.#life({ type: 'document.reset', by: user, request: this.#key({ user, ...by }, ['reset', ...whatOf(content)]), ...initial })
  }

  /** Errors: `document.exists`. */
  copy(to: string, { user = '', ...by }: ChangedBy & Repeatable = {}): Promise<DocumentDescription> {
    return this.#life({ type: 'document.copy', by: user, to: documentName(to), request: this.#key({ user, ...by }, ['copy', to]) })
  }

  /** Errors: `document.exists`. */
  rename(to: string, { user = '' }: ChangedBy = {}): Promise<DocumentDescription> {
    return this.#life({ type: 'document.rename', by: user, to: documentName(to) })
  }

  async #initial({ operations, update }: InitialContent): Promise<{ update?: Uint8Array }> {
    if (update !== undefined) return { update }
    return operations === undefined ? {} : { update: await contentBy(this.#needs.work, checkedOperations(operations)) }
  }

  // ── its past ───────────────────────────────────────────────────────────────────────────────────────────────────

  history(span: Span<'document.history'> = {}): Promise<HistoryPage> {
    return this.#ask({ type: 'document.history', ...span })
  }

  /** The document as it was. */
  view(at: Moment): Promise<HistoryView> {
    return this.#ask({ type: 'document.view', at, withContent: true })
  }

  /** What was inserted and deleted between two moments, and by whom. */
  diff(span: Span<'document.diff'>): Promise<HistoryDifference> {
    return this.#ask({ type: 'document.diff', ...span })
  }

  versions(): Promise<readonly NamedVersion[]> {
    return this.#ask({ type: 'document.version.list' })
  }

  createVersion(
    name: string,
    { user = '', key, ...rest }: Partial<Omit<Span<'document.version.create'>, 'request'>> & Repeatable = {},
  ): Promise<NamedVersion> {
    const request = this.#key({ user, ...(key !== undefined && { key }) }, ['version', name, JSON.stringify(rest)])
    return this.#ask({ type: 'document.version.create', ...rest, name, user, request })
  }

  renameVersion(id: string, changed: { readonly name?: string; readonly description?: string }): Promise<NamedVersion> {
    return this.#ask({ type: 'document.version.rename', id, ...changed })
  }

  deleteVersion(id: string): Promise<void> {
    return this.#ask({ type: 'document.version.delete', id })
  }

  /** The document gets the content that it had, as a change of its own. */
  restore(to: Moment, { user = '', ...by }: ChangedBy & Repeatable = {}): Promise<Reversion> {
    return this.#ask({ type: 'document.restore', to, user, request: this.#key({ user, ...by }, ['restore', JSON.stringify(to)]) })
  }

  /** What one author did is taken back; what others did stays. */
  rollback({
    user = '',
    key,
    ...span
  }: Omit<Span<'document.rollback'>, 'user' | 'expected' | 'request'> & ChangedBy & Repeatable): Promise<Reversion> {
    const request = this.#key({ user, ...(key !== undefined && { key }) }, ['rollback', JSON.stringify(span)])
    return this.#ask({ type: 'document.rollback', ...span, user, request })
  }

  prune(before?: Moment): Promise<Pruned> {
    return this.#ask({ type: 'document.prune', ...(before !== undefined && { before }) })
  }

  // ── taking part ────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * Takes part as an editor does: the document live, presence, changes under this name. Resolves when the document is there.
   * Errors: `access.denied`, `document.deleted`, and whatever else keeps a client out.
   */
  async connect({ user, via = 'agent', presence, account }: ConnectOptions): Promise<AgentSession> {
    const { agents } = this.#needs
    const who = account ?? { user, tenant: this.tenant, isAnonymous: false, permissions: ['*'] }
    const session = await AgentSession.open(this.#needs, this.#address, { account: who, via, presence })
    agents.add(session)
    void session.ended.then(() => agents.delete(session))
    return session
  }

  #key({ user = '', key }: ChangedBy & Repeatable, what: readonly (string | Uint8Array)[]): RequestKey | undefined {
    return key === undefined ? undefined : requestKey({ door: 'program', document: this.#address, user }, key, what)
  }

  #life(request: DocumentLifeRequest): Promise<DocumentDescription> {
    return askDocument<DocumentDescription>(this.#needs.system, this.#address, request)
  }

  #ask<Answer>(message: HistoryRequest | { type: 'document.state' } | { type: 'document.present' }): Promise<Answer> {
    return askDocument<Answer>(this.#needs.system, this.#address, message)
  }
}

const whatOf = ({ operations, update }: InitialContent): readonly (string | Uint8Array)[] => [
  JSON.stringify(operations ?? null),
  update ?? '',
]

const authorOf = ({ user = '', via = 'server' }: ChangedBy): Author => ({ user, via })

/** Errors: `command.bad_parameters`. */
const checkedOperations = (given: readonly Operation[]): readonly Operation[] => {
  // They go on as JSON, which would say `null` instead.
  JSON.stringify(given, (name, value: unknown) => {
    if (typeof value !== 'number' || Number.isFinite(value)) return value
    throw new TroupeError('command.bad_parameters', `${name}: ${value} is no number of JSON`)
  })
  const parsed = operationsSchema.safeParse(given)
  if (parsed.success) return parsed.data
  throw new TroupeError(
    'command.bad_parameters',
    parsed.error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`).join('; '),
  )
}

const changeOf = (doc: Y.Doc, client: number, change: (doc: Y.Doc) => void): Uint8Array => {
  const updates: Uint8Array[] = []
  try {
    doc.clientID = client
    doc.on('update', (update: Uint8Array) => updates.push(update))
    const returned: unknown = doc.transact(() => change(doc))
    if (returned instanceof Promise) {
      returned.catch(() => {}) // it has nothing to change any more
      throw new TroupeError('command.bad_parameters', 'the function of a transaction is synchronous')
    }
    return updates.length === 0 ? new Uint8Array(0) : Y.mergeUpdates(updates)
  } finally {
    doc.destroy()
  }
}
