/** Server and load processes, and what the kernel says about them. Ends only what it started, by pid. */
import { spawn } from 'node:child_process'
import { closeSync, fdatasyncSync, openSync, readdirSync, readFileSync, statSync, unlinkSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** Jiffies; 100 on every Linux that Node runs on (`getconf CLK_TCK`). */
const ticksPerSecond = 100

/** User and system time of all threads of a process, in µs (proc(5), fields 14 and 15 of stat). */
export const cpuMicros = (pid) => {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return ((Number(fields[11]) + Number(fields[12])) / ticksPerSecond) * 1e6
}

/** Resident memory in KiB: now, and the highest so far. */
export const memoryKib = (pid) => {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  const read = (name) => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)?.[1] ?? Number.NaN)
  return { now: read('VmRSS'), peak: read('VmHWM') }
}

/** Bytes on disk below a directory, as blocks: a sparse file counts what it uses. */
export const diskBytes = (directory) => {
  let bytes = 0
  for (const entry of readdirSync(directory, { withFileTypes: true, recursive: true })) {
    if (entry.isFile()) bytes += statSync(join(entry.parentPath, entry.name)).blocks * 512
  }
  return bytes
}

/** How long the disk takes to flush 4 KiB, in ms: what a commit must wait for, whoever makes it. */
export const flushMs = (directory, count = 300) => {
  const path = join(directory, `flush-${process.pid}`)
  const file = openSync(path, 'w')
  const taken = []
  for (let n = 0; n < count; n++) {
    const began = performance.now()
    writeSync(file, Buffer.alloc(4096, n), 0, 4096, n * 4096)
    fdatasyncSync(file)
    taken.push(performance.now() - began)
  }
  closeSync(file)
  unlinkSync(path)
  return taken
}

const here = (path) => fileURLToPath(new URL(`../${path}`, import.meta.url))

/**
 * The servers under test. `directory`: where it keeps its data; undefined: in memory, if it can.
 * `wire`: what its clients speak.
 */
/** Troupe, with the listener of a profile being the one that is measured. */
const troupe = (profile) => (directory) => ({
  args: [
    here('results/troupe/dist/main.js'),
    '--no-supervisor',
    ...['--port', '0', '--listen', `0:${profile}`, '--log-level', 'info'],
    ...(directory === undefined ? ['--set', 'storage.backend=memory'] : ['--data', directory]),
    ...(process.env.BENCH_TROUPE_FLAGS ?? '').split(' ').filter(Boolean),
  ],
})

export const products = {
  relay: { label: 'bare `ws` relay', wire: 'relay', stores: 'nothing', command: () => ({ args: [here('servers/relay.mjs')] }) },
  yWebsocket: {
    label: 'y-websocket-server',
    wire: 'yjs',
    stores: 'LevelDB',
    command: (directory) => ({
      args: [here('servers/yWebsocket.mjs')],
      env: directory === undefined ? {} : { YPERSISTENCE: directory },
    }),
  },
  hocuspocus: {
    label: 'Hocuspocus',
    wire: 'hocuspocus',
    stores: 'SQLite',
    command: (directory) => ({
      args: [here('servers/hocuspocus.mjs')],
      env: directory === undefined ? {} : { BENCH_SQLITE: join(directory, 'documents.sqlite') },
    }),
  },
  troupe: { label: 'Troupe', wire: 'yjs', stores: 'LMDB', profile: 'yjs', command: troupe('yjs') },
  textRelay: { label: 'bare `ws` relay', wire: 'plain', stores: 'nothing', command: () => ({ args: [here('servers/relay.mjs')] }) },
  socketIo: { label: 'Socket.IO', wire: 'socketIo', stores: 'nothing', command: () => ({ args: [here('servers/socketIo.mjs')] }) },
  troupeBus: { label: 'Troupe', wire: 'bus', stores: 'LMDB', profile: 'bus', command: troupe('bus') },
}

const running = new Set()
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL')
})
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(130))

/** The environment without options that somebody set for a server of their own. */
const cleanEnvironment = () =>
  Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(TROUPE_|YPERSISTENCE|PORT$|HOST$)/.test(name)))

/** Starts a server and waits until it listens (30 s). */
export const startServer = (name, { directory, nodeArgs = [] } = {}) => {
  const product = products[name]
  const { args, env = {} } = product.command(directory)
  const child = spawn(process.execPath, [...nodeArgs, ...args], {
    env: { ...cleanEnvironment(), ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  running.add(child)
  const log = []
  let stderr = ''
  child.stderr.setEncoding('utf8').on('data', (text) => {
    stderr = (stderr + text).slice(-4_000)
  })
  const exited = new Promise((resolve) => child.on('exit', (code, signal) => resolve({ code, signal })))
  exited.then(() => running.delete(child))
  const server = {
    name,
    ...product,
    pid: child.pid,
    port: 0,
    exited,
    /** Lines of warnings and errors that the server wrote. */
    complaints: () => [...log.filter(({ level }) => level >= 40).map((line) => JSON.stringify(line)), ...(stderr === '' ? [] : [stderr])],
    async stop(signal = 'SIGTERM') {
      child.kill(signal)
      const timer = setTimeout(() => child.kill('SIGKILL'), 15_000)
      await exited
      clearTimeout(timer)
    },
  }
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`${name} did not listen within 30 s: ${stderr}`)), 30_000)
    exited.then(({ code, signal }) => reject(new Error(`${name} ended (${code ?? signal}) before it listened: ${stderr}`)))
    let rest = ''
    child.stdout.setEncoding('utf8').on('data', (text) => {
      const lines = (rest + text).split('\n')
      rest = lines.pop()
      for (const line of lines) {
        if (!line.startsWith('{')) continue
        const parsed = JSON.parse(line)
        if (log.length < 1_000) log.push(parsed)
        if (parsed.msg !== 'listening' || (product.profile !== undefined && parsed.profile !== product.profile)) continue
        server.port = parsed.port
        clearTimeout(timer)
        resolve(server)
      }
    })
  })
}

/** Runs a load program of `load/` in a process of its own; resolves with the JSON that it prints last. */
export const runLoad = (program, task, { nodeArgs = [], timeoutMs = 600_000 } = {}) =>
  new Promise((resolve, reject) => {
    const path = program.startsWith('/') ? program : here(`load/${program}`)
    const child = spawn(process.execPath, [...nodeArgs, path, JSON.stringify(task)], { stdio: ['ignore', 'pipe', 'inherit'] })
    running.add(child)
    const timer = setTimeout(() => child.kill('SIGKILL'), timeoutMs)
    let output = ''
    child.stdout.setEncoding('utf8').on('data', (text) => {
      output += text
    })
    child.on('exit', (code, signal) => {
      running.delete(child)
      clearTimeout(timer)
      if (code !== 0) return reject(new Error(`${program} ended with ${code ?? signal}`))
      resolve(JSON.parse(output.trim().split('\n').at(-1)))
    })
  })
