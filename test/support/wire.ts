/**
 * A client that speaks the wire of y-websocket by itself, so that a test sees each message, can send what no stock client
 * would, and knows exactly what the server has acknowledged.
 *
 * What counts as acknowledged: a live update that came back, be it one's own or that of somebody else. The updates that
 * answer a request are no promise of the server, so those that come before the end of the answer are not counted.
 */
import * as decoding from 'lib0/decoding'
import * as encoding from 'lib0/encoding'
import { WebSocket } from 'ws'
import * as Y from 'yjs'
import { until } from './wait.ts'

const message = (numbers: readonly number[], block?: Uint8Array): Uint8Array =>
  encoding.encode((encoder) => {
    for (const number of numbers) encoding.writeVarUint(encoder, number)
    if (block !== undefined) encoding.writeVarUint8Array(encoder, block)
  })

export const wire = {
  step1: (vector: Uint8Array) => message([0, 0], vector),
  step2: (update: Uint8Array) => message([0, 1], update),
  update: (update: Uint8Array) => message([0, 2], update),
  awareness: (update: Uint8Array) => message([1], update),
  query: () => message([3]),
}

/** The state of somebody who has nothing. */
export const emptyVector = Uint8Array.of(0)

export interface Presence {
  readonly client: number
  readonly clock: number
  /** JSON text. */
  readonly state: string
}

export const encodePresence = (entries: readonly Presence[]): Uint8Array =>
  encoding.encode((encoder) => {
    encoding.writeVarUint(encoder, entries.length)
    for (const { client, clock, state } of entries) {
      encoding.writeVarUint(encoder, client)
      encoding.writeVarUint(encoder, clock)
      encoding.writeVarString(encoder, state)
    }
  })

const decodePresence = (update: Uint8Array): Presence[] => {
  const decoder = decoding.createDecoder(update)
  return Array.from({ length: decoding.readVarUint(decoder) }, () => ({
    client: decoding.readVarUint(decoder),
    clock: decoding.readVarUint(decoder),
    state: decoding.readVarString(decoder),
  }))
}

export interface Closing {
  readonly code: number
  readonly reason: string
}

export interface WireOptions {
  readonly doc?: Y.Doc
  /** Comes back when the connection is lost, as editors do. Default false. */
  readonly isPersistent?: boolean
  /** Applies nothing that it hears: for updates that would harm this process. Default false. */
  readonly isBlind?: boolean
  readonly headers?: Record<string, string>
}

/** Between two attempts to connect; stock editors begin with 100. */
const reconnectMs = 25

const open = new Set<WireClient>()

export const closeWires = (): void => {
  for (const client of [...open]) client.close()
}

export class WireClient {
  readonly doc: Y.Doc
  readonly text: Y.Text
  /** What the server sent as on disk, in order. */
  readonly acknowledged: Uint8Array[] = []
  /** What others say of themselves, by client id. */
  readonly presence = new Map<number, Presence>()
  /** How often each kind of message came. */
  readonly heard = { vectors: 0, answers: 0, updates: 0, awareness: 0 }
  readonly closings: Closing[] = []
  isSynced = false
  /** How far the clocks of each client go in what came. */
  readonly clocks = new Map<number, number>()
  /** Clocks of our own that came back, without a hole. */
  savedClock = 0
  readonly #url: string
  readonly #options: WireOptions
  #socket: WebSocket | undefined
  #isWanted = true
  readonly #sendOwn = (update: Uint8Array, origin: unknown): void => {
    if (origin !== this && this.isOpen) this.send(wire.update(update))
  }

  constructor(url: string, options: WireOptions = {}) {
    this.#url = url
    this.#options = options
    this.doc = options.doc ?? new Y.Doc()
    this.text = this.doc.getText('text')
    this.doc.on('update', this.#sendOwn)
    open.add(this)
    this.#connect()
  }

  get isOpen(): boolean {
    return this.#socket?.readyState === WebSocket.OPEN
  }

  /** For what no client does. */
  get socket(): WebSocket {
    if (this.#socket === undefined) throw new Error('the client is closed')
    return this.#socket
  }

  /** All that this client wrote has come back. */
  get isSaved(): boolean {
    return this.savedClock >= Y.getState(this.doc.store, this.doc.clientID)
  }

  send(frame: Uint8Array): void {
    this.socket.send(frame)
  }

  async synced(): Promise<this> {
    await until(() => this.isSynced, `the synchronisation of ${this.#url}`)
    return this
  }

  closed(): Promise<Closing> {
    return until(() => this.closings.length > 0, `the end of the connection to ${this.#url}`).then(() => this.closings[0] as Closing)
  }

  /** Writes something and resolves with the milliseconds until it is acknowledged. */
  async edit(text = 'x'): Promise<number> {
    const began = performance.now()
    this.text.insert(this.text.length, text)
    await until(() => this.isSaved, `the acknowledgement of an edit at ${this.#url}`)
    return performance.now() - began
  }

  /** Goes offline. Edits are kept and brought along by `connect`. */
  disconnect(): void {
    this.#isWanted = false
    this.#socket?.terminate()
  }

  connect(): void {
    this.#isWanted = true
    this.#connect()
  }

  close(): void {
    open.delete(this)
    this.doc.off('update', this.#sendOwn)
    this.disconnect()
  }

  #connect(): void {
    const socket = new WebSocket(this.#url, { headers: this.#options.headers ?? {}, perMessageDeflate: false })
    this.#socket = socket
    this.isSynced = false
    socket.on('error', () => undefined) // 'close' follows
    socket.on('open', () => this.send(wire.step1(Y.encodeStateVector(this.doc))))
    socket.on('message', (data: Buffer) => this.#receive(data))
    socket.on('close', (code, reason) => {
      if (socket !== this.#socket) return
      this.closings.push({ code, reason: reason.toString() })
      this.isSynced = false
      const isForGood = code >= 4400 && code < 4500
      if (this.#isWanted && this.#options.isPersistent === true && !isForGood) {
        setTimeout(() => this.#isWanted && this.#connect(), reconnectMs)
      }
    })
  }

  #receive(frame: Uint8Array): void {
    const decoder = decoding.createDecoder(frame)
    if (decoding.readVarUint(decoder) === 1) {
      this.heard.awareness++
      for (const entry of decodePresence(decoding.readVarUint8Array(decoder))) this.presence.set(entry.client, entry)
      return
    }
    const kind = decoding.readVarUint(decoder)
    const block = decoding.readVarUint8Array(decoder)
    if (kind === 0) {
      this.heard.vectors++
      this.send(wire.step2(Y.encodeStateAsUpdate(this.doc, block)))
      return
    }
    this.heard[kind === 1 ? 'answers' : 'updates']++
    for (const [client, clock] of Y.parseUpdateMeta(block).to) this.clocks.set(client, Math.max(this.clocks.get(client) ?? 0, clock))
    if (kind === 2 && this.isSynced) this.#acknowledge(block.slice())
    if (this.#options.isBlind !== true) Y.applyUpdate(this.doc, block, this)
    if (kind === 1) this.isSynced = true
  }

  #acknowledge(update: Uint8Array): void {
    this.acknowledged.push(update)
    const { from, to } = Y.parseUpdateMeta(update)
    const { clientID } = this.doc
    if ((from.get(clientID) ?? Number.POSITIVE_INFINITY) <= this.savedClock)
      this.savedClock = Math.max(this.savedClock, to.get(clientID) ?? 0)
  }
}
