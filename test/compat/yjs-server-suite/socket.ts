/** One WebSocket to the server under test, which keeps what came. */
import { WebSocket } from 'ws'
import { type Frame, ping, pong, readFrame, type Wire } from './wire.ts'

export interface Closed {
  readonly code: number
  readonly reason: string
}

export class Socket {
  readonly wire: Wire
  closed: Closed | undefined
  /** The HTTP status, when the server refused the upgrade. */
  refused: number | undefined
  isOpen = false
  /** When something came for the last time, and the longest silence before it. Milliseconds. */
  heardAt = performance.now()
  pings = 0
  pongs = 0
  frames = 0
  /** What of the server could not be read. */
  readonly unreadable: string[] = []
  /** Frames with bytes behind their message. */
  trailing = 0
  readonly #socket: WebSocket
  readonly #readers = new Map<string, (frame: Frame, size: number) => void>()

  constructor(wire: Wire, url: string) {
    this.wire = wire
    const socket = new WebSocket(url, { perMessageDeflate: false, maxPayload: 0, handshakeTimeout: 10_000 })
    this.#socket = socket
    socket.binaryType = 'nodebuffer'
    socket.on('open', () => {
      this.isOpen = true
    })
    socket.on('message', (data: Buffer, isBinary) => this.#hear(isBinary ? new Uint8Array(data) : undefined))
    socket.on('pong', () => this.pongs++)
    socket.on('unexpected-response', (request, response) => {
      this.refused = response.statusCode
      request.destroy()
      this.#end({ code: 1006, reason: `HTTP ${response.statusCode}` })
    })
    socket.on('error', () => {}) // the close follows
    socket.on('close', (code, reason) => this.#end({ code, reason: reason.toString() }))
  }

  /** Frames for this address; on the yjs wire the address is empty. */
  read(address: string, reader: (frame: Frame, size: number) => void): void {
    this.#readers.set(address, reader)
  }

  send(bytes: Uint8Array): void {
    if (this.isOpen) this.#socket.send(bytes)
  }

  sendText(text: string): void {
    if (this.isOpen) this.#socket.send(text)
  }

  /** A ping of the WebSocket protocol. */
  ping(): void {
    this.#socket.ping()
  }

  get unsentBytes(): number {
    return this.#socket.bufferedAmount
  }

  /** Reads no more: as a laptop that was shut. */
  freeze(): void {
    this.#socket.pause()
  }

  /** In order. */
  close(): void {
    this.#socket.close()
  }

  /** Without a word. */
  destroy(): void {
    this.#socket.terminate()
  }

  #hear(bytes: Uint8Array | undefined): void {
    this.heardAt = performance.now()
    this.frames++
    if (bytes === undefined) return // a text: stock clients do not read it
    if (this.wire === 'hocuspocus' && bytes.length === 1 && bytes[0] === ping) {
      this.pings++
      this.send(Uint8Array.of(pong))
      return
    }
    try {
      const frame = readFrame(this.wire, bytes)
      if (frame.trailing > 0) this.trailing++
      this.#readers.get(frame.address)?.(frame, bytes.length)
    } catch (error) {
      this.unreadable.push(String(error))
    }
  }

  #end(closed: Closed): void {
    this.isOpen = false
    this.closed ??= closed
  }
}
