/**
 * Load of `join`: many clients that have nothing open one large document at the same moment. Two rounds: against a server that was
 * just started and has to read the document from disk, and against the same server with the document open.
 *
 * A client has joined when it is synchronised and has nine tenths of the bytes of the document: y-websocket-server answers with an
 * empty document while it still loads the stored one. One client of each round keeps what it gets and counts the characters.
 */
import * as Y from 'yjs'
import { Client, sleep, until } from '../lib/client.mjs'
import { quantile } from '../lib/figures.mjs'
import { cpuMicros, memoryKib } from '../lib/process.mjs'

const { port, pid, wire, clients: count, stateBytes, length, limitMs } = JSON.parse(process.argv[2])

const round = async () => {
  const base = memoryKib(pid).now
  let peak = base
  const sampler = setInterval(() => {
    peak = Math.max(peak, memoryKib(pid).now)
  }, 20)
  const cpu = cpuMicros(pid)
  const joined = []
  const synced = []
  const kept = []
  const began = performance.now()
  const clients = Array.from({ length: count }, (_, index) => {
    let isCounted = false
    const client = new Client({
      port,
      wire,
      document: 'paper',
      wholeFrames: index === 0,
      on: {
        update: (bytes, at, end, kind) => {
          if (index === 0) kept.push(Uint8Array.prototype.slice.call(bytes, at, end))
          const ms = performance.now() - began
          if (kind === 1) synced.push(ms)
          if (isCounted || client.updateBytes < stateBytes * 0.9 || (!client.isSynced && kind !== 1)) return
          isCounted = true
          joined.push(ms)
        },
      },
    })
    return client
  })
  const isComplete = await until(() => joined.length === count || clients.every(({ isClosed }) => isClosed), limitMs, 20)
  const cpuMs = (cpuMicros(pid) - cpu) / 1_000
  clearInterval(sampler)
  const document = new Y.Doc()
  for (const update of kept) Y.applyUpdate(document, update)
  const result = {
    joined: joined.length,
    isComplete,
    p50: quantile(joined, 0.5),
    p99: quantile(joined, 0.99),
    firstSyncedMs: Math.min(...synced),
    cpuMsPerJoin: cpuMs / count,
    baseKib: base,
    peakAboveKib: peak - base,
    closed: clients.filter(({ isClosed }) => isClosed).length,
    isWhole: document.getText('text').length === length,
  }
  return { clients, result }
}

const cold = await round()
for (const client of cold.clients.slice(1)) client.end()
await sleep(3_000)
const warm = await round()
console.log(JSON.stringify({ cold: cold.result, warm: warm.result }))
process.exit(0)
