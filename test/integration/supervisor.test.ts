/** What the supervisor does when it cannot even start the server: the system has no process or no memory left, or Node is gone. */
import { expect, it, onTestFinished, vi } from 'vitest'
import type { Log } from '../../actors/world.ts'
import { supervise } from '../../src/supervisor.ts'

it('[SUP1] a server that cannot be started counts as one that crashed: it is tried again, and then given up with 70', async () => {
  const { execPath } = process
  process.execPath = '/nowhere/node'
  const waits: number[] = []
  const timer = vi.spyOn(globalThis, 'setTimeout').mockImplementation(((then: () => void, ms: number) => {
    waits.push(ms)
    return setImmediate(then)
  }) as never)
  const listeners = new Map(['SIGTERM', 'SIGINT', 'SIGHUP'].map((signal) => [signal, process.listeners(signal as 'SIGTERM')]))
  onTestFinished(() => {
    process.execPath = execPath
    timer.mockRestore()
    for (const [signal, before] of listeners)
      for (const listener of process.listeners(signal as 'SIGTERM'))
        if (!before.includes(listener)) process.removeListener(signal, listener)
  })
  const lines: string[] = []
  const log = { error: (_fields: object, text: string) => lines.push(text) } as unknown as Log
  expect(await supervise('main.js', [], log)).toBe(70)
  expect(waits).toEqual([100, 200, 400, 800, 1_600])
  expect(lines.filter((line) => line === 'the server could not be started')).toHaveLength(6)
  expect(lines.at(-1)).toContain('giving up')
})
