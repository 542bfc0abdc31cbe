/**
 * Sends events to webhooks, one POST for each. 2xx: taken. 410: the receiver wants no more of it. Anything else, a redirect
 * too, is a failure and tried again.
 */
import type { Delivery, DocumentEvent, Outcome } from '../../actors/webhook.ts'
import type { Clock, Log } from '../../actors/world.ts'
import type { Config } from '../config.ts'
import { isoTime } from '../doors/times.ts'
import { secretBytes, signatureHeaders } from './signature.ts'

export type Receiver = Config['webhooks']['receivers'][number]

/** As it is sent. */
export const bodyOf = ({ type, at, document, tenant, users, offset, to }: DocumentEvent): string =>
  JSON.stringify({
    type,
    timestamp: isoTime(at),
    data: { document, tenant, users, ...(offset === undefined ? {} : { offset }), ...(to === undefined ? {} : { to }) },
  })

/** Whether a receiver wants to hear of it. A document that is renamed comes under its prefix as well as it leaves it. */
export const wants = (
  { events, prefix }: Receiver,
  { type, document, to = '' }: Pick<DocumentEvent, 'type' | 'document' | 'to'>,
): boolean => events.includes(type) && (document.startsWith(prefix) || to.startsWith(prefix))

export interface SenderOptions {
  readonly receivers: readonly Receiver[]
  readonly timeoutMs: number
  readonly clock: Clock
  readonly log: Log
}

export const webhookSender = ({ receivers, timeoutMs, clock, log }: SenderOptions) => {
  const known = new Map(receivers.map((receiver) => [receiver.name, receiver]))
  return async (name: string, { id, event }: Delivery): Promise<Outcome> => {
    const receiver = known.get(name)
    const secret = receiver && secretBytes(receiver.secret)
    if (receiver === undefined || secret === undefined) return 'refused' // it is no longer configured
    const body = bodyOf(event)
    const headers = signatureHeaders(secret, id, Math.floor(clock.now() / 1_000), body)
    try {
      const response = await fetch(receiver.url, {
        method: 'POST',
        headers: { 'content-type': 'application/json', 'user-agent': 'troupe', ...headers },
        body,
        redirect: 'manual',
        signal: AbortSignal.timeout(timeoutMs),
      })
      await response.body?.cancel()
      if (response.ok) return 'delivered'
      log.warn({ webhook: name, status: response.status }, 'a webhook was not taken')
      return response.status === 410 ? 'refused' : 'failed'
    } catch (error) {
      log.warn({ webhook: name, error: error instanceof Error ? error.message : String(error) }, 'a webhook could not be sent')
      return 'failed'
    }
  }
}
