/**
 * How large documents may become: of one document and of all of a tenant, in bytes of snapshot and tail.
 *
 *   of one        of all              beyond it
 *   warnBytes     tenantWarnBytes     somebody should know
 *   maxBytes      tenantBytes         what adds content is refused; deletions, and what is known already, still pass, so that people
 *                                     can shrink it
 *   refuseBytes   tenantRefuseBytes   clients cannot open it any more, and of a tenant nothing new comes into being; programs of the
 *                                     server get at everything, and everything can be deleted
 *
 * Promises: a document is not refused for a tail that is mostly garbage: it is compacted first, and may be an eighth too large
 * until that has happened. Growth beyond it is never taken in. Who was refused is asked again when there is room: as soon as the
 * document is smaller, and within seconds of other documents of its tenant.
 */
import { tenantOf } from './account.ts'
import type { Background } from './background.ts'
import type { DocumentLog } from './documentLog.ts'
import { type Usage, type UsageMessage, usageAddress } from './documentUsage.ts'
import { TroupeError } from './errors.ts'
import {
  countsTenants,
  type QuotaObserver,
  type SizeLimits,
  StepsTaken,
  stepRefusing,
  type TenantQuotaOptions,
  tenantLimits,
} from './quotaSteps.ts'
import type { Scope } from './system/scope.ts'

export interface QuotaOptions extends TenantQuotaOptions {
  /** 0: none. Default 0. */
  readonly warnBytes?: number
  /** 0: none. Default 64 MiB. */
  readonly maxBytes?: number
  /** 0: none. Default 256 MiB. */
  readonly refuseBytes?: number
  readonly quota?: QuotaObserver
}

export interface QuotaListener {
  readonly becameFull: () => void
  /** What was put off can be judged now. */
  readonly judgeAgain: () => void
  /** There may be room for what was refused. */
  readonly hasRoom: () => void
  /** Whether somebody has kept what was refused. */
  readonly isAwaited: () => boolean
  /** What counts of it for its tenant: nothing once it is deleted. */
  readonly counted: () => number
}

const MiB = 1024 * 1024
export const quotaDefaults = { warnBytes: 0, maxBytes: 64 * MiB, refuseBytes: 256 * MiB, tenantBytes: 0, tenantRefuseBytes: 0 }
/** Until a compaction has told what is in it, a document may be so much larger. */
const tolerance = 1.125
/** Between two measurements a document may grow by so much without its tenant's sum knowing. */
const toldEvery = 64 * 1024
/** Between two looks whether other documents of the tenant have made room. */
const lookMs = 5_000

export class DocumentQuota {
  readonly #scope: Scope
  readonly #background: Background
  readonly #limits: typeof quotaDefaults
  readonly #observe: QuotaObserver | undefined
  readonly #listener: QuotaListener
  #isCompacting = false
  /** Something was deleted since the compaction that is under way began. */
  #isOutdated = false
  #isAsking = false
  /** Its size when somebody was refused for that. */
  #refusedAt: number | undefined
  /** By how much it would have grown with what was refused for the tenant's size; the least of these. */
  #refusedGrowth: number | undefined
  #steps: StepsTaken
  readonly #countsTenant: boolean
  readonly #tenant: SizeLimits
  /** Of the other documents of the tenant, when it was asked last. */
  #othersBytes = 0
  /** That was answered, or cannot be. */
  #isTold = false
  #toldBytes = 0
  /** One question for all who come at once. */
  #consulting: Promise<unknown> | undefined

  constructor(scope: Scope, options: QuotaOptions, background: Background, listener: QuotaListener) {
    const { warnBytes, maxBytes, refuseBytes, tenantBytes, tenantRefuseBytes } = { ...quotaDefaults, ...options }
    this.#limits = { warnBytes, maxBytes, refuseBytes, tenantBytes, tenantRefuseBytes }
    this.#countsTenant = countsTenants(options)
    this.#tenant = tenantLimits(options)
    this.#steps = new StepsTaken(this.#limits, 0)
    this.#scope = scope
    this.#background = background
    this.#listener = listener
    this.#observe = options.quota
  }

