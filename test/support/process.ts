/**
 * The built program as a child process, as a user runs it: `node dist/main.js`.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const mainProgram = fileURLToPath(new URL('../../dist/main.js', import.meta.url))

export const temporaryDirectory = (): { readonly path: string; remove(): void } => {
  const path = mkdtempSync(join(tmpdir(), 'troupe-'))
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) }
}

interface LogLine {
  readonly level: number
  readonly msg: string
  readonly [field: string]: unknown
}

export interface Exit {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

/** The environment of the tests, without options that somebody set for a server of their own. */
const cleanEnvironment = (): NodeJS.ProcessEnv =>
  Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('TROUPE_')))

export class Program {
  readonly child: ChildProcess
  readonly lines: LogLine[] = []
  readonly exited: Promise<Exit>
  stderr = ''
  stdout = ''
  readonly #listeners = new Set<() => void>()

  constructor(
    args: readonly string[],
    options: { readonly cwd?: string; readonly env?: NodeJS.ProcessEnv; readonly nodeArgs?: readonly string[] } = {},
  ) {
    this.child = spawn(process.execPath, [...(options.nodeArgs ?? []), mainProgram, ...args], {
      cwd: options.cwd,
      env: { ...cleanEnvironment(), ...options.env },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let rest = ''
    this.child.stdout?.setEncoding('utf8').on('data', (chunk: string) => {
      this.stdout += chunk
      rest += chunk
      const parts = rest.split('\n')
      rest = parts.pop() ?? ''
      for (const part of parts) {
        try {
          this.lines.push(JSON.parse(part) as LogLine)
        } catch {
          // not a log line: help, a table
        }
      }
      for (const listener of [...this.#listeners]) listener()
    })
    this.child.stderr?.setEncoding('utf8').on('data', (chunk: string) => {
      this.stderr += chunk
    })
    this.exited = new Promise((resolve) => {
      this.child.on('exit', (code, signal) => {
        resolve({ code, signal })
        for (const listener of [...this.#listeners]) listener()
      })
    })
  }

  /** Resolves with the log line that `wanted` accepts, from `after` lines on; rejects when the program ends before. */
  line(wanted: (line: LogLine) => boolean, after = 0): Promise<LogLine> {
    return new Promise((resolve, reject) => {
      const look = () => {
        const found = this.lines.slice(after).find(wanted)
        const hasEnded = this.child.exitCode !== null || this.child.signalCode !== null
        if (found === undefined && !hasEnded) return
        this.#listeners.delete(look)
        if (found !== undefined) resolve(found)
        else
          reject(
            new Error(`the program ended (${this.child.exitCode ?? this.child.signalCode}): ${this.stderr}${this.stdout.slice(-2_000)}`),
          )
      }
      this.#listeners.add(look)
      look()
    })
  }

  signal(signal: NodeJS.Signals): void {
    this.child.kill(signal)
  }

  async kill(): Promise<void> {
    if (this.child.exitCode === null && this.child.signalCode === null) this.child.kill('SIGKILL')
    await this.exited
  }
}

export interface Running extends Program {
  readonly port: number
  readonly ports: readonly number[]
  /** Of the server itself; with a supervisor that is another process than `child`. */
  readonly pid: number
  readonly ws: string
  readonly http: string
}

/**
 * Starts the server on free ports and waits until it listens. One process unless `--supervised` is among the arguments,
 * so that a signal to the child is a signal to the server.
 */
export const startTroupe = async (
  data: string,
  args: readonly string[] = [],
  options: ConstructorParameters<typeof Program>[1] = {},
): Promise<Running> => {
  const isSupervised = args.includes('--supervised')
  const given = args.filter((arg) => arg !== '--supervised')
  const port = given.includes('--port') ? [] : ['--port', '0']
  const program = new Program([...port, '--data', data, ...(isSupervised ? [] : ['--no-supervisor']), ...given], options)
  const listeners = 1 + given.filter((arg) => arg === '--listen').length
  const first = await program.line((line) => line.msg === 'listening')
  while (program.lines.filter((line) => line.msg === 'listening').length < listeners) {
    await program.line((line) => line.msg === 'listening', program.lines.length)
  }
  const ports = program.lines.filter((line) => line.msg === 'listening').map((line) => line.port as number)
  const [main] = ports as [number]
  return Object.assign(program, {
    port: main,
    ports,
    pid: first.pid as number,
    ws: `ws://127.0.0.1:${main}`,
    http: `http://127.0.0.1:${main}`,
  })
}
