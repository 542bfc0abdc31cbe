/**
 * The socket of one client, as its connection actor sees it. Frames are written to the TCP socket directly: it is ours
 * since the upgrade, frames are whole, and ws writes its own (pong, close) whole as well, so they never mix.
 */
import type { Socket } from 'node:net'
import type { WebSocket } from 'ws'
import type { ErrorCode } from '../../actors/errors.ts'
import type { Sink } from '../../actors/socketLife.ts'
import { closeOf, closeReason } from './closeCodes.ts'
import type { Framing } from './frames.ts'

/** The next frame of an answer is written when less than this is queued. */
const answerAhead = 256 * 1024
/**
 * From this size on a publication is a message of its own kind (an import, a picture): while the network takes it, it does not
 * count as a queue, or everybody in the document would be disconnected as slow. One at a time; in documents, where some pictures that
 * are pasted in a row come back to their author all at once, several up to `mostLargeBytes`. They are there once for all readers.
 */
const largeBytes = 256 * 1024
const mostLargeBytes = 16 * 1024 * 1024
/** What is joined into one write. */
const turnBytes = 64 * 1024
export interface Traffic {
  sentBytes: number
  sentWrites: number
  closed(code: number): void
}

/** How much of a client may be under way inside; then it is not read. One frame, and one read of 64 KiB, may come on top of it. */
export interface InboundLimits {
  readonly inboundMessages: number
  readonly inboundBytes: number
}

/** One frame of an answer. */
interface Answer<Output> {
  readonly output: Output
  readonly frame: readonly Uint8Array[]
}

export class WebSocketSink<Output> implements Sink<Output> {
  readonly #ws: WebSocket
  readonly #socket: Socket
  readonly #framing: Framing<Output>
  readonly #traffic: Traffic
  readonly #drained: () => void
  /** Frames of answers that wait for the network; they share the memory of the document. */
  #answers: Answer<Output>[] = []
  /** Bytes of answers among what is queued. */
  #answerBytes = 0
  /** Bytes of large publications among what is queued. */
  #largeBytes = 0
  #queuedWrites = 0
  #written = 0
  /** Messages of the client that were not dealt with yet, and the bytes of their frames. */
  #inbound = 0
  #inboundBytes = 0
  readonly #limits: InboundLimits
  readonly #mostLargeBytes: number
  /** By its actor, whatever is under way inside. */
  #isPaused = false
  #isRead = true
  /** What was published in this turn and is written at its end. */
  #turn: Uint8Array[] = []
  #turnBytes = 0

  constructor(ws: WebSocket, socket: Socket, framing: Framing<Output>, traffic: Traffic, drained: () => void, limits: InboundLimits) {
    this.#ws = ws
    this.#socket = socket
    this.#framing = framing
    this.#traffic = traffic
    this.#drained = drained
    this.#limits = limits
    this.#mostLargeBytes = framing.joinsWrites ? 0 : mostLargeBytes
    socket.on('drain', () => {
      this.#answerBytes = 0
      this.#largeBytes = 0
      this.#queuedWrites = 0
      this.#pump()
      if (!this.isAnswering) this.#drained()
    })
  }

  send(output: Output): void {
    if (this.#ws.readyState !== this.#ws.OPEN) return
    const answer = this.#framing.answer(output)
    if (answer === undefined) return this.#publish(this.#framing.whole(output))
    for (const frame of answer) this.#answers.push({ output, frame })
    this.#pump()
  }

  /** Drops what is not written yet of some answers. */
  discard(isUnwanted: (answer: Output) => boolean): void {
    this.#answers = this.#answers.filter(({ output }) => !isUnwanted(output))
  }

  #publish(frames: readonly Uint8Array[]): void {
    if (frames.length === 0) return
    const bytes = frames.reduce((sum, frame) => sum + frame.length, 0)
    if (this.#socket.writableLength + this.#turnBytes === 0) this.#largeBytes = 0
    if (bytes >= largeBytes && (this.#largeBytes === 0 || this.#largeBytes + bytes <= this.#mostLargeBytes)) this.#largeBytes += bytes
    if (!this.#framing.joinsWrites) return this.#write(frames)
    if (this.#turn.length === 0) queueMicrotask(() => this.#endTurn())
    this.#turn.push(...frames)
    this.#turnBytes += bytes
    // Until it is written nobody knows whether the network would take it, so little of it may count as neither.
    if (this.#turnBytes >= turnBytes) this.#endTurn()
  }

  /** The acknowledgements of a burst, or the news of a crowd that comes in, are one system call and not hundreds. */
  #endTurn(): void {
    const frames = this.#turn
    this.#turn = []
    this.#turnBytes = 0
    if (frames.length > 0) this.#write(frames)
  }

  #pump(): void {
    while (this.#answers.length > 0 && this.#socket.writableLength < answerAhead) {
      const { frame } = this.#answers.shift() as Answer<Output> // length > 0
      for (const buffer of frame) this.#answerBytes += buffer.length
      this.#write(frame)
    }
    if (this.#socket.writableLength === 0) this.#answerBytes = 0
  }

  #write(buffers: readonly Uint8Array[]): void {
    const socket = this.#socket
    if (socket.destroyed || !socket.writable) return
    this.#queuedWrites = socket.writableLength === 0 ? 1 : this.#queuedWrites + 1
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
    this.#isPaused = true
    this.#read()
  }

  resume(): void {
    this.#isPaused = false
    this.#read()
  }

  /** A frame of the client is on its way in, with so many messages. */
  arrived(messages: number, bytes: number): void {
    this.#inbound += messages
    this.#inboundBytes += bytes
    this.#read()
  }

  handled(messages: number, bytes: number): void {
    this.#inbound -= messages
    this.#inboundBytes -= bytes
    this.#read()
  }

  /** Or not, as long as it has to wait. */
  #read(): void {
    const { inboundMessages, inboundBytes } = this.#limits
    const isRead = !this.#isPaused && this.#inbound < inboundMessages && this.#inboundBytes < inboundBytes
    if (isRead === this.#isRead) return
    this.#isRead = isRead
    if (isRead) this.#ws.resume()
    else this.#ws.pause()
  }

  get isPaused(): boolean {
    return !this.#isRead
  }

  close(code: ErrorCode, detail: string): void {
    const { code: number } = closeOf(code)
    this.#traffic.closed(number)
    this.#answers = []
    this.#endTurn() // nothing may follow a close frame
    this.#ws.resume() // a paused socket would not see the answer
    this.#ws.close(number, closeReason(code, detail))
  }

  terminate(): void {
    this.#traffic.closed(1006)
    this.#answers = []
    this.#ws.terminate()
  }

  get queuedBytes(): number {
    return Math.max(0, this.#socket.writableLength - this.#answerBytes - this.#largeBytes)
  }

  get queuedWrites(): number {
    return this.#socket.writableLength === 0 ? 0 : this.#queuedWrites
  }

  /** Of a buffer that the kernel takes in pieces only the handle knows how far it is; the socket timeouts of Node look there, too. */
  get sentBytes(): number {
    const { _handle: handle } = this.#socket as { _handle?: { writeQueueSize?: number } | null } // missing in the types
    return this.#written - this.#socket.writableLength - (handle?.writeQueueSize ?? 0)
  }

  get receivedBytes(): number {
    return this.#socket.bytesRead
  }

  get isAnswering(): boolean {
    return this.#answers.length > 0 || (this.#answerBytes > 0 && this.#socket.writableNeedDrain)
  }
}
