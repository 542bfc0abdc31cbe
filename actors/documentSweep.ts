/**
 * What happens to documents with time, once a day: those that were deleted long enough ago lose their content, a rename that was
 * interrupted goes on, what nobody called for is thrown away, history that is too old is pruned.
 *
 * Promises: nothing is loaded whose time has not come; it goes slowly, a page of names each second. What a restart interrupts is done
 * the next day. Where the disk takes nothing, it waits, longer each time, says so once, and goes on where it was.
 *
 * Runs under the system as the actor `sweep/documents`, woken when the server starts. When it last began is in a journal of its own; it
 * is no durable table, for each page would be a commit then, and a full disk would have it read again and again.
 */
import { tenantOf } from './account.ts'
import type { DocumentMessage } from './documentMessages.ts'
import { type DocumentRecord, incomingOf, readRecord, recordOf } from './documentRecord.ts'
import { type UsageMessage, usageAddress } from './documentUsage.ts'
import { isTroupeError } from './errors.ts'
import type { Journals } from './journal.ts'
import { defineActor } from './system/definition.ts'
import type { Scope } from './system/scope.ts'
import type { EpochMs } from './world.ts'

export type SweepMessage =
  /** At the start of the server, and when a day is over. */
  { readonly type: 'sweep.day' } | { readonly type: 'sweep.page' }

export interface SweepOptions {
  readonly journals: Journals
  /** What is deleted can be restored for so long. */
  readonly deletedMs: number
  /** What documents were is kept for so long. 0: for ever. */
  readonly historyMs?: number
  /** The sums of tenants are kept: what was not measured at the end of a process is measured. */
  readonly countsBytes?: boolean
}

export const sweepAddress = 'sweep/documents'

const dayMs = 24 * 3_600_000
const pageGapMs = 1_000
const pageNames = 64
const longTimeoutMs = 60_000
/** On a disk that takes nothing; doubles up to an hour. */
const pauseMs = 60_000
const mostPauseMs = 3_600_000

const records = recordOf('')
const staged = incomingOf('')
const histories = 'history/'
const kinds = [records, staged, histories] as const
/** History is pruned when it is so much older than it may be: not every day a little. */
const overdue = 1.125
type Kind = (typeof kinds)[number]

interface Place {
  /** Among the journals of this kind, after this name. */
  readonly kind: Kind
  readonly after: string
}

interface Sweep {
  sweptAt: EpochMs
  /** Where the present sweep is. */
  at: Place | undefined
  /** The wait for a disk that refuses; undefined: it does not. */
  pauseMs: number | undefined
}

/** Of a sweep that told the sums of tenants what each document has. */
const counted = 'counted'

const encoder = new TextEncoder()
const decoder = new TextDecoder()

/** Those that a disk refuses with, and not one document. */
const isOfDisk = (error: unknown): boolean => isTroupeError(error) && error.code.startsWith('storage.')

class Sweeper {
  readonly #options: SweepOptions

  constructor(options: SweepOptions) {
    this.#options = options
  }

  async load(): Promise<Sweep> {
    const [last] = await this.#options.journals.read(sweepAddress, { reverse: true, limit: 1 })
    const [at = '', mark] = last === undefined ? [] : decoder.decode(last.data).split(' ')
    // Limits for tenants were set since: their sums lack every document that was left alone.
    const isEnough = this.#options.countsBytes !== true || mark === counted
    const sweptAt = Number(at)
    return { sweptAt: isEnough && Number.isFinite(sweptAt) ? sweptAt : 0, at: undefined, pauseMs: undefined }
  }

  async day(sweep: Sweep, scope: Scope): Promise<void> {
    const now = scope.now()
    const sweptMs = now - sweep.sweptAt // less than nothing when the clock was set back
    const isDue = sweep.sweptAt === 0 || sweptMs < 0 || sweptMs >= dayMs
    scope.after('day', isDue ? dayMs : dayMs - sweptMs, { type: 'sweep.day' })
    if (!isDue) return
    sweep.sweptAt = now
    sweep.at = { kind: records, after: '' }
    scope.after('page', pageGapMs, { type: 'sweep.page' })
    await this.#note(now).catch(() => {}) // refused, it is done again after the next start
  }

