#!/usr/bin/env node
/**
 * npm run bench -- [SECTION …] [--quick] [--repeat N] [--only PRODUCT,…] [--dist DIRECTORY] [--cpu-prof]
 *
 * Measures Troupe beside what else serves Yjs documents (fanout, trace, idle, actors, join, slow-link, presence) and beside Socket.IO (channels,
 * idle-bus), each server in a process of its own, in turn, on the same machine, in the same run. What each section shows stands at
 * its head below and, with a measured run, in docs/bench.md.
 *
 * Server cost is the CPU time that the kernel counts for the server process (all threads, user and system). It says how many
 * users a core carries, and depends less than time on what else the machine does; the load clients are not in it. Results go
 * to stdout and to test/bench/results/ (latest.md, latest.json). `--dist` measures another build; `--cpu-prof` leaves profiles
 * of Troupe there.
 */
import { execFileSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { cpus, loadavg, tmpdir, totalmem } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'
import { budget, budgetTable, grouped, mebibytes, middle, milliseconds, quantile, round, table } from './lib/figures.mjs'
import { diskBytes, flushMs, products, runLoad, startServer } from './lib/process.mjs'

const here = (path) => fileURLToPath(new URL(path, import.meta.url))
const root = here('../../')
const results = here('./results/')
const sections = ['fanout', 'trace', 'idle', 'actors', 'join', 'slow-link', 'presence', 'channels', 'idle-bus']
const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    quick: { type: 'boolean' },
    repeat: { type: 'string' },
    only: { type: 'string' },
    'cpu-prof': { type: 'boolean' },
    dist: { type: 'string' },
  },
})
const isQuick = flags.quick === true
const repeat = Number(flags.repeat ?? (isQuick ? 1 : 3))
const wanted = positionals.length > 0 ? positionals : sections
const only = flags.only?.split(',')
const isWanted = (name) => only === undefined || only.includes(name)
const unknown = [...wanted.filter((name) => !sections.includes(name)), ...(only ?? []).filter((name) => products[name] === undefined)]
if (unknown.length > 0) {
  console.error(`bench: there is no ${unknown.join(', ')}. Sections: ${sections.join(', ')}. Products: ${Object.keys(products).join(', ')}`)
  process.exit(64)
}

// ── what is measured ───────────────────────────────────────────────────────────────────────────────────────────────

const troupe = join(results, 'troupe')

/** The peers from the lockfile (no install scripts), and a copy of dist/, so that a build during the run changes nothing. */
const prepare = () => {
  if (!existsSync('/proc/self/stat')) throw new Error('the benchmarks read /proc, which only Linux has')
  if (!existsSync(here('./node_modules'))) {
    console.error('bench: installing the peers')
    execFileSync('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund'], { cwd: here('.'), stdio: ['ignore', 'ignore', 'inherit'] })
  }
  const dist = flags.dist ?? join(root, 'dist')
  if (!existsSync(join(dist, 'main.js'))) throw new Error(`${dist} has no main.js: npm run build`)
  rmSync(troupe, { recursive: true, force: true })
  mkdirSync(troupe, { recursive: true })
  cpSync(dist, join(troupe, 'dist'), { recursive: true })
  cpSync(join(root, 'package.json'), join(troupe, 'package.json'))
  symlinkSync(join(root, 'node_modules'), join(troupe, 'node_modules')) // its own dependencies, and not those of the peers
}

const versionOf = (name, where = here('./node_modules')) => {
  const path = join(where, name, 'package.json')
  return existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')).version : 'none'
}

const versions = () => ({
  node: process.version,
  troupe: JSON.parse(readFileSync(join(troupe, 'package.json'), 'utf8')).version,
  '@y/websocket-server': versionOf('@y/websocket-server'),
  'y-leveldb': versionOf('y-leveldb'),
  '@hocuspocus/server': versionOf('@hocuspocus/server'),
  '@hocuspocus/extension-sqlite': versionOf('@hocuspocus/extension-sqlite'),
  'libsql (as better-sqlite3)': versionOf('better-sqlite3'),
  'socket.io': versionOf('socket.io'),
  ws: versionOf('ws'),
  yjs: versionOf('yjs'),
  xstate: versionOf('xstate', join(root, 'node_modules')),
  lmdb: versionOf('lmdb', join(root, 'node_modules')),
})

