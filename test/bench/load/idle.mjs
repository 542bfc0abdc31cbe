/**
 * Load of `idle` and `idle-bus`: opens connections that synchronise a document or join a channel and then say nothing, and weighs
 * the server before and after.
 *
 * The weight begins after the first connections, so that the code that they compile and the heap that they grow is not counted.
 */
import { Client, sleep } from '../lib/client.mjs'
import { cpuMicros, memoryKib } from '../lib/process.mjs'
import { TextClient, textWires } from '../lib/textClient.mjs'

const { port, pid, wire, warmUp, connections, rooms, atOnce, settleMs } = JSON.parse(process.argv[2])
const clients = []
const openOne = (room) => (wire in textWires ? new TextClient({ port, wire, channel: room }) : new Client({ port, wire, document: room }))

const open = async (count) => {
  const end = clients.length + count
  const worker = async () => {
    while (clients.length < end) {
      const client = openOne(`room-${clients.length % rooms}`)
      clients.push(client)
      await client.synced
    }
  }
  await Promise.all(Array.from({ length: atOnce }, worker))
}

await open(warmUp)
await sleep(settleMs)
const before = memoryKib(pid)
const cpu = cpuMicros(pid)
const began = performance.now()
await open(connections)
const seconds = (performance.now() - began) / 1_000
const connectCpu = cpuMicros(pid) - cpu
await sleep(settleMs)
const quietCpu = cpuMicros(pid)
await sleep(5_000)
const after = memoryKib(pid)
console.log(
  JSON.stringify({
    connections,
    perSecond: connections / seconds,
    cpuMicrosPerConnect: connectCpu / connections,
    kibEach: (after.now - before.now) / connections,
    peakKibEach: (after.peak - before.now) / connections,
    beforeKib: before.now,
    afterKib: after.now,
    idleCpuMicrosPerConnectionSecond: (cpuMicros(pid) - quietCpu) / 5 / clients.length,
    closed: clients.filter(({ isClosed }) => isClosed).length,
  }),
)
process.exit(0)
