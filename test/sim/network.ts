/**
 * Simulated sockets: in order and without loss in each direction, as TCP is, until one is cut; then nothing passes and
 * nobody is told. What the network has not taken waits on the server's side, as in a socket that is not read.
 */

import type { ErrorCode } from '../../actors/errors.ts'
import type { Part, Publication } from '../../actors/publication.ts'
import type { Sink } from '../../actors/socketLife.ts'
import { closeOf } from '../../src/doors/closeCodes.ts'
import { yjsDoor } from '../../src/doors/yjs.ts'
import type { SeededRandom } from '../support/world.ts'
import type { Events } from './events.ts'
import type { Content } from './ranges.ts'

/** The client's side. */
export interface ClientSide {
  opened(): void
  /** `due`: for the last frame of an answer, what must have come by then. */
  received(frame: Uint8Array, isAnswer: boolean, due: Content | undefined): void
  /** 1006: no close frame came. */
  closed(code: number): void
}

/** The server's side. */
export interface ServerSide {
  received(frame: Uint8Array): void
  pong(): void
  drained(): void
  gone(): void
  sent(publication: Publication): Content | undefined
  terminated(isCut: boolean): void
}

export interface Listener {
  /** Undefined when nobody listens. */
  accept(socket: Socket): ServerSide | undefined
}

export interface LinkOptions {
  readonly latencyMs: () => number
  /** What the network takes before the client has read it. */
  readonly windowBytes: number
  /** Frames of answers are written when less than this waits. */
  readonly answerAheadBytes: number
  /** The client takes this long for each frame. */
  readonly readMs: number
  /** The client counts its changes and is told of each that it is saved. */
  readonly wantsReceipts: boolean
}

type Up = { readonly kind: 'frame'; readonly frame: Uint8Array } | { readonly kind: 'pong' } | { readonly kind: 'closing' }

type Down =
  | {
      readonly kind: 'frame'
      readonly bytes: number
      readonly frame: Uint8Array
      readonly isAnswer: boolean
      readonly due: Content | undefined
    }
  | { readonly kind: 'ping'; readonly bytes: number }
  | { readonly kind: 'close'; readonly bytes: number; readonly code: number }

const headerBytes = 4
const closeGraceMs = 2_000
/** After this long, an attempt to connect has failed. */
const connectTimeoutMs = 20_000

/** Receipts have no frame on the wire of y-websocket; here they have one of a number that it does not use. */
export const receipt = 100

const encode = (part: Part): Uint8Array => {
  if (part.kind === 'saved' || part.kind === 'refused') return Uint8Array.of(receipt, part.kind === 'saved' ? 1 : 0)
  const head = yjsDoor.head(part) ?? new Uint8Array(0) // this simulation has no parts that the door passes over
  const frame = new Uint8Array(head.length + part.bytes.length)
  frame.set(head)
  frame.set(part.bytes, head.length)
  return frame
}

export class Network {
  readonly events: Events
  readonly random: SeededRandom
  /** Set while a server process listens. */
  listener: Listener | undefined

  constructor(events: Events, random: SeededRandom) {
    this.events = events
    this.random = random
  }
}

export class Socket implements Sink<Publication> {
  readonly name: string
  readonly document: string
  readonly #network: Network
  readonly #options: LinkOptions
  #client: ClientSide | undefined
  #server: ServerSide | undefined
  /** Nothing passes any more. */
  isCut = false
  /** The client does not read. */
  #isFrozen = false
  #isOpen = false
  #wasOpen = false
  isPaused = false
  #isClosing = false
  #lastUp = 0
  #lastDown = 0
  #heldUp: Up[] = []
  #unread: Down[] = []
  /** Not taken by the network. */
  #out: Down[] = []
  #answers: Down[] = []
  #inFlight = 0
  sentBytes = 0
  receivedBytes = 0

  constructor(network: Network, name: string, document: string, options: LinkOptions, client: ClientSide) {
    this.#network = network
    this.#options = options
    this.#client = client
    this.name = name
    this.document = document
    this.#after(2 * options.latencyMs(), () => this.#arrive())
    this.#after(connectTimeoutMs, () => this.#wasOpen || this.#closeClient(1006))
  }

  // ── the client's side ──────────────────────────────────────────────────────────────────────────────────────────

  get isOpen(): boolean {
    return this.#isOpen
  }

  get wantsReceipts(): boolean {
    return this.#options.wantsReceipts
  }

  write(frame: Uint8Array): void {
    this.#up({ kind: 'frame', frame })
  }

  /** In good order. The client hears nothing more. */
  end(): void {
    this.#up({ kind: 'closing' })
    this.#client = undefined
    this.#isOpen = false
  }

  /** The client has forgotten the socket and the server does not know. */
  vanish(): void {
    this.isCut = true
    this.#client = undefined
    this.#isOpen = false
  }

  /** Both sides hear that it is broken. */
  reset(): void {
    this.#closeClient(1006)
    this.#drop()
  }

  freeze(): void {
    this.#isFrozen = true
  }

  thaw(): void {
    this.#isFrozen = false
    this.#read()
  }

