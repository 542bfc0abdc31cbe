#!/usr/bin/env node
/**
 * The program: reads the command line, starts, stops on signals. Nothing else.
 *
 * What only some commands need is loaded when they run: the supervisor, which stays as long as the server does and needs none of it,
 * is 25 MB smaller.
 */
import { existsSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { errorTable, isTroupeError, TroupeError } from '../actors/errors.ts'
import { help, parseCommandLine } from './cli.ts'
import { type Effective, options, readConfig } from './config.ts'
import { requestBackup, serveControl } from './control.ts'
import { exitCodeOf, exitCodes } from './exitCodes.ts'
import { dataFile } from './storage/directory.ts'
import type { DurableJournals } from './storage/lmdb.ts'
import { serving, supervise, supervisedVariable } from './supervisor.ts'
import { openLog } from './telemetry/log.ts'
import { version } from './version.ts'
import { systemWorld } from './world.ts'

type Logger = ReturnType<typeof openLog>

const printConfig = ({ config, sources }: Effective): void => {
  const read = (path: string) => path.split('.').reduce<unknown>((at, key) => (at as Record<string, unknown>)[key], config) // paths are of the schema
  // What is printed lands in tickets and logs.
  const shown = (path: string) => (path === 'auth.jwtSecret' && read(path) !== '' ? '(secret)' : JSON.stringify(read(path)))
  const rows = options.map(({ path }) => [path, shown(path), sources.get(path) ?? 'default'] as const)
  const width = (column: 0 | 1) => Math.max(...rows.map((row) => row[column].length))
  for (const [path, value, source] of rows) process.stdout.write(`${path.padEnd(width(0))}  ${value.padEnd(width(1))}  ${source}\n`)
}

const hasBackup = (journals: object): journals is DurableJournals => 'backup' in journals

const backup = async ({ config }: Effective, directory: string, log: Logger): Promise<void> => {
  const response = await requestBackup(config.data, directory)
  if (response === undefined) {
    // Opening would make a new database there, and its backup would look like a success.
    if (!existsSync(join(config.data, dataFile)))
      throw new TroupeError('config.invalid', `data: there is no database in ${resolve(config.data)}`)
    const { openLmdbJournals } = await import('./storage/lmdb.ts')
    const journals = await openLmdbJournals({ directory: config.data, ...systemWorld(log), ...config.storage })
    await journals.backup(directory)
    await journals.close()
  } else if (!response.ok)
    // A server of another version may have codes that this one has not.
    throw response.code !== undefined && response.code in errorTable
      ? new TroupeError(response.code, response.message)
      : new Error(response.message)
  log.info({ directory }, 'backup written')
}

/** Without it the server runs all the same: backup then needs the server to stop. */
const openControl = (data: string, journals: DurableJournals, log: Logger) =>
  serveControl(data, (directory) => journals.backup(directory)).catch((error: Error) => {
    log.warn({ error: error.message }, 'no control socket in the data directory: no backup while running')
    return undefined
  })

const ends = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const

const serve = async ({ config }: Effective, log: Logger): Promise<void> => {
  // As long as it looks at its data it has acknowledged nothing, and that may take minutes: it goes at once, and in order.
  const leave = () => process.exit(exitCodes.ok)
  for (const signal of ends) process.on(signal, leave)
  // The supervisor was killed; what was acknowledged is on disk, and the next server needs port and data directory.
  process.on('disconnect', () => process.exit(exitCodes.forced))
  const { TroupeServer } = await import('./server.ts')
  const server = await TroupeServer.start({ config, log })
  const { journals } = server
  let control: Awaited<ReturnType<typeof openControl>>

  let isStopping = false
  const stop = (signal: string) => {
    if (isStopping) {
      log.warn({ signal }, 'second signal: exiting at once')
      process.exit(exitCodes.forced)
    }
    isStopping = true
    log.info({ signal }, 'stopping')
    setTimeout(() => {
      log.error({ shutdownMs: config.shutdownMs }, 'could not close in time: exiting')
      process.exit(exitCodes.forced)
    }, config.shutdownMs).unref()
    control?.close()
    server.close().then(
      () => process.exit(exitCodes.ok),
      (error) => {
        log.error({ error: String(error) }, 'could not close in order')
        process.exit(exitCodes.forced)
      },
    )
  }
  for (const signal of ends) process.off(signal, leave).on(signal, () => stop(signal))
  if (hasBackup(journals)) control = await openControl(config.data, journals, log)

  journals.onStatus((status) => {
    if (status.state === 'closed') return
    log[status.state === 'ready' ? 'info' : 'error']({ ...status }, 'the store changed its state')
    // Never retry a failed fsync: only a new process sees what is really on disk.
    if (status.state === 'failed') process.exit(exitCodes.software)
  })
  for (const listener of server.listeners) log.info({ ...listener, pid: process.pid }, 'listening')
  process.send?.(serving)
}

/** `troupe user …` has flags of its own. */
const changeUsers = async (args: readonly string[]): Promise<number> => {
  const configured = async () => (await readConfig({ environment: process.env })).config.auth.users
  const { userCommand } = await import('./auth/userCommand.ts')
  await userCommand(args, configured, { input: process.stdin, output: process.stdout, prompts: process.stderr })
  return exitCodes.ok
}

const tryServer = async (args: readonly string[]): Promise<number> => {
  const { conformance } = await import('../test/compat/yjs-server-suite/command.ts')
  return conformance(args, process.stdout, process.stderr)
}

const run = async (): Promise<number | undefined> => {
  if (process.argv[2] === 'user') return changeUsers(process.argv.slice(3))
  if (process.argv[2] === 'conformance') return tryServer(process.argv.slice(3))
  const commandLine = parseCommandLine(process.argv.slice(2))
  if (commandLine.isHelp) process.stdout.write(help)
  if (commandLine.isVersion) process.stdout.write(`${version}\n`)
  if (commandLine.isHelp || commandLine.isVersion) return exitCodes.ok
  const { [supervisedVariable]: supervised, ...environment } = process.env
  const effective = await readConfig({ flags: commandLine.flags, file: commandLine.file, environment })
  const log = openLog(effective.config.log)
  const directory = commandLine.operands[0]
  if (commandLine.command === 'config') printConfig(effective)
  else if (commandLine.command === 'start') {
    if (supervised === undefined && effective.config.supervisor)
      return supervise(fileURLToPath(import.meta.url), process.argv.slice(2), log)
    const fatal = (error: unknown) => {
      log.fatal({ error: error instanceof Error ? error.stack : String(error) }, 'a defect: exiting')
      process.exit(exitCodes.software)
    }
    process.on('uncaughtException', fatal)
    process.on('unhandledRejection', fatal)
    await serve(effective, log)
    return undefined
  } else if (directory === undefined) {
    process.stderr.write(`troupe ${commandLine.command}: which directory? See troupe --help\n`)
    return exitCodes.usage
  } else if (commandLine.command === 'backup') await backup(effective, resolve(directory), log)
  else {
    const { restoreBackup } = await import('./storage/backup.ts')
    await restoreBackup(resolve(directory), effective.config.data, { ...systemWorld(log), force: commandLine.isForced })
  }
  return exitCodes.ok
}

run().then(
  (code) => {
    if (code !== undefined) process.exit(code)
  },
  (error) => {
    process.stderr.write(`troupe: ${error instanceof Error ? error.message : String(error)}\n`)
    if (isTroupeError(error)) process.stderr.write(`        code ${error.code}. ${errorTable[error.code].advice}\n`)
    process.exit(isTroupeError(error) ? exitCodeOf(error.code) : exitCodes.software)
  },
)
