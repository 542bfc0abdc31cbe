/**
 * Rules of your own: words that are masked, rooms for the members of a team, and a record of who was there.
 *
 *   npm start -- --set plugins=dist/programs/hooks.js
 *
 * Hooks see who joins and who publishes. Who must not read the history of a room either needs a permission that forbids it.
 */
import { appendFile } from 'node:fs/promises'
import { join } from 'node:path'
import { definePlugin, type HookClient, type Json, type PluginContext, TroupeError } from 'troupe'

const badWords = /\b(darn|heck)\b/gi
const mask = (word: string): string => '*'.repeat(word.length)

const masked = (body: Json): Json => {
  if (typeof body === 'string') return body.replace(badWords, mask)
  if (typeof body === 'object' && body !== null && 'text' in body && typeof body.text === 'string')
    return { ...body, text: body.text.replace(badWords, mask) }
  return body
}

const teams: ReadonlyMap<string, ReadonlySet<string>> = new Map([
  ['red', new Set(['alice', 'bob'])],
  ['blue', new Set(['carol'])],
])

/** The rooms of a team are called `team-NAME…`. */
const requireMember = ({ account }: HookClient, channel: string): void => {
  const team = /^team-([a-z]+)/.exec(channel)?.[1]
  if (team === undefined || teams.get(team)?.has(account.user) === true) return
  throw new TroupeError('hook.rejected', `only members of team ${team} may do this`, { rule: `team ${team}` })
}

export default ({ config }: PluginContext) =>
  definePlugin({
    name: 'house-rules',
    hooks: {
      onJoin: requireMember,
      onPublish(client, message) {
        requireMember(client, message.channel)
        return { ...message, body: masked(message.body) }
      },
      async onDisconnect({ client, account, door }) {
        const line = JSON.stringify({ at: new Date().toISOString(), client, user: account.user, door })
        await appendFile(join(config.data, 'audit.jsonl'), `${line}\n`)
      },
    },
  })