// ── running ────────────────────────────────────────────────────────────────────────────────────────────────────────

const say = (text) => console.error(`bench: ${text}`)

/** Runs `use` with a server that has a fresh data directory (`isStoring`) or none, and takes both away afterwards. */
const withServer = async (name, isStoring, use) => {
  const directory = mkdtempSync(join(tmpdir(), 'troupe-bench-'))
  const nodeArgs = flags['cpu-prof'] && name.startsWith('troupe') ? ['--cpu-prof', `--cpu-prof-dir=${results}`] : []
  const start = () => startServer(name, { directory: isStoring ? directory : undefined, nodeArgs })
  let server = await start()
  const context = {
    server,
    directory,
    /** After it was killed or stopped. */
    restart: async () => {
      server = await start()
      return server
    },
  }
  try {
    return await use(context)
  } finally {
    await server.stop()
    rmSync(directory, { recursive: true, force: true })
  }
}

const noteworthy = []
const note = (text) => {
  say(text)
  noteworthy.push(text)
}

/** A failed measurement is a line in the table and not the end of the run. */
const attempt = async (what, measure) => {
  try {
    return await measure()
  } catch (error) {
    note(`${what}: ${error instanceof Error ? error.message.split('\n')[0] : error}`)
    return undefined
  }
}

const traceFile = (name) =>
  [process.env.BENCH_TRACES, join(root, 'test/fixtures/traces')]
    .filter((directory) => directory !== undefined)
    .map((directory) => join(directory, `${name}.json.gz`))
    .find((path) => existsSync(path))

const prepared = async (task) => {
  const facts = `${task.target}.json`
  if (!existsSync(facts)) writeFileSync(facts, JSON.stringify(await runLoad('prepare.mjs', task)))
  return JSON.parse(readFileSync(facts, 'utf8'))
}

// ── fanout ─────────────────────────────────────────────────────────────────────────────────────────────────────────

/**
 * Shows what it costs a server to hand one edit to one more reader, and how long that takes, as the rate grows: 100 clients in one
 * document, each writes in turn, 20 characters an edit. Troupe commits every edit to disk first; the peers store nothing here.
 */
const fanout = async () => {
  const rates = isQuick ? [1_500] : [400, 1_500, 4_000]
  const limits = { 400: 6.0, 1500: 2.5, 4000: 1.0 }
  const names = ['relay', 'yWebsocket', 'hocuspocus', 'troupe'].filter(isWanted)
  const runs = []
  for (let turn = 0; turn < repeat; turn++) {
    for (const rate of rates) {
      for (const name of names) {
        say(`fanout ${rate}/s ${name} ${turn + 1} of ${repeat}`)
        const run = await attempt(`fanout ${name} ${rate}/s`, () =>
          withServer(name, name === 'troupe', async ({ server }) => {
            const task = { rate, clients: 100, seconds: isQuick ? 4 : 10, warmUpSeconds: isQuick ? 2 : 4, sampleEvery: 10 }
            const result = await runLoad('fanout.mjs', { port: server.port, pid: server.pid, wire: server.wire, ...task })
            return { name, ...result, complaints: server.complaints() }
          }),
        )
        if (run !== undefined) runs.push(run)
      }
    }
  }
  const rows = []
  const lines = []
  for (const rate of rates) {
    for (const name of names) {
      const of = runs.filter((run) => run.name === name && run.rate === rate)
      if (of.length === 0) continue
      const run = middle(of, ({ cpuMicrosPerDelivery }) => cpuMicrosPerDelivery)
      const spread = of.map(({ cpuMicrosPerDelivery }) => cpuMicrosPerDelivery)
      rows.push([
        grouped(rate),
        products[name].label,
        round(run.cpuMicrosPerDelivery, 2),
        of.length > 1 ? `${round(Math.min(...spread), 2)}–${round(Math.max(...spread), 2)}` : '',
        milliseconds(run.p50),
        milliseconds(run.p99),
        mebibytes(run.rssKib * 1024),
        `${round(run.serverCpuShare * 100, 0)} %`,
        `${round(run.loadCpuShare * 100, 0)} %`,
        run.missing === 0 ? '' : grouped(run.missing),
      ])
      for (const text of new Set(of.flatMap((one) => [...one.noteworthy, ...one.complaints]))) note(`fanout ${name} ${rate}/s: ${text}`)
      if (name !== 'troupe') continue
      lines.push(budget(`fan-out at ${grouped(rate)} edits/s, CPU for each delivery`, run.cpuMicrosPerDelivery, limits[rate], 'µs'))
      if (rate === 4_000) lines.push(budget(`fan-out at ${grouped(rate)} edits/s, p99`, run.p99, 20, 'ms'))
    }
  }
  const heads = ['edits/s', 'server', 'CPU-µs a delivery', 'range', 'p50', 'p99', 'RSS MiB', 'server CPU', 'load CPU', 'not delivered']
  return { title: 'fanout', markdown: table(heads, rows), lines, runs }
}

