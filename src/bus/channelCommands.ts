/** Commands about channels and rooms: be in them, make and delete them, look at them, read and write them. */
import { z } from 'zod'
import type { Command, Session } from '../../actors/command.ts'
import { TroupeError } from '../../actors/errors.ts'
import type { Json, JsonObject } from '../../actors/output.ts'
import { defineCommand } from '../extend/commands.ts'
import { historyData, joinedData, listData, membersData, stateData } from './answers.ts'
import { excess } from './frameLimit.ts'
import { given, name, names, number, ofChannel, optional, parameters, text, time, whole } from './parameters.ts'

const descriptionLength = 1_000
const dayMs = 24 * 3_600_000
/** Longest life of a room. */
const roomDays = 365
/** Most items of one answer. */
const pageLimit = 1_000
/** Most messages from before the join. */
const rewindLimit = 1_000
/** Most channels named in one command. */
const namesLimit = 1_000

const position = z
  .object({ epoch: text('recover.epoch'), sequence: whole('recover.sequence', 0) }, { error: 'recover: must be { epoch, sequence }' })
  .transform(({ epoch, sequence }) => ({ epoch, offset: sequence }))

const lastMessages = (of: string) => whole(of, 0, rewindLimit).transform((count) => ({ count }))
const rewind = z.union([lastMessages('rewind'), z.object({ since: time('rewind.since') })], {
  error: `rewind: must be a number up to ${rewindLimit}, or { since: time }`,
})

const joinChannel = defineCommand({
  name: 'join_channel',
  help: 'Join a channel: channel, recover? { epoch, sequence }, rewind? number of messages or { since }',
  params: ofChannel({ recover: optional(position), rewind: optional(rewind), history: optional(lastMessages('history')) }),
  async run({ channel, recover, rewind, history }, session) {
    const joined = await session.join(channel, given({ recover, rewind: rewind ?? history }))
    return joinedData(joined, session.channels)
  },
})

const leaveChannel = defineCommand({
  name: 'leave_channel',
  help: 'Leave a channel: channel',
  params: ofChannel({}),
  run: async ({ channel }, session) => ({ channel, left: await session.leave(channel), channels: session.channels }),
})

const named = parameters(
  { channels: z.preprocess((value) => (typeof value === 'string' ? [value] : value), names('channels', namesLimit)) },
  { channels: ['channel', 'room'] },
)

/** All or none: permissions are looked at first, and when a join is refused all the same, those before it are undone. */
const joinAll = async (channels: readonly string[], session: Session): Promise<void> => {
  for (const channel of channels) {
    const { isAllowed, rule } = session.may('channel', channel, 'read')
    if (!isAllowed) throw new TroupeError('access.denied', rule, { rule })
  }
  const before = new Set(session.channels)
  try {
    for (const channel of channels) await session.join(channel)
  } catch (error) {
    for (const channel of session.channels) if (!before.has(channel)) await session.leave(channel)
    throw error
  }
}

const subscribe = defineCommand({
  name: 'subscribe',
  help: 'Join several channels, all or none: channels',
  params: named,
  async run({ channels }, session) {
    await joinAll(channels, session)
    return { channels: session.channels }
  },
})

const unsubscribe = defineCommand({
  name: 'unsubscribe',
  help: 'Leave several channels: channels',
  params: named,
  async run({ channels }, session) {
    for (const channel of channels) await session.leave(channel)
    return { channels: session.channels }
  },
})

const createChannel = defineCommand({
  name: 'create_channel',
  help: 'Create a channel: channel, description?',
  params: ofChannel({ description: optional(text('description', descriptionLength)) }),
  async run({ channel, description }, session) {
    const info = await session.create(channel, given({ description }))
    return { channel: info.name, description: info.description, created_at: info.createdAt }
  },
})

const deleteChannel = defineCommand({
  name: 'delete_channel',
  help: 'Delete a channel or room with its history: channel',
  params: ofChannel({}),
  async run({ channel }, session) {
    await session.delete(channel)
    return { channel }
  },
})

