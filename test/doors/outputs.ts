/** Outputs for tests of doors: complete ones, of which a test says only what it is about. */
import type { Account } from '../../actors/account.ts'
import type { ChannelMessage, Json, Member, Output, PresenceOutput, Refusal } from '../../actors/output.ts'

/** 2026-11-20T20:14:25.750Z */
export const at = Date.UTC(2026, 10, 20, 20, 14, 25, 750)

/** Sixteen bytes, 00 to 0f, as the world makes ids. */
export const client = Buffer.from([...Array(16).keys()]).toString('base64url')

export const account = (user: string): Account => ({ user, tenant: '', isAnonymous: true, permissions: [] })

export const message = (fields: Partial<ChannelMessage> = {}): ChannelMessage => ({
  channel: 'general',
  offset: 7,
  epoch: 'epoch-1',
  time: at,
  id: 'AAECAwQFBgcICQoLDA0ODw',
  user: 'ann',
  sender: 'ann',
  client,
  body: { type: 'text', text: 'hello' },
  kind: 'message',
  ...fields,
})

export const messages = (...all: readonly ChannelMessage[]): Output => ({ type: 'output.messages', channel: 'general', messages: all })

export const member = (user: string, fields: Partial<Member> = {}): Member => ({
  user,
  status: 'online',
  connections: 1,
  joinedAt: at - 1_000,
  lastSeen: at,
  ...fields,
})

export const presence = (fields: Partial<PresenceOutput> = {}): Output => ({
  type: 'output.presence',
  id: 'presence-1',
  change: 'joined',
  channel: 'general',
  user: 'bob',
  client: 'another',
  status: 'online',
  before: 'offline',
  at,
  offset: 7,
  ...fields,
})

export const answer = (ref: unknown, command: string, data: unknown, user = 'ann'): Output => ({
  type: 'output.answer',
  ref,
  command,
  at,
  account: account(user),
  client,
  data: data as Json, // commands give messages and members as the actors know them
})

export const refused = (ref: unknown, refusal: Partial<Refusal> & Pick<Refusal, 'code'>): Output => ({
  type: 'output.refused',
  ref,
  command: undefined,
  at,
  refusal: { message: `about ${refusal.code}`, ...refusal },
})

/** The ref that a door gave the first request of a text. */
export const refOf = (requests: readonly { readonly type: string }[]): unknown => (requests[0] as { ref?: unknown } | undefined)?.ref
