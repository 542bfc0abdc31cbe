/**
 * Load of `slow-link`: a large document with markup, opened by the stock y-websocket provider over a link that lets through so many
 * bytes a second, and then kept open for a while. y-websocket gives a connection up when it has heard nothing for 30 s.
 */
import { spawn } from 'node:child_process'
import { WebSocket } from 'ws'
import { WebsocketProvider } from 'y-websocket'
import * as Y from 'yjs'
import { sleep, until } from '../lib/client.mjs'

const { port, megabytes, bytesPerSecond, limitMs, afterwardsMs, lineProgram } = JSON.parse(process.argv[2])

const words = 'what somebody wrote about a river and its banks in a long and dry summer '.repeat(3)

/** Quotes and paragraphs with marks, by four who see all that was written before. One update for each hundred. */
const write = () => {
  const updates = []
  const docs = [1, 2, 3, 4].map((id) => Object.assign(new Y.Doc(), { clientID: id }))
  let bytes = 0
  for (let round = 0; bytes < megabytes * 1024 * 1024; round++) {
    const doc = docs[round % 4]
    const before = Y.encodeStateVector(doc)
    doc.transact(() => {
      const root = doc.getXmlFragment('prosemirror')
      for (let i = 0; i < 400; i++) {
        const paragraph = new Y.XmlElement('paragraph')
        const text = new Y.XmlText()
        root.insert((i * 7 + round) % (Math.min(root.length, 300) + 1), [paragraph])
        paragraph.insert(0, [text])
        text.insert(0, words.slice(0, 50 + ((i * 13) % 150)))
        text.format(i % 20, 9, { strong: {} })
        if (i % 3 === 0) text.insert(5, 'added ', { em: {} })
      }
    })
    const update = Y.encodeStateAsUpdate(doc, before)
    updates.push(update)
    bytes += update.length
    for (const other of docs) if (other !== doc) Y.applyUpdate(other, update)
  }
  return { updates, expected: docs[0].getXmlFragment('prosemirror').length }
}

const editor = (at, doc) => new WebsocketProvider(`ws://127.0.0.1:${at}`, 'book', doc, { disableBc: true, WebSocketPolyfill: WebSocket })

const { updates, expected } = write()
const author = new Y.Doc()
const seeding = editor(port, author)
await until(() => seeding.synced, 60_000, 20)
for (const update of updates) {
  Y.applyUpdate(author, update)
  await sleep(20) // what comes back has to be read, too
}
await until(() => seeding.ws.bufferedAmount === 0, 60_000, 20)
await sleep(8_000) // it is compacted meanwhile
const stateBytes = Y.encodeStateAsUpdate(author).length

const line = spawn(process.execPath, [lineProgram, JSON.stringify({ port, bytesPerSecond })], { stdio: ['pipe', 'pipe', 'inherit'] })
const linePort = await new Promise((resolve) => line.stdout.once('data', (text) => resolve(Number(text))))

const doc = new Y.Doc()
const began = performance.now()
const reader = editor(linePort, doc)
let [closings, heardAt, longestSilenceMs, messages, longestStallMs, sent] = [0, began, 0, 0, 0, 0]
reader.on('connection-close', () => closings++)
doc.on('update', (_update, origin) => {
  if (origin !== reader) sent++
})
const listen = (ws) =>
  ws.addEventListener('message', () => {
    const now = performance.now()
    longestSilenceMs = Math.max(longestSilenceMs, now - heardAt)
    heardAt = now
    messages++
    // The provider's own listener comes first or second; either way this turn ends when it has applied the piece.
    setImmediate(() => {
      longestStallMs = Math.max(longestStallMs, performance.now() - now)
    })
  })
listen(reader.ws)
await until(() => reader.synced || closings > 2, limitMs, 50)
const openedMs = performance.now() - began
const isWhole = doc.getXmlFragment('prosemirror').length === expected
const measured = { messages, longestSilenceMs, longestStallMs }
// A server that takes the reader for dead while the last pieces are under way closes the connection only after they have come.
if (reader.synced) await sleep(afterwardsMs)
console.log(
  JSON.stringify({
    stateBytes,
    openedMs,
    isWhole,
    closings,
    sent,
    ...measured,
  }),
)
process.exit(0)
