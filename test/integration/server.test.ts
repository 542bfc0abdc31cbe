/** The built server from outside: its pages, its command line, its end. */
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { afterAll, afterEach, describe, expect, it } from 'vitest'
import { closeCodeIn, openRawWebSocket } from '../support/attacks.ts'
import { buildShim } from '../support/disk.ts'
import { type Exit, mainProgram, Program, type Running, startTroupe, temporaryDirectory } from '../support/process.ts'
import { freePort } from '../support/processes.ts'
import { until } from '../support/wait.ts'
import { closeWires, WireClient } from '../support/wire.ts'

const base = temporaryDirectory()
let directories = 0
const newDirectory = (): string => {
  const path = join(base.path, String(++directories))
  mkdirSync(path)
  return path
}
const programs: Program[] = []
const start = async (
  data: string,
  args: readonly string[] = [],
  options: ConstructorParameters<typeof Program>[1] = {},
): Promise<Running> => {
  const server = await startTroupe(data, args, options)
  programs.push(server)
  return server
}

/** Runs the program to its end. */
const run = async (
  args: readonly string[],
  options: ConstructorParameters<typeof Program>[1] = {},
): Promise<{ readonly code: Exit['code']; readonly out: string; readonly complaint: string }> => {
  const program = new Program(args, options)
  programs.push(program)
  const { code } = await program.exited
  return { code, out: program.stdout, complaint: program.stderr }
}

const shim = buildShim()

afterEach(async () => {
  closeWires()
  for (const program of programs.splice(0)) await program.kill()
})
afterAll(() => {
  base.remove()
  if ('path' in shim) rmSync(dirname(shim.path), { recursive: true, force: true })
})

const metric = async (server: Running, name: string): Promise<number> => {
  const text = await fetch(`${server.http}/metrics`).then((response) => response.text())
  return Number(new RegExp(`^${name}(?:{[^}]*})? (.+)$`, 'm').exec(text)?.[1] ?? Number.NaN)
}

