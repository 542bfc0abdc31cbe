/**
 * An agent: a program of the server that takes part in a document as an editor does. It has the document live, sees who is here, is
 * seen, and its changes bear its name.
 *
 *   connecting ──(first answer)──→ live ──(document or store restarts)──→ connecting ──…
 *       └──────────(refused for good, or close())──────────→ ended
 *
 * Promises: the same path as that of a client with a socket: a connection actor, permissions, hooks, limits. `saved()` resolves when
 * everything that was changed before is on disk. When the document restarts, the agent comes back with what it has. However it ends,
 * its presence goes with it. What waits for the document is bounded: changes that it has not taken in yet become one.
 */
import { Awareness, applyAwarenessUpdate, encodeAwarenessUpdate } from 'y-protocols/awareness'
import * as Y from 'yjs'
import type { Account, DocumentAccess } from '../../actors/account.ts'
import type { ConnectionInput, ConnectionMessage } from '../../actors/connection.ts'
import type { DocumentRequest } from '../../actors/documentMessages.ts'
import { type ErrorCode, errorTable, TroupeError } from '../../actors/errors.ts'
import type { JsonObject } from '../../actors/output.ts'
import type { Part, Publication } from '../../actors/publication.ts'
import type { Sink } from '../../actors/socketLife.ts'
import type { Address } from '../../actors/system/address.ts'
import type { ActorSystem } from '../../actors/system/system.ts'
import type { World } from '../../actors/world.ts'

export interface AgentOptions {
  readonly account: Account
  /** By which way its changes come, for history. */
  readonly via: string
  /** What others see of it. Undefined: nobody sees it. */
  readonly presence?: JsonObject | undefined
}

export interface AgentHost {
  readonly system: Pick<ActorSystem, 'begin' | 'tell' | 'ask'>
  readonly world: World
}

type State = 'connecting' | 'live' | 'ended'

interface Waiting {
  readonly resolve: () => void
  readonly reject: (error: Error) => void
}

/** Behind so many changes. */
interface Saving extends Waiting {
  readonly changes: number
}

const reconnectMs = 500
/** Messages to the document between two looks whether it has taken them in. */
const pulseMessages = 256
const decoder = new TextDecoder()

export class AgentSession {
  /** The document, live. Changes to it are sent; those of others appear in it. */
  readonly doc = new Y.Doc()
  /** Who is here; the state of the agent is its local state. */
  readonly awareness = new Awareness(this.doc)
  /** Resolves when the session has ended: with the reason, or with undefined after `close()`. */
  readonly ended: Promise<TroupeError | undefined>
  readonly #host: AgentHost
  readonly #document: Address
  readonly #options: AgentOptions
  #state: State = 'connecting'
  #access: DocumentAccess = 'read'
  #address: Address = ''
  #end: (reason: TroupeError | undefined) => void = () => {}
  #cancelReconnect: () => void = () => {}
  /** Since the last pulse. */
  #sent = 0
  #isPulsing = false
  /** The first change that was held back, and what the document had with it. */
  #held: { readonly update: Uint8Array; readonly vector: Uint8Array } | undefined
  /** Barriers that were sent, by their number. */
  readonly #saving = new Map<number, Saving>()
  #barriers = 0
  readonly #statelessListeners = new Set<(payload: string) => void>()
  #opened: Waiting | undefined
  /** Changes of the agent so far, and how many of them are known to be on disk. */
  #changes = 0
  #savedChanges = 0

