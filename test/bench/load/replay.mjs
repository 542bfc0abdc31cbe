/**
 * Load of `trace`: one client writes prepared updates as fast as the server acknowledges them, with at most `ahead` of them
 * unacknowledged. `kill`: at the last acknowledgement the server gets SIGKILL. `settleMs`: waits so long, and then until the server
 * does nothing any more.
 *
 * What counts as acknowledged is what a stock editor can see: of a y-websocket server the echo of the update, of Hocuspocus its
 * SyncStatus, one for each update.
 */
import { Client, sleep } from '../lib/client.mjs'
import { asFrames, readPacked } from '../lib/packed.mjs'
import { cpuMicros, memoryKib } from '../lib/process.mjs'
import { cursor, walkUpdate } from '../lib/wire.mjs'

const { port, pid, wire, file, ahead, kill, limitMs, settleMs = 0 } = JSON.parse(process.argv[2])

const settleLimitMs = 180_000

const echoed = { inserted: 0, deleted: 0, clock: 0 }
const inserted = (_client, clock, length) => {
  const fresh = clock + length - Math.max(echoed.clock, clock)
  if (fresh <= 0) return
  echoed.inserted += fresh
  echoed.clock = clock + length
}
const deleted = (_client, _clock, length) => {
  echoed.deleted += length
}

let acknowledged = 0
let written = 0
let progressAt = 0
let done
const finished = new Promise((resolve) => {
  done = resolve
})

const client = new Client({
  port,
  wire,
  document: 'paper',
  wholeFrames: true,
  on: {
    update: (bytes, at) => {
      if (!isReady) return
      cursor.open(bytes, at)
      walkUpdate(inserted, deleted)
      while (acknowledged < written && frames.inserted[acknowledged] <= echoed.inserted && frames.deleted[acknowledged] <= echoed.deleted)
        acknowledged++
      go()
    },
    acknowledged: () => {
      if (!isReady) return
      acknowledged++
      go()
    },
    close: () => done(`disconnected (${client.closeCode ?? 'no close frame'} ${client.closeReason ?? ''})`),
  },
})
const frames = asFrames(readPacked(file), client.head)
const total = frames.ends.length
let isReady = false

const go = () => {
  progressAt = performance.now()
  if (acknowledged === total) return done('all')
  // Several frames in one write, once there is room for a fair number of them: the server shall be measured, not our own calls.
  const most = Math.min(total, acknowledged + ahead)
  if (most - written < Math.min(ahead / 8, total - written)) return
  client.socket.write(frames.bytes.subarray(written === 0 ? 0 : frames.ends[written - 1], frames.ends[most - 1]))
  written = most
}

await client.synced
await sleep(1_000)
isReady = true
const began = performance.now()
const before = cpuMicros(pid)
go()
const watchdog = setInterval(() => {
  const now = performance.now()
  if (now - progressAt > 30_000) done('no acknowledgement for 30 s')
  else if (now - began > limitMs) done(`not done after ${limitMs / 1_000} s`)
}, 500)
const outcome = await finished
const ms = performance.now() - began
const cpu = cpuMicros(pid) - before
const memory = memoryKib(pid)
if (kill) process.kill(pid, 'SIGKILL')
clearInterval(watchdog)
let settledMs = 0
if (settleMs > 0) {
  // Three quiet seconds mean that the server does nothing any more: what it stores later is stored.
  const from = performance.now()
  await sleep(settleMs)
  for (let quiet = 0; quiet < 3 && performance.now() - from < settleLimitMs; ) {
    const used = cpuMicros(pid)
    await sleep(1_000)
    quiet = cpuMicros(pid) - used <= 20_000 ? quiet + 1 : 0
  }
  settledMs = performance.now() - from
}
const last = acknowledged - 1
console.log(
  JSON.stringify({
    outcome,
    total,
    written,
    acknowledged,
    acknowledgedClock: last < 0 ? 0 : frames.inserted[last],
    acknowledgedDeleted: last < 0 ? 0 : frames.deleted[last],
    ms,
    perSecond: (acknowledged / ms) * 1_000,
    cpuMicrosPerEdit: cpu / acknowledged,
    rssKib: memory.now,
    peakKib: memory.peak,
    asked: client.asked,
    settledMs,
    isSettled: settledMs < settleLimitMs,
  }),
)
process.exit(0)