describe('pages', () => {
  it('[SR1] tell health, readiness and version, and answer the rest with 404 in JSON', async () => {
    const server = await start(newDirectory())
    const get = async (path: string) => {
      const response = await fetch(server.http + path)
      return { status: response.status, body: (await response.json()) as Record<string, unknown> }
    }
    const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string }
    expect(await get('/health')).toMatchObject({
      status: 200,
      body: { status: 'healthy', service: 'troupe', version, pid: server.pid, clients: 0, topics: 0 },
    })
    expect(await get('/ready')).toEqual({ status: 200, body: { ready: true, reasons: [] } })
    expect(await get('/version')).toMatchObject({ status: 200, body: { name: 'troupe', version } })
    expect(await get('/')).toMatchObject({ status: 200 })
    expect(await get('/nothing/here')).toMatchObject({ status: 404, body: { error: { code: 'http.not_found' } } })
    expect((await fetch(`${server.http}/health`, { method: 'POST', body: 'x'.repeat(2_000_000) })).status).toBeGreaterThanOrEqual(400)
    const page = await fetch(`${server.http}/examples/editor.html`)
    expect([page.status, page.headers.get('content-type')]).toEqual([200, 'text/html; charset=utf-8'])
  })

  it('[SR2] give metrics in the text format of Prometheus, without a name that a client chose', async () => {
    const server = await start(newDirectory())
    const client = await new WireClient(`${server.ws}/docs/a-chosen-name`).synced()
    await client.edit('counted')
    const response = await fetch(`${server.http}/metrics`)
    const text = await response.text()
    expect(response.headers.get('content-type')).toMatch(/^text\/plain; version=0\.0\.4/)
    const line =
      /^(# (HELP|TYPE) [a-z_:][a-z0-9_:]* .+|[a-z_:][a-z0-9_:]*(\{([a-z_][a-z0-9_]*="[^"\\]*",?)*\})? (-?[0-9.]+(e[+-]?\d+)?|NaN|[+-]Inf))$/i
    for (const row of text.split('\n')) if (row !== '' && !line.test(row)) throw new Error(`not a metric: ${row}`)
    const own = [...text.matchAll(/^# TYPE (troupe_\w+) (\w+)$/gm)].map(([, name, type]) => `${name} ${type}`)
    for (const name of [
      'troupe_connections gauge',
      'troupe_connections_opened_total counter',
      'troupe_actors gauge',
      'troupe_document_updates_total counter',
      'troupe_document_commit_seconds histogram',
      'troupe_received_messages_total counter',
      'troupe_sent_bytes_total counter',
      'troupe_storage_ready gauge',
    ]) {
      expect(own).toContain(name)
    }
    expect(await metric(server, 'troupe_connections')).toBe(1)
    expect(await metric(server, 'troupe_document_updates_total')).toBe(1)
    expect(text).not.toContain('a-chosen-name')
    client.close()
    await until(async () => (await metric(server, 'troupe_connections')) === 0, 'the end of the connection')
  })
})

describe('who may come', () => {
  it('[SR3] is limited in number; the one too many is told to come back', async () => {
    const server = await start(newDirectory(), ['--set', 'limits.connections=2'])
    const [a] = [await new WireClient(`${server.ws}/docs/a`).synced(), await new WireClient(`${server.ws}/docs/b`).synced()]
    expect(await new WireClient(`${server.ws}/docs/c`).closed()).toMatchObject({ code: 1013, reason: 'connection.too_many' })
    // One that does not answer the close frame is gone all the same.
    const stubborn = await openRawWebSocket(server.port, '/docs/c')
    await stubborn.ended
    expect(closeCodeIn(stubborn.received())).toBe(1013)
    a.close()
    await until(async () => (await metric(server, 'troupe_connections')) === 1, 'a free place')
    await new WireClient(`${server.ws}/docs/c`).synced()
  })

  it('[SR4] is checked by origin when origins are given; the others are told to stay away', async () => {
    const server = await start(newDirectory(), ['--set', 'origins=https://app.example,https://other.example'])
    const from = (origin: string) => new WireClient(`${server.ws}/docs/a`, { headers: { origin } })
    await from('https://app.example').synced()
    await from('https://other.example').synced()
    for (const origin of [
      'https://evil.example',
      'https://app.example.evil.example',
      'null',
      'https://app.example:8443',
      'HTTPS://APP.EXAMPLE',
    ]) {
      expect([origin, (await from(origin).closed()).code]).toEqual([origin, 4403])
    }
    expect((await new WireClient(`${server.ws}/docs/a`).closed()).code).toBe(4403)
  })

  it('[SR5] is only this machine, unless told otherwise by name', async () => {
    const refused = await run(['--host', '0.0.0.0', '--port', '0', '--data', newDirectory()])
    expect(refused.code).toBe(78)
    expect(refused.complaint).toContain('host 0.0.0.0 can be reached by others')
    const allowed = await start(newDirectory(), ['--host', '0.0.0.0', '--set', 'allowPublicAnonymous=true'])
    expect((await fetch(`${allowed.http}/health`)).status).toBe(200)
  })
})

describe('the end', () => {
  it.skipIf('reason' in shim)(
    `[SR6] SIGTERM: 100 documents with edits on their way to a slow disk are stored, clients hear 1012, exit code 0${'reason' in shim ? ` (skipped: ${shim.reason})` : ''}`,
    async () => {
      const data = newDirectory()
      const gate = join(data, '..', 'gate-sigterm')
      const env = { LD_PRELOAD: 'path' in shim ? shim.path : '', FAULT_GATE: gate }
      const server = await start(data, [], { env })
      const clients = await Promise.all(Array.from({ length: 100 }, (_, i) => new WireClient(`${server.ws}/docs/dirty-${i}`).synced()))
      const before = await metric(server, 'troupe_received_messages_total')
      writeFileSync(gate, '')
      for (const [i, client] of clients.entries()) client.text.insert(0, `text of ${i}`)
      await until(async () => (await metric(server, 'troupe_received_messages_total')) >= before + 100, 'the edits at the server')
      expect(clients.every(({ isSaved }) => !isSaved)).toBe(true)
      const began = Date.now()
      server.signal('SIGTERM')
      await server.line(({ msg }) => msg === 'closing')
      rmSync(gate)
      expect(await server.exited).toEqual({ code: 0, signal: null })
      expect(Date.now() - began).toBeLessThan(10_000)
      await until(() => clients.every(({ closings }) => closings.length > 0), 'the end of the connections')
      expect(new Set(clients.map(({ closings }) => closings[0]?.code))).toEqual(new Set([1012]))
      const next = await start(data)
      for (const i of clients.keys()) {
        const reader = await new WireClient(`${next.ws}/docs/dirty-${i}`).synced()
        expect(reader.text.toString()).toBe(`text of ${i}`)
        reader.close()
      }
    },
  )

  it.skipIf('reason' in shim)('[SR7] a second signal ends it at once, and so does the deadline', async () => {
    const gate = join(base.path, 'gate-forced')
    const env = { LD_PRELOAD: 'path' in shim ? shim.path : '', FAULT_GATE: gate }
    for (const args of [[], ['--set', 'shutdownMs=300']]) {
      const server = await start(newDirectory(), args, { env })
      const client = await new WireClient(`${server.ws}/docs/stuck`).synced()
      const before = await metric(server, 'troupe_received_messages_total')
      writeFileSync(gate, '')
      client.text.insert(0, 'stuck')
      await until(async () => (await metric(server, 'troupe_received_messages_total')) > before, 'the edit at the server')
      server.signal('SIGTERM')
      await server.line(({ msg }) => msg === 'closing')
      if (args.length === 0) server.signal('SIGINT')
      await server.line(({ msg }) => msg === (args.length === 0 ? 'second signal: exiting at once' : 'could not close in time: exiting'))
      rmSync(gate) // a process that waits for its disk ends when that answers
      expect((await server.exited).code).toBe(1)
    }
  })

  it('[SR8] a server that crashes again and again is given up by its supervisor', async () => {
    const server = await start(newDirectory(), ['--supervised'])
    let seen = 0
    for (let crash = 1; crash <= 6; crash++) {
      const { pid } = await server.line(({ msg }) => msg === 'listening', seen)
      seen = server.lines.length
      process.kill(pid as number, 'SIGKILL')
    }
    expect((await server.exited).code).toBe(70)
    expect(server.lines.some(({ msg }) => msg.includes('giving up'))).toBe(true)
    expect(server.lines.filter(({ msg }) => msg === 'the server crashed')).toHaveLength(6)
  })
})

describe('the memory of a server', () => {
  const environmentOf = async (server: Running): Promise<string[]> => {
    const { pid } = await server.line(({ msg }) => msg === 'listening')
    return readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0')
  }

  it('[SR18] under a supervisor large blocks go back to the system when they are free, unless somebody says otherwise', async () => {
    expect(await environmentOf(await start(newDirectory(), ['--supervised']))).toContain('MALLOC_MMAP_THRESHOLD_=8388608')
    const own = await start(newDirectory(), ['--supervised'], { env: { MALLOC_MMAP_THRESHOLD_: '131072' } })
    expect(await environmentOf(own)).toContain('MALLOC_MMAP_THRESHOLD_=131072')
  })
})

describe('one of its kind', () => {
  it('[SR9] a second process on the same data directory is refused with 74, by itself and under a supervisor', async () => {
    const data = newDirectory()
    const first = await start(data)
    for (const args of [['--no-supervisor'], []]) {
      const second = await run(['--port', '0', '--data', data, '--set', 'storage.lockWaitMs=0', ...args])
      expect([args, second.code]).toEqual([args, 74])
      expect(second.complaint).toContain(`another process has this data directory open: ${data}`)
      expect((await fetch(`${first.http}/ready`)).status).toBe(200)
    }
  })

  it('[SR10] a second process waits for the first to give up the data directory', async () => {
    const data = newDirectory()
    const first = await start(data)
    const second = start(data)
    first.signal('SIGTERM')
    await first.exited
    expect((await fetch(`${(await second).http}/ready`)).status).toBe(200)
  })

  it('[SR11] a port in use is named, refused with 78, and not tried again', async () => {
    const port = await freePort()
    await start(newDirectory(), ['--port', String(port)])
    const second = await run(['--port', String(port), '--data', newDirectory()])
    expect(second.code).toBe(78)
    expect(second.complaint).toContain(`port ${port}: another program listens there`)
    expect(second.out).not.toContain('the server crashed')
  })
})

describe('the command line', () => {
  it('[SR12] prints each option with its value and its source', async () => {
    const cwd = newDirectory()
    writeFileSync(join(cwd, 'troupe.config.json'), JSON.stringify({ limits: { pingMs: 26_000, pongMs: 7_000 }, documents: { structs: 5 } }))
    const env = {
      TROUPE_LIMITS_PONG_MS: '6000',
      TROUPE_STORAGE_BALLAST_BYTES: '0',
      TROUPE_DOCUMENTS_STRUCTS: '6',
      TROUPE_TRUSTED_PROXIES: '10.0.0.0/8, fd00::/8',
    }
    const { code, out } = await run(['config', '--set', 'documents.structs=7', '--listen', '1234:yjs'], { cwd, env })
    expect(code).toBe(0)
    const rows = new Map(
      out
        .trim()
        .split('\n')
        .map((row) => {
          const [path, value, source] = row.split(/ +/)
          return [path, [value, source]]
        }),
    )
    expect(rows.get('port')).toEqual(['9100', 'default'])
    expect(rows.get('limits.pingMs')).toEqual(['26000', 'file'])
    expect(rows.get('limits.pongMs')).toEqual(['6000', 'environment'])
    expect(rows.get('storage.ballastBytes')).toEqual(['0', 'environment'])
    expect(rows.get('documents.structs')).toEqual(['7', 'flag'])
    expect(rows.get('trustedProxies')).toEqual(['["10.0.0.0/8","fd00::/8"]', 'environment'])
    expect(rows.get('listen')).toEqual(['[{"port":1234,"profile":"yjs"}]', 'flag'])
  })

  it.each([
    [['--set', 'limits.nothing=1'], {}, 'there is no option limits.nothing'],
    [['--set', 'pingms=1'], {}, 'there is no option pingms; limits.pingMs?'],
    [['--port', '--data', 'x'], {}, '--port needs a value; see troupe --help'],
    [['--set', 'limits.pingMs=soon'], {}, 'limits.pingMs: Invalid input: expected number'],
    [['--set', 'limits.pongMs=30000'], {}, 'limits.pongMs 30000 must be below limits.pingMs 25000'],
    [
      ['--set', 'documents.awarenessStateBytes=100000'],
      {},
      'documents.awarenessStateBytes 100000 must not be above documents.awarenessMessageBytes 65536',
    ],
    [['--set', 'limits.connections=0', '--set', 'documents.depth=-1'], {}, 'limits.connections: Too small'],
    [['--set', '__proto__.polluted=1'], {}, 'there is no option __proto__'],
    [['--set', 'storage.backend=cloud'], {}, 'cloud'],
    [['--set', 'pingMs'], {}, 'expected OPTION=VALUE'],
    [['--port', '70000'], {}, 'port: Too big'],
    [['--listen', '1:chess'], {}, 'profile "chess" is not one of main, yjs'],
    [['--config', 'missing.json'], {}, 'missing.json: ENOENT'],
    [['--frobnicate'], {}, "Unknown option '--frobnicate'"],
    [['frobnicate'], {}, 'there is no command "frobnicate"'],
    [[], { TROUPE_LIMIT_PING_MS: '1' }, 'environment: TROUPE_LIMIT_PING_MS is not an option'],
  ])('[SR13] refuses %j %j with 78 and the reason', async (args, env, reason) => {
    const cwd = newDirectory()
    const { code, complaint } = await run(args, { cwd, env })
    expect([code, complaint]).toEqual([78, expect.stringContaining(reason)])
    expect(readdirSync(cwd)).toEqual([])
  })

  it('[SR14] explains itself', async () => {
    const help = await run(['--help'])
    expect(help).toMatchObject({ code: 0, complaint: '' })
    for (const word of ['start', 'config', 'backup DIR', 'restore DIR', '--set', '--data', '--no-supervisor'])
      expect(help.out).toContain(word)
    expect(await run(['--version'])).toMatchObject({ code: 0, out: expect.stringMatching(/^\d+\.\d+\.\d+/) })
    expect(await run(['backup'])).toMatchObject({ code: 64, complaint: expect.stringContaining('which directory?') })
  })

  it('runs as a command of its own, as package managers link it', () => {
    expect(execFileSync(mainProgram, ['--version'], { encoding: 'utf8' })).toMatch(/^\d+\.\d+\.\d+/)
  })
})

describe('backup and restore', () => {
  /** What a server that was killed left, for all who damage a copy of it. */
  let killed: string | undefined

  it('[SR15] a backup is made while the server runs and while it does not, and each can be restored', async () => {
    const data = newDirectory()
    const server = await start(data)
    const client = await new WireClient(`${server.ws}/docs/kept`).synced()
    await client.edit('in the first backup')
    const [hot, cold] = [join(newDirectory(), 'hot'), join(newDirectory(), 'cold')]
    expect(await run(['backup', hot, '--data', data])).toMatchObject({ code: 0 })
    await client.edit(', in the second')
    expect(await run(['backup', hot, '--data', data])).toMatchObject({ code: 74, complaint: expect.stringContaining('is not empty') })
    server.signal('SIGTERM')
    await server.exited
    expect(await run(['backup', cold, '--data', data])).toMatchObject({ code: 0 })

    const textIn = async (directory: string): Promise<string> => {
      const restored = await start(directory)
      const reader = await new WireClient(`${restored.ws}/docs/kept`).synced()
      const text = reader.text.toString()
      reader.close()
      restored.signal('SIGTERM')
      await restored.exited
      return text
    }
    const target = newDirectory()
    expect(await run(['restore', cold, '--data', target])).toMatchObject({ code: 0 })
    expect(await textIn(target)).toBe('in the first backup, in the second')
    const refused = await run(['restore', hot, '--data', target])
    expect([refused.code, refused.complaint]).toEqual([74, expect.stringContaining('is not empty')])
    expect(await run(['restore', hot, '--data', target, '--force'])).toMatchObject({ code: 0 })
    expect(await textIn(target)).toBe('in the first backup')
    expect(readdirSync(target).some((name) => name.startsWith('damaged-'))).toBe(true)
  })

  it('[SR16] a running server keeps others from restoring over it, and what is not there is not backed up', async () => {
    const data = newDirectory()
    await start(data)
    const backup = join(newDirectory(), 'backup')
    await run(['backup', backup, '--data', data])
    expect(await run(['restore', backup, '--data', data, '--force'])).toMatchObject({
      code: 74,
      complaint: expect.stringContaining('another process'),
    })
    const missing = join(newDirectory(), 'missing')
    expect(await run(['backup', join(newDirectory(), 'b'), '--data', missing])).toMatchObject({
      code: 78,
      complaint: expect.stringContaining('there is no database'),
    })
    expect(existsSync(missing)).toBe(false)
  })

  it.each([
    ['garbage', (file: string) => writeFileSync(file, Buffer.alloc(100_000, 'garbage '))],
    ['a file cut in the middle', (file: string) => truncateSync(file, 12_288)],
    ['an empty file', (file: string) => truncateSync(file, 0)],
  ])('[SR17] %s instead of the data is refused with 74, and left as it is', async (_, damage) => {
    killed ??= await (async () => {
      const data = newDirectory()
      const server = await start(data)
      const client = await new WireClient(`${server.ws}/docs/damaged`).synced()
      for (let i = 0; i < 20; i++) await client.edit('x'.repeat(10_000))
      await server.kill()
      return data
    })()
    const copy = newDirectory()
    cpSync(killed, copy, { recursive: true, filter: (name) => !name.endsWith('.sock') })
    const file = join(copy, 'data.mdb')
    damage(file)
    const digest = () => createHash('sha256').update(readFileSync(file)).digest('hex')
    const before = digest()
    const { code, complaint, out } = await run(['--port', '0', '--data', copy])
    expect([code, complaint]).toEqual([74, expect.stringContaining('the data file is damaged and was not opened')])
    expect(out).not.toContain('the server crashed')
    expect(digest()).toBe(before)
  })
})
