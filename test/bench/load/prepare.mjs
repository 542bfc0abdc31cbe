/** Makes the updates that `trace` and `join` replay, with a Y.Doc, as an editor would. Prints their sums. */
import { readFileSync, writeFileSync } from 'node:fs'
import { gunzipSync } from 'node:zlib'
import * as Y from 'yjs'
import { writePacked } from '../lib/packed.mjs'

const { kind, trace, megabytes, target } = JSON.parse(process.argv[2])

const document = new Y.Doc()
document.clientID = 1_234_567_890
const text = document.getText('text')
const updates = []
document.on('update', (update) => updates.push(update))

/** One update for each transaction of a sequential editing trace. */
const replay = () => {
  const { txns, endContent } = JSON.parse(gunzipSync(readFileSync(trace)))
  for (const { patches } of txns) {
    document.transact(() => {
      for (const [position, deleted, inserted] of patches) {
        if (deleted > 0) text.delete(position, deleted)
        if (inserted !== '') text.insert(position, inserted)
      }
    })
  }
  if (text.toString() !== endContent) throw new Error('the trace does not end with the text that it promises')
}

/** Words put in front of one another: none merges with its neighbour, so there is a struct for each 30 bytes or so. 1 000 an update. */
const grow = () => {
  const words = ['collaboration ', 'journal ', 'a document that many open ', 'keystroke ', 'and then ']
  for (let size = 0, turn = 0; size < megabytes * 1024 * 1024; ) {
    document.transact(() => {
      for (let word = 0; word < 1_000; word++) text.insert(0, words[turn++ % words.length])
    })
    size += updates.at(-1).length
  }
}

if (kind === 'trace') replay()
else grow()
const state = Y.encodeStateAsUpdate(document)
writePacked(target, updates)
writeFileSync(`${target}.txt`, text.toString())
console.log(
  JSON.stringify({
    target,
    updates: updates.length,
    length: text.length,
    stateBytes: state.length,
    clock: Y.getState(document.store, document.clientID),
  }),
)