  #up(message: Up): void {
    this.#lastUp = Math.max(this.#lastUp, this.#network.events.now + this.#options.latencyMs())
    this.#after(this.#lastUp - this.#network.events.now, () => {
      if (this.isCut || this.#server === undefined) return
      if (this.isPaused || this.#heldUp.length > 0) this.#heldUp.push(message)
      else this.#hear(message)
    })
  }

  #hear(message: Up): void {
    const server = this.#server
    if (server === undefined) return
    this.receivedBytes++
    if (message.kind === 'frame') server.received(message.frame)
    else if (message.kind === 'pong') server.pong()
    else this.#drop()
  }

  #arrive(): void {
    if (this.#client === undefined) return
    this.#server = this.isCut ? undefined : this.#network.listener?.accept(this)
    if (this.#server === undefined) {
      if (!this.isCut) this.#closeClient(1006)
      return
    }
    this.#after(this.#options.latencyMs(), () => {
      if (this.isCut || this.#client === undefined) return
      this.#isOpen = true
      this.#wasOpen = true
      this.#client.opened()
    })
  }

  #closeClient(code: number): void {
    const client = this.#client
    this.#client = undefined
    this.#isOpen = false
    client?.closed(code)
  }

  // ── the server's side: what a connection sees ──────────────────────────────────────────────────────────────────

  send(publication: Publication): void {
    if (this.#server === undefined || this.#isClosing) return
    const due = this.#server.sent(publication)
    const { isAnswer, parts } = publication
    const frames = parts.map((part): Down => {
      const frame = encode(part)
      return { kind: 'frame', bytes: frame.length + headerBytes, frame, isAnswer, due: part.kind === 'state' ? due : undefined }
    })
    if (isAnswer) this.#answers.push(...frames)
    else this.#out.push(...frames)
    this.#pump()
  }

  handled(): void {}

  ping(): void {
    if (this.#isClosing) return
    this.#out.push({ kind: 'ping', bytes: headerBytes })
    this.#pump()
  }

  pause(): void {
    this.isPaused = true
  }

  resume(): void {
    this.isPaused = false
    this.#after(0, () => this.#release())
  }

  close(code: ErrorCode, _detail: string): void {
    if (this.#server === undefined || this.#isClosing) return
    this.#isClosing = true
    this.#answers = []
    this.#out.push({ kind: 'close', bytes: headerBytes, code: closeOf(code).code })
    this.resume()
    this.#pump()
    this.#after(closeGraceMs, () => this.terminate())
  }

  terminate(): void {
    if (this.#server === undefined) return
    this.#server.terminated(this.isCut)
    this.#drop()
    this.#after(this.#options.latencyMs(), () => {
      if (!this.isCut) this.#closeClient(1006)
    })
  }

  get queuedBytes(): number {
    return this.#out.reduce((sum, down) => (down.kind === 'frame' && down.isAnswer ? sum : sum + down.bytes), 0)
  }

  get queuedWrites(): number {
    return this.#out.length
  }

  get isAnswering(): boolean {
    return this.#answers.length > 0 || this.#out.some((down) => down.kind === 'frame' && down.isAnswer)
  }

  /** The server's process has ended. `isSilent`: with the whole machine, so that nobody tells the client. */
  crash(isSilent: boolean): void {
    this.#server = undefined
    if (isSilent) this.isCut = true
    else this.#after(this.#options.latencyMs(), () => this.isCut || this.#closeClient(1006))
  }

  #release(): void {
    if (this.isPaused) return
    const next = this.#heldUp.shift()
    if (next === undefined) return
    this.#hear(next)
    this.#after(0, () => this.#release())
  }

  #pump(): void {
    const waited = this.#out.length > 0
    for (;;) {
      const ahead = this.#out.reduce((sum, { bytes }) => sum + bytes, 0)
      if (this.#answers.length > 0 && ahead < this.#options.answerAheadBytes) this.#out.push(this.#answers.shift() as Down) // length > 0
      const next = this.#out[0]
      if (next === undefined || (this.#inFlight > 0 && this.#inFlight + next.bytes > this.#options.windowBytes)) break
      this.#out.shift()
      this.#inFlight += next.bytes
      this.sentBytes += next.bytes
      const { events } = this.#network
      this.#lastDown = Math.max(this.#lastDown + this.#options.readMs, events.now + this.#options.latencyMs())
      this.#after(this.#lastDown - events.now, () => {
        if (this.isCut) return
        this.#unread.push(next)
        this.#read()
      })
    }
    if (waited && this.#out.length === 0) this.#after(0, () => this.#server?.drained())
  }

  #read(): void {
    if (this.#isFrozen) return
    for (const down of this.#unread.splice(0)) {
      this.#inFlight -= down.bytes
      if (down.kind === 'ping') this.#up({ kind: 'pong' })
      else if (down.kind === 'frame') this.#client?.received(down.frame, down.isAnswer, down.due)
      else {
        this.#up({ kind: 'closing' })
        this.#closeClient(down.code)
      }
    }
    this.#pump()
  }

  #drop(): void {
    const server = this.#server
    this.#server = undefined
    this.#out = []
    this.#answers = []
    this.#heldUp = []
    // The library tells of the end in a turn of its own, whoever ended it.
    if (server !== undefined) this.#after(0, () => server.gone())
  }

  #after(ms: number, happen: () => void): void {
    this.#network.events.after(ms, happen)
  }
}
