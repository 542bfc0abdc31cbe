/** A plugin that makes a channel fail: it is sent a message that no client can send. */
import { defineCommand, definePlugin } from 'troupe'
import { z } from 'zod'

const sabotage = defineCommand({
  name: 'sabotage',
  help: 'Makes a channel fail. Parameters: channel.',
  params: z.object({ channel: z.string() }),
  run: ({ channel }, session) => session.tell(`channel/${channel}`, { type: 'channel.publish', draft: null }),
})

export default definePlugin({ name: 'saboteur', commands: [sabotage] })
