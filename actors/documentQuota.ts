/**
 * How large documents may become: of one document and of all of a tenant, in bytes of snapshot and tail.
 *
 *   warnBytes      somebody should know
 *   maxBytes       what adds content is refused; deletions, and what is known already, still pass, so that people can shrink it
 *   refuseBytes    clients cannot open it any more; programs of the server can
 *   tenantBytes    like maxBytes, for the sum
 *
 * Promises: a document is not refused for a tail that is mostly garbage: it is compacted first, and may be an eighth too large
 * until that has happened. Growth beyond it is never taken in.
 */
import { tenantOf } from './account.ts'
import type { Background } from './background.ts'
import type { DocumentLog } from './documentLog.ts'
import { type UsageMessage, usageAddress } from './documentUsage.ts'
import { TroupeError } from './errors.ts'
import type { Scope } from './system/scope.ts'

export interface QuotaOptions {
  /** 0: none. Default 0. */
  readonly warnBytes?: number
  /** 0: none. Default 64 MiB. */
  readonly maxBytes?: number
  /** 0: none. Default 256 MiB. */
  readonly refuseBytes?: number
  /** 0: none. Default 0. */
  readonly tenantBytes?: number
  readonly quota?: QuotaObserver
}

export type QuotaStep = 'warn' | 'full'

export interface QuotaObserver {
  /** A document has grown past a limit. */
  grew(document: string, bytes: number, step: QuotaStep): void
}

export interface QuotaListener {
  readonly becameFull: () => void
  /** What was put off can be judged now. */
  readonly judgeAgain: () => void
  /** It has become smaller since somebody was refused. */
  readonly hasRoom: () => void
}

const MiB = 1024 * 1024
export const quotaDefaults = { warnBytes: 0, maxBytes: 64 * MiB, refuseBytes: 256 * MiB, tenantBytes: 0 }
/** Until a compaction has told what is in it, a document may be so much larger. */
const tolerance = 1.125
/** Between two measurements a document may grow by so much without its tenant's sum knowing. */
const toldEvery = 64 * 1024

/** Pure: what a size means. */
export const stepOf = (
  bytes: number,
  { warnBytes, maxBytes }: Required<Pick<QuotaOptions, 'warnBytes' | 'maxBytes'>>,
): QuotaStep | undefined => {
  if (maxBytes > 0 && bytes >= maxBytes) return 'full'
  return warnBytes > 0 && bytes >= warnBytes ? 'warn' : undefined
}

export class DocumentQuota {
  readonly #scope: Scope
  readonly #background: Background
  readonly #limits: typeof quotaDefaults
  readonly #observe: QuotaObserver | undefined
  readonly #listener: QuotaListener
  #isCompacting = false
  /** Its size when somebody was refused. */
  #refusedAt: number | undefined
  #step: QuotaStep | undefined
  /** Of the other documents of the tenant, when it was asked last. */
  #othersBytes = 0
  #toldBytes = 0

  constructor(scope: Scope, options: QuotaOptions, background: Background, listener: QuotaListener) {
    const { warnBytes, maxBytes, refuseBytes, tenantBytes } = { ...quotaDefaults, ...options }
    this.#limits = { warnBytes, maxBytes, refuseBytes, tenantBytes }
    this.#scope = scope
    this.#background = background
    this.#listener = listener
    this.#observe = options.quota
  }