// ── trace ──────────────────────────────────────────────────────────────────────────────────────────────────────────

/**
 * Shows what writing costs, and what an acknowledgement is worth: the keystrokes of a real paper, as fast as the server
 * acknowledges them (1 000 ahead), `kill -9` in the moment of the last acknowledgement, and a new reader after a restart.
 * Then the same once more, but the server is left alone until it does nothing any more before it is killed: what a reader waits for,
 * and what the document weighs, on an ordinary day.
 */
const trace = async () => {
  const path = (isQuick ? undefined : traceFile('automerge-paper')) ?? traceFile('sveltecomponent')
  const name = /([^/]+)\.json\.gz$/.exec(path)[1]
  say(`preparing ${name}`)
  const file = await prepared({ kind: 'trace', trace: path, target: join(results, `${name}.updates`) })
  const names = ['yWebsocket', 'hocuspocus', 'troupe'].filter(isWanted)

  /** Writes, kills, reads; if all of it is still there, reads once more in a server that is warm, to weigh the document. */
  const replay = (product, settleMs) =>
    withServer(product, true, async ({ server, directory, restart }) => {
      const on = ({ pid, port, wire }) => ({ pid, port, wire, file: file.target })
      const emptyBytes = diskBytes(directory)
      const task = { ahead: 1_000, kill: settleMs === 0, limitMs: 240_000, settleMs }
      const written = await runLoad('replay.mjs', { ...on(server), ...task })
      await server.stop('SIGKILL')
      const bytes = diskBytes(directory) - emptyBytes
      const { acknowledgedClock, acknowledgedDeleted } = written
      const reader = { acknowledgedClock, acknowledgedDeleted, quietMs: isQuick ? 10_000 : 30_000, limitMs: 180_000 }
      const second = await restart()
      const cold = await runLoad('cold.mjs', { ...on(second), ...reader })
      const complaints = [...server.complaints(), ...second.complaints()]
      if (settleMs === 0 || !cold.isExpectedText) return { product, settleMs, written, bytes, cold, complaints }
      await second.stop()
      const third = await restart()
      const warm = await runLoad('cold.mjs', { ...on(third), ...reader, isWarm: true })
      return { product, settleMs, written, bytes, cold, warm, complaints: [...complaints, ...third.complaints()] }
    })

  const runs = []
  for (let turn = 0; turn < repeat; turn++) {
    for (const product of names) {
      for (const settleMs of [0, 5_000]) {
        say(`trace ${product} ${settleMs === 0 ? 'killed at once' : 'left alone'} ${turn + 1} of ${repeat}`)
        const run = await attempt(`trace ${product}`, () => replay(product, settleMs))
        if (run !== undefined) runs.push(run)
      }
    }
  }

  const lost = ({ cold }) => cold.lostInserted + cold.lostDeleted
  const ms = (number) => (typeof number === 'number' ? milliseconds(number) : '–')
  const rows = []
  const lines = []
  for (const product of names) {
    const of = runs.filter((run) => run.product === product)
    const killed = of.filter(({ settleMs }) => settleMs === 0)
    const settled = of.filter(({ settleMs }) => settleMs > 0)
    if (killed.length === 0 || settled.length === 0) continue
    const writing = middle(killed, ({ written }) => written.cpuMicrosPerEdit)
    const worst = killed.toSorted((a, b) => lost(b) - lost(a))[0]
    const least = Math.min(...killed.map(lost))
    const reading = middle(settled, ({ cold }) => cold.textMs ?? Number.POSITIVE_INFINITY)
    const weighed = settled.filter(({ warm }) => warm !== undefined)
    const weight = weighed.length === 0 ? Number.NaN : middle(weighed, ({ warm }) => warm.grewKib).warm.grewKib / 1024
    rows.push([
      `${products[product].label} (${products[product].stores})`,
      grouped(writing.written.perSecond),
      round(writing.written.cpuMicrosPerEdit, 1),
      mebibytes(writing.written.peakKib * 1024),
      least === lost(worst) ? grouped(least) : `${grouped(least)}–${grouped(lost(worst))}`,
      ms(writing.cold.textMs),
      `${round(reading.written.settledMs / 1_000, 0)} s`,
      reading.cold.isExpectedText ? 'yes' : `no (${grouped(reading.cold.length)} of ${grouped(reading.cold.expectedLength)} characters)`,
      ms(reading.cold.textMs),
      round(weight),
      mebibytes(reading.bytes),
    ])
    for (const run of of) {
      const { outcome, acknowledged, total, asked, isSettled } = run.written
      if (!isSettled) note(`trace ${product}: three minutes after the last acknowledgement it was still at work`)
      if (outcome !== 'all') note(`trace ${product}: ${outcome}, ${acknowledged} of ${total} edits acknowledged`)
      if (asked > 0) note(`trace ${product}: the server asked ${asked} times for what it lacked`)
      for (const text of run.complaints) note(`trace ${product}: ${text}`)
    }
    // The budget is for the paper; in a short trace the server is still compiling when it ends.
    if (product !== 'troupe' || name !== 'automerge-paper') continue
    lines.push(
      budget('trace, CPU for each edit', writing.written.cpuMicrosPerEdit, 12, 'µs'),
      budget('trace, edits', writing.written.perSecond, 60_000, '/s', true),
      budget('trace, lost of what was acknowledged', Math.max(...of.map(lost)), 0, 'operations'),
      budget(`trace, cold sync (${name})`, reading.cold.textMs ?? Number.NaN, 60, 'ms'),
      budget(`trace, memory of the open document (${name})`, weight, 5, 'MiB'),
    )
  }
  const heads = ['server', 'edits/s', 'CPU-µs an edit', 'peak RSS MiB', 'operations lost', 'cold text', 'left alone for', 'text whole']
  heads.push('cold text', 'document MiB', 'disk MiB')
  return { title: `trace (${name}, ${grouped(file.updates)} edits)`, markdown: table(heads, rows), lines, runs }
}

