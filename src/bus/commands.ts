/**
 * The built-in commands. Names and parameters are those of the ArqonBus guide where it has them; doors of other protocols map
 * their messages onto the same table. Reference: docs/reference/commands.md.
 */
import { z } from 'zod'
import type { Command } from '../../actors/command.ts'
import { TroupeError } from '../../actors/errors.ts'
import { type JsonObject, statuses } from '../../actors/output.ts'
import { revoke } from '../auth/revokeCommand.ts'
import { defineCommand } from '../extend/commands.ts'
import { name as server, version } from '../version.ts'
import { type ChannelCommandOptions, channelCommands } from './channelCommands.ts'
import { names, optional, parameters, text } from './parameters.ts'

export interface CommandOptions extends ChannelCommandOptions {
  readonly uptimeMs: () => number
  /** False: a name and any password make a name, for there is nobody who could check them. */
  readonly checksPasswords: boolean
  /** Everything that `help` may list, those of plugins, too. */
  readonly all: () => Iterable<Command>
  /** More for `status`. */
  readonly figures?: () => JsonObject
}

const authenticate = ({ checksPasswords }: CommandOptions) =>
  defineCommand({
    name: 'authenticate',
    help: 'Log in: token, or username and password',
    needsAccount: false,
    params: parameters({
      token: optional(text('token', 16_384)),
      username: optional(text('username').min(1, { error: 'username: at least 1 character' })),
      password: optional(text('password', 1_024)),
    }).refine(({ token, username, password }) => token !== undefined || (username !== undefined && password !== undefined), {
      error: 'token, or username and password: required',
    }),
    async run({ token, username = '', password = '' }, session) {
      if (token === undefined && !checksPasswords && session.account.isAnonymous) await session.rename(username)
      else await session.authenticate(token === undefined ? { type: 'password', username, password } : { type: 'token', token })
      const { user, tenant, permissions } = session.account
      return { user, tenant, permissions }
    },
  })

const setStatus = defineCommand({
  name: 'set_status',
  help: `What others see of you: status (${statuses.join(', ')}), username? for clients that did not log in`,
  params: parameters({
    status: z.enum(statuses, {
      error: ({ input }) => `status: ${input === undefined ? 'required' : `must be one of ${statuses.join(', ')}`}`,
    }),
    username: optional(text('username')),
  }),
  async run({ status, username }, session) {
    if (username !== undefined && username !== '') await session.rename(username)
    await session.setStatus(status)
    return { user: session.account.user, status: session.status }
  },
})

const status = ({ uptimeMs, figures }: CommandOptions) =>
  defineCommand({
    name: 'status',
    help: 'What the server is, and who you are',
    params: parameters({}),
    run: (_, session) => ({
      server,
      version,
      client: session.client,
      user: session.account.user,
      tenant: session.account.tenant,
      status: session.status,
      channels: session.channels,
      uptime_ms: uptimeMs(),
      ...figures?.(),
    }),
  })

const ping = defineCommand({
  name: 'ping',
  help: 'Answers at once',
  needsAccount: false,
  params: parameters({}),
  run: (_, session) => ({ pong: true, timestamp: session.now() }),
})

const help = ({ all }: CommandOptions) =>
  defineCommand({
    name: 'help',
    help: 'What you can run: command? to hear of one',
    needsAccount: false,
    params: parameters({ command: optional(text('command')) }),
    run({ command: wanted }, session) {
      const found = [...all()].filter(({ name }) => wanted === undefined || name === wanted)
      if (wanted !== undefined && found.length === 0) throw new TroupeError('command.unknown', wanted)
      const allowed = found.filter(({ name, needsAccount }) => needsAccount === false || session.may('command', name, 'run').isAllowed)
      return { commands: allowed.map(({ name, help }) => ({ name, help })) }
    },
  })

const subscribeTelemetry = defineCommand({
  name: 'subscribe_telemetry',
  help: 'Hear what happens on the server: events? a list of names, without it all',
  params: parameters({ events: optional(names('events', 100)) }),
  run({ events = [] }, session) {
    session.watch(events)
    return { events }
  },
})

const unsubscribeTelemetry = defineCommand({
  name: 'unsubscribe_telemetry',
  help: 'Hear no more of it',
  params: parameters({}),
  run(_, session) {
    session.watch(undefined)
    return { events: [] }
  },
})

export const builtinCommands = (options: CommandOptions): readonly Command[] => [
  ...channelCommands(options),
  authenticate(options),
  setStatus,
  status(options),
  ping,
  help(options),
  subscribeTelemetry,
  unsubscribeTelemetry,
  revoke,
]
