/** A plugin whose parts go wrong in every way that a test wants to see. */
import { setTimeout } from 'node:timers/promises'
import { defineCommand, defineMessageType, definePlugin, TroupeError } from 'troupe'
import { z } from 'zod'

const double = defineCommand({
  name: 'double',
  help: 'Twice a number. Parameters: number.',
  params: z.object({ number: z.number() }),
  run: ({ number }) => ({ number: number * 2 }),
})

const moods = {
  throws: () => {
    throw new Error('password of the database: 1234')
  },
  refuses: () => {
    throw new TroupeError('rate.limited', 'ten a day', { rule: 'ten a day', retryAfterMs: 60_000 })
  },
  returnsNothing: () => undefined,
  returnsNoJson: () => ({ size: 10n }),
}

const moody = defineCommand({
  name: 'moody',
  help: 'Goes wrong. Parameters: mood.',
  params: z.object({ mood: z.enum(Object.keys(moods)) }),
  run: async ({ mood }) => moods[mood](),
})

const sensorData = defineMessageType({
  name: 'sensor_data',
  channels: 'sensors/*',
  schema: z.object({ sensor_id: z.string(), sensor_type: z.string(), value: z.number(), unit: z.string() }),
})

const onChannel = (channel) => {
  if (channel === 'broken') throw new Error('password of the database: 1234')
  if (channel === 'endless') return new Promise(() => {})
  if (channel === 'slow') return setTimeout(20)
}

export default definePlugin({
  name: 'moody',
  commands: [double, moody],
  messageTypes: [sensorData],
  hooks: {
    onJoin: (_client, channel) => onChannel(channel),
    onPublish: (_client, message) => onChannel(message.channel),
  },
})
