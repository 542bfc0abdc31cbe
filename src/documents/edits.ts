/**
 * Changes that the server itself makes to documents: by HTTP, by programs, by agents without a connection.
 *
 * Promises: the changes of one document are made one after the other, each on top of the one before; a change is on disk when it is
 * reported. All of them together bear one client id, as long as nothing goes wrong: with one for each, a device that reports a value
 * every second would leave 86 400 entries a day in the state vector that every client sends. An id is never used for two changes
 * that do not know of each other, for Yjs takes the second for a repetition and drops it.
 */
import type { DocumentAccess } from '../../actors/account.ts'
import type { DocumentBytes, DocumentMessage, Edited } from '../../actors/documentMessages.ts'
import { TroupeError } from '../../actors/errors.ts'
import type { Address } from '../../actors/system/address.ts'
import type { Random } from '../../actors/world.ts'
import type { Author } from '../../crdt/change.ts'
import { type Asker, askDocument } from './ask.ts'

export interface Position {
  readonly epoch: string
  readonly offset: number
}

export interface Made extends Position {
  /** False: there was nothing to change. */
  readonly isChanged: boolean
}

interface EditRequest {
  readonly address: Address
  readonly author: Author
  /** Default `write`. */
  readonly access?: DocumentAccess
  /** Only if the document is exactly there; else `document.changed`. */
  readonly expected?: Position | undefined
}

export interface AppendRequest extends EditRequest {
  readonly update: Uint8Array
}

export interface ChangeRequest extends EditRequest {
  /** The change of this state, made by this client; empty for none. May throw: then nothing is changed. */
  make(state: DocumentBytes, client: number): Uint8Array | Promise<Uint8Array>
}

export interface EditsOptions {
  readonly asker: Asker
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
  async change(request: ChangeRequest): Promise<Made> {
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

  /** An update that somebody else has made. Errors: those of `document.state` and `document.edit`. */
  async append(request: AppendRequest): Promise<Made> {
    const state = await this.#state(request.address, request.expected)
    return this.#edit(request, state, request.update)
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
    const state = await this.#state(request.address, request.expected)
    const isKnown = line.client !== undefined && line.epoch === state.epoch
    const client = isKnown ? (line.client as number) : Math.floor(this.#options.random.next() * 2 ** 32)
    const update = await request.make(state, client)
    if (update.length === 0) return { epoch: state.epoch, offset: state.offset, isChanged: false }
    // What failed may have been taken all the same, so its id is not used again.
    line.client = undefined
    const made = await this.#edit(request, state, update)
    if (!made.isChanged && attempt < mostAttempts) return this.#make(line, request, attempt + 1)
    line.client = client
    line.epoch = made.epoch
    return made
  }

  async #edit({ address, author, access = 'write', expected }: EditRequest, state: DocumentBytes, update: Uint8Array): Promise<Made> {
    const { asker } = this.#options
    const expectedOffset = expected === undefined ? {} : { expectedOffset: expected.offset }
    const message: DocumentMessage = { type: 'document.edit', update, author, access, ...expectedOffset }
    const { offset, isNew } = await askDocument<Edited>(asker, address, message)
    // The first change of all brings the epoch about.
    const epoch =
      state.epoch === '' && isNew ? (await askDocument<DocumentBytes>(asker, address, { type: 'document.state' })).epoch : state.epoch
    return { epoch, offset, isChanged: isNew }
  }

  async #state(address: Address, expected: Position | undefined): Promise<DocumentBytes> {
    const state = await askDocument<DocumentBytes>(this.#options.asker, address, { type: 'document.state' })
    if (expected !== undefined && (expected.epoch !== state.epoch || expected.offset !== state.offset || state.unsaved > 0))
      throw new TroupeError('document.changed', `it is at ${state.offset}`)
    return state
  }
}
