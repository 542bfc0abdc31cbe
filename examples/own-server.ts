/**
 * The server inside a program of your own: plugins are values, and the program talks to the same actors as the clients.
 *
 *   node dist/programs/own-server.js ./data 9100
 */
import { createTroupe } from 'troupe'
import analytics from './analytics.ts'
import gameScore from './game-score.ts'

const troupe = await createTroupe({
  plugins: [analytics, gameScore],
  data: process.argv[2] ?? './data',
  port: Number(process.argv[3] ?? 9100),
  log: { level: 'warn' },
})
await troupe.ask('game//chess', { type: 'update', player: 'the house', score: 1_000 })
console.log('listening on', troupe.listeners[0]?.port)

for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => troupe.close())
