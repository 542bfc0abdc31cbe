/**
 * Second half of `trace`: a reader that has nothing opens the document of a server that was just started, and compares what it
 * gets with what the writer had been told was there. Waits until all of it came, or nothing new for `quietMs`.
 * `isWarm`: other documents were opened before, so that what the server grows by is this document.
 */
import { readFileSync } from 'node:fs'
import * as Y from 'yjs'
import { Client, sleep } from '../lib/client.mjs'
import { cpuMicros, memoryKib } from '../lib/process.mjs'

const { port, pid, wire, file, acknowledgedClock, acknowledgedDeleted, quietMs, limitMs, isWarm } = JSON.parse(process.argv[2])

// For the weight of the document alone: the server has compiled its code and grown its heap before the document comes.
if (isWarm) {
  for (let n = 0; n < 200; n++) {
    const early = new Client({ port, wire, document: `early-${n}` })
    await early.synced
    early.end()
  }
  await sleep(2_000)
}

const document = new Y.Doc()
const text = document.getText('text')
const waiting = []
const memory = memoryKib(pid)
const cpu = cpuMicros(pid)
const began = performance.now()
let syncedMs = Number.NaN
let textMs = Number.NaN
let bytesRead = 0

const client = new Client({
  port,
  wire,
  document: 'paper',
  wholeFrames: true,
  on: {
    update: (bytes, at, end, kind) => {
      const ms = performance.now() - began
      if (kind === 1 && Number.isNaN(syncedMs)) syncedMs = ms
      bytesRead += end - at
      waiting.push({ ms, update: Uint8Array.prototype.slice.call(bytes, at, end) })
    },
  },
})

const deletedIn = (doc) => {
  let sum = 0
  for (const ranges of Y.createDeleteSetFromStructStore(doc.store).clients.values()) for (const { len } of ranges) sum += len
  return sum
}
const clockIn = (doc) => [...Y.decodeStateVector(Y.encodeStateVector(doc)).values()].reduce((sum, clock) => sum + clock, 0)

let clock = 0
let deleted = 0
let newAt = performance.now()
while (performance.now() - began < limitMs) {
  await sleep(20)
  for (const { ms, update } of waiting.splice(0)) {
    Y.applyUpdate(document, update)
    if (update.length > 2) {
      textMs = ms
      newAt = performance.now()
    }
  }
  if (Number.isNaN(syncedMs)) continue
  clock = clockIn(document)
  deleted = deletedIn(document)
  if (clock >= acknowledgedClock && deleted >= acknowledgedDeleted) break
  if (performance.now() - newAt > quietMs) break
}
await sleep(isWarm ? 5_000 : 0)
const after = memoryKib(pid)
const expected = readFileSync(`${file}.txt`, 'utf8')
console.log(
  JSON.stringify({
    syncedMs,
    textMs,
    bytesRead,
    cpuMs: (cpuMicros(pid) - cpu) / 1_000,
    lostInserted: Math.max(0, acknowledgedClock - clock),
    lostDeleted: Math.max(0, acknowledgedDeleted - deleted),
    isExpectedText: text.toString() === expected,
    length: text.length,
    expectedLength: expected.length,
    isClosed: client.isClosed,
    grewKib: after.now - memory.now,
    peakGrewKib: after.peak - memory.now,
  }),
)
process.exit(0)
