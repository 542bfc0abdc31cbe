/**
 * The answers of built-in commands (src/bus/answers.ts) in the words of a protocol: times, messages and members are spelled.
 * Those of other commands go out as they are.
 */
import type { ChannelMessage, Json, JsonObject, Member } from '../../actors/output.ts'
import type { EpochMs } from '../../actors/world.ts'
import { isJsonObject } from './json.ts'

export interface Words {
  time(at: EpochMs): string
  messages(messages: readonly ChannelMessage[]): Json
  member(member: Member): JsonObject
}

const timeKeys: ReadonlySet<string> = new Set(['created_at', 'expires_at', 'timestamp', 'before', 'until'])

/** What a Date can hold (ECMA-262 §21.4.1.1); another number would throw. */
const isTime = (value: Json): value is number => typeof value === 'number' && Math.abs(value) <= 8.64e15

export const listOf = <Item>(value: Json | undefined): readonly Item[] => (Array.isArray(value) ? (value as readonly Item[]) : [])

/** What a command gave, spelled. */
export const answerSpelling = ({ time, messages, member }: Words): ((command: string, data: Json) => Json) => {
  const withTimes = (data: JsonObject): JsonObject =>
    Object.fromEntries(Object.entries(data).map(([key, value]) => [key, timeKeys.has(key) && isTime(value) ? time(value) : value]))
  const withItems = (key: string) => (data: JsonObject) => ({ ...data, [key]: listOf<JsonObject>(data[key]).map(withTimes) })
  const withMembers = (data: JsonObject) => ({ ...withTimes(data), members: listOf<Member>(data.members).map(member) })
  const spellings: ReadonlyMap<string, (data: JsonObject) => JsonObject> = new Map([
    // The replayed messages follow by themselves.
    [
      'join_channel',
      ({ messages: replayed, is_new: _, announced: __, channels: ___, ...data }: JsonObject) => ({
        ...withMembers(data),
        replayed: listOf(replayed).length,
      }),
    ],
    ['members', withMembers],
    ['history', (data) => ({ ...data, messages: messages(listOf<ChannelMessage>(data.messages)) })],
    ['list_channels', withItems('channels')],
    ['list_rooms', withItems('rooms')],
    ['channel_info', withTimes],
    ['create_channel', withTimes],
    ['create_room', withTimes],
    ['ping', withTimes],
    ['revoke', withTimes],
  ])
  return (command, data) => (isJsonObject(data) ? (spellings.get(command)?.(data) ?? data) : data)
}