// ── idle ───────────────────────────────────────────────────────────────────────────────────────────────────────────

/** Shows what a connection weighs that says nothing, and how fast connections are taken (a reconnect after a deploy). */
const idleOf = async (section, names, what, limitOf) => {
  const runs = []
  const connections = isQuick ? 1_000 : 5_000
  for (let turn = 0; turn < repeat; turn++) {
    for (const name of names.filter(isWanted)) {
      say(`${section} ${name} ${turn + 1}`)
      const run = await attempt(`${section} ${name}`, () =>
        withServer(name, name.startsWith('troupe'), async ({ server }) => {
          const task = { warmUp: 1_000, connections, rooms: 100, atOnce: 100, settleMs: isQuick ? 2_000 : 5_000 }
          const result = await runLoad('idle.mjs', { port: server.port, pid: server.pid, wire: server.wire, ...task })
          return { name, ...result, complaints: server.complaints() }
        }),
      )
      if (run !== undefined) runs.push(run)
    }
  }
  const rows = []
  const lines = []
  const kibEach = new Map()
  for (const name of names) {
    const of = runs.filter((run) => run.name === name)
    if (of.length === 0) continue
    const run = middle(of, ({ kibEach }) => kibEach)
    kibEach.set(name, run.kibEach)
    rows.push([
      products[name].label,
      round(run.kibEach, 1),
      of.map(({ kibEach }) => round(kibEach, 1)).join(', '),
      grouped(run.perSecond),
      grouped(run.cpuMicrosPerConnect),
      round(run.idleCpuMicrosPerConnectionSecond, 1),
    ])
    for (const one of of) {
      if (one.closed > 0) note(`${section} ${name}: ${one.closed} connections were closed`)
      for (const text of one.complaints) note(`${section} ${name}: ${text}`)
    }
    const limit = limitOf(kibEach)
    if (name.startsWith('troupe') && limit !== undefined) lines.push(budget(`${section}, connection`, run.kibEach, limit, 'KiB'))
  }
  const heads = ['server', 'KiB a connection', 'runs', 'connects/s', 'CPU-µs a connect', 'CPU-µs a second when idle']
  return { title: `${section} (${grouped(connections)} connections, 100 ${what})`, markdown: table(heads, rows), lines, runs }
}

