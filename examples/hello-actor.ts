/**
 * An actor of your own: a counter that survives kill -9. Run it twice: it goes on counting.
 *
 *   node dist/programs/hello-actor.js ./data
 *
 * A server that runs on this data directory has to be stopped first.
 */
import { createTroupe, defineActor } from 'troupe'

const counter = defineActor<{ n: number }, { type: 'add'; by: number }, { type: 'added'; by: number }>({
  kind: 'counter',
  state: () => ({ n: 0 }),
  durable: {
    version: 1,
    apply: (state, event) => {
      state.n += event.by
    },
  },
  handlers: {
    add(state, message, scope) {
      scope.persist({ type: 'added', by: message.by })
      return state.n // sent when the event is on disk
    },
  },
})

const troupe = await createTroupe({ actors: [counter], isListening: false, data: process.argv[2] ?? './data', log: { level: 'warn' } })
console.log('visits:', await troupe.ask('counter/visits', { type: 'add', by: 1 }))
await troupe.close()
