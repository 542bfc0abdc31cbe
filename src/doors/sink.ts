/**
 * The socket of one client, as its connection actor sees it. Frames are written to the TCP socket directly: it is ours
 * since the upgrade, frames are whole, and ws writes its own (pong, close) whole as well, so they never mix.
 */
import type { Duplex } from 'node:stream'
import type { WebSocket } from 'ws'
import type { Sink } from '../../actors/connection.ts'
import type { ErrorCode } from '../../actors/errors.ts'
import type { Publication } from '../../actors/publication.ts'
import { closeOf, closeReason } from './closeCodes.ts'
import type { Framer } from './frames.ts'

/** The next frame of an answer is written when less than this is queued. */
const answerAhead = 256 * 1024
/** After a close frame, the client has this long to answer it. */
const closeGraceMs = 2_000

export interface Traffic {
  sentBytes: number
  sentWrites: number
  closed(code: number): void
}

export class WebSocketSink implements Sink {
  readonly #ws: WebSocket
  readonly #socket: Duplex
  readonly #framer: Framer
  readonly #traffic: Traffic
  readonly #drained: () => void
  /** Frames of answers that wait for the network; they share the memory of the document. */
  #answers: (readonly Uint8Array[])[] = []
  /** Bytes of answers among what is queued. */
  #answerBytes = 0
  #queuedWrites = 0
  #written = 0

  constructor(ws: WebSocket, socket: Duplex, framer: Framer, traffic: Traffic, drained: () => void) {
    this.#ws = ws
    this.#socket = socket
    this.#framer = framer
    this.#traffic = traffic
    this.#drained = drained
    socket.on('drain', () => {
      this.#answerBytes = 0
      this.#queuedWrites = 0
      this.#pump()
      if (!this.isAnswering) this.#drained()
    })
  }

  send(publication: Publication): void {
    if (this.#ws.readyState !== this.#ws.OPEN) return
    if (!publication.isAnswer) return this.#write(this.#framer.whole(publication))
    this.#answers.push(...this.#framer.apart(publication))
    this.#pump()
  }

  #pump(): void {
    while (this.#answers.length > 0 && this.#socket.writableLength < answerAhead) {
      const frame = this.#answers.shift() as readonly Uint8Array[] // length > 0
      for (const buffer of frame) this.#answerBytes += buffer.length
      this.#write(frame)
    }
    if (this.#socket.writableLength === 0) this.#answerBytes = 0
  }

  #write(buffers: readonly Uint8Array[]): void {
    const socket = this.#socket
    if (socket.destroyed || !socket.writable) return
    this.#queuedWrites = socket.writableLength === 0 ? 0 : this.#queuedWrites + 1
    this.#traffic.sentWrites++
    if (buffers.length > 1) socket.cork()
    for (const buffer of buffers) {
      this.#written += buffer.length
      this.#traffic.sentBytes += buffer.length
      socket.write(buffer)
    }
    if (buffers.length > 1) socket.uncork()
  }

  ping(): void {
    if (this.#ws.readyState === this.#ws.OPEN) this.#ws.ping()
  }

  pause(): void {
    this.#ws.pause()
  }

  resume(): void {
    this.#ws.resume()
  }

  close(code: ErrorCode, detail: string): void {
    const { code: number } = closeOf(code)
    this.#traffic.closed(number)
    this.#answers = []
    this.#ws.resume() // a paused socket would not see the answer
    this.#ws.close(number, closeReason(code, detail))
    const { destroyed } = this.#socket
    if (!destroyed) setTimeout(() => this.#ws.terminate(), closeGraceMs).unref()
  }

  terminate(): void {
    this.#traffic.closed(1006)
    this.#answers = []
    this.#ws.terminate()
  }

  get queuedBytes(): number {
    return Math.max(0, this.#socket.writableLength - this.#answerBytes)
  }

  get queuedWrites(): number {
    return this.#socket.writableLength === 0 ? 0 : this.#queuedWrites
  }

  get sentBytes(): number {
    return this.#written - this.#socket.writableLength
  }

  get isAnswering(): boolean {
    return this.#answers.length > 0 || (this.#answerBytes > 0 && this.#socket.writableNeedDrain)
  }
}
