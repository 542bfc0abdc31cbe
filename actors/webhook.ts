/**
 * A webhook: an address outside that is told what happens to documents. One actor for each, `webhook/NAME`.
 *
 *   document ── webhook.note ──→ quiet for `quietMs`, or `maxWaitMs` over ──→ queue ──→ deliver, again and again ──→ delivered | dropped
 *
 * Promises:
 * - What was noted is told at least once, in the order in which it was noted, through crashes too; a receiver knows repetitions by the id.
 * - Changes of one document within the quiet time are one event; what happens to it otherwise (created, deleted, …) waits for nothing
 *   and comes after the changes before it.
 * - A receiver that fails is tried again with growing gaps, for `giveUpMs`; then the delivery is dropped, with a line in the log.
 *   At most `limit` deliveries wait; beyond it the oldest is dropped.
 *
 * Runs under the system as a durable table.
 */
import { defineActor } from './system/definition.ts'
import type { Scope } from './system/scope.ts'
import type { EpochMs, MonotonicMs } from './world.ts'

export const documentEventTypes = [
  'document.created',
  'document.changed',
  'document.deleted',
  'document.restored',
  'document.reset',
  'document.renamed',
  'document.full',
  'tenant.full',
] as const
export type DocumentEventType = (typeof documentEventTypes)[number]

/** What happened to a document. */
export interface DocumentEvent {
  readonly type: DocumentEventType
  /** The name that its tenant knows it by; empty when it is about the tenant. */
  readonly document: string
  readonly tenant: string
  readonly at: EpochMs
  /** Who did it; of changes all who took part. Nobody who did not log in. */
  readonly users: readonly string[]
  /** Of the last change in it. */
  readonly offset?: number
  /** The new name. */
  readonly to?: string
}

export interface Delivery {
  /** The same at each try. */
  readonly id: string
  readonly event: DocumentEvent
}

/** How a delivery went: taken, not taken (try again), or never to be taken. */
export type Outcome = 'delivered' | 'failed' | 'refused'

export interface WebhookOptions {
  /** Sends it to the receiver of this name. Must not throw synchronously; a rejection is a failure. */
  readonly deliver: (name: string, delivery: Delivery) => Promise<Outcome>
  /** Default 2 000. */
  readonly quietMs?: number
  /** Default 10 000. */
  readonly maxWaitMs?: number
  /** First wait after a failure, doubled each time up to `maxRetryMs`. Default 1 000 and 300 000. */
  readonly retryMs?: number
  readonly maxRetryMs?: number
  /** Default 24 hours. */
  readonly giveUpMs?: number
  /** Default 10 000. */
  readonly limit?: number
  readonly observe?: (outcome: Outcome | 'dropped') => void
}

export type WebhookMessage =
  | { readonly type: 'webhook.note'; readonly event: DocumentEvent }
  /** An ask: how many deliveries wait, and how many documents have changes that are not told yet. */
  | { readonly type: 'webhook.describe' }
  | { readonly type: 'webhook.tick' }

type Stored =
  /** Changes of a document are not told yet. */
  | readonly ['changing', DocumentEvent]
  /** It waits for its turn; changes of the same document before it are in it or before it. */
  | readonly ['queued', Delivery]
  | readonly ['done', id: string]

type WebhookScope = Scope<Stored>

interface Changing {
  readonly since: EpochMs
  event: DocumentEvent
}

const keyOf = ({ tenant, document }: DocumentEvent): string => `${tenant}/${document}`
/** Users that are named in one event. */
const mostUsers = 100
/** With thousands of busy documents something is due all the time. */
const tickGapMs = 20

const joined = (one: DocumentEvent, next: DocumentEvent): DocumentEvent => ({
  ...next,
  users: [...new Set([...one.users, ...next.users])].slice(0, mostUsers),
})

class Webhook {
  readonly #options: Required<Omit<WebhookOptions, 'observe'>> & Pick<WebhookOptions, 'observe'>
  readonly #changing = new Map<string, Changing>()
  readonly #queue = new Map<string, Delivery>()
  /** A delivery is under way. */
  #isSending = false
  /** Failures in a row, and not before when it is tried again. */
  #failures = 0
  #retryAt: MonotonicMs = 0
  /** When the timer rings, as far as this incarnation has set it. */
  #tickAt: MonotonicMs | undefined

