/**
 * Load of `fanout`: clients in one document, each inserts in turn, all read. Prints what one server made of it.
 *
 * Edit n of the run is written by client n mod clients, so the load is spread over all sockets and every reader hears the edits of
 * all others. A delivery is an edit that reached a reader other than its author: 20 characters whose clocks the reader had not
 * seen before, in whatever frame they came. So merged frames count for what is in them, and repetitions for nothing.
 */
import { Client, sleep, until } from '../lib/client.mjs'
import { Latencies, quantile } from '../lib/figures.mjs'
import { cpuMicros, memoryKib } from '../lib/process.mjs'
import { cursor, insertion, walkUpdate } from '../lib/wire.mjs'

const { port, pid, wire, rate, clients: count, seconds, warmUpSeconds, sampleEvery } = JSON.parse(process.argv[2])
const content = 'abcdefghij0123456789'
const firstId = 2_000_000_000 // five bytes, as most ids that Yjs draws
const drainMs = 20_000

const sent = Array.from({ length: count }, () => []) // by author: when each of its edits was sent
const latencies = new Latencies()
let deliveries = 0
let gaps = 0
let isMeasuring = false

const reader = (index) => {
  const next = new Float64Array(count)
  const isSampled = index % sampleEvery === 0
  let now = 0
  const inserted = (client, clock, length) => {
    const author = client - firstId
    const end = clock + length
    if (clock > next[author]) gaps++
    if (end <= next[author]) return
    const from = next[author] / content.length
    next[author] = end
    if (author === index) return
    const to = end / content.length
    deliveries += to - from
    if (isSampled && isMeasuring) for (let edit = from; edit < to; edit++) latencies.add(now - sent[author][edit])
  }
  return (bytes, at) => {
    if (isSampled) now = performance.now()
    cursor.open(bytes, at)
    walkUpdate(inserted)
  }
}

const clients = Array.from(
  { length: count },
  (_, index) => new Client({ port, wire, document: 'bench', wholeFrames: true, on: { update: reader(index) } }),
)
await Promise.all(clients.map(({ synced }) => synced))
await sleep(500)

let edits = 0
const write = () => {
  const author = edits++ % count
  const client = clients[author]
  const frame = client.frame(insertion(firstId + author, sent[author].length * content.length, content))
  sent[author].push(performance.now())
  client.socket.write(frame)
}

/** Writes at `rate` for so long; what a late timer missed is caught up at its next tick. */
const writeFor = async (duration) => {
  const began = performance.now()
  const total = Math.round(duration * rate)
  for (let written = 0; written < total; ) {
    const due = Math.min(total, Math.floor(((performance.now() - began) * rate) / 1_000))
    for (; written < due; written++) write()
    await sleep(1)
  }
  return (performance.now() - began) / 1_000
}

const isDrained = () => deliveries >= edits * (count - 1)
const noteworthy = []

await writeFor(warmUpSeconds)
if (!(await until(isDrained, drainMs))) noteworthy.push('the warm-up was not delivered in time')

isMeasuring = true
const before = { cpu: cpuMicros(pid), own: process.cpuUsage(), deliveries, edits, at: performance.now() }
const loaded = await writeFor(seconds)
const own = process.cpuUsage(before.own)
const isComplete = await until(isDrained, drainMs)
const drainedMs = performance.now() - before.at - loaded * 1_000
const cpu = cpuMicros(pid) - before.cpu
const memory = memoryKib(pid)
const expected = (edits - before.edits) * (count - 1)
const delivered = deliveries - before.deliveries

if (!isComplete) noteworthy.push(`${expected - delivered} of ${expected} deliveries missing after ${drainMs / 1_000} s`)
if (gaps > 0) noteworthy.push(`${gaps} edits came before one that precedes them`)
const closed = clients.filter(({ isClosed }) => isClosed)
if (closed.length > 0)
  noteworthy.push(`${closed.length} clients were disconnected (${closed[0].closeCode ?? 'no close frame'} ${closed[0].closeReason ?? ''})`)
const asked = clients.reduce((sum, client) => sum + client.asked, 0)
if (asked > 0) noteworthy.push(`the server asked ${asked} times for what it lacked`)

console.log(
  JSON.stringify({
    rate,
    edits: edits - before.edits,
    delivered,
    missing: expected - delivered,
    cpuMicrosPerDelivery: cpu / delivered,
    serverCpuShare: cpu / 1e6 / ((performance.now() - before.at) / 1_000),
    loadCpuShare: (own.user + own.system) / 1e6 / loaded,
    writtenPerSecond: (edits - before.edits) / loaded,
    p50: latencies.quantile(0.5),
    p99: latencies.quantile(0.99),
    most: latencies.most,
    samples: latencies.count,
    drainedMs,
    rssKib: memory.now,
    peakKib: memory.peak,
    largestQueue: quantile(
      clients.map(({ socket }) => socket.writableLength),
      1,
    ),
    noteworthy,
  }),
)
process.exit(0)
