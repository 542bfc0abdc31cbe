/**
 * An agent that proofreads while people type: it takes part in their document, is seen among them, and corrects what it knows.
 *
 *   node dist/programs/agent.js ./data 9100
 *
 * It is the server as well, so stop the one that runs on this port and this data directory. Then open http://127.0.0.1:9100/examples/editor.html and type "teh".
 */
import { createTroupe } from 'troupe'

const corrections: ReadonlyMap<string, string> = new Map([
  ['teh', 'the'],
  ['recieve', 'receive'],
  ['seperate', 'separate'],
])
/** Nobody is interrupted in the middle of a word. */
const pauseMs = 300

const troupe = await createTroupe({ data: process.argv[2] ?? './data', port: Number(process.argv[3] ?? 9100), log: { level: 'warn' } })

const agent = await troupe.document('example').connect({
  user: 'proofreader',
  presence: { user: { name: 'Proofreader', color: '#6a4c93' } },
})
const text = agent.doc.getText('codemirror')

/** Only what is wrong is touched, so the cursors of people stay where they are. */
const correct = (): void => {
  const found = [...text.toString().matchAll(/\p{L}+(?=\P{L})/gu)].reverse()
  agent.doc.transact(() => {
    for (const { 0: word, index } of found) {
      const right = corrections.get(word)
      if (right === undefined) continue
      text.insert(index, right)
      text.delete(index + right.length, word.length)
    }
  })
}

let pause: NodeJS.Timeout | undefined
text.observe(({ transaction }) => {
  if (transaction.local) return // its own corrections
  clearTimeout(pause)
  pause = setTimeout(correct, pauseMs)
})
correct()
console.log('listening on', troupe.listeners[0]?.port)

for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, async () => {
    clearTimeout(pause)
    await agent.close() // what it wrote is on disk, and nobody sees it any more
    await troupe.close()
  })
}
