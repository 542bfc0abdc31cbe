/**
 * The HTTP response of one reader of server-sent events, as its client actor sees it.
 *
 * Promises: the status is sent when every channel is joined, so a reader that may not read one gets the status and the body
 * of an error, and not a stream; after that, a reader that does not read is cut off as any slow client is.
 */
import type { ServerResponse } from 'node:http'
import { type ErrorCode, TroupeError } from '../../actors/errors.ts'
import type { Output, Position, Refusal } from '../../actors/output.ts'
import type { Sink } from '../../actors/socketLife.ts'
import { closeOf } from '../doors/closeCodes.ts'
import type { Traffic } from '../doors/sink.ts'
import { comment, contentType, type EventEncoder, endPiece, idOf, type Piece } from '../doors/sse.ts'
import { errorBody, headOf } from './errors.ts'

/** From this size on a write does not count as a queue while the network takes it; one at a time. */
const largeBytes = 256 * 1024
/** Close code of a WebSocket that was cut (RFC 6455 §7.4.1); HTTP has none, and metrics count both. */
const cutOff = 1006

export interface EventSinkOptions {
  readonly encoder: EventEncoder
  /** Joins that it waits for before it begins. */
  readonly joins: number
  /** A browser that was cut off waits so long. Milliseconds. */
  readonly retryMs: number
  readonly headers: Readonly<Record<string, string>>
  readonly traffic: Traffic
  /** The network has taken a ping. */
  readonly pong: () => void
}

export class EventSink implements Sink<Output> {
  readonly #response: ServerResponse
  readonly #options: EventSinkOptions
  /** Where the reader is, in the order of the joins. */
  readonly #positions = new Map<string, Position>()
  /** What is said before the stream begins; undefined since then. */
  #held: Piece[] | undefined = []
  #isEnded = false
  #queuedWrites = 0
  #written = 0
  /** Bytes of a large write among what is queued. */
  #largeBytes = 0

  constructor(response: ServerResponse, options: EventSinkOptions) {
    this.#response = response
    this.#options = options
  }

  send(output: Output): void {
    if (this.#isEnded) return
    if (this.#held !== undefined && output.type === 'output.refused') return this.#refuse(output.refusal)
    const pieces = this.#options.encoder.encode(output)
    if (this.#held === undefined) return this.#write(pieces)
    this.#held.push(...pieces)
    if (output.type !== 'output.answer') return
    for (const { at } of pieces.slice(0, 1)) if (at !== undefined) this.#positions.set(at.channel, at)
    if (this.#positions.size === this.#options.joins) this.#begin(this.#held)
  }

  #begin(held: readonly Piece[]): void {
    const { retryMs, headers } = this.#options
    this.#held = undefined
    this.#response.writeHead(200, { ...headers, 'content-type': contentType, 'cache-control': 'no-store', 'x-accel-buffering': 'no' })
    this.#write([{ bytes: Buffer.from(`retry: ${retryMs}\n\n`) }, ...held])
  }

  #refuse(refusal: Refusal): void {
    this.#isEnded = true
    this.#options.traffic.closed(closeOf(refusal.code).code)
    const { status, headers } = headOf(refusal)
    const body = JSON.stringify({ error: errorBody(refusal) })
    this.#response.writeHead(status, { ...this.#options.headers, ...headers, 'content-type': 'application/json; charset=utf-8' }).end(body)
  }

  #write(pieces: readonly Piece[]): void {
    const response = this.#response
    if (pieces.length === 0 || response.destroyed) return
    const { traffic } = this.#options
    const isIdle = response.writableLength === 0
    this.#queuedWrites = isIdle ? 1 : this.#queuedWrites + 1
    if (isIdle) this.#largeBytes = 0
    let bytes = 0
    response.cork()
    for (const piece of pieces) {
      bytes += this.#writeId(piece)
      bytes += piece.bytes.length
      response.write(piece.bytes)
    }
    response.uncork()
    if (bytes >= largeBytes && this.#largeBytes === 0) this.#largeBytes = bytes
    this.#written += bytes
    traffic.sentWrites++
    traffic.sentBytes += bytes
  }

  #writeId({ at }: Piece): number {
    if (at === undefined || !this.#positions.has(at.channel)) return 0
    this.#positions.set(at.channel, at)
    const line = `id: ${idOf([...this.#positions.values()])}\n`
    this.#response.write(line)
    return line.length
  }

  /** HTTP has no answer to it: the reader counts as alive when the network takes what is written. */
  ping(): void {
    if (this.#isEnded || this.#held !== undefined) return this.#options.pong()
    this.#response.write(comment, () => this.#options.pong())
  }

  // A reader says nothing after its request.
  pause(): void {}
  resume(): void {}
  handled(): void {}

  close(code: ErrorCode, detail: string): void {
    if (this.#isEnded) return
    const { message } = new TroupeError(code, detail === '' ? undefined : detail)
    if (this.#held !== undefined) return this.#refuse({ code, message })
    this.#isEnded = true
    this.#options.traffic.closed(closeOf(code).code)
    this.#response.end(endPiece(code, message).bytes)
  }

  terminate(): void {
    this.#isEnded = true
    this.#options.traffic.closed(cutOff)
    this.#response.destroy()
  }

  get queuedBytes(): number {
    if (this.#held !== undefined) return this.#held.reduce((sum, { bytes }) => sum + bytes.length, 0)
    return Math.max(0, this.#response.writableLength - this.#largeBytes)
  }

  get queuedWrites(): number {
    return this.#response.writableLength === 0 ? 0 : this.#queuedWrites
  }

  get sentBytes(): number {
    return this.#written - this.#response.writableLength
  }

  /** A reader says nothing after its request. */
  get receivedBytes(): number {
    return 0
  }

  get isAnswering(): boolean {
    return false
  }

  get isPaused(): boolean {
    return false
  }
}
