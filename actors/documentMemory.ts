/**
 * What all documents in memory weigh together, and who leaves when it is too much: first the prepared answers, which are made again when
 * somebody asks, then documents that nobody has open, the least recently used first.
 *
 * Promises: documents that somebody has open, or that are not on disk yet, stay, whatever they weigh; so the limit is a limit for
 * what is kept for convenience; `documents.maxBytes`, `documents.tenantBytes` and `limits.connections` bound the rest.
 */
import type { Address } from './system/address.ts'

/** One document, as far as its memory goes. */
export interface Weighed {
  /** Without prepared answers. */
  readonly bytes: number
  readonly cachedBytes: number
  /** Clients that have it open, and those of them, and tabs behind them, that are present. */
  readonly connections: number
  readonly presentClients: number
  /** Nobody has it open and all of it is on disk. */
  readonly isIdle: boolean
  dropCaches(): void
  /** It leaves memory as soon as it may. */
  unload(): void
}

interface Entry {
  readonly document: Weighed
  bytes: number
}

export const defaultMemoryBytes = 512 * 1024 * 1024

/** One for the whole process. */
export class DocumentMemory {
  readonly #limit: number
  /** The least recently used first. */
  readonly #entries = new Map<Address, Entry>()
  #bytes = 0
  /** All are looked through when it is more than this: the limit, or somewhat above what could not be helped the last time. */
  #shrinkAbove: number

  constructor(limit: number = defaultMemoryBytes) {
    this.#limit = limit
    this.#shrinkAbove = limit
  }

  get bytes(): number {
    return this.#bytes
  }

  /** All in memory. */
  *documents(): Iterable<Weighed> {
    for (const { document } of this.#entries.values()) yield document
  }

  /** The document was loaded, or used: it is the most recently used one now, and may weigh something else than before. */
  used(address: Address, document: Weighed): void {
    const known = this.#entries.get(address)
    this.#entries.delete(address)
    const entry = known?.document === document ? known : { document, bytes: 0 }
    if (entry !== known) this.#bytes -= known?.bytes ?? 0
    this.#entries.set(address, entry)
    this.#weigh(entry)
    if (this.#bytes <= this.#limit) this.#shrinkAbove = this.#limit
    else if (document.isIdle) document.unload()
    if (this.#bytes > this.#shrinkAbove) this.#shrink()
  }

  /** The document has left memory. */
  left(address: Address, document: Weighed): void {
    const entry = this.#entries.get(address)
    if (entry?.document !== document) return // the next incarnation is there already
    this.#entries.delete(address)
    this.#bytes -= entry.bytes
  }

  #weigh(entry: Entry): void {
    const bytes = entry.document.bytes + entry.document.cachedBytes
    this.#bytes += bytes - entry.bytes
    entry.bytes = bytes
  }

  #shrink(): void {
    this.#makeRoom()
    this.#shrinkAbove = Math.max(this.#limit, this.#bytes + this.#limit / 64)
  }

  #makeRoom(): void {
    for (const entry of this.#entries.values()) {
      if (entry.document.cachedBytes === 0) continue
      entry.document.dropCaches()
      this.#weigh(entry)
      if (this.#bytes <= this.#limit) return
    }
    let left = this.#bytes
    for (const { document, bytes } of this.#entries.values()) {
      if (left <= this.#limit) return
      if (!document.isIdle) continue
      document.unload() // and is counted until it has left
      left -= bytes
    }
  }
}
