/**
 * A simulated editor: a document with the provider of y-websocket 3.1 (`src/y-websocket.js`), line by line where it
 * matters, on a simulated socket and a simulated clock. Awareness is that of y-protocols; its timer is run here.
 *
 * One that wants receipts counts its changes as HocuspocusProvider 4.8 does (`unsyncedChanges`), but for one thing: it asks anew
 * only when it waits for nothing, for receipts that are on the way while it does would count twice.
 */
import * as decoding from 'lib0/decoding'
import * as encoding from 'lib0/encoding'
import { Awareness, applyAwarenessUpdate, encodeAwarenessUpdate, removeAwarenessStates } from 'y-protocols/awareness'
import * as syncProtocol from 'y-protocols/sync'
import * as Y from 'yjs'
import type { Cancel } from '../../actors/world.ts'
import type { Events } from './events.ts'
import { type ClientSide, receipt, type Socket } from './network.ts'
import type { Content } from './ranges.ts'

/** `outdatedTimeout` of y-protocols, and `messageReconnectTimeout` of y-websocket. */
const timeoutMs = 30_000
const checkMs = timeoutMs / 10
const maxBackoffMs = 2_500

export interface EditorHost {
  readonly events: Events
  connect(editor: Editor, client: ClientSide): Socket
  note(text: string): void
  /** An update came that is no answer. */
  heardUpdate(editor: Editor, update: Uint8Array): void
  /** The document is synchronised; `due` must be in it. */
  synchronised(editor: Editor, due: Content): void
  /** It shows that all is saved; `updates` were counted since it last did. */
  saved(editor: Editor, updates: readonly Uint8Array[]): void
  /** A receipt came for nothing, or said that a change was refused. */
  badReceipt(editor: Editor, what: string): void
  /** A close code for good. */
  refused(editor: Editor, code: number): void
  watchdog(editor: Editor): void
  /** Learned, from outside of the provider. */
  changed(editor: Editor, update: Uint8Array): void
}

interface AwarenessChange {
  readonly added: number[]
  readonly updated: number[]
  readonly removed: number[]
}

const frame = (write: (encoder: encoding.Encoder) => void): Uint8Array => encoding.encode(write)

export class Editor {
  readonly name: string
  readonly document: string
  readonly doc: Y.Doc
  readonly awareness: Awareness
  readonly #host: EditorHost
  socket: Socket | undefined
  /** Its process gets no time. */
  isFrozen = false
  shouldConnect = false
  isSynced = false
  /** Next changes are not sent. */
  isWithholding = false
  /** Has learned something whose predecessors it has not. */
  hasHoles = false
  /** Answers to "what do I lack?", and updates with something of its own. */
  answers = 0
  echoes = 0
  isDestroyed = false
  readonly wantsReceipts: boolean
  /** Changes that it counts as not saved. */
  unsynced = 0
  /** Frames that are no updates; each is refused. */
  #garbage = 0
  #counted: Uint8Array[] = []
  #isConnected = false
  #attempts = 0
  #heardAt = 0
  #cancel: Cancel[] = []

