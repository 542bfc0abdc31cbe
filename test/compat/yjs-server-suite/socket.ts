/** One WebSocket to the server under test, which keeps what came. */
import { WebSocket } from 'ws'
import { type Frame, ping, pong, readFrame, type Wire } from './wire.ts'

export interface Closed {
  readonly code: number
  readonly reason: string
}

type Reader = (frame: Frame, size: number) => void

export class Socket {
  readonly wire: Wire
  closed: Closed | undefined
  /** The HTTP status, when the server refused the upgrade. */
  refused: number | undefined
  isOpen = false
  /** When something came for the last time. Milliseconds of `performance.now()`. */
  heardAt = performance.now()
  pongs = 0
  frames = 0
  /** What of the server could not be read. */
  readonly unreadable: string[] = []
  /** Frames with bytes behind their message. */
  trailing = 0
  readonly #socket: WebSocket
  readonly #readers = new Map<string, Reader>()
  /** What came for an address before somebody reads it: some servers speak first. */
  readonly #unread = new Map<string, [Frame, number][]>()

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
  read(address: string, reader: Reader): void {
    this.#readers.set(address, reader)
    for (const [frame, size] of this.#unread.get(address) ?? []) reader(frame, size)
    this.#unread.delete(address)
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

  /** Reads no more: as a laptop that was shut. */
  freeze(): void {
    this.#socket.pause()
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
      this.send(Uint8Array.of(pong))
      return
    }
    try {
      const frame = readFrame(this.wire, bytes)
      if (frame.trailing > 0) this.trailing++
      const reader = this.#readers.get(frame.address)
      if (reader === undefined) this.#unread.set(frame.address, [...(this.#unread.get(frame.address) ?? []), [frame, bytes.length]])
      else reader(frame, bytes.length)
    } catch (error) {
      this.unreadable.push(String(error))
    }
  }

  #end(closed: Closed): void {
    this.isOpen = false
    this.closed ??= closed
  }
}
