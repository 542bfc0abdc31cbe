/**
 * Changes that the server itself makes to documents: by HTTP, by programs, by agents without a connection.
 *
 * Promises: the changes of one document are made one after the other, each on top of the one before; a change is on disk when it is
 * reported; one whose document was closed under it, or got other content, is made again, as long as it is certain that nothing of it
 * was taken in; one with a key is made once, however often it is asked for. All of them together bear one client id, as long as nothing
 * goes wrong and however many other documents are changed: with one for each, a device that reports a value every second would leave
 * 86 400 entries a day in the state vector that every client sends. An id is never used for two changes that do not know of each other,
 * for Yjs takes the second for a repetition and drops it.
 */
import { createHash } from 'node:crypto'
import type { DocumentAccess } from '../../actors/account.ts'
import type { DocumentBytes, DocumentMessage, Edited } from '../../actors/documentMessages.ts'
import { isTroupeError, TroupeError } from '../../actors/errors.ts'
import type { Address } from '../../actors/system/address.ts'
import type { Random } from '../../actors/world.ts'
import type { Author, RequestKey } from '../../crdt/change.ts'
import { decodeStateVector, hasNewStructs, integrable } from '../../crdt/stateVector.ts'
import { emptyUpdate, inspectUpdate, updateLimits } from '../../crdt/update.ts'
import type { DocumentWork } from '../../crdt/work.ts'
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
  /** What forbids the author to bring the document into being. */
  readonly birthBan?: string | undefined
  /** Only if the document is exactly at one of these; else `document.changed`. */
  readonly expected?: readonly Position[] | undefined
}

export interface AppendRequest extends EditRequest {
  readonly update: Uint8Array
}

export interface ChangeRequest extends EditRequest {
  /** The change of this state, made by this client; empty for none. May throw: then nothing is changed. */
  make(state: DocumentBytes, client: number): Uint8Array | Promise<Uint8Array>
  /** It may come again, and is made once. */
  readonly request?: RequestKey | undefined
}

export interface EditsOptions {
  readonly asker: Asker
  readonly random: Random
  readonly work: DocumentWork
}

interface Line {
  /** The last of those that wait. */
  last: Promise<unknown>
  waiting: number
}

/** A client id that is not, or not any more, the one that is computed for the document. */
interface Exception {
  readonly epoch: string
  /** Of the first change of all: it was made before there was an epoch. */
  readonly client?: number
  /** Ids of this epoch that are used up. */
  readonly spent: number
}

/** Documents with such an id. */
const mostExceptions = 10_000
/** Changes of one document that wait for each other. */
const mostWaiting = 1_000
/** Somebody else has used the id of ours, by chance or to harm: a change counts as known, and another id is tried. */
const mostAttempts = 3

export class DocumentEdits {
  readonly #options: EditsOptions
  /** Of documents with changes that are being made. */
  readonly #lines = new Map<Address, Line>()
  readonly #exceptions = new Map<Address, Exception>()
  /** Goes into all ids, so that they are those of this process. */
  #seed: string

  constructor(options: EditsOptions) {
    this.#options = options
    this.#seed = options.random.id()
  }

  /** Errors: `document.changed`, `document.busy`, `document.key_reused`, what `make` throws, those of `document.state` and `document.edit`. */
  async change(request: ChangeRequest): Promise<Made> {
    const { address } = request
    const line = this.#lines.get(address) ?? { last: Promise.resolve(), waiting: 0 }
    if (line.waiting >= mostWaiting) throw new TroupeError('document.busy', `${mostWaiting} changes wait`)
    this.#lines.set(address, line)
    line.waiting++
    const made = line.last
      .then(() => again(() => this.#make(request)))
      .finally(() => {
        if (--line.waiting === 0) this.#lines.delete(address)
      })
    line.last = made.catch(() => {})
    return made
  }

  /** An update that somebody else has made. Errors: those of `document.state` and `document.edit`. */
  async append(request: AppendRequest): Promise<Made> {
    return again(async () => {
      const state = await this.#state(request.address, request.expected)
      return this.#edit(request, state, await this.#news(state, request.update))
    })
  }

  /** The document cannot tell from bytes whether something was deleted before: a repetition would be one more change each time. */
  async #news({ snapshot, tail, stateVector }: DocumentBytes, update: Uint8Array): Promise<Uint8Array> {
    const inspection = inspectUpdate(update, updateLimits)
    const known = decodeStateVector(stateVector)
    if (!inspection.ok || 'ok' in known || inspection.deleteRanges === 0) return update
    // What deletes something unknown is the document's to refuse: here the deletion would be left out, and reported as done.
    if (hasNewStructs(inspection, known) || integrable(inspection, known) === 'missing') return update
    return (await this.#options.work.run('integrablePart', snapshot, tail, update.slice())) ?? emptyUpdate
  }

  async #make(request: ChangeRequest, attempt = 1): Promise<Made> {
    const { address } = request
    const done = request.request && (await this.#recall(address, request.request))
    if (done !== undefined) return done
    const state = await this.#state(address, request.expected)
    const client = this.#clientOf(address, state.epoch)
    const update = await request.make(state, client)
    if (update.length === 0) return { epoch: state.epoch, offset: state.offset, isChanged: false }
    const made = await this.#edit(request, state, update, request.request, client).catch((error) => {
      // It may have been taken all the same, so its id is not used again.
      if (!isTroupeError(error) || error.code === 'document.outcome_unknown') this.#spend(address, state.epoch)
      throw error
    })
    if (!made.isChanged) {
      this.#spend(address, state.epoch)
      return attempt < mostAttempts ? this.#make(request, attempt + 1) : made
    }
    if (state.epoch === '') this.#except(address, { epoch: made.epoch, client, spent: 0 })
    return made
  }

