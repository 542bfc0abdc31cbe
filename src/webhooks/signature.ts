/**
 * How a receiver knows that an event comes from this server: the scheme of Standard Webhooks
 * (github.com/standard-webhooks/standard-webhooks, symmetric signatures), which libraries of many languages check.
 *
 *   webhook-id, webhook-timestamp (s), webhook-signature: v1,BASE64(HMAC-SHA256(secret, ID.TIMESTAMP.BODY))
 */
import { createHmac } from 'node:crypto'

const prefix = 'whsec_'

/** Undefined: it is no secret. */
export const secretBytes = (secret: string): Buffer | undefined => {
  const encoded = secret.slice(prefix.length)
  if (!secret.startsWith(prefix) || !/^[A-Za-z0-9+/]+={0,2}$/.test(encoded)) return undefined
  const bytes = Buffer.from(encoded, 'base64')
  return bytes.length >= 24 && bytes.length <= 64 ? bytes : undefined
}

export const signatureHeaders = (secret: Buffer, id: string, seconds: number, body: string): Readonly<Record<string, string>> => ({
  'webhook-id': id,
  'webhook-timestamp': String(seconds),
  'webhook-signature': `v1,${createHmac('sha256', secret).update(`${id}.${seconds}.${body}`).digest('base64')}`,
})
