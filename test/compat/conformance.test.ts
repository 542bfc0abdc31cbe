/** The conformance suite against the built server, on both wires; and the suite itself, as a command. */
import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { WebSocketServer } from 'ws'
import { secret, token } from '../auth/tokens.ts'
import { mainProgram, type Running, startTroupe, temporaryDirectory } from '../support/process.ts'
import type { Check, Target } from './yjs-server-suite/check.ts'
import { checks, checksOf, runCheck } from './yjs-server-suite/suite.ts'
import type { Wire } from './yjs-server-suite/wire.ts'

const data = temporaryDirectory()
let troupe: Running

/** What tests of their own kill, they start themselves. */
const start = (port = '0') => startTroupe(data.path, ['--port', port, '--set', `auth.jwtSecret=${secret}`])

beforeAll(async () => {
  troupe = await start()
})
afterAll(async () => {
  await troupe.kill()
  data.remove()
})

const paths: Readonly<Record<Wire, string>> = { yjs: '/docs', hocuspocus: '/hocuspocus' }

const targetOf = (wire: Wire): Target => ({
  url: `${troupe.ws}${paths[wire]}`,
  wire,
  token: '',
  tokenParameter: 'token',
  deniedToken: 'denied',
  readonlyToken: token({ sub: 'reader', permissions: ['document:*:read'] }),
  kick: async (document) => {
    const headers = { authorization: `Bearer ${token({ sub: 'admin', permissions: ['admin', 'document:*', 'command:*'] })}` }
    const { status } = await fetch(`${troupe.http}/v1/documents/${document}`, { method: 'DELETE', headers })
    expect(status).toBeLessThan(300)
  },
  server: {
    kill: () => troupe.kill(),
    start: async () => {
      troupe = await start(String(troupe.port))
    },
  },
  patienceMs: 10_000,
})

const fast = (wire: Wire) => checksOf(wire).filter(({ isSlow }) => isSlow !== true)

describe.each(['yjs', 'hocuspocus'] as const)('on the wire of %s', (wire) => {
  const passes = async (check: Check) => {
    const { outcome, reason } = await runCheck(check, targetOf(wire))
    expect([outcome, reason]).toEqual(['pass', ''])
  }
  // Most of their time is waiting, and each has documents of its own.
  for (const check of fast(wire).filter(({ needs }) => needs !== 'server')) {
    it.concurrent(`${check.id}: ${check.title}`, () => passes(check))
  }
  for (const check of fast(wire).filter(({ needs }) => needs === 'server')) it(`${check.id}: ${check.title}`, () => passes(check))
})

interface Ended {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

const freePort = (): Promise<number> =>
  new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number } // it listens on a port
      server.close(() => resolve(port))
    })
  })

const command = (...args: readonly string[]): Promise<Ended> =>
  promisify(execFile)(process.execPath, [mainProgram, 'conformance', ...args]).then(
    ({ stdout, stderr }) => ({ code: 0, stdout, stderr }),
    (error: Ended) => error,
  )

describe('the command', () => {
  it('prints a table for people and exits with 0 when nothing failed', async () => {
    const { code, stdout } = await command(`${troupe.ws}/docs`, '--only', 'sync-answer', '--only', 'update-relay')
    expect([code, stdout]).toEqual([0, expect.stringContaining('2 passed, 0 failed, 0 skipped (wire yjs)')])
  })

  it('gives JSON, the reason of a failure, and 1, for a server that accepts and says nothing', async () => {
    const mute = new WebSocketServer({ port: 0, host: '127.0.0.1' })
    await new Promise((resolve) => mute.once('listening', resolve))
    const { port } = mute.address() as { port: number } // it listens on a port
    const { code, stdout } = await command(`ws://127.0.0.1:${port}`, '--json', '--patience', '0.2', '--only', 'sync-answer')
    mute.close()
    expect(code).toBe(1)
    expect(JSON.parse(stdout)).toMatchObject({
      pass: 0,
      fail: 1,
      results: [{ id: 'sync-answer', outcome: 'fail', reason: 'step 2: not within 200 ms' }],
    })
  })

  it('starts the server that it is given, and leaves none behind', async () => {
    const own = temporaryDirectory()
    const port = await freePort()
    const server = `exec "${process.execPath}" "${mainProgram}" --no-supervisor --log-level silent --data "${own.path}" --port ${port}`
    const { code, stdout } = await command(`ws://127.0.0.1:${port}/docs`, '--only', 'close-killed', '--server', server)
    expect([code, stdout]).toEqual([0, expect.stringContaining('1 passed')])
    await expect(fetch(`http://127.0.0.1:${port}/health`)).rejects.toThrow()
    own.remove()
  })

  it.each([
    [['http://127.0.0.1'], 'expected ws://'],
    [[], 'expected one URL'],
    [['ws://127.0.0.1', '--only', 'nothing'], 'no such check'],
    [['ws://127.0.0.1', '--wire', 'telex'], 'expected yjs or hocuspocus'],
    [['ws://127.0.0.1', '--patience', 'much'], 'expected seconds'],
    [['ws://127.0.0.1', '--colour'], '--colour'],
  ])('refuses %j with 64', async (args, words) => {
    const { code, stderr } = await command(...args)
    expect([code, stderr]).toEqual([64, expect.stringContaining(words)])
  })
})

describe('the checks', () => {
  it('have ids of their own, a reason and a source', () => {
    expect(new Set(checks.map(({ id }) => id)).size).toBe(checks.length)
    for (const { id, title, why, source } of checks) {
      expect([id, title.endsWith('.'), why.endsWith('.'), source.startsWith('https://')]).toEqual([id, false, true, true])
    }
  })

  it('come with the program, and need ws, yjs and lib0 alone', () => {
    const program = readFileSync(join(dirname(mainProgram), 'conformance.js'), 'utf8')
    const imported = [...program.matchAll(/^import .*?from "([^"]+)";$/gm)].map(([, name = '']) => name.replace(/\/.*/, ''))
    expect(new Set(imported.filter((name) => !name.startsWith('node:') && !name.startsWith('.')))).toEqual(new Set(['ws', 'yjs', 'lib0']))
  })

  it('are all on the page of conformance, with what every server showed', () => {
    const page = readFileSync(new URL('../../docs/conformance.md', import.meta.url), 'utf8')
    for (const { id } of checks) expect([id, page.split(`| \`${id}\``).length > 2]).toEqual([id, true])
  })
})
