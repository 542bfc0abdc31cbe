/**
 * Load of `presence`: viewers of one document, each moves its cursor once a second, and a few of them write. Prints what the server
 * made of it.
 *
 * A move is counted at each viewer that shows its clock or a later one; moves that were overtaken by a later one count as shown then.
 * `echoes`: each viewer sends back every state that it learns, as y-websocket does (500 viewers: 500 times what they say themselves).
 */
import { Client, sleep } from '../lib/client.mjs'
import { Latencies } from '../lib/figures.mjs'
import { cpuMicros, memoryKib } from '../lib/process.mjs'
import { clientFrame, cursor, insertion, varUint, walkUpdate } from '../lib/wire.mjs'

const { port, pid, viewers: count, editsPerSecond, seconds, warmUpSeconds, sampleEvery, echoes } = JSON.parse(process.argv[2])
const writers = 10
const content = 'abcdefghij0123456789'
const firstId = 2_000_000_000 // five bytes, as most ids that Yjs draws

// ── presence ───────────────────────────────────────────────────────────────────────────────────────────────────────

/** Of the size that a cursor of ProseMirror has. */
const stateOf = (index, move) => {
  const position = { type: null, tname: 'prosemirror', item: { client: firstId + (index % writers), clock: move }, assoc: 0 }
  return JSON.stringify({ user: { name: `Viewer ${index}`, color: '#30bced' }, cursor: { anchor: position, head: position } })
}
const clocks = new Float64Array(count)
const movedAt = Array.from({ length: count }, () => new Map())
const shown = new Latencies()
const written = new Latencies()
let entries = 0
let messages = 0
let echoed = 0
let isMeasuring = false

const move = (index) => {
  const clock = ++clocks[index]
  const state = Buffer.from(stateOf(index, clock))
  movedAt[index].set(clock, performance.now())
  movedAt[index].delete(clock - 100)
  const entry = [1, ...varUint(firstId + index), ...varUint(clock), ...varUint(state.length)]
  const body = Buffer.concat([Buffer.from(entry), state])
  clients[index].socket.write(clientFrame(Buffer.concat([Buffer.from([1, ...varUint(body.length)]), body])))
}

const hearPresence = (index) => {
  const isSampled = index % sampleEvery === 0
  const known = isSampled ? new Float64Array(count) : undefined
  return (bytes, at, end) => {
    messages++
    cursor.open(bytes, at)
    const size = cursor.varUint()
    entries += size
    for (let n = 0; isSampled && n < size; n++) {
      const other = cursor.varUint() - firstId
      const clock = cursor.varUint()
      const length = cursor.varUint()
      cursor.at += length
      // The server may have raised the clock: its owner goes on from there.
      if (other === index) clocks[index] = Math.max(clocks[index], clock)
      if (known === undefined || clock <= known[other]) continue
      if (isMeasuring && other !== index) {
        const since = movedAt[other].get(clock)
        if (since !== undefined) shown.add(performance.now() - since)
      }
      known[other] = clock
    }
    if (!echoes || size === 0) return
    echoed++
    const body = bytes.subarray(at, end)
    clients[index].socket.write(clientFrame(Buffer.concat([Buffer.from([1, ...varUint(body.length)]), body])))
  }
}

// ── edits ──────────────────────────────────────────────────────────────────────────────────────────────────────────

const sent = Array.from({ length: writers }, () => [])
const hearEdits = (index) => {
  if (index % sampleEvery !== 0) return undefined
  const next = new Float64Array(writers)
  const inserted = (client, clock, length) => {
    const author = client - firstId
    if (clock + length <= next[author]) return
    for (let edit = next[author] / content.length; edit < (clock + length) / content.length; edit++)
      if (isMeasuring && author !== index) written.add(performance.now() - sent[author][edit])
    next[author] = clock + length
  }
  return (bytes, at) => {
    cursor.open(bytes, at)
    walkUpdate(inserted)
  }
}
let edits = 0
const write = () => {
  const author = edits++ % writers
  const client = clients[author]
  const frame = client.frame(insertion(firstId + author, sent[author].length * content.length, content))
  sent[author].push(performance.now())
  client.socket.write(frame)
}

// ── the run ────────────────────────────────────────────────────────────────────────────────────────────────────────

const clients = []
for (let index = 0; index < count; index++) {
  const on = { update: hearEdits(index), awareness: hearPresence(index) }
  clients.push(new Client({ port, wire: 'yjs', document: 'bench', wholeFrames: true, on }))
  if (index % 25 === 24) await Promise.all(clients.map(({ synced }) => synced))
}
await Promise.all(clients.map(({ synced }) => synced))

let moves = 0
const run = async (duration) => {
  const began = performance.now()
  const due = (rate) => Math.floor((Math.min(duration * 1_000, performance.now() - began) * rate) / 1_000)
  for (let moved = 0, wrote = 0; performance.now() - began < duration * 1_000; await sleep(1)) {
    for (const end = due(count); moved < end; moved++) move(moves++ % count)
    for (const end = due(editsPerSecond); wrote < end; wrote++) write()
  }
}

await run(warmUpSeconds)
isMeasuring = true
const before = { cpu: cpuMicros(pid), own: process.cpuUsage(), entries, messages, echoed, moves, at: performance.now() }
await run(seconds)
const elapsed = (performance.now() - before.at) / 1_000
const cpu = cpuMicros(pid) - before.cpu
const own = process.cpuUsage(before.own)
const noteworthy = []
if (written.count === 0 || shown.count === 0) noteworthy.push('nothing was delivered')
const closed = clients.filter(({ isClosed }) => isClosed)
if (closed.length > 0)
  noteworthy.push(`${closed.length} clients were disconnected (${closed[0].closeCode ?? 'no close frame'} ${closed[0].closeReason ?? ''})`)

console.log(
  JSON.stringify({
    viewers: count,
    echoes,
    serverCpuShare: cpu / 1e6 / elapsed,
    loadCpuShare: (own.user + own.system) / 1e6 / elapsed,
    movesPerSecond: (moves - before.moves) / elapsed,
    entriesPerViewer: (entries - before.entries) / elapsed / count,
    messagesPerViewer: (messages - before.messages) / elapsed / count,
    echoedPerSecond: (echoed - before.echoed) / elapsed,
    editP50: written.quantile(0.5),
    editP95: written.quantile(0.95),
    editMost: written.most,
    presenceP50: shown.quantile(0.5),
    presenceP95: shown.quantile(0.95),
    rssKib: memoryKib(pid).now,
    peakKib: memoryKib(pid).peak,
    noteworthy,
  }),
)
process.exit(0)
