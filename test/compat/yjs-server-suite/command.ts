/** `troupe conformance URL`: the suite as a command, with a table for people and JSON for programs. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { parseArgs } from 'node:util'
import type { Target } from './check.ts'
import { ServerProcess } from './server.ts'
import { checks, checksOf, type Result, recovered, runCheck } from './suite.ts'
import type { Wire } from './wire.ts'

export const conformanceHelp = `Usage: troupe conformance URL [OPTIONS]

Tries a Yjs server: ws://host:port[/path] of any server that speaks the wire of y-websocket or of Hocuspocus. Every check uses
documents of its own, named conformance-…; they stay on the server.

Options
  --wire WIRE              yjs or hocuspocus (yjs; hocuspocus if the path of the URL ends so)
  --only ID                one check; may be repeated
  --slow                   also checks that take up to a minute
  --patience SECONDS       what must come must come within this (5)
  --token TOKEN            of a client that may write
  --token-parameter NAME   parameter of the URL that carries it on the yjs wire (token)
  --denied-token TOKEN     one that the server refuses
  --readonly-token TOKEN   one that may read only
  --kick COMMAND           closes the connections of the document $DOCUMENT
  --server COMMAND         starts the server, which is killed and started again by some checks, and ended at the end
  --json                   results as JSON
  --list                   the checks, without running them

Exit code: 0 when nothing failed, 1 when a check failed, 64 when it could not begin.
`

const usageExit = 64

interface Output {
  write(text: string): unknown
}

class Usage extends Error {}

const options = {
  wire: { type: 'string' },
  only: { type: 'string', multiple: true },
  slow: { type: 'boolean' },
  patience: { type: 'string' },
  token: { type: 'string' },
  'token-parameter': { type: 'string' },
  'denied-token': { type: 'string' },
  'readonly-token': { type: 'string' },
  kick: { type: 'string' },
  server: { type: 'string' },
  json: { type: 'boolean' },
  list: { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
} as const

const parse = (args: readonly string[]) => {
  try {
    return parseArgs({ args: [...args], allowPositionals: true, options })
  } catch (error) {
    throw new Usage(error instanceof Error ? error.message : String(error))
  }
}

const wireOf = (given: string | undefined, url: string): Wire => {
  if (given === 'yjs' || given === 'hocuspocus') return given
  if (given !== undefined) throw new Usage(`--wire ${given}: expected yjs or hocuspocus`)
  return /\/hocuspocus\/?(\?|$)/.test(url) ? 'hocuspocus' : 'yjs'
}

const secondsOf = (given: string | undefined): number => {
  const seconds = Number(given ?? '5')
  if (!(seconds > 0 && seconds <= 600)) throw new Usage(`--patience ${given}: expected seconds, up to 600`)
  return seconds
}

const kicking = (command: string) => async (document: string) => {
  const child = spawn(command, { shell: true, stdio: 'ignore', env: { ...process.env, DOCUMENT: document } })
  const [code] = (await once(child, 'exit')) as [number | null]
  if (code !== 0) throw new Error(`--kick ended with ${code}`)
}

const targetOf = ({ values, positionals }: ReturnType<typeof parse>): Target & { readonly server?: ServerProcess } => {
  const [url, ...rest] = positionals
  if (url === undefined || rest.length > 0) throw new Usage('expected one URL')
  if (!/^wss?:\/\//.test(url) || !URL.canParse(url)) throw new Usage(`${url}: expected ws://… or wss://…`)
  const optional = { deniedToken: values['denied-token'], readonlyToken: values['readonly-token'] }
  return {
    url,
    wire: wireOf(values.wire, url),
    token: values.token ?? '',
    tokenParameter: values['token-parameter'] ?? 'token',
    patienceMs: secondsOf(values.patience) * 1_000,
    ...(optional.deniedToken === undefined ? {} : { deniedToken: optional.deniedToken }),
    ...(optional.readonlyToken === undefined ? {} : { readonlyToken: optional.readonlyToken }),
    ...(values.kick === undefined ? {} : { kick: kicking(values.kick) }),
    ...(values.server === undefined ? {} : { server: new ServerProcess(values.server, url) }),
  }
}

const width = Math.max(...checks.map(({ id }) => id.length))
const marks = { pass: 'pass', fail: 'FAIL', skipped: 'skip' } as const

const row = ({ id, outcome, reason, title, ms }: Result): string => {
  const taken = outcome === 'skipped' ? '' : `${(ms / 1_000).toFixed(1)} s`
  return `${marks[outcome]}  ${id.padEnd(width)}  ${taken.padStart(7)}  ${title}${reason === '' ? '' : `\n${' '.repeat(width + 17)}${reason}`}\n`
}

const list = (output: Output): void => {
  for (const { id, wire, title, why, source, needs, isSlow } of checks) {
    const marked = [wire, isSlow === true ? 'slow' : '', needs ?? ''].filter((word) => word !== '').join(', ')
    output.write(`${id} (${marked})\n    ${title}.\n    ${why}\n    ${source}\n`)
  }
}

const run = async (args: readonly string[], output: Output): Promise<number> => {
  const parsed = parse(args)
  const { values } = parsed
  if (values.help === true) {
    output.write(conformanceHelp)
    return 0
  }
  if (values.list === true) {
    if (values.json === true) output.write(`${JSON.stringify(checks)}\n`)
    else list(output)
    return 0
  }
  const target = targetOf(parsed)
  const stranger = values.only?.find((id) => !checksOf(target.wire).some((check) => check.id === id))
  if (stranger !== undefined) throw new Usage(`--only ${stranger}: the wire ${target.wire} has no such check; see --list`)
  const wanted = checksOf(target.wire).filter(({ id }) => values.only?.includes(id) ?? true)
  const results: Result[] = []
  await target.server?.start()
  try {
    for (const check of wanted) {
      if (results.at(-1)?.outcome === 'fail') await recovered(target)
      const result = await runCheck(check, target, values.slow === true || values.only !== undefined)
      results.push(result)
      if (values.json !== true) output.write(row(result))
    }
  } finally {
    await target.server?.kill()
  }
  const count = (outcome: Result['outcome']) => results.filter((result) => result.outcome === outcome).length
  const summary = { pass: count('pass'), fail: count('fail'), skipped: count('skipped') }
  if (values.json === true) output.write(`${JSON.stringify({ url: target.url, wire: target.wire, ...summary, results }, undefined, 2)}\n`)
  else output.write(`\n${summary.pass} passed, ${summary.fail} failed, ${summary.skipped} skipped (wire ${target.wire})\n`)
  return summary.fail === 0 ? 0 : 1
}

/** Resolves with the exit code. */
export const conformance = async (args: readonly string[], output: Output, errors: Output): Promise<number> => {
  try {
    return await run(args, output)
  } catch (error) {
    errors.write(`troupe conformance: ${error instanceof Error ? error.message : String(error)}\n`)
    if (error instanceof Usage) errors.write('        see troupe conformance --help\n')
    return usageExit
  }
}
