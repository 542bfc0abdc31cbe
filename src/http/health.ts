/**
 * What the server says about itself: whether it lives, whether it may be given work, and how it stands.
 *
 * `/health` answers as long as the process does; its body is for probes that read one (`status` is `healthy`, `clients` and
 * `topics` are numbers). `/ready` is what a load balancer asks. No names of clients or channels: anybody may ask.
 */
import type { ErrorCode } from '../../actors/errors.ts'
import type { StorageStatus } from '../../actors/journal.ts'
import type { Health } from '../../actors/system/system.ts'
import type { EpochMs } from '../../actors/world.ts'
import { isoTime } from '../doors/times.ts'
import { name, version } from '../version.ts'

export interface ServerState {
  readonly storage: () => StorageStatus
  readonly actors: () => Health
  /** Actors in memory, by kind. */
  readonly counts: () => ReadonlyMap<string, number>
  readonly deadLettersByCode: () => ReadonlyMap<string, number>
  /** Open connections, by door. */
  readonly connections: ReadonlyMap<string, number>
  readonly telemetryWatchers: () => number
  /** Documents whose last commit the disk refused. */
  readonly unsavedDocuments: () => number
  /** Documents in memory that are damaged; they refuse everybody. No reason to send clients of all others elsewhere. */
  readonly damagedDocuments: () => number
  readonly isClosing: () => boolean
  readonly now: () => EpochMs
  readonly uptimeMs: () => number
}

export interface Readiness {
  readonly ready: boolean
  /** One line for each reason against it. */
  readonly reasons: readonly { readonly code: ErrorCode; readonly detail: string }[]
}

export const readiness = (state: ServerState): Readiness => {
  const reasons: { code: ErrorCode; detail: string }[] = []
  const storage = state.storage()
  if (state.isClosing()) reasons.push({ code: 'system.closed', detail: 'the server is closing' })
  if (storage.state === 'full') reasons.push({ code: 'storage.full', detail: 'writes are refused until the disk has space' })
  if (storage.state === 'failed') reasons.push({ code: 'storage.failed', detail: storage.reason })
  if (storage.state === 'closed') reasons.push({ code: 'storage.closed', detail: 'the store is closed' })
  const unsaved = state.unsavedDocuments()
  if (unsaved > 0) reasons.push({ code: 'document.unsaved', detail: `${unsaved} documents wait for a disk that refuses them` })
  const { isHealthy, failed } = state.actors()
  if (!isHealthy) reasons.push({ code: 'actor.stopped', detail: `${failed.length} actors failed too often and are stopped` })
  return { ready: reasons.length === 0, reasons }
}

const total = (counts: ReadonlyMap<string, number>): number => [...counts.values()].reduce((sum, count) => sum + count, 0)

const identity = ({ now, uptimeMs }: ServerState) => ({
  service: name,
  version,
  pid: process.pid,
  timestamp: isoTime(now()),
  uptime_ms: uptimeMs(),
})

export const health = (state: ServerState) => ({
  status: 'healthy',
  ...identity(state),
  clients: total(state.connections),
  topics: state.counts().get('channel') ?? 0,
})

export const status = (state: ServerState) => {
  const storage = state.storage()
  const counts = state.counts()
  const deadLetters = state.deadLettersByCode()
  const { rss, heapUsed, heapTotal, external } = process.memoryUsage()
  return {
    ...identity(state),
    ...readiness(state),
    storage: { state: storage.state, ...('since' in storage ? { since: isoTime(storage.since) } : {}) },
    connections: { total: total(state.connections), by_door: Object.fromEntries(state.connections) },
    channels: counts.get('channel') ?? 0,
    documents: { in_memory: counts.get('document') ?? 0, not_saved: state.unsavedDocuments(), damaged: state.damagedDocuments() },
    actors: { total: total(counts), by_kind: Object.fromEntries(counts), stopped: state.actors().failed.length },
    dead_letters: { total: total(deadLetters), by_code: Object.fromEntries(deadLetters) },
    telemetry_watchers: state.telemetryWatchers(),
    memory: { rss_bytes: rss, heap_used_bytes: heapUsed, heap_total_bytes: heapTotal, external_bytes: external },
  }
}
