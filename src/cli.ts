/** The command line as data: command, flags by option path, and what was wrong. */
import { parseArgs } from 'node:util'
import { TroupeError } from '../actors/errors.ts'

export const commands = ['start', 'config', 'backup', 'restore'] as const
export type Command = (typeof commands)[number]

export interface CommandLine {
  readonly command: Command
  /** What follows the command. */
  readonly operands: readonly string[]
  /** Option path → text. */
  readonly flags: Readonly<Record<string, string>>
  readonly file: string | undefined
  readonly isHelp: boolean
  readonly isVersion: boolean
  readonly isForced: boolean
}

const shortcuts = { host: 'host', port: 'port', data: 'data', 'log-level': 'log.level' } as const

export const help = `Usage: troupe [COMMAND] [OPTIONS]

Commands
  start            run the server (default)
  config           print every option, its value and where it came from
  backup DIR       copy the database into an empty directory, also while the server runs
  restore DIR      put a backup into the data directory; --force moves a database that is there aside
  user             add, change, remove and list users with passwords; troupe user tells how
  conformance URL  try a Yjs server, this one or another; troupe conformance --help tells how

Options
  --host ADDRESS           listen on this address (127.0.0.1)
  --port PORT              main port (9100)
  --listen PORT[:PROFILE]  one more listener; may be repeated. Profiles: main, yjs, hocuspocus,
                           bus, chat, pubsub, arqonbus
  --data DIR               directory of the database (./data)
  --log-level LEVEL        debug, info, warn, error, silent (info)
  --config FILE            configuration file (troupe.config.json or troupe.config.js)
  --set OPTION=VALUE       any option by its name, for instance limits.pingMs=10000; may be repeated
  --no-supervisor          run in one process that is not started again when it crashes
  --help, --version
`

/** What Node's parser of arguments says, without its advice about arguments that begin with a dash. */
export const flagDefect = (error: unknown): string => {
  const text = error instanceof Error ? error.message : String(error)
  const ambiguous = /^Option '([^']+)' argument is ambiguous/.exec(text)
  return ambiguous === null ? (text.split(/\.\s|\n/, 1)[0] ?? text) : `${ambiguous[1]} needs a value`
}

/** Errors: `config.invalid` for flags that do not exist. */
export const parseCommandLine = (args: readonly string[]): CommandLine => {
  const { values, positionals } = (() => {
    try {
      return parseArgs({
        args: [...args],
        allowPositionals: true,
        options: {
          host: { type: 'string' },
          port: { type: 'string' },
          data: { type: 'string' },
          'log-level': { type: 'string' },
          config: { type: 'string' },
          listen: { type: 'string', multiple: true },
          set: { type: 'string', multiple: true },
          'no-supervisor': { type: 'boolean' },
          force: { type: 'boolean' },
          help: { type: 'boolean', short: 'h' },
          version: { type: 'boolean', short: 'v' },
        },
      })
    } catch (error) {
      throw new TroupeError('config.invalid', `${flagDefect(error)}; see troupe --help`)
    }
  })()
  const [command = 'start', ...operands] = positionals
  if (!commands.includes(command as Command))
    throw new TroupeError('config.invalid', `there is no command ${JSON.stringify(command)}; see troupe --help`)
  const flags: Record<string, string> = {}
  for (const pair of values.set ?? []) {
    const equals = pair.indexOf('=')
    if (equals < 1) throw new TroupeError('config.invalid', `--set ${pair}: expected OPTION=VALUE`)
    flags[pair.slice(0, equals)] = pair.slice(equals + 1)
  }
  for (const [flag, path] of Object.entries(shortcuts)) {
    const value = values[flag as keyof typeof shortcuts]
    if (value !== undefined) flags[path] = value
  }
  if (values.listen !== undefined) flags.listen = values.listen.join(',')
  if (values['no-supervisor'] === true) flags.supervisor = 'false'
  return {
    command: command as Command,
    operands,
    flags,
    file: values.config,
    isHelp: values.help === true,
    isVersion: values.version === true,
    isForced: values.force === true,
  }
}