  constructor(options: WebhookOptions) {
    this.#options = {
      quietMs: 2_000,
      maxWaitMs: 10_000,
      retryMs: 1_000,
      maxRetryMs: 300_000,
      giveUpMs: 86_400_000,
      limit: 10_000,
      ...options,
    }
  }

  // ── the fold ───────────────────────────────────────────────────────────────────────────────────────────────────

  apply([type, value]: Stored): void {
    if (type === 'changing') this.#changing.set(keyOf(value), { since: value.at, event: value })
    else if (type === 'done') this.#queue.delete(value)
    else {
      this.#queue.set(value.id, value)
      if (value.event.type === 'document.changed') this.#changing.delete(keyOf(value.event))
    }
  }

  toJson(): readonly Stored[] {
    const changing = Array.from(this.#changing.values(), ({ event, since }): Stored => ['changing', { ...event, at: since }])
    return [...changing, ...Array.from(this.#queue.values(), (delivery): Stored => ['queued', delivery])]
  }

  // ── requests ───────────────────────────────────────────────────────────────────────────────────────────────────

  note(event: DocumentEvent, scope: WebhookScope): void {
    const known = this.#changing.get(keyOf(event))
    if (event.type === 'document.changed') {
      // The first of them is stored; those that join it are told with it, and lost with a crash, which loses no notification.
      if (known !== undefined) {
        known.event = joined(known.event, event)
        return // due later than before, and looked at then
      }
      this.#persist(scope, ['changing', event])
      this.#planIn(this.#dueIn(event, event.at, scope.now()), scope)
    } else {
      if (known !== undefined) this.#enqueue(known.event, scope)
      this.#enqueue(event, scope)
      this.#planIn(0, scope)
    }
  }

  get isSending(): boolean {
    return this.#isSending
  }

  describe(): { readonly waiting: number; readonly changing: number; readonly failures: number } {
    return { waiting: this.#queue.size, changing: this.#changing.size, failures: this.#failures }
  }

  #enqueue(event: DocumentEvent, scope: WebhookScope): void {
    this.#persist(scope, ['queued', { id: `msg_${scope.random.id()}`, event }])
    if (this.#queue.size > this.#options.limit) for (const id of this.#queue.keys()) return this.#drop(id, 'too many wait', scope)
  }

  /** Refused by the disk, the table is folded anew and this was never noted: documents go on all the same. */
  #persist(scope: WebhookScope, ...events: Stored[]): void {
    scope.persist(...events).catch((error) => scope.log.error({ webhook: scope.id, error: String(error) }, 'an event could not be noted'))
  }

  #drop(id: string, reason: string, scope: WebhookScope): void {
    const delivery = this.#queue.get(id)
    this.#options.observe?.('dropped')
    scope.log.error({ webhook: scope.id, reason, event: delivery?.event }, 'an event could not be delivered and is dropped')
    this.#persist(scope, ['done', id])
  }

  // ── delivery ───────────────────────────────────────────────────────────────────────────────────────────────────

  tick(scope: WebhookScope): void {
    const now = scope.now()
    this.#tickAt = undefined
    for (const { event, since } of [...this.#changing.values()]) if (this.#dueIn(event, since, now) <= 0) this.#enqueue(event, scope)
    this.#send(scope)
    this.#plan(scope)
  }

  /** What happened in the future was noted before the clock was set back, nobody knows how long ago. */
  #dueIn({ at }: DocumentEvent, since: EpochMs, now: EpochMs): number {
    const { quietMs, maxWaitMs } = this.#options
    return at > now ? 0 : Math.min(at + quietMs, since + maxWaitMs) - now
  }

  #send(scope: WebhookScope): void {
    if (this.#isSending || scope.monotonic() < this.#retryAt) return
    for (const delivery of this.#queue.values()) {
      this.#isSending = true
      const sent = (outcome: Outcome) => this.#sent(delivery, outcome, scope)
      const failed = () => sent('failed')
      // When the incarnation has ended meanwhile, the next one sends it again.
      this.#options
        .deliver(scope.id, delivery)
        .then(sent, failed)
        .catch(() => {})
      return
    }
  }

  #sent({ id, event }: Delivery, outcome: Outcome, scope: WebhookScope): void {
    this.#isSending = false
    this.#options.observe?.(outcome)
    const { retryMs, maxRetryMs, giveUpMs } = this.#options
    if (outcome === 'failed') {
      this.#retryAt = scope.monotonic() + Math.min(maxRetryMs, retryMs * 2 ** Math.min(this.#failures++, 30))
      if (scope.now() - event.at >= giveUpMs) this.#drop(id, 'it failed for too long', scope)
    } else {
      this.#failures = 0
      if (outcome === 'refused') this.#drop(id, 'the receiver wants no more of it', scope)
      else this.#persist(scope, ['done', id])
    }
    this.#send(scope)
    this.#plan(scope)
  }

  /** Linear in the documents that are changing, so it is done once in a while and not for each change. */
  #plan(scope: WebhookScope): void {
    const now = scope.now()
    let ms = this.#queue.size > 0 ? this.#retryAt - scope.monotonic() : Number.POSITIVE_INFINITY
    for (const { event, since } of this.#changing.values()) ms = Math.min(ms, this.#dueIn(event, since, now))
    if (this.#queue.size > 0 && this.#isSending) ms = Math.max(ms, this.#options.retryMs)
    if (ms !== Number.POSITIVE_INFINITY) this.#planIn(ms, scope)
  }

  /** One timer: the earliest of what is due. It is durable, so it rings after a crash, too. */
  #planIn(ms: number, scope: WebhookScope): void {
    const now = scope.monotonic()
    if (this.#tickAt !== undefined && this.#tickAt <= now + ms) return
    const waitMs = Math.max(ms, tickGapMs)
    this.#tickAt = now + waitMs
    scope.after('tick', waitMs, { type: 'webhook.tick' })
  }
}

export const webhookKind = (options: WebhookOptions) =>
  defineActor<Webhook, WebhookMessage, Stored>({
    kind: 'webhook',
    state: () => new Webhook(options),
    canPassivate: (webhook) => !webhook.isSending,
    durable: {
      version: 1,
      apply: (webhook, event) => webhook.apply(event),
      toJson: (webhook) => webhook.toJson(),
      fromJson: (stored) => {
        const webhook = new Webhook(options)
        for (const event of stored as Stored[]) webhook.apply(event) // by toJson
        return webhook
      },
    },
    handlers: {
      'webhook.note': (webhook, { event }, scope) => webhook.note(event, scope),
      'webhook.describe': (webhook) => webhook.describe(),
      'webhook.tick': (webhook, _message, scope) => webhook.tick(scope),
    },
  })