const createRoom = defineCommand({
  name: 'create_room',
  help: 'Create a channel that ends by itself: room, ttl? in seconds, description?',
  params: parameters(
    {
      room: name('room'),
      ttl: optional(number('ttl', 0.001, (roomDays * dayMs) / 1000)),
      description: optional(text('description', descriptionLength)),
    },
    { room: ['channel'] },
  ),
  async run({ room, ttl, description }, session) {
    const ttlMs = ttl === undefined ? undefined : Math.round(ttl * 1000)
    const { name: made, createdAt, expiresAt = createdAt } = await session.create(room, given({ description, ttlMs, isRoom: true }))
    return { room: made, channel: made, ttl: (expiresAt - createdAt) / 1000, expires_at: expiresAt }
  },
})

const listed = parameters({
  prefix: optional(name('prefix')),
  after: optional(name('after')),
  limit: optional(whole('limit', 1, pageLimit)),
})

const listChannels = defineCommand({
  name: 'list_channels',
  help: 'Channels by name: prefix?, after? a name, limit?',
  params: listed,
  async run(params, session) {
    const { items, has_more } = listData(await session.list(given({ ...params, isRoom: false })))
    return { channels: items, has_more }
  },
})

const listRooms = defineCommand({
  name: 'list_rooms',
  help: 'Rooms by name: prefix?, after? a name, limit?',
  params: listed,
  async run(params, session) {
    const { items, has_more } = listData(await session.list(given({ ...params, isRoom: true })))
    return { rooms: items, has_more }
  },
})

const channelInfo = defineCommand({
  name: 'channel_info',
  help: 'What a channel is, and how many are in it: channel',
  params: ofChannel({}),
  run: async ({ channel }, session) => stateData(await session.describe(channel)),
})

const members = defineCommand({
  name: 'members',
  help: 'Who is in a channel: channel',
  params: ofChannel({}),
  run: async ({ channel }, session) => ({ channel, ...membersData(await session.members(channel)) }),
})

const history = defineCommand({
  name: 'history',
  help: 'Messages of a channel: channel, limit?, after?, before? sequences, since?, until? times, direction? forwards or backwards',
  params: ofChannel({
    limit: optional(whole('limit', 1, pageLimit)),
    after: optional(whole('after', 0)),
    before: optional(whole('before', 0)),
    since: optional(time('since')),
    until: optional(time('until')),
    direction: optional(z.enum(['forwards', 'backwards'], { error: 'direction: must be forwards or backwards' })),
  }),
  async run({ channel, limit = 50, direction, ...range }, session) {
    // Who names only where to begin reads on from there; everybody else wants the latest.
    const isBegun = (range.after ?? range.since) !== undefined && (range.before ?? range.until) === undefined
    const towards = direction ?? (isBegun ? 'forwards' : 'backwards')
    const page = await session.history(channel, given({ ...range, limit, direction: towards }))
    return historyData(channel, page, towards)
  },
})

const publish = ({ messageBytes }: ChannelCommandOptions) =>
  defineCommand({
    name: 'publish',
    help: 'Publish a message and wait until it is on disk: channel, content, id?, metadata?',
    params: ofChannel({
      content: z.custom<Json>((value) => value !== undefined, { error: 'content: required' }),
      id: optional(text('id').min(1, { error: 'id: at least 1 character' })),
      metadata: optional(
        z.custom<JsonObject>((value) => typeof value === 'object' && value !== null && !Array.isArray(value), {
          error: 'metadata: must be an object',
        }),
      ),
    }),
    async run({ channel, content, ...optional }, session) {
      const message = given({ channel, body: content, ...optional })
      const found = excess(message, messageBytes)
      if (found !== undefined) throw new TroupeError('message.too_large', found.detail, { rule: found.rule })
      const { message: stored, isRepeated } = await session.publish(message)
      return { channel: stored.channel, id: stored.id, sequence: stored.offset, epoch: stored.epoch, repeated: isRepeated }
    },
  })

export interface ChannelCommandOptions {
  readonly messageBytes: number
}

export const channelCommands = (options: ChannelCommandOptions): readonly Command[] => [
  joinChannel,
  leaveChannel,
  subscribe,
  unsubscribe,
  createChannel,
  deleteChannel,
  createRoom,
  listChannels,
  listRooms,
  channelInfo,
  members,
  history,
  publish(options),
]