  /** Computed and not remembered, for a server may write to any number of documents. Where there is no epoch, an earlier life may have had one. */
  #clientOf(address: Address, epoch: string): number {
    const known = this.#exceptions.get(address)
    const { client, spent } = known?.epoch === epoch ? known : { client: undefined, spent: 0 }
    if (client !== undefined) return client
    if (epoch === '') return Math.floor(this.#options.random.next() * 2 ** 32)
    return createHash('sha256').update(`${this.#seed} ${address} ${epoch} ${spent}`).digest().readUInt32BE()
  }

  #spend(address: Address, epoch: string): void {
    const known = this.#exceptions.get(address)
    if (epoch !== '') this.#except(address, { epoch, spent: known?.epoch === epoch ? known.spent + 1 : 1 })
  }

  /** Past the bound all documents get other ids, once, rather than one of them an id that is used up. */
  #except(address: Address, exception: Exception): void {
    if (this.#exceptions.size >= mostExceptions && !this.#exceptions.has(address)) {
      this.#exceptions.clear()
      this.#seed = this.#options.random.id()
    }
    this.#exceptions.set(address, exception)
  }

  /** Before it is made anew: what it expects and tests is no longer so once it was done. */
  async #recall(address: Address, request: RequestKey): Promise<Made | undefined> {
    const { asker } = this.#options
    const message: DocumentMessage = { type: 'document.recall', request }
    const done = await askDocument<Edited | undefined>(asker, address, message)
    if (done === undefined) return undefined
    const { epoch } = await this.#state(address, undefined)
    return { epoch, offset: done.offset, isChanged: true }
  }

  async #edit(
    { address, author, access = 'write', birthBan, expected }: EditRequest,
    state: DocumentBytes,
    update: Uint8Array,
    key?: RequestKey,
    ownClient?: number,
  ): Promise<Made> {
    const { asker } = this.#options
    const expectedOffset = expected === undefined ? {} : { expectedOffset: state.offset } // it is one of them
    const request = key && { ...key, answer: '' }
    const party = { author, access, birthBan, ownClient }
    const message: DocumentMessage = { type: 'document.edit', update, ...party, request, expectedEpoch: state.epoch, ...expectedOffset }
    const { offset, isNew } = await askDocument<Edited>(asker, address, message)
    // The first change of all brings the epoch about.
    const epoch =
      state.epoch === '' && isNew ? (await askDocument<DocumentBytes>(asker, address, { type: 'document.state' })).epoch : state.epoch
    return { epoch, offset, isChanged: isNew }
  }

  async #state(address: Address, expected: readonly Position[] | undefined): Promise<DocumentBytes> {
    const state = await askDocument<DocumentBytes>(this.#options.asker, address, { type: 'document.state' })
    const isThere = expected?.some(({ epoch, offset }) => epoch === state.epoch && offset === state.offset) ?? true
    if (!isThere || (expected !== undefined && state.unsaved > 0)) throw new TroupeError('document.changed', `it is at ${state.offset}`)
    return state
  }
}

/** `document.unavailable` says that nothing was done: it was loaded anew meanwhile, and is asked once more. */
const again = async <T>(work: () => Promise<T>): Promise<T> => {
  for (let attempt = 1; ; attempt++) {
    try {
      return await work()
    } catch (error) {
      if (attempt >= mostAttempts || !isTroupeError(error, 'document.unavailable')) throw error
    }
  }
}
