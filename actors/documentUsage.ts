/**
 * How many bytes the documents of a tenant have together: a durable table, `usage/default` or `usage/~tenant`, kept when a limit
 * for tenants is set.
 *
 * Promises: each document says how large it is, not how much it grew, so nothing is counted twice, and what a crash lost is right
 * again as soon as the document says it the next time. A limit that the sum grows past is told once for each crossing. Whoever makes
 * something smaller can hear whether somebody waits for the room. About 100 bytes in memory for each document.
 */
import { type QuotaObserver, type QuotaStep, StepsTaken, stepRefusing, type TenantQuotaOptions, tenantLimits } from './quotaSteps.ts'
import type { Address } from './system/address.ts'
import { defineActor } from './system/definition.ts'
import type { Scope } from './system/scope.ts'
import type { DocumentEvent } from './webhook.ts'
import type { MonotonicMs } from './world.ts'

export type UsageMessage =
  /** An ask, answered with the sum. `bytes`: 0 when the document is deleted. `wanted`: what it would have with what is refused. */
  | { readonly type: 'usage.note'; readonly document: string; readonly bytes: number; readonly wanted?: number }
  /** An ask: `Usage`. */
  | { readonly type: 'usage.sum' }

export interface UsageOptions extends TenantQuotaOptions {
  readonly quota?: QuotaObserver
  /** For webhooks. */
  readonly happened?: (event: DocumentEvent) => void
}

export interface Usage {
  readonly documents: number
  readonly bytes: number
  /** It is more than the tenant may have, or somebody was refused for that lately. */
  readonly isShort: boolean
}

type Noted = readonly [document: string, bytes: number]

/** Whoever is refused says so every few seconds (documentQuota.ts); who has not for so long has gone, or was served. */
const shortMs = 30_000

class UsageTable {
  readonly #bytes: Map<string, number>
  #sum = 0
  #steps: StepsTaken | undefined
  /** When something was refused last. Not stored: it is said again. */
  #refusedAt: MonotonicMs | undefined

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

  get sum(): number {
    return this.#sum
  }

  refused(at: MonotonicMs): void {
    this.#refusedAt = at
  }

  usage(options: TenantQuotaOptions, now: MonotonicMs): Usage {
    const wasRefused = this.#refusedAt !== undefined && now - this.#refusedAt < shortMs
    const isShort = wasRefused || stepRefusing(tenantLimits(options), this.#sum, 0, 0) !== undefined
    return { documents: this.#bytes.size, bytes: this.#sum, isShort }
  }

  /** What was told is not stored: as the table is after loading, it was told before. */
  steps(options: TenantQuotaOptions): StepsTaken {
    this.#steps ??= new StepsTaken(tenantLimits(options), this.#sum)
    return this.#steps
  }

  toJson(): readonly Noted[] {
    return [...this.#bytes]
  }
}

export const usageAddress = (tenant: string): Address => (tenant === '' ? 'usage/default' : `usage/~${tenant}`)

const report = (step: QuotaStep, bytes: number, scope: Scope<Noted>, { quota, happened }: UsageOptions): void => {
  const tenant = scope.id === 'default' ? '' : scope.id.slice(1)
  scope.log.warn({ tenant, bytes, step }, 'the documents of a tenant have grown large')
  quota?.tenantGrew(tenant, bytes, step)
  if (step === 'full') happened?.({ type: 'tenant.full', document: '', tenant, at: scope.now(), users: [] })
}

export const usageKind = (options: UsageOptions = {}) =>
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
      'usage.note': (table, { document, bytes, wanted = bytes }, scope) => {
        const steps = table.steps(options)
        // The answer waits for the disk; when it refuses, that is the answer.
        if (table.bytesOf(document) !== bytes) scope.persist([document, bytes]).catch(() => {})
        const { sum } = table
        const isRefused = wanted > bytes && stepRefusing(tenantLimits(options), sum - bytes, bytes, wanted - bytes) !== undefined
        if (isRefused) table.refused(scope.monotonic())
        for (const step of steps.take(sum, sum - bytes + wanted)) report(step, sum, scope, options)
        return sum
      },
      'usage.sum': (table, _message, scope) => table.usage(options, scope.monotonic()),
    },
  })
