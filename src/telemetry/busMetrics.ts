/**
 * Metrics of the message bus: the three names that the ArqonBus guide gives, and our own.
 *
 * What happens for each delivered message is an addition to a number; Prometheus reads the numbers when it comes. Labels are
 * codes, doors and commands, all of known sets, never a name that a client chose.
 */
import { Histogram, type Registry } from 'prom-client'
import type { ChannelObserver } from '../../actors/channel.ts'
import type { ClientObserver } from '../../actors/client.ts'
import { level, sum, tally } from './instruments.ts'

export interface BusMetrics {
  readonly channels: ChannelObserver
  readonly clients: ClientObserver
}

export interface BusSources {
  readonly connections: () => number
  readonly channels: () => number
  readonly telemetryWatchers: () => number
}

/** Commands are a known set; should a program make new ones all the time, the rest are one. */
const mostCommands = 500
const commitBuckets = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 5]
const processingBuckets = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 5]

export const busMetrics = (registry: Registry, sources: BusSources): BusMetrics => {
  const registers = [registry]
  const counts = { requests: 0, published: 0, commits: 0, delivered: 0 }
  sum(registers, 'arqonbus_messages_total', 'Messages and commands of clients that were processed.', () => counts.requests)
  level(registers, 'arqonbus_connections_active', 'Open connections, through whatever door.', sources.connections)
  sum(registers, 'troupe_channel_messages_total', 'Messages stored in channels.', () => counts.published)
  sum(registers, 'troupe_channel_commits_total', 'Commits of channels.', () => counts.commits)
  sum(registers, 'troupe_channel_deliveries_total', 'Messages handed to clients.', () => counts.delivered)
  level(registers, 'troupe_channels', 'Channels in memory.', sources.channels)
  level(registers, 'troupe_telemetry_watchers', 'Clients that watch telemetry.', sources.telemetryWatchers)
  const processing = new Histogram({
    name: 'arqonbus_processing_seconds',
    help: 'From the arrival of a message or command until it is answered, or would be.',
    buckets: processingBuckets,
    registers,
  })
  const waited = new Histogram({
    name: 'troupe_channel_commit_seconds',
    help: 'From the arrival of a message until it is on disk, for the first of each commit.',
    buckets: commitBuckets,
    registers,
  })
  const requests = tally(registers, 'troupe_client_requests_total', 'What clients of the bus said.', 'kind')
  const answers = tally(registers, 'troupe_client_answers_total', 'Commands and messages that were dealt with.', 'command')
  const refusals = tally(registers, 'troupe_client_refused_total', 'Requests of clients that were refused.', 'code')
  const logins = tally(registers, 'troupe_logins_total', 'Logins, and how they ended.', 'result')
  const recoveries = tally(
    registers,
    'troupe_channel_recoveries_total',
    'Clients that came back, and whether they missed nothing.',
    'result',
  )
  const channelRefusals = tally(registers, 'troupe_channel_refused_total', 'Messages that channels refused.', 'code')
  const commands = new Set<string>()
  const labelOf = (command: string): string => {
    if (commands.has(command)) return command
    if (commands.size >= mostCommands) return 'other'
    commands.add(command)
    return command
  }
  return {
    channels: {
      published(messages, waitedMs) {
        counts.published += messages
        counts.commits++
        waited.observe(waitedMs / 1_000)
      },
      delivered(messages) {
        counts.delivered += messages
      },
      refused: channelRefusals,
      recovered: recoveries,
    },
    clients: {
      request(kind) {
        counts.requests++
        requests(kind)
      },
      answered(command, milliseconds) {
        answers(labelOf(command))
        processing.observe(milliseconds / 1_000)
      },
      refused: refusals,
      login: logins,
    },
  }
}
