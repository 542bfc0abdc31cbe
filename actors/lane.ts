/**
 * A lane: one document on a socket that several documents share. This is what its client has said there and what it is owed;
 * laneLife.ts says in which stage it is.
 *
 * What the client says before the lane is open waits, within bounds. When something of it is lost, there or because the
 * connection behind the lane ended, the lane has a gap: after the next join the server asks for what the client has.
 *
 * The client counts the changes that it was given no receipt for. The lane counts along, so that receipts which were lost in
 * a gap can be made good; without them the client would show "not saved" for ever.
 */
import type { DocumentRequest } from './documentMessages.ts'

export interface LaneLimits {
  /** Messages of one lane that wait until it is open. Default 128. */
  readonly pendingMessages: number
  /** Bytes that wait so on all lanes of a socket. Default 1 MiB. */
  readonly pendingBytes: number
}

/** A state vector above this is not kept: after a gap such a client gets the whole document. */
const vectorBytes = 4 * 1024

export const sizeOf = (request: DocumentRequest): number => {
  switch (request.type) {
    case 'document.sync':
      return request.stateVector.length
    case 'document.update':
    case 'document.awareness':
      return request.update.length
    case 'document.barrier':
      return request.payload.length
    case 'document.stateless':
      return 2 * request.payload.length
    default:
      return 0
  }
}

/** Bytes of their own: a view of a few bytes keeps the 64 KiB alive that came with them from the network. */
const owned = (request: DocumentRequest): DocumentRequest => {
  switch (request.type) {
    case 'document.sync':
      return { ...request, stateVector: request.stateVector.slice() }
    case 'document.update':
    case 'document.awareness':
      return { ...request, update: request.update.slice() }
    case 'document.barrier':
      return { ...request, payload: request.payload.slice() }
    default:
      return request
  }
}

/** What waits on all lanes of a socket. */
export interface Waiting {
  bytes: number
}

export class Lane {
  /** As the client spells it, with the session. */
  readonly name: string
  /** Something that the client said, or was to hear, is lost. */
  hasGap = false
  /** The state vector that the client last told: it has at least this. */
  vector: Uint8Array | undefined
  readonly #limits: LaneLimits
  readonly #waiting: Waiting
  #pending: DocumentRequest[] = []
  #pendingBytes = 0
  /** As the client counts: 1 when it synchronises, 1 more for each change, 1 less for each receipt. */
  #unsaved = 0
  #refused = 0
  /** Receipts for what was lost. */
  #lost = 0
  #isAnswerDue = false

  constructor(name: string, limits: LaneLimits, waiting: Waiting) {
    this.name = name
    this.#limits = limits
    this.#waiting = waiting
  }

  // ── what the client says ───────────────────────────────────────────────────────────────────────────────────────

  /** Notes what the client says, whether it waits or goes on at once. */
  hear(request: DocumentRequest): void {
    if (request.type === 'document.update' && !request.isAnswer) this.#unsaved++
    if (request.type !== 'document.sync' || request.isReply === true) return
    this.#unsaved = 1
    this.#refused = 0
    this.#lost = 0
    this.hasGap = false
    this.#isAnswerDue = false
    this.vector = request.stateVector.length > vectorBytes ? undefined : request.stateVector.slice()
  }

  /** Past a bound all that waits is dropped: what the server asks for after the gap brings it back. */
  wait(request: DocumentRequest): void {
    const bytes = sizeOf(request)
    const isTooMuch = this.#pending.length >= this.#limits.pendingMessages || this.#waiting.bytes + bytes > this.#limits.pendingBytes
    if (isTooMuch) {
      this.takePending()
      this.breakOff()
      return
    }
    this.#pending.push(owned(request))
    this.#pendingBytes += bytes
    this.#waiting.bytes += bytes
  }

  takePending(): readonly DocumentRequest[] {
    const pending = this.#pending
    this.#pending = []
    this.#waiting.bytes -= this.#pendingBytes
    this.#pendingBytes = 0
    return pending
  }

  /** All that was said so far is lost, and so are its receipts. */
  breakOff(): void {
    this.hasGap = true
    this.#isAnswerDue = false
    this.#lost = Math.max(0, this.#unsaved - this.#refused)
  }

  // ── receipts ───────────────────────────────────────────────────────────────────────────────────────────────────

  /** The client was asked for what it has. */
  asked(): void {
    this.hasGap = false
    this.#isAnswerDue = this.#lost > 0
  }

  /** The first answer after a gap holds everything that was lost in it. True: tell when it is on disk, and `makeGood`. */
  answered(): boolean {
    const isIt = this.#isAnswerDue
    this.#isAnswerDue = false
    return isIt
  }

  paid(receipts: number): void {
    this.#unsaved = Math.max(0, this.#unsaved - receipts)
  }

  /** Its client goes on counting what was refused; so nothing is made good any more. */
  refusedOne(): void {
    this.#refused++
    this.#lost = 0
  }

  /** How many receipts are due. */
  makeGood(): number {
    const due = this.#lost
    this.#lost = 0
    this.paid(due)
    return due
  }
}
