/**
 * What commands answer. Times are milliseconds; messages and members are as the actors know them. Doors spell both.
 */
import type { ChannelState, DirectoryPage, Joined, Page } from '../../actors/channelMessages.ts'
import type { ChannelInfo, Member } from '../../actors/output.ts'
import { fittingItems } from './frameLimit.ts'
import { given } from './parameters.ts'

/** Most members that are named in one answer; `member_count` says how many there are. */
const membersLimit = 1_000

const channelData = ({ description, createdAt, isRoom, expiresAt }: ChannelInfo) =>
  given({ description, created_at: createdAt, room: isRoom, expires_at: expiresAt })

export const membersData = (members: readonly Member[]) => ({
  members: fittingItems(members.slice(0, membersLimit)),
  member_count: members.length,
})

/** `channels`: all that the client is in now. */
export const joinedData = (joined: Joined, channels: readonly string[]) => ({
  channel: joined.info.name,
  ...channelData(joined.info),
  epoch: joined.epoch,
  sequence: joined.offset,
  recovered: joined.isRecovered ?? null,
  ...membersData(joined.members),
  messages: joined.messages,
  is_new: joined.isNew,
  announced: joined.isAnnounced,
  channels,
})

export const stateData = (state: ChannelState) => ({
  channel: state.name,
  ...channelData(state),
  created_by: state.createdBy,
  epoch: state.epoch,
  first_sequence: state.first,
  sequence: state.offset,
  members: state.members,
  connections: state.connections,
})

/** One channel among others. */
const itemData = ({ name, description, createdAt, createdBy, expiresAt }: ChannelInfo) =>
  given({ name, description, created_at: createdAt, created_by: createdBy, expires_at: expiresAt })

export const listData = ({ channels, hasMore }: DirectoryPage) => {
  const items = fittingItems(channels.map(itemData))
  return { items, has_more: hasMore || items.length < channels.length }
}

/** What does not fit into a frame is cut off at the end that is farther from where the client reads. */
export const historyData = (channel: string, page: Page, direction: 'forwards' | 'backwards') => {
  const messages = fittingItems(page.messages, direction === 'forwards' ? 'first' : 'last')
  return {
    channel,
    messages,
    epoch: page.epoch,
    first_sequence: page.first,
    sequence: page.offset,
    has_more: page.hasMore || messages.length < page.messages.length,
  }
}
