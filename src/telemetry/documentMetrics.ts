/**
 * Metrics of documents that are read off the documents in memory, and of presence. A document has no label of its own: there are too many
 * of them, and their names are nobody's business; `GET /v1/documents/{name}` tells of one.
 */
import type { Registry } from 'prom-client'
import type { Weighed } from '../../actors/documentMemory.ts'
import { type PresenceCounts, presenceCounts } from '../../actors/presenceCounts.ts'
import { level, spread, sum, sumOfEach } from './instruments.ts'

export const documentMetrics = (registry: Registry, documents: () => Iterable<Weighed>): PresenceCounts => {
  const registers = [registry]
  const counts = presenceCounts()
  const open = () => [...documents()].filter(({ connections }) => connections > 0)
  level(registers, 'troupe_documents_open', 'Documents that clients have open.', () => open().length)
  spread(registers, 'troupe_document_clients', 'Clients of a document that clients have open.', () =>
    Float64Array.from(open(), ({ connections }) => connections),
  )
  spread(registers, 'troupe_document_bytes', 'Size of a document in memory.', () => Float64Array.from(documents(), ({ bytes }) => bytes))
  level(registers, 'troupe_presence_states', 'Clients that are present, in all documents.', () =>
    [...documents()].reduce((total, { presentClients }) => total + presentClients, 0),
  )
  sum(registers, 'troupe_presence_received_total', 'Presence messages of clients.', () => counts.received)
  sum(registers, 'troupe_presence_dropped_total', 'Presence messages that came too fast, before a later one.', () => counts.dropped)
  sumOfEach(registers, 'troupe_presence_states_total', 'States in presence messages of clients.', 'result', () => [
    ['news', counts.news],
    ['known', counts.known],
  ])
  sum(registers, 'troupe_presence_collapsed_total', 'News that a later state overtook before it was told.', () => counts.collapsed)
  sum(registers, 'troupe_presence_windows_total', 'Presence messages that were told, each to all readers.', () => counts.windows)
  sum(registers, 'troupe_presence_sent_total', 'Presence messages handed to clients.', () => counts.sent)
  return counts
}