  async #note(at: EpochMs): Promise<void> {
    const { journals, countsBytes } = this.#options
    const { last } = await journals.append(sweepAddress, [encoder.encode(countsBytes === true ? `${at} ${counted}` : String(at))])
    await journals.trim(sweepAddress, last)
  }

  async page(sweep: Sweep, scope: Scope): Promise<void> {
    if (sweep.at === undefined) return
    let { kind, after } = sweep.at
    try {
      const names = await this.#options.journals.list(kind, { limit: pageNames, ...(after !== '' && { after }) })
      for (const name of names) {
        await this.#sweep(kind, name.slice(kind.length), scope)
        after = name
      }
      const next = names.length === 0 ? kinds[kinds.indexOf(kind) + 1] : kind
      if (next !== kind) after = ''
      sweep.at = next === undefined ? undefined : { kind: next, after }
      if (sweep.pauseMs !== undefined) scope.log.info({}, 'the sweep of documents goes on')
      sweep.pauseMs = undefined
      if (sweep.at !== undefined) scope.after('page', pageGapMs, { type: 'sweep.page' })
    } catch (error) {
      sweep.at = { kind, after }
      if (sweep.pauseMs === undefined) scope.log.warn({ error: String(error) }, 'the sweep of documents waits for the disk')
      sweep.pauseMs = Math.min(mostPauseMs, 2 * (sweep.pauseMs ?? pauseMs / 2))
      scope.after('page', sweep.pauseMs, { type: 'sweep.page' })
    }
  }

  /** Errors: those of a disk that refuses. */
  async #sweep(kind: Kind, id: string, scope: Scope): Promise<void> {
    try {
      if (kind === records) await this.#look(id, scope)
      else if (kind === staged) await this.#lookAtStaged(id, scope)
      else await this.#lookAtHistory(id, scope)
    } catch (error) {
      if (isOfDisk(error)) throw error
      scope.log.warn({ document: id, error: String(error) }, 'a document could not be swept; it is tried again in a day')
    }
  }

  async #look(id: string, scope: Scope): Promise<void> {
    const { record } = await readRecord(this.#options.journals, id)
    if (record === undefined) return
    const address = `document/${id}`
    if (this.#options.countsBytes === true) await this.#count(id, record, scope)
    if (isDue(record, scope.now(), this.#options.deletedMs))
      await scope.ask<DocumentMessage>(address, { type: 'document.purge', by: '', ifDue: true }, { timeoutMs: longTimeoutMs })
    else if (record.movingTo !== undefined || record.gone !== undefined || (await this.#isUnmeasured(address, record)))
      scope.tell<DocumentMessage>(address, { type: 'document.pulse' }) // to be loaded is enough
  }

  /** What the sum missed when a process ended. */
  async #count(id: string, { deletedAt, bytes }: DocumentRecord, scope: Scope): Promise<void> {
    const note: UsageMessage = { type: 'usage.note', document: id, bytes: deletedAt === undefined ? bytes : 0 }
    await scope.ask(usageAddress(tenantOf(id)), note)
  }

  async #isUnmeasured(journal: string, { deletedAt, offset }: DocumentRecord): Promise<boolean> {
    if (this.#options.countsBytes !== true || deletedAt !== undefined) return false
    return (await this.#options.journals.head(journal)).last !== offset
  }

  async #lookAtHistory(id: string, scope: Scope): Promise<void> {
    const { journals, historyMs = 0 } = this.#options
    if (historyMs === 0) return
    const [oldest] = await journals.read(histories + id, { limit: 1 })
    if (oldest !== undefined && oldest.time + historyMs * overdue <= scope.now())
      await scope.ask<DocumentMessage>(`document/${id}`, { type: 'document.prune' }, { timeoutMs: longTimeoutMs })
  }

  /** Content whose record was never written: its process ended in between. */
  async #lookAtStaged(id: string, scope: Scope): Promise<void> {
    const { journals } = this.#options
    const { record } = await readRecord(journals, id)
    const [first] = await journals.read(incomingOf(id), { limit: 1 })
    if (record?.incoming !== true && first !== undefined && first.time + dayMs <= scope.now()) await journals.remove(incomingOf(id))
  }
}

const isDue = ({ deletedAt, purgedAt }: DocumentRecord, now: EpochMs, deletedMs: number): boolean =>
  deletedAt !== undefined && purgedAt === undefined && deletedAt + deletedMs <= now

export const sweepKind = (options: SweepOptions) => {
  const sweeper = new Sweeper(options)
  return defineActor<Sweep, SweepMessage>({
    kind: 'sweep',
    state: () => sweeper.load(),
    handlers: {
      'sweep.day': (sweep, _message, scope) => sweeper.day(sweep, scope),
      'sweep.page': (sweep, _message, scope) => sweeper.page(sweep, scope),
    },
  })
}
