/** Sets of whole numbers as ranges, for each client: which clocks somebody has, which of them are deleted. */
import * as Y from 'yjs'

interface Range {
  from: number
  /** Exclusive. */
  to: number
}

export class Ranges {
  readonly #clients = new Map<number, Range[]>()

  add(client: number, from: number, to: number): void {
    const ranges = this.#clients.get(client) ?? []
    this.#clients.set(client, ranges)
    let first = ranges.findIndex((range) => range.to >= from)
    if (first < 0) first = ranges.length
    const merged = { from, to }
    let last = first
    for (let range = ranges[last]; range !== undefined && range.from <= to; range = ranges[++last]) {
      merged.from = Math.min(merged.from, range.from)
      merged.to = Math.max(merged.to, range.to)
    }
    ranges.splice(first, last - first, merged)
  }

  has(client: number, from: number, to: number): boolean {
    return this.#clients.get(client)?.some((range) => range.from <= from && to <= range.to) ?? false
  }

  /** The first range of `other` that is not in this set. */
  missing(other: Ranges): string | undefined {
    for (const [client, ranges] of other.#clients) {
      for (const { from, to } of ranges) if (!this.has(client, from, to)) return `${client}:${from}..${to}`
    }
    return undefined
  }

  copy(): Ranges {
    const copy = new Ranges()
    for (const [client, ranges] of this.#clients)
      copy.#clients.set(
        client,
        ranges.map((range) => ({ ...range })),
      )
    return copy
  }
}

/** What a document or an update consists of. */
export class Content {
  readonly clocks: Ranges
  readonly deletes: Ranges

  constructor(clocks = new Ranges(), deletes = new Ranges()) {
    this.clocks = clocks
    this.deletes = deletes
  }

  static ofUpdate(update: Uint8Array): Content {
    const content = new Content()
    content.add(update)
    return content
  }

  static ofDoc(doc: Y.Doc): Content {
    const content = new Content()
    for (const [client, clock] of Y.decodeStateVector(Y.encodeStateVector(doc))) content.clocks.add(client, 0, clock)
    for (const [client, deletes] of Y.createDeleteSetFromStructStore(doc.store).clients) {
      for (const { clock, len } of deletes) content.deletes.add(client, clock, clock + len)
    }
    return content
  }

  add(update: Uint8Array): void {
    const { structs, ds } = Y.decodeUpdate(update)
    for (const struct of structs) {
      if (!(struct instanceof Y.Skip)) this.clocks.add(struct.id.client, struct.id.clock, struct.id.clock + struct.length)
    }
    for (const [client, deletes] of ds.clients) for (const { clock, len } of deletes) this.deletes.add(client, clock, clock + len)
  }

  /** What of `other` is not here; undefined when all of it is. */
  missing(other: Content): string | undefined {
    const clocks = this.clocks.missing(other.clocks)
    if (clocks !== undefined) return `changes ${clocks}`
    const deletes = this.deletes.missing(other.deletes)
    return deletes === undefined ? undefined : `deletions ${deletes}`
  }

  copy(): Content {
    return new Content(this.clocks.copy(), this.deletes.copy())
  }
}
