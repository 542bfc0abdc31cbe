/**
 * `troupe/client`: a document in a browser (or in Node), with what the stock providers leave out: whether one's changes are on the
 * server's disk, a token that is asked for anew at each connection, and a way on when the server refuses the local history.
 *
 *   const shared = await openDocument({ url: 'wss://example.org', name: 'notes/today', token: () => fetchToken() })
 *   shared.on('state', (state) => show(state))            // connecting, saving, saved, stopped
 *   shared.on('storage', (error) => warn(error))          // the server's disk refuses what is written; undefined: no more
 *   shared.on('reset', ({ doc, lost }) => bindEditor(doc))
 *
 * Below it is the unmodified `WebsocketProvider` of y-websocket 3.1: `provider`, `awareness` and `doc` are as everywhere. Three more
 * message types are spoken, all answered by Troupe alone (docs/wire/yjs.md): 102, which comes back when all that was sent before it is on
 * disk, 103, which brings the epoch of the document, and 104, which tells whether the server's disk takes what is written.
 */
import * as decoding from 'lib0/decoding'
import * as encoding from 'lib0/encoding'
import { ObservableV2 } from 'lib0/observable'
import type { Awareness } from 'y-protocols/awareness'
import { WebsocketProvider } from 'y-websocket'
import * as Y from 'yjs'

/** What a browser keeps of a document; `IndexeddbPersistence` of y-indexeddb fits. */
export interface Persistence {
  readonly whenSynced: Promise<unknown>
  get(key: string): Promise<unknown>
  set(key: string, value: string): Promise<unknown>
  clearData(): Promise<unknown>
  destroy(): Promise<unknown> | void
}

export interface OpenOptions {
  /** `wss://host[:port]`, without a path. */
  readonly url: string
  readonly name: string
  /** Asked for before each connection; where it rejects, again after a while. */
  readonly token?: string | (() => string | Promise<string>)
  /** `(name, doc) => new IndexeddbPersistence(name, doc)` */
  readonly persist?: (name: string, doc: Y.Doc) => Persistence
  /** Further options of the provider: `WebSocketPolyfill`, `maxBackoffTime`, `disableBc`. */
  readonly provider?: Omit<NonNullable<ConstructorParameters<typeof WebsocketProvider>[3]>, 'params' | 'connect' | 'shouldReconnect'>
}

/**
 * `connecting`: what is typed waits; `saving`: it is on its way; `saved`: all of it is on the server's disk; `stopped`: the server
 * refuses this client for good, or `close` was called.
 */
export type DocumentState = 'connecting' | 'saving' | 'saved' | 'stopped'

/** Why the server refuses: a close code of docs/wire/yjs.md and `code: detail`. */
export interface Closed {
  readonly code: number
  readonly reason: string
}

/** The local history is no more; `doc` is the one to go on with, `lost` the old one, with whatever had not been saved. */
export interface Reset extends Closed {
  readonly doc: Y.Doc
  readonly lost: Y.Doc
}

interface Events {
  state: (state: DocumentState) => void
  /** An error code, `storage.full` for instance; undefined: the disk accepts again, or the connection is gone. */
  storage: (error: string | undefined) => void
  reset: (reset: Reset) => void
  /** The server refuses this client for good: log in again, choose another document. */
  closed: (closed: Closed) => void
}

const messageSync = 0
const messageSaved = 102
const messageEpoch = 103
const messageStorage = 104
const syncStep1 = 0
const epochKey = 'troupe.epoch'
/** Between two connections, and between two tries to have a token; doubled each time. */
const firstWaitMs = 200
const longestWaitMs = 30_000
/** The local copy has a history that the server does not want (4409) or has refused a change of it (4422): begin anew with an empty one. */
const staleCodes: ReadonlySet<number> = new Set([4409, 4422])

export const openDocument = async (options: OpenOptions): Promise<SharedDocument> => {
  const shared = new SharedDocument(options)
  await shared.open()
  return shared
}

export class SharedDocument extends ObservableV2<Events> {
  doc = new Y.Doc()
  state: DocumentState = 'connecting'
  /** Undefined until the document has one. */
  epoch: string | undefined
  /** Why the server cannot store what is written at the moment: it keeps it and tries again. Undefined: it can. */
  storageError: string | undefined
  readonly #options: OpenOptions
  #provider: WebsocketProvider | undefined
  #persistence: Persistence | undefined
  /** Local changes so far, and how many of them the server has on disk. */
  #changes = 0
  #savedChanges = 0
  /** The barrier on its way covers so many; undefined: there is none. */
  #asked: number | undefined
  #isReady = false
  #timer: ReturnType<typeof setTimeout> | undefined
  /** The one that is used, and the last one that ran out: the same again would be refused again, for ever. */
  #token: string | undefined
  #expired: string | undefined