/** A connection that has synchronised a document. */
const idle = () => idleOf('idle', ['relay', 'yWebsocket', 'hocuspocus', 'troupe'], 'documents', () => 15)
/** A connection that has joined a channel; of Troupe, with presence. The limit is that of Socket.IO in the same run. */
const idleBus = () => idleOf('idle-bus', ['textRelay', 'socketIo', 'troupeBus'], 'channels', (kib) => kib.get('socketIo'))

// ── actors ─────────────────────────────────────────────────────────────────────────────────────────────────────────

/** Shows what the actor system adds to a message and to an actor: no socket, no disk. Beside it XState and EventEmitter without it. */
const actors = async () => {
  const { build } = await import(pathToFileURL(join(root, 'node_modules/esbuild/lib/main.js')).href)
  const outfile = join(troupe, 'actors.mjs')
  const common = { bundle: true, format: 'esm', platform: 'node', target: 'node20', packages: 'external', logLevel: 'error' }
  await build({ ...common, absWorkingDir: root, entryPoints: [here('./load/actors.mjs')], outfile })
  const task = { messages: isQuick ? 500_000 : 2_000_000, actors: 100_000, hops: 1_000_000, rounds: isQuick ? 2 : 4 }
  const run = await runLoad(outfile, task, { nodeArgs: ['--expose-gc'] })
  const rate = (number) => `${round(number / 1e6, 2)} M/s`
  const rows = [
    ['tell, one actor', rate(run.tell), rate(run.plainTransition), rate(run.emitter)],
    ['tell, 1 000 actors in turn', rate(run.tellMany), '', ''],
    ['tell, a state chart', rate(run.tellChart), rate(run.plainMachine), ''],
    ['ask, 1 000 under way', rate(run.ask), '', ''],
    ['ask, one after the other', rate(run.askAlone), '', ''],
    ['hop to the next of 100 actors, 1 000 000 in a row', rate(run.hop), '', ''],
    ['activate with first message', `${round(run.activate.micros, 2)} µs`, '', ''],
    ['activate a state chart', `${round(run.activateChart.micros, 2)} µs`, `${round(run.plainActors.micros, 2)} µs`, ''],
    ['heap of an idle actor', `${grouped(run.activate.bytes)} B`, '', ''],
    ['heap of an idle state chart', `${grouped(run.activateChart.bytes)} B`, `${grouped(run.plainActors.bytes)} B`, ''],
  ]
  const lines = [
    budget('tell', run.tell / 1e6, 5, 'M/s', true),
    budget('ask', run.ask / 1e6, 0.5, 'M/s', true),
    budget('activate', run.activate.micros, 20, 'µs'),
    budget('idle actor, of 100 000', run.activate.bytes / 1_000, 2.5, 'KB'),
  ]
  return { title: 'actors', markdown: table(['', 'Troupe', 'XState alone', 'EventEmitter'], rows), lines, runs: [run] }
}

// ── join ───────────────────────────────────────────────────────────────────────────────────────────────────────────

