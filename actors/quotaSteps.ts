/**
 * What a size means, that of a document and that of all documents of a tenant:
 *
 *   nobody minds ─→ warn: somebody should know ─→ full: nothing is added ─→ refuse: clients stay outside
 */
export interface SizeLimits {
  /** Each in bytes, 0: none. */
  readonly warnBytes: number
  readonly maxBytes: number
  readonly refuseBytes: number
}

export type QuotaStep = 'warn' | 'full' | 'refuse'

const limitsOf = ({ warnBytes, maxBytes, refuseBytes }: SizeLimits): readonly (readonly [QuotaStep, number])[] => [
  ['warn', warnBytes],
  ['full', maxBytes],
  ['refuse', refuseBytes],
]

/** Who was refused hovers just below a limit, and a compaction takes a size back and forth: a limit is told again after so much less. */
const clearlyBelow = 15 / 16

/** Which limits somebody was told of: the edges, not the levels. */
export class StepsTaken {
  readonly #limits: SizeLimits
  readonly #taken: Set<QuotaStep>

  /** What is behind it when it begins was told before. */
  constructor(limits: SizeLimits, bytes: number) {
    this.#limits = limits
    this.#taken = new Set(limitsOf(limits).flatMap(([step, limit]) => (bytes >= limit ? [step] : [])))
  }

  /** What is to be told now. `wanted`: what the size would be with what is refused, for what is refused never gets there. */
  take(bytes: number, wanted: number): QuotaStep[] {
    const news: QuotaStep[] = []
    for (const [step, limit] of limitsOf(this.#limits)) {
      const reached = step === 'full' ? Math.max(bytes, wanted) : bytes
      if (reached < limit * clearlyBelow) this.#taken.delete(step)
      if (limit === 0 || reached < limit || this.#taken.has(step)) continue
      this.#taken.add(step)
      news.push(step)
    }
    return news
  }
}

export interface TenantQuotaOptions {
  /** Each in bytes, 0: none. Default 0. */
  readonly tenantWarnBytes?: number
  readonly tenantBytes?: number
  readonly tenantRefuseBytes?: number
}

export const tenantLimits = ({
  tenantWarnBytes: warnBytes = 0,
  tenantBytes: maxBytes = 0,
  tenantRefuseBytes: refuseBytes = 0,
}: TenantQuotaOptions): SizeLimits => ({ warnBytes, maxBytes, refuseBytes })

/** Which limit of a tenant refuses what makes a document of `bytes` larger by `growth`. `others`: what its other documents have. */
export const stepRefusing = (
  { maxBytes, refuseBytes }: SizeLimits,
  others: number,
  bytes: number,
  growth: number,
): Exclude<QuotaStep, 'warn'> | undefined => {
  if (bytes === 0 && refuseBytes > 0 && others > refuseBytes) return 'refuse'
  return maxBytes > 0 && others + bytes + growth > maxBytes ? 'full' : undefined
}

/** Whether the sums of tenants are kept at all. */
export const countsTenants = (options: TenantQuotaOptions): boolean => limitsOf(tenantLimits(options)).some(([, limit]) => limit > 0)

export interface QuotaObserver {
  /** A document has grown past a limit. */
  grew(document: string, bytes: number, step: QuotaStep): void
  /** All documents of a tenant together have. */
  tenantGrew(tenant: string, bytes: number, step: QuotaStep): void
}