  constructor(host: EditorHost, name: string, document: string, clientID: number, phaseMs: number, wantsReceipts: boolean) {
    this.wantsReceipts = wantsReceipts
    this.#host = host
    this.name = name
    this.document = document
    this.doc = new Y.Doc()
    this.doc.clientID = clientID
    this.awareness = new Awareness(this.doc)
    clearInterval(this.awareness._checkInterval as NodeJS.Timeout)
    this.doc.on('update', (update: Uint8Array, origin: unknown) => this.#changed(update, origin))
    this.awareness.on('update', (change: AwarenessChange) => this.#awarenessChanged(change))
    this.#stamp([clientID])
    this.#every(phaseMs, () => this.#checkAwareness())
    this.#every(phaseMs / 2, () => this.#checkConnection())
  }

  get isOnline(): boolean {
    return this.#isConnected
  }

  get hasPending(): boolean {
    return this.doc.store.pendingStructs !== null || this.doc.store.pendingDs !== null
  }

  connect(): void {
    this.shouldConnect = true
    if (this.socket === undefined) this.#setUp()
  }

  disconnect(): void {
    this.shouldConnect = false
    this.#send(this.#ownAwareness(new Map()))
    if (this.socket !== undefined) this.#close(undefined, true)
  }

  /** The network has changed: the socket is forgotten, the server is not told, and a new one is opened. */
  roam(): void {
    this.socket?.vanish()
    if (this.socket !== undefined) this.#close(undefined, false)
  }

  /** The page is closed. `isSilent`: by a crash. */
  destroy(isSilent: boolean): void {
    this.isDestroyed = true
    for (const cancel of this.#cancel) cancel()
    if (isSilent) this.socket?.vanish()
    else this.disconnect()
    this.shouldConnect = false
    this.socket = undefined
  }

  freeze(): void {
    this.isFrozen = true
    this.socket?.freeze()
  }

  thaw(): void {
    this.isFrozen = false
    this.socket?.thaw()
  }

  /** Sends a frame that looks like an update and is none. */
  sendGarbage(bytes: Uint8Array): void {
    this.#garbage++
    this.#send(bytes)
  }

  sendUpdate(update: Uint8Array): void {
    if (this.wantsReceipts && this.#isSending) {
      this.unsynced++
      this.#counted.push(update)
    }
    this.#send(
      frame((encoder) => {
        encoding.writeVarUint(encoder, 0)
        syncProtocol.writeUpdate(encoder, update)
      }),
    )
  }

  /** "What do I lack?", as `resyncInterval` of the provider asks. */
  resync(): void {
    if (this.wantsReceipts && this.#isSending) {
      if (this.unsynced > 0) return
      this.unsynced = 1
    }
    this.#send(
      frame((encoder) => {
        encoding.writeVarUint(encoder, 0)
        syncProtocol.writeSyncStep1(encoder, this.doc)
      }),
    )
  }

  setState(state: Record<string, unknown> | null): void {
    this.awareness.setLocalState(state)
  }

  // ── the provider ───────────────────────────────────────────────────────────────────────────────────────────────

  #setUp(): void {
    if (!this.shouldConnect || this.socket !== undefined) return
    this.isSynced = false
    const socket: Socket = this.#host.connect(this, {
      opened: () => this.#opened(socket),
      received: (bytes, isAnswer, due) => this.#received(socket, bytes, isAnswer, due),
      closed: (code) => {
        if (this.socket === socket) this.#close(code, true)
      },
    })
    this.socket = socket
    if (this.isFrozen) socket.freeze()
  }

  #opened(socket: Socket): void {
    if (this.socket !== socket) return
    this.#heardAt = this.#host.events.now
    this.#isConnected = true
    this.unsynced = 0
    this.#counted = []
    this.#garbage = 0
    this.resync()
    if (this.awareness.getLocalState() !== null) this.#send(this.#ownAwareness())
  }

  #close(code: number | undefined, isTold: boolean): void {
    const socket = this.socket
    this.socket = undefined
    if (isTold) socket?.end()
    if (this.#isConnected) {
      this.#isConnected = false
      this.isSynced = false
      const others = [...this.awareness.getStates().keys()].filter((client) => client !== this.doc.clientID)
      removeAwarenessStates(this.awareness, others, this)
    }
    this.#attempts++
    if (code !== undefined && code >= 4400 && code < 4500) {
      this.shouldConnect = false
      this.#host.refused(this, code)
    }
    this.#host.events.after(Math.min(2 ** this.#attempts * 100, maxBackoffMs), () => this.isDestroyed || this.#setUp())
  }

  #received(socket: Socket, bytes: Uint8Array, isAnswer: boolean, due: Content | undefined): void {
    if (this.socket !== socket) return
    this.#heardAt = this.#host.events.now
    const decoder = decoding.createDecoder(bytes)
    const kind = decoding.readVarUint(decoder)
    if (kind === 1) {
      applyAwarenessUpdate(this.awareness, decoding.readVarUint8Array(decoder), this)
      return
    }
    if (kind === receipt) return this.#hearReceipt(decoding.readVarUint(decoder) === 1)
    if (kind !== 0) return
    const syncKind = decoding.readVarUint(decoder)
    const payload = decoding.readVarUint8Array(decoder)
    if (syncKind === 0) {
      this.#send(
        frame((encoder) => {
          encoding.writeVarUint(encoder, 0)
          syncProtocol.writeSyncStep2(encoder, this.doc, payload)
        }),
      )
      return
    }
    Y.applyUpdate(this.doc, payload, this)
    if (syncKind === 1) {
      this.isSynced = true
      this.answers++
      this.#attempts = 0
      if (due !== undefined) this.#host.synchronised(this, due)
    } else if (!isAnswer) this.#host.heardUpdate(this, payload)
  }

  #changed(update: Uint8Array, origin: unknown): void {
    if (origin === this) return
    this.#host.changed(this, update)
    if (!this.isWithholding) this.sendUpdate(update)
  }

  #awarenessChanged({ added, updated, removed }: AwarenessChange): void {
    const changed = [...added, ...updated, ...removed]
    this.#stamp(changed)
    this.#send(
      frame((encoder) => {
        encoding.writeVarUint(encoder, 1)
        encoding.writeVarUint8Array(encoder, encodeAwarenessUpdate(this.awareness, changed))
      }),
    )
  }

  #ownAwareness(states = this.awareness.states): Uint8Array {
    return frame((encoder) => {
      encoding.writeVarUint(encoder, 1)
      encoding.writeVarUint8Array(encoder, encodeAwarenessUpdate(this.awareness, [this.doc.clientID], states))
    })
  }

  #hearReceipt(isSaved: boolean): void {
    if (!isSaved) return this.#garbage-- > 0 ? undefined : this.#host.badReceipt(this, 'a change is refused')
    if (this.unsynced === 0) return this.#host.badReceipt(this, 'a receipt too many')
    this.unsynced--
    if (this.unsynced === 0) this.#host.saved(this, this.#counted.splice(0))
  }

  get #isSending(): boolean {
    return this.#isConnected && this.socket?.isOpen === true
  }

  #send(bytes: Uint8Array): void {
    if (this.#isSending) this.socket?.write(bytes)
  }

  #checkConnection(): void {
    if (this.isFrozen || !this.#isConnected || this.#host.events.now - this.#heardAt <= timeoutMs) return
    this.#host.watchdog(this)
    this.#close(undefined, true)
  }

  // ── the timer of awareness ─────────────────────────────────────────────────────────────────────────────────────

  #checkAwareness(): void {
    if (this.isFrozen) return
    const { awareness } = this
    const { now } = this.#host.events
    const own = awareness.meta.get(awareness.clientID)
    if (awareness.getLocalState() !== null && own !== undefined && timeoutMs / 2 <= now - own.lastUpdated) {
      awareness.setLocalState(awareness.getLocalState())
    }
    const silent: number[] = []
    for (const [client, { lastUpdated }] of awareness.meta) {
      if (client !== awareness.clientID && timeoutMs <= now - lastUpdated && awareness.states.has(client)) silent.push(client)
    }
    if (silent.length > 0) removeAwarenessStates(awareness, silent, 'timeout')
  }

  /** y-protocols takes the time of the machine. */
  #stamp(clients: readonly number[]): void {
    for (const client of clients) {
      const meta = this.awareness.meta.get(client)
      if (meta !== undefined) meta.lastUpdated = this.#host.events.now
    }
  }

  #every(phaseMs: number, check: () => void): void {
    let isOver = false
    const next = () => {
      if (isOver) return
      check()
      this.#host.events.after(checkMs, next)
    }
    this.#host.events.after(phaseMs, next)
    this.#cancel.push(() => {
      isOver = true
    })
  }
}
