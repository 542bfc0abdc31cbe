/**
 * The sink of one connection among several on one socket: what it sends goes out under the name of its lane, what it says
 * about the socket is said about the lane. Pings and the first message are the business of the multiplexer.
 */
import { noBytes } from '../crdt/cursor.ts'
import type { ErrorCode } from './errors.ts'
import type { Lane } from './lane.ts'
import type { SharedSink } from './laneMessages.ts'
import { type Part, type Publication, publication } from './publication.ts'
import type { Sink } from './socketLife.ts'

interface Owner {
  /** Something goes out. */
  said(): void
  joined(sink: LaneSink): void
  ended(sink: LaneSink, code: ErrorCode, detail: string): void
}

const saved: Part = { kind: 'saved', bytes: noBytes }

export class LaneSink implements Sink<Publication> {
  /** The client was told that it is in. */
  hasGreeted = false
  readonly #lane: Lane
  readonly #shared: SharedSink
  readonly #owner: Owner
  #access: Publication | undefined
  #isEnded = false

  constructor(lane: Lane, shared: SharedSink, owner: Owner) {
    this.#lane = lane
    this.#shared = shared
    this.#owner = owner
  }

  /** What the client may do is told when the document let it in: were it told before, a document that fails would flicker. */
  send(message: Publication): void {
    if (this.#isEnded) return
    let due = 0
    for (const part of message.parts) {
      if (part.kind === 'saved') this.#lane.paid(1)
      else if (part.kind === 'refused') this.#lane.refusedOne()
      else if (part.kind === 'barrier') due += this.#lane.makeGood()
      else if (part.kind === 'access') this.#access = message
    }
    if (!this.hasGreeted && message === this.#access) return
    this.#greet()
    this.#write(message)
    if (due > 0) this.#write(publication(Array<Part>(due).fill(saved)))
  }

  #greet(): void {
    if (this.hasGreeted || this.#access === undefined) return
    this.hasGreeted = true
    this.#write(this.#access)
  }

  /** Tells once more what the client may do: the answer to a token that changed nothing. */
  greetAgain(): void {
    if (!this.#isEnded && this.hasGreeted && this.#access !== undefined) this.#write(this.#access)
  }

  #write(message: Publication): void {
    this.#owner.said()
    this.#shared.send({ type: 'lane.publish', name: this.#lane.name, publication: message })
  }

  /** Nothing of this connection is to be heard any more. */
  end(): void {
    this.#isEnded = true
    const { name } = this.#lane
    this.#shared.discard((answer) => answer.type === 'lane.publish' && answer.name === name)
  }

  ping(): void {}
  /**
   * What the client says waits in the lane until the document is there, and the other lanes go on. Were the socket not read meanwhile,
   * the token that this lane waits for might never be.
   */
  pause(): void {}
  resume(): void {
    if (this.#isEnded) return
    this.#greet()
    this.#owner.joined(this)
  }
  /** The multiplexer counts, for the whole socket. */
  handled(): void {}

  close(code: ErrorCode, detail: string): void {
    if (this.#isEnded) return
    this.end()
    this.#owner.ended(this, code, detail)
  }

  /** A client that does not read does not read on any lane. */
  terminate(): void {
    this.#isEnded = true
    this.#shared.terminate()
  }

  get queuedBytes(): number {
    return this.#shared.queuedBytes
  }
  get queuedWrites(): number {
    return this.#shared.queuedWrites
  }
  get sentBytes(): number {
    return this.#shared.sentBytes
  }
  get receivedBytes(): number {
    return this.#shared.receivedBytes
  }
  get isAnswering(): boolean {
    return this.#shared.isAnswering
  }
  get isPaused(): boolean {
    return this.#shared.isPaused
  }
}