  begin(bytes: number): void {
    this.#steps = new StepsTaken(this.#limits, bytes)
    if (this.#countsTenant) this.#tell(bytes, { told: this.#listener.judgeAgain })
  }

  isFull(bytes: number): boolean {
    const { maxBytes, tenantBytes } = this.#limits
    return (maxBytes > 0 && bytes >= maxBytes) || (tenantBytes > 0 && this.#othersBytes + bytes >= tenantBytes)
  }

  /** Why clients cannot open a document of this size. */
  closure(bytes: number): TroupeError | undefined {
    const { refuseBytes, tenantRefuseBytes } = this.#limits
    if (refuseBytes > 0 && bytes > refuseBytes)
      return new TroupeError('document.full', `${bytes} bytes, and nothing above ${refuseBytes} is opened`, {
        rule: 'documents.refuseBytes',
      })
    return tenantRefuseBytes > 0 && this.#othersBytes + bytes > tenantRefuseBytes
      ? full(tenantRefuseBytes, 'documents.tenantRefuseBytes')
      : undefined
  }

  /** Who comes in depends on what the tenant has, so `consult` comes first. */
  get guardsEntry(): boolean {
    return this.#limits.tenantRefuseBytes > 0
  }

  /** What the other documents of the tenant have is known when it resolves, as far as it can be told. */
  consult(bytes: number): Promise<unknown> | undefined {
    if (!this.#countsTenant) return undefined
    const done = () => {
      this.#consulting = undefined
    }
    this.#consulting ??= this.#tell(bytes).then(done, done)
    return this.#consulting
  }

  /** Errors: `document.full`. For what comes into being, or back. */
  checkBirth(): void {
    const { tenantRefuseBytes } = this.#limits
    if (tenantRefuseBytes > 0 && this.#othersBytes > tenantRefuseBytes) throw full(tenantRefuseBytes, 'documents.tenantRefuseBytes')
  }

  /** Errors: `document.full`. For content that comes as a whole. */
  checkGrowth(bytes: number): void {
    const { maxBytes, tenantBytes } = this.#limits
    if (maxBytes > 0 && bytes > maxBytes) throw full(maxBytes, 'documents.maxBytes')
    if (tenantBytes === 0 || this.#othersBytes + bytes <= tenantBytes) return
    this.#tell(this.#toldBytes, { wanted: bytes })
    throw full(tenantBytes, 'documents.tenantBytes')
  }

  /**
   * What becomes of an update of this length, which brings content: undefined, it is taken in; `later`, whoever sends it is to
   * be asked for it again when `judgeAgain` was called. `isAgain`: it was.
   */
  judge(log: DocumentLog, length: number, isAgain: boolean): TroupeError | 'later' | undefined {
    const { maxBytes } = this.#limits
    const { bytes, tailBytes } = log.document
    // Otherwise one request for each of a thousand new names would bring a thousand times as much as a tenant may have.
    if (this.#countsTenant && !this.#isTold) return 'later'
    const refusal = this.#refusalOfTenant(bytes, length)
    if (refusal !== undefined && isAgain) {
      this.#refusedGrowth = Math.min(length, this.#refusedGrowth ?? length)
      this.#planLook()
      return refusal
    }
    if (refusal !== undefined) {
      this.#tell(bytes, { wanted: bytes + length, told: this.#listener.judgeAgain }) // other documents may have gone since
      return 'later'
    }
    if (maxBytes === 0 || bytes + length <= maxBytes) return undefined
    if (tailBytes === 0) return this.#full(bytes)
    // Only a compaction tells what of the tail is content: 500 keystrokes of 20 bytes are 600 bytes of text.
    this.#compact(log)
    if (bytes + length <= maxBytes * tolerance) return undefined
    return isAgain ? this.#full(bytes) : 'later'
  }

  /** Whether `judge` takes it in, as far as it can say before a compaction. */
  hasRoomFor(bytes: number, length: number): boolean {
    const { maxBytes } = this.#limits
    if ((this.#countsTenant && !this.#isTold) || this.#refusalOfTenant(bytes, length) !== undefined) return false
    return maxBytes === 0 || bytes + length <= maxBytes * tolerance
  }

  #full(bytes: number): TroupeError {
    this.#refusedAt = bytes
    this.#report(bytes, this.#limits.maxBytes)
    return full(this.#limits.maxBytes, 'documents.maxBytes')
  }

  /** Deletions were taken of what is too large with the rest. How much room they make is known after a compaction; `judgeAgain` follows. */
  makeRoom(log: DocumentLog): void {
    this.#isOutdated = this.#isCompacting
    this.#compact(log)
  }

  /** Something was deleted. Whether anybody needs the room decides whether it is made now, or when the document is compacted anyway. */
  deleted(log: DocumentLog): void {
    if (this.#refusedAt !== undefined || this.#refusedGrowth !== undefined) return this.makeRoom(log)
    if (!this.#countsTenant || this.#isAsking) return
    this.#isAsking = true
    const question: UsageMessage = { type: 'usage.sum' }
    this.#background.run(
      this.#scope.ask(usageAddress(tenantOf(this.#scope.id)), question),
      (usage) => {
        this.#isAsking = false
        if ((usage as Usage).isShort) this.makeRoom(log) // the answer of the table
      },
      () => {
        this.#isAsking = false
      },
    )
  }

  #compact(log: DocumentLog): void {
    if (this.#isCompacting) return
    this.#isCompacting = true
    const done = () => {
      this.#isCompacting = false
      if (this.#background.isOver) return
      // Deleted while it was compacted: told its size, the table would count what is gone.
      const bytes = this.#listener.counted()
      if (this.#isOutdated) this.makeRoom(log)
      else if (this.#countsTenant && bytes !== this.#toldBytes) this.#tell(bytes)
      this.#listener.judgeAgain()
    }
    log.whenSaved(() => log.compaction.all().then(done, done), { lost: done, refused: done })
  }

  #refusalOfTenant(bytes: number, growth: number): TroupeError | undefined {
    const { tenantBytes, tenantRefuseBytes } = this.#limits
    const step = stepRefusing(this.#tenant, this.#othersBytes, bytes, growth)
    if (step === undefined) return undefined
    return step === 'full' ? full(tenantBytes, 'documents.tenantBytes') : full(tenantRefuseBytes, 'documents.tenantRefuseBytes')
  }

  #planLook(): void {
    this.#scope.after('room', lookMs, { type: 'document.room' })
  }

  /** Other documents may have made room for what was refused. The table tells nobody: it may have forgotten who waits. */
  look(bytes: number): void {
    const growth = this.#refusedGrowth
    if (growth === undefined) return
    if (!this.#listener.isAwaited()) this.#refusedGrowth = undefined
    else this.#tell(bytes, { wanted: bytes + growth, told: () => (this.#serveRefused(bytes) ? undefined : this.#planLook()) })
  }

  /** For what was refused for the tenant's size: then it is asked for. */
  #serveRefused(bytes: number): boolean {
    if (this.#refusedGrowth === undefined || this.#refusalOfTenant(bytes, this.#refusedGrowth) !== undefined) return false
    this.#refusedGrowth = undefined
    this.#listener.hasRoom()
    return true
  }

  /** After each commit. */
  changed(bytes: number): void {
    if (this.#refusedAt !== undefined && bytes < this.#refusedAt) {
      this.#refusedAt = undefined
      this.#listener.hasRoom()
    }
    this.#serveRefused(bytes)
    this.#report(bytes, bytes)
    if (this.#countsTenant && Math.abs(bytes - this.#toldBytes) >= toldEvery) this.#tell(bytes)
  }

  #report(bytes: number, wanted: number): void {
    for (const step of this.#steps.take(bytes, wanted)) {
      this.#scope.log.warn({ document: this.#scope.address, bytes, step }, 'a document has grown large')
      this.#observe?.grew(this.#scope.id, bytes, step)
      if (step === 'full') this.#listener.becameFull()
    }
  }

  /** Its size was written down; 0 when it was deleted. */
  measured(bytes: number): void {
    if (this.#countsTenant) this.#tell(bytes)
  }

  #tell(bytes: number, { wanted = bytes, told = () => {} }: { wanted?: number; told?: () => void } = {}): Promise<unknown> {
    this.#toldBytes = bytes
    const message: UsageMessage = { type: 'usage.note', document: this.#scope.id, bytes, wanted }
    const answer = this.#scope.ask(usageAddress(tenantOf(this.#scope.id)), message)
    this.#background.run(
      answer,
      (total) => {
        this.#othersBytes = Math.max(0, (total as number) - bytes) // the answer of the table
        this.#isTold = true
        told()
      },
      (error) => {
        this.#scope.log.warn({ document: this.#scope.address, error: String(error) }, 'the size of a document could not be noted')
        this.#isTold = true
        told()
      },
    )
    return answer
  }
}

const full = (limit: number, rule: string): TroupeError => new TroupeError('document.full', `${rule} ${limit}`, { rule })
