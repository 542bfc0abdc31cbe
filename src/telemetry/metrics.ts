/**
 * Metrics for Prometheus. No label carries a name that a client chose: it would leak, and grow without bound.
 */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'
import type { DocumentObserver } from '../../actors/document.ts'
import type { Weighed } from '../../actors/documentMemory.ts'
import type { Journals } from '../../actors/journal.ts'
import type { PresenceCounts } from '../../actors/presenceCounts.ts'
import type { QuotaObserver } from '../../actors/quotaSteps.ts'
import type { ActorSystem } from '../../actors/system/system.ts'
import type { Outcome } from '../../actors/webhook.ts'
import type { Traffic } from '../doors/sink.ts'
import { type BusMetrics, busMetrics } from './busMetrics.ts'
import { documentMetrics } from './documentMetrics.ts'
import { level, levelOfEach, sum, sumOfEach, tally } from './instruments.ts'

export interface Metrics {
  readonly registry: Registry
  readonly documents: DocumentObserver & QuotaObserver
  readonly presence: PresenceCounts
  /** Documents whose last commit the disk refused. */
  readonly unsavedDocuments: () => number
  /** Documents that somebody wants and nobody can open. */
  readonly damagedDocuments: () => number
  readonly bus: BusMetrics
  readonly webhooks: { readonly observe: (outcome: Outcome | 'dropped') => void }
  /** Open connections of each door. */
  readonly connections: ReadonlyMap<string, number>
  readonly connectionOpened: (door: string) => void
  readonly connectionClosed: (door: string) => void
  readonly received: (bytes: number) => void
  readonly traffic: Traffic
}

/** What the documents of the process weigh. */
export interface Weights {
  readonly documentBytes: number
  readonly answerBytes: number
  readonly documents: () => Iterable<Weighed>
}

export const createMetrics = (
  system: () => ActorSystem,
  journals: Journals,
  telemetry: { readonly watchers: number },
  weights: () => Weights,
): Metrics => {
  const registry = new Registry()
  const registers = [registry]
  collectDefaultMetrics({ register: registry })
  const connections = new Map<string, number>()
  levelOfEach(registers, 'troupe_connections', 'Open connections.', 'door', () => connections)
  const change = (door: string, by: 1 | -1) => void connections.set(door, (connections.get(door) ?? 0) + by)
  const opened = new Counter({ name: 'troupe_connections_opened_total', help: 'Connections accepted.', labelNames: ['door'], registers })
  const closed = new Counter({
    name: 'troupe_connections_closed_total',
    help: 'Connections closed by the server.',
    labelNames: ['code'],
    registers,
  })
  const traffic = { sentBytes: 0, sentWrites: 0, receivedBytes: 0, receivedMessages: 0, closed: (code: number) => closed.inc({ code }) }
  sum(registers, 'troupe_sent_bytes_total', 'Bytes written to clients.', () => traffic.sentBytes)
  sum(registers, 'troupe_sent_writes_total', 'Writes to the sockets of clients.', () => traffic.sentWrites)
  sum(registers, 'troupe_received_bytes_total', 'Bytes of messages of clients.', () => traffic.receivedBytes)
  sum(registers, 'troupe_received_messages_total', 'Messages of clients.', () => traffic.receivedMessages)
  levelOfEach(registers, 'troupe_actors', 'Actors in memory.', 'kind', () => system().counts())
  sumOfEach(registers, 'troupe_actor_messages_total', 'Messages handled.', 'kind', () => system().handled())
  sumOfEach(registers, 'troupe_dead_letters_total', 'Messages that could not be handled.', 'code', () => system().deadLettersByCode())
  level(registers, 'troupe_storage_ready', '1 while the store takes writes.', () => (journals.status().state === 'ready' ? 1 : 0))
  level(registers, 'troupe_documents_bytes', 'Documents in memory, with prepared answers.', () => weights().documentBytes)
  level(registers, 'troupe_answers_bytes', 'Answers to newcomers that the network has not taken yet.', () => weights().answerBytes)
  const updates = new Counter({ name: 'troupe_document_updates_total', help: 'Updates stored.', registers })
  const commits = new Counter({ name: 'troupe_document_commits_total', help: 'Commits of documents.', registers })
  const refused = new Counter({
    name: 'troupe_document_refused_total',
    help: 'Messages of document clients that were refused.',
    labelNames: ['code'],
    registers,
  })
  const grown = new Counter({
    name: 'troupe_document_grown_total',
    help: 'Documents that grew beyond a limit of size.',
    labelNames: ['step'],
    registers,
  })
  const tenantGrown = tally(registers, 'troupe_tenant_grown_total', 'Tenants that grew beyond a limit of size.', 'step')
  const compactions = new Counter({ name: 'troupe_document_compactions_total', help: 'Compactions of documents.', registers })
  const waited = new Histogram({
    name: 'troupe_document_commit_seconds',
    help: 'From the arrival of an update until it is on disk, for the first of each commit.',
    buckets: [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 5],
    registers,
  })
  const commitsRefused = new Counter({
    name: 'troupe_document_commits_refused_total',
    help: 'Commits of documents that the disk refused; they are tried again.',
    labelNames: ['code'],
    registers,
  })
  const loadsFailed = new Counter({
    name: 'troupe_document_loads_failed_total',
    help: 'Documents that could not be loaded; one that is damaged is looked at again at most once a minute.',
    labelNames: ['code'],
    registers,
  })
  let damaged = 0
  let refusing = 0
  const unsaved = new Gauge({ name: 'troupe_documents_unsaved', help: 'Documents whose last commit the disk refused.', registers })
  const bus = busMetrics(registry, {
    connections: () => [...connections.values()].reduce((total, count) => total + count, 0),
    channels: () => system().counts().get('channel') ?? 0,
    telemetryWatchers: () => telemetry.watchers,
  })
  return {
    registry,
    bus,
    presence: documentMetrics(registry, () => weights().documents()),
    connections,
    webhooks: { observe: tally(registers, 'troupe_webhooks_total', 'Tries to deliver an event to a webhook.', 'outcome') },
    unsavedDocuments: () => refusing,
    damagedDocuments: () => damaged,
    documents: {
      stored(count, waitedMs) {
        updates.inc(count)
        commits.inc()
        waited.observe(waitedMs / 1_000)
      },
      unsaved: (change) => {
        refusing += change
        unsaved.set(refusing)
      },
      commitRefused: (code) => commitsRefused.inc({ code }),
      compacted: () => compactions.inc(),
      loadFailed: (code) => loadsFailed.inc({ code }),
      damaged: (change) => {
        damaged += change
      },
      refused: (code) => refused.inc({ code }),
      grew: (_document, _bytes, step) => grown.inc({ step }),
      tenantGrew: (_tenant, _bytes, step) => tenantGrown(step),
    },
    connectionOpened(door) {
      change(door, 1)
      opened.inc({ door })
    },
    connectionClosed: (door) => change(door, -1),
    received(bytes) {
      traffic.receivedBytes += bytes
      traffic.receivedMessages++
    },
    traffic,
  }
}
