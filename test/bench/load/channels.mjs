/**
 * Load of `channels`: one program publishes into a channel at a given rate, `subscribers` hear it. A delivery is a message that
 * reached a subscriber; each subscriber must get each, once and in order. All of it is in one process and by one clock.
 *
 * `aside`: besides, messages of 64 KiB go to one more subscriber in a channel of its own, who reads them (`reads`) or does not read
 * at all (`frozen`), and somebody has to decide what becomes of what is written to it.
 */
import { sleep, until } from '../lib/client.mjs'
import { Latencies } from '../lib/figures.mjs'
import { cpuMicros, memoryKib } from '../lib/process.mjs'
import { TextClient } from '../lib/textClient.mjs'

const { port, pid, wire, rate, subscribers: count, seconds, warmUpSeconds, aside, asidePerSecond } = JSON.parse(process.argv[2])
const text = 'abcdefghij'.repeat(10)
const asideText = 'abcdefgh'.repeat(8 * 1024)
const drainMs = 20_000
const atOnce = 50

const sentAt = []
const latencies = new Latencies()
let deliveries = 0
let disorders = 0
let isMeasuring = false

const clients = []
const subscriber = () => {
  let next = 0
  const message = (n) => {
    if (n !== next) disorders++
    next = n + 1
    deliveries++
    if (isMeasuring) latencies.add(performance.now() - sentAt[n])
  }
  return new TextClient({ port, wire, channel: 'bench', on: { message } })
}
const join = async () => {
  while (clients.length < count) {
    const client = subscriber()
    clients.push(client)
    await client.synced
  }
}
await Promise.all(Array.from({ length: atOnce }, join))
const publisher = new TextClient({ port, wire, channel: 'bench', subscribes: false })
const other = aside === undefined ? undefined : new TextClient({ port, wire, channel: 'aside' })
const asidePublisher = aside === undefined ? undefined : new TextClient({ port, wire, channel: 'aside', subscribes: false })
for (const client of [publisher, other, asidePublisher]) await client?.synced
await sleep(1_000)
if (aside === 'frozen') other.freeze()

let asideSent = 0
/** Publishes at `rate` for so long; what a late timer missed is caught up at its next tick. */
const publishFor = async (duration) => {
  const began = performance.now()
  const asideBegan = asideSent
  const total = Math.round(duration * rate)
  for (let published = 0; published < total; ) {
    const elapsed = (performance.now() - began) / 1_000
    for (const due = Math.min(total, Math.floor(elapsed * rate)); published < due; published++) {
      const n = sentAt.length
      sentAt.push(performance.now())
      publisher.publish('bench', { n, text })
    }
    if (aside !== undefined) {
      for (const due = Math.floor(elapsed * asidePerSecond); asideSent - asideBegan < due; asideSent++)
        asidePublisher.publish('aside', { text: asideText })
    }
    await sleep(1)
  }
  return (performance.now() - began) / 1_000
}

const isDrained = () => deliveries >= sentAt.length * count
const noteworthy = []

await publishFor(warmUpSeconds)
if (!(await until(isDrained, drainMs))) noteworthy.push('the warm-up was not delivered in time')

isMeasuring = true
const memoryBefore = memoryKib(pid)
const before = { cpu: cpuMicros(pid), own: process.cpuUsage(), deliveries, messages: sentAt.length, at: performance.now() }
const loaded = await publishFor(seconds)
const own = process.cpuUsage(before.own)
const isComplete = await until(isDrained, drainMs)
const cpu = cpuMicros(pid) - before.cpu
const wall = (performance.now() - before.at) / 1_000
const memory = memoryKib(pid)
const expected = (sentAt.length - before.messages) * count
const delivered = deliveries - before.deliveries

if (!isComplete) noteworthy.push(`${expected - delivered} of ${expected} deliveries missing after ${drainMs / 1_000} s`)
if (disorders > 0) noteworthy.push(`${disorders} messages came out of order or twice`)
const closed = clients.filter(({ isClosed }) => isClosed)
if (closed.length > 0)
  noteworthy.push(`${closed.length} clients were disconnected (${closed[0].closeCode ?? 'no close frame'} ${closed[0].closeReason ?? ''})`)
let isCutOff = false
if (aside === 'frozen') {
  other.thaw()
  isCutOff = await until(() => other.isClosed, 3_000)
}

console.log(
  JSON.stringify({
    rate,
    aside,
    messages: sentAt.length - before.messages,
    delivered,
    missing: expected - delivered,
    cpuMicrosPerDelivery: cpu / delivered,
    serverCpuShare: cpu / 1e6 / wall,
    loadCpuShare: (own.user + own.system) / 1e6 / loaded,
    p50: latencies.quantile(0.5),
    p99: latencies.quantile(0.99),
    most: latencies.most,
    rssKib: memory.now,
    grewKib: memory.peak - memoryBefore.now,
    asideMib: (asideSent * asideText.length) / 1024 / 1024,
    asideReadMib: other === undefined ? 0 : other.bytes / 1024 / 1024,
    isCutOff,
    noteworthy,
  }),
)
process.exit(0)
