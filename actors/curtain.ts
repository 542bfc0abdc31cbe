/**
 * Keeps changes away from a client that is being sent a veiled answer (crdt/veil.ts): until its last piece is there, Yjs would merge each
 * change into everything that waits, megabytes for a keystroke. Presence, receipts and the rest go on.
 *
 * Promises: what was kept comes after the answer, in order, as one update; past `mostBytes` nothing is kept, and what the client
 * then lacks is asked for in its name.
 */
import { mergeWindow } from '../crdt/merge.ts'
import { type Publication, publication } from './publication.ts'

export type Lifted =
  | { readonly kind: 'nothing' }
  | { readonly kind: 'kept'; readonly message: Publication }
  /** Too much came. The client has what the answer brought. */
  | { readonly kind: 'lost'; readonly stateVector: Uint8Array }

const nothing: Lifted = { kind: 'nothing' }

export class Curtain {
  readonly #mostBytes: number
  /** What the document was when the veiled answer was made; undefined when none is under way. */
  #vector: Uint8Array | undefined
  #kept: Uint8Array[] = []
  #bytes = 0

  constructor(mostBytes: number) {
    this.#mostBytes = mostBytes
  }

  /** An answer begins. */
  draw({ parts, isVeiled }: Publication): void {
    this.#vector = isVeiled ? parts.find(({ kind }) => kind === 'vector')?.bytes : undefined
  }

  /** What of a publication goes out now. */
  pass(message: Publication): Publication | undefined {
    if (this.#vector === undefined) return message
    const rest = message.parts.filter(({ kind }) => kind !== 'update')
    if (rest.length === message.parts.length) return message
    for (const { kind, bytes } of message.parts) if (kind === 'update') this.#keep(bytes)
    return rest.length === 0 ? undefined : publication(rest)
  }

  #keep(update: Uint8Array): void {
    this.#bytes += update.length
    if (this.#bytes > this.#mostBytes) this.#kept = []
    else this.#kept.push(update)
  }

  /** The answer is with the network, all of it. */
  lift(): Lifted {
    const [vector, kept, bytes] = [this.#vector, this.#kept, this.#bytes]
    this.#vector = undefined
    this.#kept = []
    this.#bytes = 0
    if (vector !== undefined && bytes > this.#mostBytes) return { kind: 'lost', stateVector: vector }
    return kept.length === 0 ? nothing : { kind: 'kept', message: publication([{ kind: 'update', bytes: mergeWindow(kept) }]) }
  }
}
