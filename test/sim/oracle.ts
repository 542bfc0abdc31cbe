/**
 * What must be true of a document on disk. It looks at the disk itself, behind the back of the product, and applies what
 * is there to a document of stock Yjs.
 */
import * as Y from 'yjs'
import type { SimulatedDisk } from '../support/simJournals.ts'
import { Content, Ranges } from './ranges.ts'

/** The rules by the names that the reliability study gives them. */
export type Rule = 'S1' | 'L1' | 'L3' | 'L4' | 'L6' | 'L20' | 'liveness' | 'presence' | 'memory' | 'failure'

export type Violate = (rule: Rule, text: string) => void

/** Stored bytes begin with one byte of format. */
const unsealed = (data: Uint8Array): Uint8Array => data.subarray(1)

export class StoredDocument {
  readonly address: string
  readonly #disk: SimulatedDisk
  readonly #violate: Violate
  #doc = new Y.Doc()
  /** Deletions that are on disk; the document knows more, for whatever lies in something deleted is deleted, too. */
  readonly #deletes = new Ranges()
  #last = 0
  #snapshotAt = 0
  #content: { readonly all: Content; readonly told: Content } | undefined
  /** What authors were told is on disk. */
  readonly #acknowledged = new Content()
  readonly #known = new WeakMap<Uint8Array, Content>()

  constructor(disk: SimulatedDisk, address: string, violate: Violate) {
    this.#disk = disk
    this.address = address
    this.#violate = violate
  }

  /** Everything that is on disk now: with what follows from it, and as it is told to others. Not changed afterwards. */
  get content(): { readonly all: Content; readonly told: Content } {
    this.#refresh()
    if (this.#content === undefined) {
      const all = Content.ofDoc(this.#doc)
      this.#content = { all, told: new Content(all.clocks, this.#deletes.copy()) }
    }
    return this.#content
  }

  assertDurable(update: Uint8Array, what: string): void {
    const missing = this.content.all.missing(this.#contentOf(update))
    if (missing !== undefined) this.#violate('S1', `${what} of ${this.address} before it is on disk: ${missing}`)
  }

  isDurable(update: Uint8Array): boolean {
    return this.content.all.missing(Content.ofUpdate(update)) === undefined
  }

  /** An author was told that this is on disk. */
  acknowledge(update: Uint8Array, what: string): void {
    this.assertDurable(update, what)
    this.#acknowledged.add(update)
  }

  /** Reads all of it again, as a process does that starts. */
  verify(when: string): void {
    const stored = this.#disk.stored(this.address)
    const doc = new Y.Doc()
    if (stored?.snapshot !== undefined) Y.applyUpdate(doc, unsealed(stored.snapshot.data))
    for (const { offset, data } of stored?.entries ?? []) if (offset > (stored?.snapshot?.offset ?? 0)) Y.applyUpdate(doc, unsealed(data))
    this.#assertIntegrated(doc, when)
    const missing = Content.ofDoc(doc).missing(this.#acknowledged)
    if (missing !== undefined) this.#violate('S1', `${this.address} lost what was acknowledged, ${when}: ${missing}`)
    doc.destroy()
    if (this.#disk.stored(`quarantine/${this.address}`) !== undefined)
      this.#violate('failure', `an update of ${this.address} was set aside, ${when}`)
  }

  #refresh(): void {
    const stored = this.#disk.stored(this.address)
    if (stored === undefined) return
    if (stored.snapshot !== undefined && stored.snapshot.offset > this.#snapshotAt) {
      this.#snapshotAt = stored.snapshot.offset
      const snapshot = unsealed(stored.snapshot.data)
      Y.applyUpdate(this.#doc, snapshot)
      this.#assertIntegrated(this.#doc, 'in a snapshot')
      this.#last = Math.max(this.#last, stored.snapshot.offset)
      for (const [client, deletes] of Y.decodeUpdate(snapshot).ds.clients) {
        for (const { clock, len } of deletes) this.#deletes.add(client, clock, clock + len)
      }
      this.#content = undefined
      this.verify('after a compaction')
    }
    for (let at = Math.max(0, this.#last + 1 - stored.first); at < stored.entries.length; at++) {
      const entry = stored.entries[at]
      if (entry === undefined || entry.offset <= this.#last) continue
      const update = unsealed(entry.data)
      Y.applyUpdate(this.#doc, update)
      this.#assertIntegrated(this.#doc, `in entry ${entry.offset}`)
      for (const [client, deletes] of Y.decodeUpdate(update).ds.clients) {
        for (const { clock, len } of deletes) this.#deletes.add(client, clock, clock + len)
      }
      this.#last = entry.offset
      this.#content = undefined
    }
  }

  #assertIntegrated({ store }: Y.Doc, where: string): void {
    if (store.pendingStructs === null && store.pendingDs === null) return
    this.#violate('L20', `${this.address} has changes on disk that build on something that is not there, ${where}`)
  }

  #contentOf(update: Uint8Array): Content {
    let content = this.#known.get(update)
    if (content === undefined) {
      content = Content.ofUpdate(update)
      this.#known.set(update, content)
    }
    return content
  }
}