/** Shows the worst minute of a document: 150 clients without anything open 4 MB at once, after a restart and while it is open. */
const joinAtOnce = async () => {
  const file = await prepared({ kind: 'large', megabytes: 4, target: join(results, 'large.updates') })
  const clients = isQuick ? 50 : 150
  const runs = []
  for (const name of ['yWebsocket', 'hocuspocus', 'troupe'].filter(isWanted)) {
    say(`join ${name}`)
    const run = await attempt(`join ${name}`, () =>
      withServer(name, true, async ({ server, restart }) => {
        const seed = { file: file.target, ahead: 10, kill: false, limitMs: 120_000, settleMs: 5_000 }
        const seeded = await runLoad('replay.mjs', { port: server.port, pid: server.pid, wire: server.wire, ...seed })
        if (seeded.outcome !== 'all') throw new Error(`seeding: ${seeded.outcome}`)
        await server.stop()
        const again = await restart()
        const task = { clients, stateBytes: file.stateBytes, length: file.length, limitMs: 120_000 }
        const result = await runLoad('join.mjs', { port: again.port, pid: again.pid, wire: again.wire, ...task })
        return { name, seeded, ...result, complaints: [...server.complaints(), ...again.complaints()] }
      }),
    )
    if (run !== undefined) runs.push(run)
  }
  const rows = []
  for (const run of runs) {
    for (const [label, { joined, p50, p99, cpuMsPerJoin, peakAboveKib, baseKib, isWhole, closed }] of [
      ['after a restart', run.cold],
      ['document open', run.warm],
    ]) {
      rows.push([
        products[run.name].label,
        label,
        joined === clients ? milliseconds(p50) : `${joined} of ${clients} joined`,
        joined === clients ? milliseconds(p99) : '',
        round(cpuMsPerJoin, 1),
        mebibytes(baseKib * 1024),
        `+${mebibytes(peakAboveKib * 1024)}`,
        isWhole ? 'yes' : '**no**',
      ])
      if (closed > 0) note(`join ${run.name} ${label}: ${closed} clients were disconnected`)
    }
    for (const text of run.complaints) note(`join ${run.name}: ${text}`)
  }
  const heads = ['server', '', 'p50', 'p99', 'CPU-ms a join', 'RSS before MiB', 'peak above MiB', 'text whole']
  const lines = []
  const ours = runs.find(({ name }) => name === 'troupe')
  if (ours !== undefined && !isQuick) {
    for (const [label, run] of [
      ['after a restart', ours.cold],
      ['document open', ours.warm],
    ]) {
      lines.push(
        budget(`join ${label}, p50`, run.joined === clients ? run.p50 : Number.NaN, 1_000, 'ms'),
        budget(`join ${label}, peak memory above idle`, run.peakAboveKib / 1024, 250, 'MiB'),
      )
    }
  }
  return {
    title: `join (${clients} clients, ${mebibytes(file.stateBytes)} MiB, ${grouped(file.length)} characters)`,
    markdown: table(heads, rows),
    lines,
    runs,
  }
}

// ── slow-link ──────────────────────────────────────────────────────────────────────────────────────────────────────

/** Shows whether a stock editor gets a large document over a slow line: 20 MB with markup over 2 Mbit/s, 80 s at least. */
const slowLink = async () => {
  const megabytes = isQuick ? 2 : 20
  // One Yjs for the program and for y-websocket, which is not among the peers.
  const { build } = await import(pathToFileURL(join(root, 'node_modules/esbuild/lib/main.js')).href)
  const outfile = join(troupe, 'slowLink.mjs')
  await build({ entryPoints: [here('load/slowLink.mjs')], outfile, bundle: true, format: 'esm', platform: 'node', packages: 'external' })
  const runs = []
  for (const name of ['yWebsocket', 'troupe'].filter(isWanted)) {
    say(`slow-link ${name}`)
    const run = await attempt(`slow-link ${name}`, () =>
      withServer(name, true, async ({ server }) => {
        const lineProgram = here('load/line.mjs')
        const afterwardsMs = isQuick ? 10_000 : 60_000
        const task = { port: server.port, megabytes, bytesPerSecond: 250_000, limitMs: 240_000, afterwardsMs, lineProgram }
        return { name, ...(await runLoad(outfile, task)), complaints: server.complaints() }
      }),
    )
    if (run !== undefined) runs.push(run)
  }
  const lines = []
  const rows = runs.map(
    ({ name, stateBytes, openedMs, isWhole, closings, messages, longestSilenceMs, longestStallMs, sent, complaints }) => {
      for (const text of complaints) note(`slow-link ${name}: ${text}`)
      if (name === 'troupe') lines.push(budget('slow link, reconnections', isWhole ? closings : Number.NaN, 0, ''))
      return [
        products[name].label,
        mebibytes(stateBytes),
        isWhole ? milliseconds(openedMs) : '**never**',
        grouped(messages),
        milliseconds(longestSilenceMs),
        milliseconds(longestStallMs),
        grouped(closings),
        grouped(sent),
      ]
    },
  )
  const heads = [
    'server',
    'MiB',
    'opened after',
    'messages',
    'longest silence',
    'longest stall of the reader',
    'reconnections',
    'repairs sent',
  ]
  return { title: 'slow-link (2 Mbit/s, stock y-websocket)', markdown: table(heads, rows), lines, runs }
}

// ── presence ───────────────────────────────────────────────────────────────────────────────────────────────────────

/**
 * Shows what a crowd costs that looks on: 500 viewers of one document, each moves its cursor once a second, and 50 edits a second. Once
 * with viewers that only say what they do, and once with such as send back whatever they learn, as y-websocket does.
 */
