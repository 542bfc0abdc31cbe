/**
 * Simulated sockets of the bus: requests go up, outputs come down, each in order and without loss, until a socket is cut; then
 * nothing passes and nobody is told. What the network has not taken waits at the server, as in a socket that is not read.
 */
import type { ErrorCode } from '../../actors/errors.ts'
import type { Output } from '../../actors/output.ts'
import type { ClientRequest } from '../../actors/request.ts'
import type { Sink } from '../../actors/socketLife.ts'
import type { Events } from './events.ts'

type Frame = readonly ClientRequest[]

export interface ClientSide {
  opened(socket: BusSocket): void
  heard(output: Output): void
  /** `cut`: no close frame came. */
  closed(code: ErrorCode | 'cut'): void
}

export interface ServerSide {
  received(requests: Frame): void
  pong(): void
  gone(): void
  /** The client is being told this. */
  sending(output: Output): void
  /** A frame was dealt with that was not there, or dealt with before. */
  handledTooMuch(): void
}

export interface BusListener {
  /** Undefined when nobody listens. */
  accept(socket: BusSocket): ServerSide | undefined
}

export interface LinkOptions {
  readonly latencyMs: () => number
  /** What the network takes before the client has read it. */
  readonly windowBytes: number
  /** Frames of the client that may be under way inside. */
  readonly inboundAhead: number
}

type Down =
  | { readonly kind: 'output'; readonly bytes: number; readonly output: Output }
  | { readonly kind: 'ping'; readonly bytes: number }
  | { readonly kind: 'close'; readonly bytes: number; readonly code: ErrorCode }

const headerBytes = 50
const messageBytes = 50
const closeGraceMs = 2_000

const sizeOf = (output: Output): number => headerBytes + (output.type === 'output.messages' ? output.messages.length * messageBytes : 0)

export class BusNetwork {
  readonly events: Events
  /** Set while a server process listens. */
  listener: BusListener | undefined

  constructor(events: Events) {
    this.events = events
  }
}

export class BusSocket implements Sink<Output> {
  readonly #network: BusNetwork
  readonly #options: LinkOptions
  #client: ClientSide | undefined
  #server: ServerSide | undefined
  isCut = false
  #isFrozen = false
  #isClosing = false
  #lastUp = 0
  #lastDown = 0
  /** Messages that were read, and not dealt with. */
  inbound = 0
  #heldUp: (Frame | 'closing')[] = []
  #unread: Down[] = []
  #out: Down[] = []
  #inFlight = 0
  sentBytes = 0
  receivedBytes = 0
  readonly isAnswering = false
  readonly isPaused = false

  constructor(network: BusNetwork, options: LinkOptions, client: ClientSide) {
    this.#network = network
    this.#options = options
    this.#client = client
    this.#after(2 * options.latencyMs(), () => this.#arrive())
  }

  #arrive(): void {
    if (this.#client === undefined || this.isCut) return
    this.#server = this.#network.listener?.accept(this)
    if (this.#server === undefined) return this.#closeClient('cut')
    this.#after(this.#options.latencyMs(), () => this.isCut || this.#client?.opened(this))
  }

  // ── the client's side ──────────────────────────────────────────────────────────────────────────────────────────

  say(frame: Frame): void {
    this.#up(() => this.#hear(frame))
  }

  /** In good order, after what was said. The client hears nothing more. */
  end(): void {
    this.#client = undefined
    this.#up(() => this.#hear('closing'))
  }

  /** The client has forgotten the socket, and the server does not know. */
  vanish(): void {
    this.isCut = true
    this.#client = undefined
  }

  freeze(): void {
    this.#isFrozen = true
  }

  thaw(): void {
    this.#isFrozen = false
    this.#read()
  }

  get isFrozen(): boolean {
    return this.#isFrozen
  }

  #up(arrive: () => void): void {
    const { events } = this.#network
    this.#lastUp = Math.max(this.#lastUp, events.now + this.#options.latencyMs())
    this.#after(this.#lastUp - events.now, () => this.isCut || arrive())
  }

  #hear(frame: Frame | 'closing'): void {
    this.receivedBytes++
    this.#heldUp.push(frame)
    this.#take()
  }

  #take(): void {
    while (this.inbound < this.#options.inboundAhead && this.#server !== undefined) {
      const frame = this.#heldUp.shift()
      if (frame === undefined) return
      if (frame === 'closing') return this.#drop()
      this.inbound += frame.length
      this.#server.received(frame)
    }
  }

  #closeClient(code: ErrorCode | 'cut'): void {
    const client = this.#client
    this.#client = undefined
    client?.closed(code)
  }

  // ── the server's side: what a client actor sees ────────────────────────────────────────────────────────────────

  send(output: Output): void {
    if (this.#server === undefined || this.#isClosing) return
    this.#server.sending(output)
    this.#out.push({ kind: 'output', bytes: sizeOf(output), output })
    this.#pump()
  }

  handled(messages: number): void {
    this.inbound -= messages
    if (this.inbound < 0) this.#server?.handledTooMuch()
    this.#after(0, () => this.#take())
  }

  ping(): void {
    if (this.#isClosing || this.#server === undefined) return
    this.#out.push({ kind: 'ping', bytes: headerBytes })
    this.#pump()
  }

  pause(): void {}
  resume(): void {}

  close(code: ErrorCode): void {
    if (this.#server === undefined || this.#isClosing) return
    this.#isClosing = true
    this.#out.push({ kind: 'close', bytes: headerBytes, code })
    this.#pump()
    this.#after(closeGraceMs, () => this.terminate())
  }

  terminate(): void {
    if (this.#server === undefined) return
    this.#drop()
    this.#after(this.#options.latencyMs(), () => this.isCut || this.#closeClient('cut'))
  }

  get queuedBytes(): number {
    return this.#out.reduce((sum, { bytes }) => sum + bytes, 0)
  }

  get queuedWrites(): number {
    return this.#out.length
  }

  /** The server's process has ended. `isSilent`: with the whole machine, so that nobody tells the client. */
  crash(isSilent: boolean): void {
    this.#server = undefined
    if (isSilent) this.isCut = true
    else this.#after(this.#options.latencyMs(), () => this.isCut || this.#closeClient('cut'))
  }

  #pump(): void {
    const { events } = this.#network
    for (let next = this.#out[0]; next !== undefined; next = this.#out[0]) {
      const down = next
      if (this.#inFlight > 0 && this.#inFlight + down.bytes > this.#options.windowBytes) return
      this.#out.shift()
      this.#inFlight += down.bytes
      this.sentBytes += down.bytes
      this.#lastDown = Math.max(this.#lastDown, events.now + this.#options.latencyMs())
      this.#after(this.#lastDown - events.now, () => {
        if (this.isCut) return
        this.#unread.push(down)
        this.#read()
      })
    }
  }

  #read(): void {
    if (this.#isFrozen) return
    for (const down of this.#unread.splice(0)) {
      this.#inFlight -= down.bytes
      if (down.kind === 'ping') this.#up(() => this.#server?.pong())
      else if (down.kind === 'output') this.#client?.heard(down.output)
      else {
        this.#up(() => this.#drop())
        this.#closeClient(down.code)
      }
    }
    this.#pump()
  }

  #drop(): void {
    const server = this.#server
    this.#server = undefined
    this.#out = []
    this.#heldUp = []
    // The library tells of the end in a turn of its own, whoever ended it.
    if (server !== undefined) this.#after(0, () => server.gone())
  }

  #after(ms: number, happen: () => void): void {
    this.#network.events.after(ms, happen)
  }
}
