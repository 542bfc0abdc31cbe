/**
 * How many bytes the documents of a tenant have together: a durable table, `usage/default` or `usage/~tenant`, kept when
 * `documents.tenantBytes` is set.
 *
 * Promises: each document says how large it is, not how much it grew, so nothing is counted twice, and what a crash lost is right
 * again as soon as the document says it the next time. About 100 bytes in memory for each document.
 */
import type { Address } from './system/address.ts'
import { defineActor } from './system/definition.ts'

export type UsageMessage =
  /** An ask, answered with the sum. `bytes`: 0 when the document is deleted. */
  | { readonly type: 'usage.note'; readonly document: string; readonly bytes: number }
  /** An ask: `Usage`. */
  | { readonly type: 'usage.sum' }

export interface Usage {
  readonly documents: number
  readonly bytes: number
}

type Noted = readonly [document: string, bytes: number]

class UsageTable {
  readonly #bytes: Map<string, number>
  #sum = 0

  constructor(noted: readonly Noted[]) {
    this.#bytes = new Map(noted)
    for (const [, bytes] of noted) this.#sum += bytes
  }

  apply([document, bytes]: Noted): void {
    this.#sum += bytes - this.bytesOf(document)
    if (bytes === 0) this.#bytes.delete(document)
    else this.#bytes.set(document, bytes)
  }

  bytesOf(document: string): number {
    return this.#bytes.get(document) ?? 0
  }

  get usage(): Usage {
    return { documents: this.#bytes.size, bytes: this.#sum }
  }

  toJson(): readonly Noted[] {
    return [...this.#bytes]
  }
}

export const usageAddress = (tenant: string): Address => (tenant === '' ? 'usage/default' : `usage/~${tenant}`)

export const usageKind = () =>
  defineActor<UsageTable, UsageMessage, Noted>({
    kind: 'usage',
    state: () => new UsageTable([]),
    durable: {
      version: 1,
      snapshotEvery: 5_000,
      apply: (table, noted) => table.apply(noted),
      toJson: (table) => table.toJson(),
      fromJson: (stored) => new UsageTable(stored as readonly Noted[]), // by toJson
    },
    handlers: {
      'usage.note': (table, { document, bytes }, scope) => {
        // The answer waits for the disk; when it refuses, that is the answer.
        if (table.bytesOf(document) !== bytes) scope.persist([document, bytes]).catch(() => {})
        return table.usage.bytes
      },
      'usage.sum': (table) => table.usage,
    },
  })
