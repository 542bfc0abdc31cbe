/**
 * The programs of the ArqonBus guide and tutorial, taken out of their texts at the time of the test, byte for byte. The texts are
 * not part of this repository: without them, or without Python and the libraries that the programs use, these tests are skipped.
 *
 * What a program does not import although it uses it is put into Python's builtins, and programs are driven from a script of
 * ours beside them; nothing of theirs is changed.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { until } from './wait.ts'

const python = process.env.PYTHON ?? '/usr/bin/python3'
const modules = ['websockets', 'pytest', 'pytest_asyncio', 'aiohttp']
export const pythonPackages = modules.map((name) => `python3-${name.replace('_', '-')}`)
const directory = process.env.SEEDS ?? fileURLToPath(new URL('../../../shared/seeds', import.meta.url))

const textWithTitle = (title: string): string | undefined => {
  if (!existsSync(directory)) return undefined
  return readdirSync(directory)
    .filter((name) => name.endsWith('.txt'))
    .map((name) => readFileSync(join(directory, name), 'utf8'))
    .find((text) => text.startsWith(title))
}

const codeBlocks = (text: string | undefined): readonly string[] =>
  Array.from((text ?? '').matchAll(/^```python\n(.*?)^```/gms), ([, code]) => code as string)

export const hasTexts = (): boolean => textWithTitle('# ArqonBus Tutorial') !== undefined

export const missingModules = (): readonly string[] => {
  const script = `import importlib.util as u; print(*[m for m in ${JSON.stringify(modules)} if u.find_spec(m) is None])`
  const { status, stdout } = spawnSync(python, ['-c', script], { encoding: 'utf8' })
  return status === 0 ? stdout.trim().split(' ').filter(Boolean) : ['python3']
}

/** Why these programs cannot be run here; undefined when they can. */
export const seedsUnavailable = (): string | undefined => {
  if (!hasTexts()) return `the texts of the ArqonBus guide and tutorial are not in ${directory} (SEEDS names another folder)`
  const missing = missingModules()
  if (missing.length > 0) return `${python} lacks ${missing.join(', ')} (on Debian: apt-get install ${pythonPackages.join(' ')})`
  return undefined
}

/** The only code block that has this in it. */
const blockWith = (title: string, mark: string): string => {
  const found = codeBlocks(textWithTitle(title)).filter((code) => code.includes(mark))
  if (found.length !== 1) throw new Error(`${found.length} programs have ${JSON.stringify(mark)}`)
  return found[0] as string
}
export const tutorialProgram = (mark: string): string => blockWith('# ArqonBus Tutorial', mark)
export const guideProgram = (mark: string): string => blockWith('# ArqonBus Developer Guide', mark)

/** Somebody listens there. */
export const isTaken = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(port, 'localhost')
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })

export interface Ended {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

export class PythonProgram {
  readonly child: ChildProcess
  readonly ended: Promise<Ended>
  stdout = ''
  stderr = ''

  constructor(args: readonly string[], cwd: string) {
    this.child = spawn(python, args, {
      cwd,
      env: { ...process.env, PYTHONUNBUFFERED: '1', PYTHONIOENCODING: 'utf-8', PYTHONDONTWRITEBYTECODE: '1', PYTHONPATH: cwd },
      stdio: ['pipe', 'pipe', 'pipe'],
    })
    this.child.stdin?.on('error', () => undefined) // it ended without reading what was said to it
    this.child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.stdout += text
    })
    this.child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text
    })
    this.ended = new Promise((resolve) => this.child.on('close', (code) => resolve({ code, stdout: this.stdout, stderr: this.stderr })))
  }

  say(...lines: readonly string[]): void {
    for (const line of lines) this.child.stdin?.write(`${line}\n`)
  }

  get hasEnded(): boolean {
    return this.child.exitCode !== null || this.child.signalCode !== null
  }

  async printed(text: string): Promise<void> {
    await until(() => this.stdout.includes(text) || this.hasEnded, `${JSON.stringify(text)} of a Python program`)
    if (!this.stdout.includes(text)) throw new Error(`the program ended without ${JSON.stringify(text)}: ${this.stderr || this.stdout}`)
  }

  /** What a script of ours says with `report(value)`. */
  async report<T>(): Promise<T> {
    const { code, stdout, stderr } = await this.ended
    const line = stdout.split('\n').findLast((line) => line.startsWith(reportMark))
    if (line === undefined) throw new Error(`the script reported nothing (exit ${code}): ${stderr}${stdout.slice(-2_000)}`)
    return JSON.parse(line.slice(reportMark.length)) as T
  }
}

const reportMark = 'report: '

/**
 * In front of every script of ours: what the programs forgot to import, and how a script waits and reports.
 *
 * `attempt` is for ChatClient: its send_command reads from a socket that its own listener reads from, so the library refuses the
 * second reader after the command was sent. The server has acted by then; the answer is printed by the listener.
 */
const harness = `
import asyncio, builtins, json, random, sys, typing
import websockets
builtins.json, builtins.websockets = json, websockets
for name in ('Any', 'Callable', 'Dict', 'List', 'Optional'):
    setattr(builtins, name, getattr(typing, name))

def report(value):
    print('${reportMark}' + json.dumps(value), flush=True)

async def until(is_true, what='the condition', seconds=15):
    end = asyncio.get_running_loop().time() + seconds
    while not is_true():
        if asyncio.get_running_loop().time() > end:
            raise TimeoutError(what + ' did not come true')
        await asyncio.sleep(0.005)

async def line():
    return (await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)).strip()

async def attempt(command):
    try:
        await command
        raise AssertionError('the client could read its answer: the two readers no longer collide')
    except RuntimeError as error:
        assert 'recv' in str(error), error
`

/** A folder with programs, and Python in it. */
export class Workspace {
  readonly path = mkdtempSync(join(tmpdir(), 'troupe-python-'))
  readonly #programs: PythonProgram[] = []

  write(name: string, content: string | Uint8Array): string {
    const path = join(this.path, name)
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, content)
    return path
  }

  run(...args: readonly string[]): PythonProgram {
    const program = new PythonProgram(args, this.path)
    this.#programs.push(program)
    return program
  }

  /** Runs a script of ours, `body` being that of an async function. */
  script(body: string, ...args: readonly string[]): PythonProgram {
    const indented = body.replace(/^(?=.)/gm, '    ')
    const name = `script${this.#programs.length}.py`
    this.write(name, `${harness}\nasync def script(*args):\n${indented}\n\nasyncio.run(script(*sys.argv[1:]))\n`)
    return this.run(name, ...args)
  }

  async remove(): Promise<void> {
    for (const program of this.#programs) {
      program.child.kill('SIGKILL')
      await program.ended
    }
    rmSync(this.path, { recursive: true, force: true })
  }
}
