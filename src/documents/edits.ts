/**
 * Changes that the server itself makes to documents: by HTTP, by programs, by agents without a connection.
 *
 * Promises: the changes of one document are made one after the other, each on top of the one before; a change is on disk when it is
 * reported. All of them together bear one client id, as long as nothing goes wrong: with one for each, a device that reports a value
 * every second would leave 86 400 entries a day in the state vector that every client sends. An id is never used for two changes
 * that do not know of each other, for Yjs takes the second for a repetition and drops it.
 */
import type { DocumentAccess, DocumentBytes, DocumentMessage, Edited } from '../../actors/documentMessages.ts'
import { TroupeError } from '../../actors/errors.ts'
import type { Address } from '../../actors/system/address.ts'
import type { Random } from '../../actors/world.ts'
import type { Author } from '../../crdt/change.ts'

export interface Position {
  readonly epoch: string
  readonly offset: number
}

export interface Made extends Position {
  /** False: there was nothing to change. */
  readonly isChanged: boolean
}

export interface ChangeRequest {
  readonly address: Address
  readonly author: Author
  /** Default `write`. */
  readonly access?: DocumentAccess
  /** Only if the document is exactly there; else `document.changed`. */
  readonly expected?: Position | undefined
  /** The change of this state, made by this client; empty for none. May throw: then nothing is changed. */
  make(state: DocumentBytes, client: number): Uint8Array | Promise<Uint8Array>
}

export interface EditsOptions {
  readonly ask: <Answer>(address: Address, message: DocumentMessage) => Promise<Answer>
  readonly random: Random
}

interface Line {
  /** The last of those that wait. */
  last: Promise<unknown>
  waiting: number
  /** Undefined: the next change takes a new one. */
  client: number | undefined
  epoch: string
}

/** Documents whose client id is remembered. */
const mostLines = 1_000
/** Changes of one document that wait for each other. */
const mostWaiting = 1_000
/** Somebody else has used the id of ours, by chance or to harm: a change counts as known, and another id is tried. */
const mostAttempts = 3

export class DocumentEdits {
  readonly #options: EditsOptions
  readonly #lines = new Map<Address, Line>()

  constructor(options: EditsOptions) {
    this.#options = options
  }

  /** Errors: `document.changed`, `document.busy`, what `make` throws, those of `document.state` and `document.edit`. */
  change(request: ChangeRequest): Promise<Made> {
    const line = this.#line(request.address)
    if (line.waiting >= mostWaiting) throw new TroupeError('document.busy', `${mostWaiting} changes wait`)
    line.waiting++
    const made = line.last
      .then(() => this.#make(line, request))
      .finally(() => {
        line.waiting--
      })
    line.last = made.catch(() => {})
    return made
  }

  /** A line with somebody in it stays: two lines of one document would each have an id, which is right, but not one after the other. */
  #line(address: Address): Line {
    const line = this.#lines.get(address) ?? { last: Promise.resolve(), waiting: 0, client: undefined, epoch: '' }
    this.#lines.delete(address)
    this.#lines.set(address, line)
    if (this.#lines.size <= mostLines) return line
    for (const [oldest, { waiting }] of this.#lines) {
      if (waiting > 0 || oldest === address) continue
      this.#lines.delete(oldest)
      break
    }
    return line
  }

  async #make(line: Line, request: ChangeRequest, attempt = 1): Promise<Made> {
    const { address, author, access = 'write', expected } = request
    const { ask, random } = this.#options
    const state = await this.#state(address, expected)
    if (line.client === undefined || line.epoch !== state.epoch) line.client = Math.floor(random.next() * 2 ** 32)
    const client = line.client
    line.client = undefined
    const update = await request.make(state, client)
    const isEmpty = update.length === 0
    const expectedOffset = expected === undefined ? {} : { expectedOffset: expected.offset }
    const edited = isEmpty
      ? { offset: state.offset, isNew: false }
      : await ask<Edited>(address, { type: 'document.edit', update, author, access, ...expectedOffset })
    if (!isEmpty && !edited.isNew && attempt < mostAttempts) return this.#make(line, request, attempt + 1)
    // What failed may have been taken all the same, so its id is not used again.
    line.client = client
    line.epoch = state.epoch
    const epoch = state.epoch === '' && edited.isNew ? (await ask<DocumentBytes>(address, { type: 'document.state' })).epoch : state.epoch
    return { epoch, offset: edited.offset, isChanged: edited.isNew }
  }

  async #state(address: Address, expected: Position | undefined): Promise<DocumentBytes> {
    const state = await this.#options.ask<DocumentBytes>(address, { type: 'document.state' })
    if (expected !== undefined && (expected.epoch !== state.epoch || expected.offset !== state.offset || state.unsaved > 0))
      throw new TroupeError('document.changed', `it is at ${state.offset}`)
    return state
  }
}