const presence = async () => {
  const runs = []
  for (let turn = 0; turn < repeat; turn++) {
    for (const echoes of [false, true]) {
      say(`presence ${echoes ? 'with echoes ' : ''}${turn + 1} of ${repeat}`)
      const run = await attempt(`presence, echoes: ${echoes}`, () =>
        withServer('troupe', true, async ({ server }) => {
          const task = { viewers: 500, editsPerSecond: 50, seconds: isQuick ? 6 : 15, warmUpSeconds: 4, sampleEvery: 25, echoes }
          const result = await runLoad('presence.mjs', { port: server.port, pid: server.pid, ...task })
          return { ...result, complaints: server.complaints() }
        }),
      )
      if (run !== undefined) runs.push(run)
    }
  }
  const rows = []
  const lines = []
  for (const echoes of [false, true]) {
    const of = runs.filter((run) => run.echoes === echoes)
    if (of.length === 0) continue
    const run = middle(of, ({ serverCpuShare }) => serverCpuShare)
    rows.push([
      echoes ? 'send back what they learn' : 'say what they do',
      `${round(run.serverCpuShare * 100, 0)} %`,
      `${round(run.loadCpuShare * 100, 0)} %`,
      milliseconds(run.editP50),
      milliseconds(run.editP95),
      milliseconds(run.presenceP50),
      milliseconds(run.presenceP95),
      round(run.messagesPerViewer, 1),
      mebibytes(run.peakKib * 1024),
    ])
    for (const text of new Set(of.flatMap((one) => [...one.noteworthy, ...one.complaints]))) note(`presence, echoes ${echoes}: ${text}`)
    if (echoes) continue
    lines.push(budget('500 viewers at 1 Hz and 50 edits/s, share of a core', run.serverCpuShare * 100, 50, '%'))
    lines.push(budget('500 viewers at 1 Hz and 50 edits/s, p95 of an edit', run.editP95, 50, 'ms'))
  }
  const heads = [
    'viewers',
    'server CPU',
    'load CPU',
    'edit p50',
    'edit p95',
    'cursor p50',
    'cursor p95',
    'presence messages/s each',
    'peak MiB',
  ]
  return { title: 'presence', markdown: table(heads, rows), lines, runs }
}

// ── channels ───────────────────────────────────────────────────────────────────────────────────────────────────────

/**
 * Shows what it costs a server to hand one message of a channel to one more subscriber, and how long that takes: 1 000 subscribers,
 * 100 messages of 100 characters a second. Troupe commits every message to disk first; the others store nothing.
 *
 * Then the same while 2.6 MB a second are written to one more subscriber in a channel of its own, who reads it, or does not read at
 * all: what a frozen client costs the others is the difference between these two.
 */
