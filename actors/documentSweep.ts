/**
 * What happens to documents with time, once a day: those that were deleted long enough ago lose their content, a rename that was
 * interrupted goes on, what nobody called for is thrown away, history that is too old is pruned.
 *
 * Promises: nothing is loaded whose time has not come; it goes slowly, a page of names each second. What a restart interrupts is done
 * the next day.
 *
 * Runs under the system as a durable table, `sweep/documents`, woken when the server starts.
 */
import { tenantOf } from './account.ts'
import type { DocumentMessage } from './documentMessages.ts'
import { type DocumentRecord, incomingOf, readRecord, recordOf } from './documentRecord.ts'
import { type UsageMessage, usageAddress } from './documentUsage.ts'
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

type SweptEvent = readonly ['swept', at: EpochMs]
type SweepScope = Scope<SweptEvent>

export const sweepAddress = 'sweep/documents'

const dayMs = 24 * 3_600_000
const pageGapMs = 1_000
const pageNames = 64
const longTimeoutMs = 60_000

const records = recordOf('')
const staged = incomingOf('')
const histories = 'history/'
const kinds = [records, staged, histories] as const
/** History is pruned when it is so much older than it may be: not every day a little. */
const overdue = 1.125
type Kind = (typeof kinds)[number]

interface Sweep {
  sweptAt: EpochMs
  /** Where the present sweep is: among the journals of this kind, after this name. Not stored. */
  at: { readonly kind: Kind; readonly after: string } | undefined
}

class Sweeper {
  readonly #options: SweepOptions

  constructor(options: SweepOptions) {
    this.#options = options
  }

  day(sweep: Sweep, scope: SweepScope): void {
    const now = scope.now()
    const isDue = sweep.sweptAt === 0 || now >= sweep.sweptAt + dayMs
    scope.after('day', isDue ? dayMs : sweep.sweptAt + dayMs - now, { type: 'sweep.day' })
    if (!isDue) return
    scope.persist(['swept', now]).catch(() => {}) // refused, it is done again after the next start
    sweep.at = { kind: records, after: '' }
    scope.after('page', pageGapMs, { type: 'sweep.page' })
  }

  async page(sweep: Sweep, scope: SweepScope): Promise<void> {
    if (sweep.at === undefined) return
    const { kind, after } = sweep.at
    const names = await this.#options.journals.list(kind, { limit: pageNames, ...(after !== '' && { after }) })
    const last = names.at(-1)
    const next = last === undefined ? kinds[kinds.indexOf(kind) + 1] : kind
    sweep.at = next === undefined ? undefined : { kind: next, after: last ?? '' }
    if (sweep.at !== undefined) scope.after('page', pageGapMs, { type: 'sweep.page' })
    for (const name of names) {
      const id = name.slice(kind.length)
      try {
        if (kind === records) await this.#look(id, scope)
        else if (kind === staged) await this.#lookAtStaged(id, scope)
        else await this.#lookAtHistory(id, scope)
      } catch (error) {
        scope.log.warn({ document: id, error: String(error) }, 'a document could not be swept; it is tried again in a day')
      }
    }
  }

  async #look(id: string, scope: SweepScope): Promise<void> {
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
  async #count(id: string, { deletedAt, bytes }: DocumentRecord, scope: SweepScope): Promise<void> {
    const note: UsageMessage = { type: 'usage.note', document: id, bytes: deletedAt === undefined ? bytes : 0 }
    await scope.ask(usageAddress(tenantOf(id)), note)
  }

  async #isUnmeasured(journal: string, { deletedAt, offset }: DocumentRecord): Promise<boolean> {
    if (this.#options.countsBytes !== true || deletedAt !== undefined) return false
    return (await this.#options.journals.head(journal)).last !== offset
  }

  async #lookAtHistory(id: string, scope: SweepScope): Promise<void> {
    const { journals, historyMs = 0 } = this.#options
    if (historyMs === 0) return
    const [oldest] = await journals.read(histories + id, { limit: 1 })
    if (oldest !== undefined && oldest.time + historyMs * overdue <= scope.now())
      await scope.ask<DocumentMessage>(`document/${id}`, { type: 'document.prune' }, { timeoutMs: longTimeoutMs })
  }

  /** Content whose record was never written: its process ended in between. */
  async #lookAtStaged(id: string, scope: SweepScope): Promise<void> {
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
  return defineActor<Sweep, SweepMessage, SweptEvent>({
    kind: 'sweep',
    state: () => ({ sweptAt: 0, at: undefined }),
    durable: {
      version: 1,
      apply: (sweep, [, at]) => {
        sweep.sweptAt = at
      },
      toJson: ({ sweptAt }) => sweptAt,
      fromJson: (sweptAt) => ({ sweptAt: sweptAt as number, at: undefined }), // by toJson
    },
    canPassivate: ({ at }) => at === undefined,
    handlers: {
      'sweep.day': (sweep, _message, scope) => sweeper.day(sweep, scope),
      'sweep.page': (sweep, _message, scope) => sweeper.page(sweep, scope),
    },
  })
}
