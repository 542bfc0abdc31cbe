/**
 * A command of your own: how busy was a channel in the last hour?
 *
 *   npm start -- --set plugins=dist/programs/analytics.js
 *   {"type":"command","command":"analytics","channel":"general","time_range":"1h"}
 *   {"type":"command_response","command":"analytics","success":true,"data":{"message_count":150,"unique_users":25,"peak_hour":"14:00",…}}
 */
import { type ChannelMessage, defineCommand, definePlugin, type Json, type Range, type Session, TroupeError } from 'troupe'
import { z } from 'zod'

const unitsMs = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 }
/** Of one page of history, and of what one answer may cost. */
const [pageMessages, mostMessages] = [1_000, 100_000]

/** All messages since a time, page by page, so that never more than one page is in memory. */
async function* since(session: Session, channel: string, sinceMs: number): AsyncGenerator<ChannelMessage> {
  const range: Range = { since: sinceMs, limit: pageMessages, direction: 'forwards' }
  let read = 0
  let page = await session.history(channel, range)
  for (;;) {
    yield* page.messages
    read += page.messages.length
    const last = page.messages.at(-1)
    if (!page.hasMore || last === undefined) return
    if (read >= mostMessages) throw new TroupeError('command.failed', `More than ${mostMessages} messages, choose a shorter time_range`)
    page = await session.history(channel, { ...range, after: last.offset })
  }
}

/** Characters that people read: of a text, or of the field `text`; of anything else its JSON. */
const lengthOf = (body: Json): number => {
  const text = typeof body === 'object' && body !== null && 'text' in body ? body.text : body
  return typeof text === 'string' ? text.length : JSON.stringify(body).length
}

const analytics = defineCommand({
  name: 'analytics',
  help: 'How busy a channel was: messages, users, the busiest hour (UTC). Parameters: channel, time_range (1h).',
  params: z.object({
    channel: z.string().optional(),
    time_range: z
      .string()
      .regex(/^[1-9]\d{0,4}[smhd]$/, 'a number and one of s, m, h, d, for instance 1h')
      .default('1h'),
  }),
  async run({ channel, time_range }, session) {
    if (channel === undefined || channel === '') throw new TroupeError('command.failed', 'Channel parameter required')
    const rangeMs = Number.parseInt(time_range, 10) * unitsMs[time_range.at(-1) as keyof typeof unitsMs] // the schema looked at the unit
    const users = new Set<string>()
    const hours = new Array<number>(24).fill(0)
    let [count, characters] = [0, 0]
    for await (const message of since(session, channel, session.now() - rangeMs)) {
      count++
      characters += lengthOf(message.body)
      users.add(message.user)
      const hour = new Date(message.time).getUTCHours()
      hours[hour] = (hours[hour] ?? 0) + 1
    }
    return {
      message_count: count,
      unique_users: users.size,
      peak_hour: count === 0 ? null : `${String(hours.indexOf(Math.max(...hours))).padStart(2, '0')}:00`,
      avg_message_length: count === 0 ? 0 : Math.round(characters / count),
    }
  },
})

export default definePlugin({ name: 'analytics', commands: [analytics] })