  private constructor(host: AgentHost, document: Address, options: AgentOptions) {
    this.#host = host
    this.#document = document
    this.#options = options
    this.ended = new Promise((resolve) => {
      this.#end = resolve
    })
    this.awareness.setLocalState(options.presence === undefined ? null : { ...options.presence })
    this.doc.on('update', (update: Uint8Array, origin: unknown) => {
      if (origin !== this) this.#change(update)
    })
    this.awareness.on('update', ({ added, updated, removed }: Record<'added' | 'updated' | 'removed', number[]>, origin: unknown) => {
      const own = [...added, ...updated, ...removed].includes(this.doc.clientID)
      if (own && origin !== this && this.#state === 'live') this.#present()
    })
  }

  /** Resolves when the document is there. Errors: `access.denied`, `document.deleted`, and whatever else keeps a client out. */
  static open(host: AgentHost, document: Address, options: AgentOptions): Promise<AgentSession> {
    const session = new AgentSession(host, document, options)
    return new Promise((resolve, reject) => {
      session.#opened = { resolve: () => resolve(session), reject }
      session.#connect()
    })
  }

  /** What the agent may do at the moment. */
  get access(): DocumentAccess {
    return this.#access
  }

  get isLive(): boolean {
    return this.#state === 'live'
  }

  /** Resolves when everything that was changed so far is on disk. Rejects when the session ends before. */
  saved(): Promise<void> {
    if (this.#state === 'ended') return Promise.reject(new TroupeError('document.unavailable', 'the session has ended'))
    return new Promise((resolve, reject) => {
      const number = ++this.#barriers
      this.#saving.set(number, { resolve, reject, changes: this.#changes })
      if (this.#state === 'live') this.#ask(number)
    })
  }

  /** Sends a text to everybody who has the document open. */
  broadcast(payload: string): void {
    this.#host.system.tell(this.#document, { type: 'document.broadcast', payload })
  }

  /** Calls back with texts that are sent to everybody. Returns a function that ends it. */
  onStateless(listener: (payload: string) => void): () => void {
    this.#statelessListeners.add(listener)
    return () => this.#statelessListeners.delete(listener)
  }

  /** Resolves when all changes are on disk and the agent has left. Rejects when they could not be stored; it has left all the same. */
  async close(): Promise<void> {
    if (this.#state === 'ended') return
    try {
      // What was written while the document was away goes with it when it is back.
      if (this.#state === 'live' || this.#changes > this.#savedChanges) await this.saved()
    } finally {
      this.leave()
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  /** Leaves at once. */
  leave(reason?: TroupeError): void {
    if (this.#state === 'ended') return
    this.#state = 'ended'
    this.#cancelReconnect()
    this.#tell({ type: 'connection.gone' })
    const error = reason ?? new TroupeError('document.unavailable', 'the session has ended')
    this.#opened?.reject(error)
    for (const { reject } of this.#saving.values()) reject(error)
    this.#saving.clear()
    this.awareness.destroy()
    this.doc.destroy()
    this.#end(reason)
  }

  // ── the connection ─────────────────────────────────────────────────────────────────────────────────────────────

  #connect(): void {
    const { system, world } = this.#host
    const { account, via } = this.#options
    this.#address = `connection/${world.random.id()}`
    this.#sent = 0
    this.#held = undefined
    const input: ConnectionInput = {
      sink: this.#sink(this.#address),
      document: this.#document,
      account,
      via,
      door: 'agent',
      wantsReceipts: true,
      sharesSocket: true, // there is none that could be silent
    }
    try {
      system.begin(this.#address, input)
    } catch (error) {
      this.leave(error instanceof TroupeError ? error : new TroupeError('document.unavailable', String(error)))
    }
  }

  /** Of one connection; what an earlier one still says is passed over. */
  #sink(address: Address): Sink<Publication> {
    const ifCurrent = (run: () => void) => {
      if (this.#address === address && this.#state !== 'ended') run()
    }
    return {
      // Not in the turn of the actor: what the program does on a change is none of its business.
      send: (publication) => queueMicrotask(() => ifCurrent(() => this.#receive(publication))),
      resume: () => queueMicrotask(() => ifCurrent(() => this.#synchronise())),
      close: (code, detail) => queueMicrotask(() => ifCurrent(() => this.#lost(code, detail))),
      terminate: () => queueMicrotask(() => ifCurrent(() => this.#lost('connection.slow', ''))),
      ping: () => {},
      pause: () => {},
      handled: () => {},
      queuedBytes: 0,
      queuedWrites: 0,
      sentBytes: 0,
      receivedBytes: 0,
      isAnswering: false,
      isPaused: false,
    }
  }

  #tell(message: ConnectionMessage): void {
    if (this.#address !== '') this.#host.system.tell(this.#address, message)
  }

  #say(message: DocumentRequest): void {
    this.#tell({ type: 'connection.receive', message })
    if (++this.#sent >= pulseMessages) this.#pulse()
  }

  /** Until it has taken in what was sent, the document is sent nothing more. */
  #pulse(): void {
    if (this.#isPulsing) return
    this.#isPulsing = true
    const goOn = () => {
      this.#isPulsing = false
      this.#sent = 0
      if (this.#state === 'live') this.#release()
    }
    this.#host.system.ask(this.#address, { type: 'connection.pulse' } satisfies ConnectionMessage, { timeoutMs: 30_000 }).then(goOn, goOn)
  }

  #synchronise(): void {
    this.#say({ type: 'document.sync', stateVector: Y.encodeStateVector(this.doc) })
  }

  #lost(code: ErrorCode, detail: string): void {
    const reason = new TroupeError(code, detail === '' ? undefined : detail)
    // Whoever opens it can try again; who is in it already comes back by itself.
    if (!errorTable[code].retry || this.#opened !== undefined) return this.leave(reason)
    this.#state = 'connecting'
    this.#address = ''
    this.#host.world.log.info({ document: this.#document, code }, 'an agent has lost its document and comes back')
    this.#cancelReconnect = this.#host.world.clock.after(reconnectMs, () => this.#connect())
  }

  // ── what it says ───────────────────────────────────────────────────────────────────────────────────────────────

  #change(update: Uint8Array): void {
    this.#changes++
    if (this.#state !== 'live') return // goes with the answer to what the document has
    if (!this.#isPulsing) return this.#say({ type: 'document.update', update, isAnswer: false })
    this.#held ??= { update, vector: Y.encodeStateVector(this.doc) }
  }

  /** What was held back, as one change, and the barriers that came behind it. */
  #release(): void {
    const held = this.#held
    this.#held = undefined
    if (held !== undefined) {
      const update = Y.mergeUpdates([held.update, Y.encodeStateAsUpdate(this.doc, held.vector)])
      this.#say({ type: 'document.update', update, isAnswer: false })
    }
    for (const number of this.#saving.keys()) this.#ask(number)
  }

  #ask(number: number): void {
    if (!this.#isPulsing || this.#held === undefined) this.#say({ type: 'document.barrier', payload: Uint8Array.of(...digits(number)) })
  }

  #present(): void {
    const update = encodeAwarenessUpdate(this.awareness, [this.doc.clientID])
    this.#say({ type: 'document.awareness', update })
  }

  // ── what it hears ──────────────────────────────────────────────────────────────────────────────────────────────

  #receive({ parts }: Publication): void {
    try {
      for (const part of parts) if (this.#state !== 'ended') this.#hear(part)
    } catch (error) {
      // Yjs, or an observer of the program: in the middle of a change, so this copy is not to be trusted any more.
      this.#host.world.log.error({ document: this.#document, error: String(error) }, 'an agent failed and leaves its document')
      this.leave(new TroupeError('document.unavailable', 'the agent failed', { cause: error }))
    }
  }

  #hear({ kind, bytes }: Part): void {
    switch (kind) {
      case 'update':
      case 'state':
        Y.applyUpdate(this.doc, bytes, this)
        return
      case 'vector':
        return this.#answer(bytes)
      case 'awareness':
        applyAwarenessUpdate(this.awareness, bytes, this)
        return
      case 'refused':
        // It goes on from a copy that nobody else has.
        return this.leave(reasonOf(decoder.decode(bytes)))
      case 'barrier': {
        const number = numberOf(bytes)
        const saving = this.#saving.get(number)
        this.#saving.delete(number)
        if (saving !== undefined) this.#savedChanges = Math.max(this.#savedChanges, saving.changes)
        saving?.resolve()
        return
      }
      case 'access':
        this.#access = decoder.decode(bytes) as DocumentAccess // the only texts of this part
        return
      case 'stateless': {
        const payload = decoder.decode(bytes)
        for (const listener of [...this.#statelessListeners]) listener(payload)
        return
      }
      case 'saved':
      case 'epoch':
        return
    }
  }

  /** What the document lacks; the first time, the agent is there from now on. */
  #answer(vector: Uint8Array): void {
    this.#say({ type: 'document.update', update: Y.encodeStateAsUpdate(this.doc, vector), isAnswer: true })
    if (this.#state === 'live') return
    this.#state = 'live'
    // Anew, or whoever has seen it leave would take it for news of before.
    const presence = this.awareness.getLocalState()
    if (presence !== null) this.awareness.setLocalState(presence)
    for (const number of this.#saving.keys()) this.#ask(number)
    this.#opened?.resolve()
    this.#opened = undefined
  }
}

const digits = (number: number): readonly number[] => [number & 255, (number >> 8) & 255, (number >> 16) & 255, (number >> 24) & 127]
const numberOf = (bytes: Uint8Array): number => bytes.reduceRight((sum, byte) => sum * 256 + byte, 0)

/** Of a part `refused`. */
const reasonOf = (text: string): TroupeError => {
  const end = text.indexOf(': ')
  const [code, detail] = end < 0 ? [text, ''] : [text.slice(0, end), text.slice(end + 2)]
  return code in errorTable ? new TroupeError(code as ErrorCode, detail) : new TroupeError('document.invalid', text)
}