  constructor(options: OpenOptions) {
    super()
    this.#options = options
  }

  /** Loads what the browser kept, then connects. Called by `openDocument`. */
  async open(): Promise<void> {
    const { name, persist } = this.#options
    const persistence = persist?.(name, this.doc)
    this.#persistence = persistence
    if (persistence !== undefined) {
      await persistence.whenSynced
      const known = await persistence.get(epochKey)
      this.epoch = typeof known === 'string' && known !== '' ? known : undefined
    }
    if (this.state !== 'stopped') this.#connect() // it was closed meanwhile
  }

  get provider(): WebsocketProvider {
    if (this.#provider === undefined) throw new Error('the document is not open yet')
    return this.#provider
  }

  get awareness(): Awareness {
    return this.provider.awareness
  }

  /** Resolves when everything that was changed so far is on the server's disk. Rejects when the server refuses this client. */
  saved(): Promise<void> {
    if (this.state === 'saved') return Promise.resolve()
    return new Promise((resolve, reject) => {
      const heard = (state: DocumentState) => {
        if (state !== 'saved' && state !== 'stopped') return
        this.off('state', heard)
        if (state === 'saved') resolve()
        else reject(new Error('the document was closed before its changes were saved'))
      }
      if (this.state === 'stopped') reject(new Error('the document is closed'))
      else this.on('state', heard)
    })
  }

  async close(): Promise<void> {
    this.#disconnect()
    this.#become('stopped')
    await this.#persistence?.destroy()
    this.destroy()
  }

  #connect(): void {
    const { url, name, token, provider: given = {} } = this.#options
    const { doc } = this
    const path = name.split('/').map(encodeURIComponent).join('/')
    const provider = new WebsocketProvider(`${url.replace(/\/+$/, '')}/docs`, path, doc, {
      ...given,
      params: {},
      connect: false,
      shouldReconnect: ({ code, reason }) => code < 4400 || code >= 4500 || this.#expires(code, reason),
    })
    this.#provider = provider
    this.#speak(provider)
    doc.on('update', this.#changed)
    provider.on('sync', (isSynced) => {
      if (!isSynced) this.#lost()
    })
    provider.on('status', ({ status }) => {
      if (status === 'disconnected') this.#lost()
    })
    provider.on('closed', this.#refused)
    provider.on('connection-close', () => {
      if (typeof token !== 'function' || !provider.shouldConnect) return
      // By itself it would come back with the token of the last time, be refused as expired, and stay away for good.
      provider.shouldConnect = false
      this.#enter(provider, Math.min(firstWaitMs * 2 ** provider.wsUnsuccessfulReconnects, provider.maxBackoffTime))
    })
    this.#enter(provider, 0)
  }

  /** Connects with a token, not before the wait is over. A browser that is offline has none: it is asked again. */
  #enter(provider: WebsocketProvider, waitMs: number): void {
    const { token } = this.#options
    const asked = async () => (typeof token === 'function' ? token() : token)
    const waited = new Promise<void>((resolve) => {
      this.#timer = setTimeout(resolve, waitMs)
    })
    const connect = (word: string | undefined) => {
      if (word !== undefined && word === this.#expired) return this.#refused({ code: 4401, reason: 'auth.expired' })
      this.#token = word
      provider.params = { ...(word === undefined ? {} : { token: word }), ...(this.epoch === undefined ? {} : { epoch: this.epoch }) }
      provider.connect()
    }
    Promise.allSettled([asked(), waited]).then(([answer]) => {
      if (this.#provider !== provider) return
      if (answer.status === 'fulfilled') connect(answer.value)
      else this.#enter(provider, Math.min(longestWaitMs, Math.max(firstWaitMs, 2 * waitMs)))
    })
  }

  /** The token has run out; whoever can ask for another one comes back with it. */
  #expires(code: number, reason: string): boolean {
    if (code !== 4401 || !reason.startsWith('auth.expired') || typeof this.#options.token !== 'function') return false
    this.#expired = this.#token
    return true
  }

  /** Adds the two messages to those that the provider knows. */
  #speak(provider: WebsocketProvider): void {
    const sync = provider.messageHandlers[messageSync]
    provider.messageHandlers[messageSync] = (encoder, decoder, of, emitSynced, type) => {
      const kind = decoding.peekVarUint(decoder)
      sync?.(encoder, decoder, of, emitSynced, type)
      // The answer to the server's question leaves after this handler: only then a barrier stands behind all that is here.
      if (kind === syncStep1 && emitSynced) queueMicrotask(() => this.#ready(provider))
    }
    provider.messageHandlers[messageSaved] = (_encoder, decoder) =>
      this.#heardSaved(decoding.readVarUint(decoding.createDecoder(decoding.readVarUint8Array(decoder))))
    provider.messageHandlers[messageEpoch] = (_encoder, decoder) => {
      const bytes = decoding.readVarUint8Array(decoder)
      this.#heardEpoch(new TextDecoder().decode(bytes))
    }
    provider.messageHandlers[messageStorage] = (_encoder, decoder) => {
      const code = new TextDecoder().decode(decoding.readVarUint8Array(decoder))
      this.#storageIs(code === '' ? undefined : code)
    }
  }

  readonly #changed = (_update: Uint8Array, origin: unknown): void => {
    if (origin === this.#provider || origin === this.#persistence) return
    this.#changes++
    if (this.state === 'saved') this.#become('saving')
    if (this.#isReady) this.#ask()
  }

  #ready(provider: WebsocketProvider): void {
    if (provider !== this.#provider || this.#isReady) return
    this.#isReady = true
    this.#become('saving')
    provider.ws?.send(frame(messageStorage, new Uint8Array(0)))
    this.#ask()
  }

  #lost(): void {
    this.#isReady = false
    this.#asked = undefined
    this.#storageIs(undefined)
    if (this.state !== 'stopped') this.#become('connecting')
  }

  #ask(): void {
    const { ws } = this.provider
    if (this.#asked !== undefined || ws === null || ws.readyState !== ws.OPEN) return
    this.#asked = this.#changes
    ws.send(
      frame(
        messageSaved,
        encoding.encode((encoder) => encoding.writeVarUint(encoder, this.#changes)),
      ),
    )
  }

  #heardSaved(changes: number): void {
    if (this.#asked === undefined) return
    this.#asked = undefined
    this.#savedChanges = changes
    if (this.#savedChanges < this.#changes) return this.#ask()
    this.#become('saved')
    if (this.epoch === undefined) this.provider.ws?.send(frame(messageEpoch, new Uint8Array(0)))
  }

  #heardEpoch(epoch: string): void {
    if (epoch === '') return // it has none before its first change
    this.epoch = epoch
    this.provider.params = { ...this.provider.params, epoch }
    // Unsaved, it is learnt again; a copy that says no epoch is still known by its state vector.
    this.#persistence?.set(epochKey, epoch).catch(() => {})
  }

  readonly #refused = (closed: Closed): void => {
    this.#disconnect()
    if (!staleCodes.has(closed.code)) return this.#stop(closed)
    // Where the browser does not let go of the old copy, going on would bring it back with the next visit.
    this.#beginAnew(closed).catch(() => this.#stop(closed))
  }

  #stop(closed: Closed): void {
    this.#become('stopped')
    this.emit('closed', [closed])
  }

  async #beginAnew(closed: Closed): Promise<void> {
    const lost = this.doc
    await this.#persistence?.clearData()
    if (this.state === 'stopped') return // it was closed meanwhile
    this.doc = new Y.Doc()
    this.epoch = undefined
    this.#changes = 0
    this.#become('connecting')
    await this.open()
    this.emit('reset', [{ ...closed, doc: this.doc, lost }])
  }

  #disconnect(): void {
    this.#isReady = false
    this.#asked = undefined
    this.#storageIs(undefined)
    clearTimeout(this.#timer)
    this.doc.off('update', this.#changed)
    this.#provider?.destroy()
    // Left alone it looks for clients that are gone every few seconds, and holds the document, for as long as the page lives.
    if (this.#options.provider?.awareness === undefined) this.#provider?.awareness.destroy()
    this.#provider = undefined
  }

  #storageIs(error: string | undefined): void {
    if (error === this.storageError) return
    this.storageError = error
    this.emit('storage', [error])
  }

  #become(state: DocumentState): void {
    if (state === this.state) return
    this.state = state
    this.emit('state', [state])
  }
}

const frame = (type: number, payload: Uint8Array): Uint8Array<ArrayBuffer> => {
  const encoder = encoding.createEncoder()
  encoding.writeVarUint(encoder, type)
  encoding.writeVarUint8Array(encoder, payload)
  return encoding.toUint8Array(encoder) as Uint8Array<ArrayBuffer> // lib0 makes its own buffers
}