const channels = async () => {
  const rate = 100
  const subscribers = 1_000
  const names = ['textRelay', 'socketIo', 'troupeBus'].filter(isWanted)
  const variants = [undefined, 'reads', 'frozen']
  const runs = []
  for (let turn = 0; turn < repeat; turn++) {
    for (const aside of variants) {
      for (const name of names) {
        const what = `channels ${name}${aside === undefined ? '' : `, one more ${aside}`}`
        say(`${what} ${turn + 1} of ${repeat}`)
        const run = await attempt(what, () =>
          withServer(name, name === 'troupeBus', async ({ server }) => {
            const task = { rate, subscribers, seconds: isQuick ? 4 : 10, warmUpSeconds: isQuick ? 2 : 4, asidePerSecond: 40, aside }
            const result = await runLoad('channels.mjs', { port: server.port, pid: server.pid, wire: server.wire, ...task })
            return { name, ...result, complaints: server.complaints() }
          }),
        )
        if (run !== undefined) runs.push(run)
      }
    }
  }
  const asideOf = { undefined: '', reads: 'reads', frozen: 'frozen' }
  const rows = []
  const middles = new Map()
  for (const aside of variants) {
    for (const name of names) {
      const of = runs.filter((run) => run.name === name && run.aside === aside)
      if (of.length === 0) continue
      const run = middle(of, ({ cpuMicrosPerDelivery }) => cpuMicrosPerDelivery)
      middles.set(`${name} ${aside}`, run)
      const spread = of.map(({ cpuMicrosPerDelivery }) => cpuMicrosPerDelivery)
      rows.push([
        products[name].label,
        asideOf[aside],
        round(run.cpuMicrosPerDelivery, 2),
        of.length > 1 ? `${round(Math.min(...spread), 2)}–${round(Math.max(...spread), 2)}` : '',
        milliseconds(run.p50),
        milliseconds(run.p99),
        milliseconds(run.most),
        mebibytes(run.rssKib * 1024),
        `+${mebibytes(run.grewKib * 1024)}`,
        `${round(run.serverCpuShare * 100, 0)} %`,
        `${round(run.loadCpuShare * 100, 0)} %`,
        aside === 'frozen' ? (run.isCutOff ? 'disconnected' : 'kept') : '',
      ])
      const section = `channels ${name} ${asideOf[aside]}`.trim()
      for (const text of new Set(of.flatMap((one) => [...one.noteworthy, ...one.complaints]))) note(`${section}: ${text}`)
    }
  }
  const lines = []
  const [ours, theirs] = [middles.get('troupeBus undefined'), middles.get('socketIo undefined')]
  if (ours !== undefined && theirs !== undefined)
    lines.push(
      budget(
        'channels, CPU for each delivery (limit: Socket.IO in this run)',
        ours.cpuMicrosPerDelivery,
        theirs.cpuMicrosPerDelivery,
        'µs',
      ),
    )
  if (ours !== undefined) lines.push(budget('channels, deliveries missing', ours.missing, 0, 'messages'))
  const [reads, frozen] = [middles.get('troupeBus reads'), middles.get('troupeBus frozen')]
  if (reads !== undefined && frozen !== undefined)
    lines.push(budget('channels, p99 beside a frozen subscriber (limit: beside one that reads, and 5 ms)', frozen.p99, reads.p99 + 5, 'ms'))
  const heads = [
    'server',
    'one more',
    'CPU-µs a delivery',
    'range',
    'p50',
    'p99',
    'most',
    'RSS MiB',
    'peak above MiB',
    'server CPU',
    'load CPU',
    'frozen one',
  ]
  const title = `channels (${grouped(subscribers)} subscribers, ${rate} messages/s)`
  return { title, markdown: table(heads, rows), lines, runs }
}

// ── report ─────────────────────────────────────────────────────────────────────────────────────────────────────────

prepare()
const flushes = flushMs(tmpdir())
const machine = {
  date: new Date().toISOString().slice(0, 16).replace('T', ' '),
  cpu: `${cpus().length} × ${cpus()[0]?.model.trim() ?? 'unknown'}`,
  memoryMib: Math.round(totalmem() / 1024 / 1024),
  flushMs: { p50: quantile(flushes, 0.5), p99: quantile(flushes, 0.99) },
  loadAverage: loadavg()[0],
  quick: isQuick,
  repeat,
  versions: versions(),
}
const programs = { fanout, trace, idle, actors, join: joinAtOnce, 'slow-link': slowLink, presence, channels, 'idle-bus': idleBus }
const done = []
for (const name of sections.filter((section) => wanted.includes(section))) {
  const section = await attempt(name, programs[name])
  if (section !== undefined) done.push(section)
}

const markdown = [
  `# Benchmarks of ${machine.date} UTC${isQuick ? ' (quick)' : ''}`,
  '',
  `Machine: ${machine.cpu}, ${grouped(machine.memoryMib)} MiB; a flush of 4 KiB takes ${milliseconds(machine.flushMs.p50)} (p99 ${milliseconds(machine.flushMs.p99)}); ` +
    `load average before the run ${round(machine.loadAverage, 2)}. ${Object.entries(machine.versions)
      .map(([name, version]) => `${name} ${version}`)
      .join(' · ')}. Of several runs, the one in the middle.`,
  '',
  ...done.flatMap(({ title, markdown, lines }) => [`## ${title}`, '', markdown, '', ...(lines.length > 0 ? [budgetTable(lines), ''] : [])]),
  ...(noteworthy.length > 0 ? ['## Noteworthy', '', ...noteworthy.map((text) => `- ${text.replaceAll('\n', ' ').slice(0, 500)}`), ''] : []),
].join('\n')

console.log(markdown)
writeFileSync(join(results, 'latest.md'), markdown)
writeFileSync(join(results, 'latest.json'), `${JSON.stringify({ machine, sections: done, noteworthy }, null, 2)}\n`)
process.exit(0)
