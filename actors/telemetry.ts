/**
 * Telemetry: what happens on the server, as a stream of events for clients that look on. One actor, `telemetry/main`.
 *
 * Promises: while nobody looks on, an event costs one comparison, for it is not even made. A watcher gets the events of its
 * tenant that it asked for, those of one window in one output; what is beyond `maxEvents` of a tenant in a window is counted and
 * not kept, so a storm of events is a number, not memory, and no other tenant's. Watching ends with the client.
 *
 * Runs as a custom-logic actor in memory. After a crash or restart nobody watches: clients ask again, and events are not kept.
 */
import { type Output, push, type TelemetryEvent } from './output.ts'
import type { Address } from './system/address.ts'
import type { DeadLetter } from './system/deadLetters.ts'
import { defineActor } from './system/definition.ts'
import type { Scope } from './system/scope.ts'
import type { EpochMs } from './world.ts'

export const telemetryAddress: Address = 'telemetry/main'

/** The events that the server makes, and their fields beside `event`, `at` and `tenant`; programs may emit others. */
export const telemetryEvents: Readonly<Record<string, readonly string[]>> = {
  connected: ['client', 'user', 'door'],
  disconnected: ['client', 'user', 'door'],
  authenticated: ['client', 'user', 'door'],
  denied: ['client', 'user', 'code', 'rule'],
  joined: ['client', 'user', 'channel'],
  left: ['client', 'user', 'channel'],
  published: ['client', 'user', 'channel', 'id', 'sequence'],
  command: ['client', 'user', 'command', 'code'],
  rate_limited: ['client', 'user', 'rule'],
  channel_created: ['client', 'user', 'channel'],
  channel_deleted: ['client', 'user', 'channel', 'reason'],
  dead_letter: ['address', 'message', 'code'],
  storage: ['state'],
  dropped: ['count'],
}

export type TelemetryMessage =
  /** From a client, which watches from then on; a second one replaces the first. Without `events`: all of them. */
  | {
      readonly type: 'telemetry.watch'
      readonly tenant: string
      /** Of all tenants: for those with the permission `admin`. */
      readonly seesAll: boolean
      readonly events?: readonly string[] | undefined
    }
  | { readonly type: 'telemetry.unwatch' }
  /** For programs that have no tap at hand. */
  | { readonly type: 'telemetry.event'; readonly event: TelemetryEvent }
  | { readonly type: 'telemetry.flush' }
  | { readonly type: 'actor.stopped'; readonly address: Address }

/** Where events go in. Producers look at `isOn` first and make no event when it is false. */
export interface TelemetryTap {
  readonly isOn: boolean
  emit(event: TelemetryEvent): void
}

export interface Batch {
  readonly events: readonly TelemetryEvent[]
  /** How many more there were, by tenant. */
  readonly dropped: ReadonlyMap<string, number>
}

/** The events of the present window. Shared by the producers and the actor, for a message for each event would be dearer than the event. */
export class TelemetryBuffer implements TelemetryTap {
  watchers = 0
  readonly #maxEvents: number
  #events: TelemetryEvent[] = []
  /** How many there were, by tenant. */
  #counts = new Map<string, number>()

  /** `maxEvents`: most events of one tenant in one window. */
  constructor(maxEvents = 1_000) {
    this.#maxEvents = maxEvents
  }

  get isOn(): boolean {
    return this.watchers > 0
  }

  emit(event: TelemetryEvent): void {
    if (!this.isOn) return
    const { tenant } = event
    const count = (this.#counts.get(tenant) ?? 0) + 1
    this.#counts.set(tenant, count)
    if (count <= this.#maxEvents) this.#events.push(event)
  }

  take(): Batch {
    const dropped = new Map<string, number>()
    for (const [tenant, count] of this.#counts) if (count > this.#maxEvents) dropped.set(tenant, count - this.#maxEvents)
    const batch = { events: this.#events, dropped }
    this.#events = []
    this.#counts = new Map()
    return batch
  }
}

interface Filter {
  readonly tenant: string
  readonly seesAll: boolean
  readonly events: ReadonlySet<string> | undefined
  /** Watchers with the same key see the same, so it is made, and later encoded, once for all of them. */
  readonly key: string
}

interface Telemetry {
  readonly watchers: Map<Address, Filter>
  readonly tap: TelemetryBuffer
}

/** Tenant of an actor: ids of all but the default one begin with `~tenant`. */
const tenantOfActor = (address: Address): string => /^[^/]*\/~([^/]*)/.exec(address)?.[1] ?? ''

export const deadLetterEvent = ({ at, address, message, code }: DeadLetter): TelemetryEvent => ({
  event: 'dead_letter',
  at,
  tenant: tenantOfActor(address),
  address,
  message: message.type,
  code,
})

const filterOf = (tenant: string, seesAll: boolean, events: readonly string[] | undefined): Filter => ({
  tenant,
  seesAll,
  events: events === undefined ? undefined : new Set(events),
  key: JSON.stringify([tenant, seesAll, events]),
})

/** What a watcher is told of a window; undefined when there is nothing for it. */
const outputFor = ({ tenant, seesAll, events }: Filter, batch: Batch, now: EpochMs): Output | undefined => {
  const seen = batch.events.filter((event) => (seesAll || event.tenant === tenant) && (events?.has(event.event) ?? true))
  // How busy another tenant is, is none of its business.
  for (const [of, count] of batch.dropped) if (seesAll || of === tenant) seen.push({ event: 'dropped', at: now, tenant: of, count })
  return seen.length === 0 ? undefined : { type: 'output.telemetry', events: seen }
}

const flush = ({ watchers, tap }: Telemetry, scope: Scope): void => {
  const batch = tap.take()
  if (batch.events.length === 0) return
  const outputs = new Map<string, Output | undefined>()
  for (const [address, filter] of watchers) {
    if (!outputs.has(filter.key)) outputs.set(filter.key, outputFor(filter, batch, scope.now()))
    const output = outputs.get(filter.key)
    if (output !== undefined) scope.tell(address, push(output))
  }
}

const unwatch = ({ watchers, tap }: Telemetry, address: Address | undefined, scope: Scope): void => {
  if (address === undefined || !watchers.delete(address)) return
  scope.unwatch(address)
  tap.watchers = watchers.size
  if (watchers.size > 0) return
  tap.take()
  scope.cancel('window')
}

export interface TelemetryOptions {
  readonly tap: TelemetryBuffer
  /** Events are told this often. Default 100. */
  readonly windowMs?: number
}

export const telemetryKind = ({ tap, windowMs = 100 }: TelemetryOptions) =>
  defineActor<Telemetry, TelemetryMessage>({
    kind: 'telemetry',
    state: () => ({ watchers: new Map(), tap }),
    stopped: () => {
      tap.watchers = 0
      tap.take()
    },
    handlers: {
      'telemetry.watch': (state, { tenant, seesAll, events }, scope) => {
        if (scope.from === undefined) return // nobody to tell
        if (state.watchers.size === 0) scope.after('window', windowMs, { type: 'telemetry.flush' })
        state.watchers.set(scope.from, filterOf(tenant, seesAll, events))
        scope.watch(scope.from)
        tap.watchers = state.watchers.size
      },
      'telemetry.unwatch': (state, _, scope) => unwatch(state, scope.from, scope),
      'telemetry.event': (_, { event }) => tap.emit(event),
      'telemetry.flush': (state, _, scope) => {
        flush(state, scope)
        scope.after('window', windowMs, { type: 'telemetry.flush' })
      },
      'actor.stopped': (state, { address }, scope) => unwatch(state, address, scope),
    },
  })
