/**
 * What the supervisor does when it cannot even start the server (the system has no process or no memory left, or Node is gone), and what
 * becomes of a server that has not come so far as to listen.
 */
import { type FSWatcher, mkdirSync, watch, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it, onTestFinished, vi } from 'vitest'
import type { Log } from '../../actors/world.ts'
import { lockDirectory } from '../../src/storage/lock.ts'
import { supervise } from '../../src/supervisor.ts'
import { Program, temporaryDirectory } from '../support/process.ts'
import { isGone } from '../support/processes.ts'
import { until } from '../support/wait.ts'

const noLog = { error: () => undefined } as unknown as Log

/** Of those that `supervise` adds to this process, which are gone after the test. */
const listenersAdded = () => {
  const signals = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const
  const before = new Set(signals.flatMap((signal) => process.listeners(signal)))
  const added = (signal: NodeJS.Signals) => process.listeners(signal).filter((listener) => !before.has(listener))
  onTestFinished(() => {
    for (const signal of signals) for (const listener of added(signal)) process.removeListener(signal, listener)
  })
  return added
}

/** Longer than a system takes: `spawn` itself throws then, as it does for want of memory. */
const tooLong = 'x'.repeat(2_000_000)

it.each([
  ['Node is gone', '/nowhere/node', 'main.js'],
  ['the system refuses at once', process.execPath, tooLong],
])(
  '[SUP1] a server that cannot be started (%s) counts as one that crashed: it is tried again, and then given up with 70',
  async (_, node, program) => {
    const { execPath } = process
    process.execPath = node
    const waits: number[] = []
    const timer = vi.spyOn(globalThis, 'setTimeout').mockImplementation(((then: () => void, ms: number) => {
      waits.push(ms)
      return setImmediate(then)
    }) as never)
    listenersAdded()
    onTestFinished(() => {
      process.execPath = execPath
      timer.mockRestore()
    })
    const lines: string[] = []
    const log = { error: (_fields: object, text: string) => lines.push(text) } as unknown as Log
    expect(await supervise(program, [], log)).toBe(70)
    expect(waits).toEqual([100, 200, 400, 800, 1_600])
    expect(lines.filter((line) => line === 'the server could not be started')).toHaveLength(6)
    expect(lines.at(-1)).toContain('giving up')
  },
)

it.each([
  ['that serves for half a minute each time is started again and again', "process.send('serving', () => process.exit(70))", 12],
  ['that takes half a minute to start and never serves is given up at the sixth crash', 'process.exit(70)', 6],
])('[SUP4] a server %s', async (_, code, crashes) => {
  const { path, remove } = temporaryDirectory()
  onTestFinished(remove)
  const program = join(path, 'server.mjs')
  writeFileSync(program, code)
  const added = listenersAdded()
  let now = 0
  const clock = vi.spyOn(performance, 'now').mockImplementation(() => (now += 30_000))
  const timer = vi.spyOn(globalThis, 'setTimeout').mockImplementation(((then: () => void) => setImmediate(then)) as never)
  onTestFinished(() => {
    clock.mockRestore()
    timer.mockRestore()
  })
  let seen = 0
  const error = (_fields: object, text: string) => {
    if (text === 'the server crashed') seen++
    if (seen === 12) for (const listener of added('SIGTERM')) listener('SIGTERM')
  }
  await supervise(program, [], { error } as unknown as Log)
  expect(seen).toBe(crashes)
})

/** One that waits for its data directory, which is ours; `pid` is that of the server. */
const starting = async (...flags: string[]): Promise<{ readonly program: Program; readonly pid: number }> => {
  const base = temporaryDirectory()
  const data = join(base.path, 'data')
  mkdirSync(data)
  const release = await lockDirectory(data)
  let watcher: FSWatcher | undefined
  const tried = new Promise<number>((resolve) => {
    watcher = watch(data, (_, name) => {
      const pid = Number(/^lock-(\d+)-/.exec(name ?? '')?.[1] ?? process.pid)
      if (pid !== process.pid) resolve(pid)
    })
  })
  const program = new Program(['--port', '0', '--data', data, '--set', 'storage.lockWaitMs=600000', ...flags])
  onTestFinished(async () => {
    watcher?.close()
    await program.kill()
    await release()
    base.remove()
  })
  return { program, pid: await tried }
}

it.each([[['--no-supervisor']], [[]]])('[SUP2] a server that is told to end before it listens ends with 0 (%j)', async (flags) => {
  const { program, pid } = await starting(...flags)
  program.signal('SIGTERM')
  expect(await program.exited).toEqual({ code: 0, signal: null })
  await until(() => isGone(pid), 'the end of the server')
})

it('[SUP2] and so it does when it had not even begun to listen for signals', async () => {
  const { path, remove } = temporaryDirectory()
  const deaf = join(path, 'deaf.mjs')
  writeFileSync(deaf, 'setInterval(() => {}, 1_000)')
  onTestFinished(remove)
  const added = listenersAdded()
  const ended = supervise(deaf, [], noLog)
  for (const listener of added('SIGTERM')) listener('SIGTERM')
  expect(await ended).toBe(0)
})

it('[SUP3] a server whose supervisor is killed before it listens ends, too', async () => {
  const { program, pid } = await starting()
  await program.kill()
  await until(() => isGone(pid), 'the end of the server')
})