  begin(bytes: number): void {
    this.#step = stepOf(bytes, this.#limits)
    if (this.#limits.tenantBytes > 0) this.#tell(bytes)
  }

  isFull(bytes: number): boolean {
    const { maxBytes, tenantBytes } = this.#limits
    return (maxBytes > 0 && bytes >= maxBytes) || (tenantBytes > 0 && this.#othersBytes + bytes >= tenantBytes)
  }

  /** Why clients cannot open a document of this size. */
  closure(bytes: number): TroupeError | undefined {
    const { refuseBytes } = this.#limits
    return refuseBytes > 0 && bytes > refuseBytes
      ? new TroupeError('document.full', `${bytes} bytes, and nothing above ${refuseBytes} is opened`, { rule: 'documents.refuseBytes' })
      : undefined
  }

  /** Errors: `document.full`. For content that comes as a whole. */
  checkGrowth(bytes: number): void {
    const { maxBytes } = this.#limits
    if (maxBytes > 0 && bytes > maxBytes) throw full(maxBytes, 'documents.maxBytes')
    if (this.#isBeyondTenant(bytes)) throw full(this.#limits.tenantBytes, 'documents.tenantBytes')
  }

  /**
   * What becomes of an update of this length, which brings content: undefined, it is taken in; `later`, whoever sends it is to
   * be asked for it again when `judgeAgain` was called. `isAgain`: it was.
   */
  judge(log: DocumentLog, length: number, isAgain: boolean): TroupeError | 'later' | undefined {
    const { maxBytes, tenantBytes } = this.#limits
    const { bytes, tailBytes } = log.document
    if (this.#isBeyondTenant(bytes + length)) {
      if (isAgain) return full(tenantBytes, 'documents.tenantBytes')
      this.#tell(bytes, this.#listener.judgeAgain) // other documents may have gone since
      return 'later'
    }
    if (maxBytes === 0 || bytes + length <= maxBytes) return undefined
    if (tailBytes === 0) return this.#full(bytes)
    // Only a compaction tells what of the tail is content: 500 keystrokes of 20 bytes are 600 bytes of text.
    this.#compact(log)
    if (bytes + length <= maxBytes * tolerance) return undefined
    return isAgain ? this.#full(bytes) : 'later'
  }

  #full(bytes: number): TroupeError {
    this.#refusedAt = bytes
    return full(this.#limits.maxBytes, 'documents.maxBytes')
  }

  /** Something was deleted; how much room that makes is known after a compaction. `judgeAgain` follows. */
  makeRoom(log: DocumentLog): void {
    this.#compact(log)
  }

  get hasRefused(): boolean {
    return this.#refusedAt !== undefined
  }

  #compact(log: DocumentLog): void {
    if (this.#isCompacting) return
    this.#isCompacting = true
    const done = () => {
      this.#isCompacting = false
      if (!this.#background.isOver) this.#listener.judgeAgain()
    }
    log.whenSaved(() => log.compactAll().then(done, done), done)
  }

  #isBeyondTenant(bytes: number): boolean {
    const { tenantBytes } = this.#limits
    return tenantBytes > 0 && this.#othersBytes + bytes > tenantBytes
  }

  /** After each commit. */
  changed(bytes: number): void {
    if (this.#refusedAt !== undefined && bytes < this.#refusedAt) {
      this.#refusedAt = undefined
      this.#listener.hasRoom()
    }
    const step = stepOf(bytes, this.#limits)
    if (step !== undefined && step !== this.#step && !(step === 'warn' && this.#step === 'full')) {
      this.#scope.log.warn({ document: this.#scope.address, bytes, step }, 'a document has grown large')
      this.#observe?.grew(this.#scope.id, bytes, step)
      if (step === 'full') this.#listener.becameFull()
    }
    this.#step = step
    if (this.#limits.tenantBytes > 0 && Math.abs(bytes - this.#toldBytes) >= toldEvery) this.#tell(bytes)
  }

  /** Its size was written down; 0 when it was deleted. */
  measured(bytes: number): void {
    if (this.#limits.tenantBytes > 0) this.#tell(bytes)
  }

  #tell(bytes: number, told: () => void = () => {}): void {
    this.#toldBytes = bytes
    const message: UsageMessage = { type: 'usage.note', document: this.#scope.id, bytes }
    this.#background.run(
      this.#scope.ask(usageAddress(tenantOf(this.#scope.id)), message),
      (total) => {
        this.#othersBytes = Math.max(0, (total as number) - bytes) // the answer of the table
        told()
      },
      (error) => {
        this.#scope.log.warn({ document: this.#scope.address, error: String(error) }, 'the size of a document could not be noted')
        told()
      },
    )
  }
}

const full = (limit: number, rule: string): TroupeError => new TroupeError('document.full', `${rule} ${limit}`, { rule })
