/** Routes about channels, rooms and revocations as data, for the description of the API (openapi.ts); the routes are in channels.ts and events.ts. */
import { z } from 'zod'
import { json } from '../documents/operations.ts'
import type { ApiAnswer, ApiOperation } from './apiRoute.ts'
import { eventsQuery, messageBody } from './parameters.ts'

const tag = 'channels'
const one = '/v1/channels/{name}'
const time = z.iso.datetime()
const sequence = z.int().min(0)
const epoch = z.string()
const text = z.string()

const published = z.object({ id: text, channel: text, sequence, epoch, timestamp: time, repeated: z.boolean() })
const failed = z.object({ error: z.object({ code: text, message: text }).loose() })
const message = z.looseObject({ id: text, channel: text, sequence, epoch, timestamp: time, sender: text, content: json, type: text })
const channelInfo = z.object({ name: text, description: text, created_at: time, created_by: text }).loose()
const instant = z.union([time, z.int()]).optional().describe('ISO 8601, or milliseconds')
const page = z.object({
  prefix: text.optional(),
  after: text.optional().describe('Go on after this name'),
  limit: z.coerce.number().int().min(1).max(1_000).optional(),
})
const revocation = z.looseObject({})

const answer = (description: string, schema?: z.ZodType): ApiAnswer => ({ description, ...(schema === undefined ? {} : { schema }) })
const stream: ApiAnswer = { description: 'A stream of server-sent events, docs/wire/sse.md', types: ['text/event-stream'] }
const streamHeaders = { 'Last-Event-ID': 'Where the reader was' }

export const channelOperations: readonly ApiOperation[] = [
  {
    method: 'POST',
    path: `${one}/messages`,
    operation: 'publish',
    tag,
    summary: 'Publish a message, or several',
    headers: { 'Idempotency-Key': 'The same as `id`' },
    body: { schema: z.union([messageBody, z.strictObject({ messages: z.array(messageBody).min(1).max(1_000) })]), isRequired: true },
    answers: {
      201: answer('One message is on disk', published),
      200: answer('Several; each has its own result', z.object({ results: z.array(z.union([published, failed])) })),
    },
    needs: 'channel:NAME:write',
  },
  {
    method: 'GET',
    path: `${one}/messages`,
    operation: 'readMessages',
    tag,
    summary: 'History',
    query: z.object({
      limit: z.coerce.number().int().min(1).max(1_000).optional(),
      after: z.coerce.number().int().optional().describe('A sequence'),
      before: z.coerce.number().int().optional().describe('A sequence'),
      since: instant,
      until: instant,
      direction: z.enum(['forwards', 'backwards']).optional(),
    }),
    answers: {
      200: answer(
        'Messages in ascending order',
        z.object({ channel: text, messages: z.array(message), epoch, first_sequence: sequence, sequence, has_more: z.boolean() }),
      ),
    },
    needs: 'channel:NAME:read',
  },
  {
    method: 'GET',
    path: `${one}/members`,
    operation: 'listMembers',
    tag,
    summary: 'Who is in a channel',
    answers: {
      200: answer('Its members', z.looseObject({ channel: text, members: z.array(z.looseObject({ user: text })), member_count: z.int() })),
    },
    needs: 'channel:NAME:read',
  },
  {
    method: 'GET',
    path: `${one}/events`,
    operation: 'followChannel',
    tag,
    summary: 'Follow a channel',
    query: eventsQuery.omit({ channel: true }),
    headers: streamHeaders,
    answers: { 200: stream },
    needs: 'channel:NAME:read',
  },
  {
    method: 'GET',
    path: '/v1/events',
    operation: 'followChannels',
    tag,
    summary: 'Follow several channels',
    query: eventsQuery,
    headers: streamHeaders,
    answers: { 200: stream },
    needs: 'channel:NAME:read',
  },
  {
    method: 'GET',
    path: one,
    operation: 'describeChannel',
    tag,
    summary: 'What a channel is',
    answers: { 200: answer('The channel', z.looseObject({ channel: text, description: text, epoch, sequence })) },
    needs: 'channel:NAME:read',
  },
  {
    method: 'PUT',
    path: one,
    operation: 'createChannel',
    tag,
    summary: 'Create a channel',
    body: { schema: z.object({ description: text.max(1_000).optional() }) },
    answers: { 201: answer('The new channel', z.looseObject({ channel: text, description: text, created_at: time })) },
    needs: 'channel:NAME:create',
  },
  {
    method: 'DELETE',
    path: one,
    operation: 'deleteChannel',
    tag,
    summary: 'Delete a channel with its history',
    answers: { 204: answer('It is gone') },
    needs: 'channel:NAME:delete',
  },
  {
    method: 'GET',
    path: '/v1/channels',
    operation: 'listChannels',
    tag,
    summary: 'Channels that the account may read, by name',
    query: page,
    answers: { 200: answer('A page', z.looseObject({ channels: z.array(channelInfo), has_more: z.boolean() })) },
    needs: 'lists what the account may read',
  },
  {
    method: 'GET',
    path: '/v1/rooms',
    operation: 'listRooms',
    tag,
    summary: 'Rooms that the account may read, by name',
    query: page,
    answers: { 200: answer('A page', z.looseObject({ rooms: z.array(channelInfo), has_more: z.boolean() })) },
    needs: 'lists what the account may read',
  },
  {
    method: 'POST',
    path: '/v1/rooms',
    operation: 'createRoom',
    tag,
    summary: 'Create a channel that ends by itself',
    body: {
      schema: z.object({ room: text, ttl: z.number().optional().describe('Seconds'), description: text.optional() }),
      isRequired: true,
    },
    answers: { 201: answer('The new room', z.looseObject({ room: text, channel: text, expires_at: time })) },
    needs: 'channel:NAME:create',
  },
  {
    method: 'POST',
    path: '/v1/revocations',
    operation: 'revoke',
    tag: 'access',
    summary: 'Accounts or tokens are no longer good',
    body: {
      schema: z.union([z.object({ user: text, tenant: text.optional(), before: instant }), z.object({ token_id: text, until: instant })]),
      isRequired: true,
    },
    answers: { 201: answer('What holds now', revocation) },
    needs: 'admin',
  },
  {
    method: 'GET',
    path: '/v1/revocations',
    operation: 'listRevocations',
    tag: 'access',
    summary: 'Accounts and tokens that are no longer good',
    answers: { 200: answer('All of them', z.object({ revocations: z.array(revocation) })) },
    needs: 'admin',
  },
]
