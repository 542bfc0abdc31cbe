/**
 * Load of `actors`: the actor system alone, in one process, without sockets and disk. Beside it XState without the system and a bare
 * EventEmitter: what a message costs when nobody bounds, supervises or addresses anything.
 *
 * Bundled before it runs, for the system is TypeScript. Runs with --expose-gc. Each figure is the best of several rounds after
 * one to warm up: the question is what the code costs, not what else the machine does.
 */
import { EventEmitter } from 'node:events'
import { assign, createActor, fromTransition, setup } from 'xstate'
import { defineActor } from '../../../actors/system/definition.ts'
import { ActorSystem } from '../../../actors/system/system.ts'
import { systemClock, systemTurns } from '../../../src/world.ts'

const { messages, actors: population, hops, rounds } = JSON.parse(process.argv[2])

let ids = 0
const silent = () => {}
const world = {
  clock: systemClock,
  turns: systemTurns,
  random: { next: Math.random, id: () => String(ids++).padStart(22, '0') },
  log: { debug: silent, info: silent, warn: silent, error: (fields, text) => console.error(text, fields) },
}

const counter = defineActor({
  kind: 'counter',
  state: () => ({ n: 0 }),
  handlers: {
    add: (state, { by }) => {
      state.n += by
      return state.n
    },
  },
})

/** Each hop goes to the next of a ring; the last one tells who waits. */
let arrived
const ring = 100
const runner = defineActor({
  kind: 'runner',
  state: (scope) => ({ next: `runner/${(Number(scope.id) + 1) % ring}` }),
  handlers: {
    hop: ({ next }, { left }, scope) => {
      if (left === 0) arrived()
      else scope.tell(next, { type: 'hop', left: left - 1 })
    },
  },
})

const machine = setup({ types: {} }).createMachine({
  context: { n: 0 },
  initial: 'open',
  states: { open: { on: { add: { actions: assign({ n: ({ context, event }) => context.n + event.by }) } } } },
})
const chart = defineActor({ kind: 'chart', logic: machine })
const transition = fromTransition(
  (state, event) => {
    state.n += event.by
    return state
  },
  { n: 0 },
)

const newSystem = () => new ActorSystem({ world, actors: [counter, runner, chart], maxActive: population + 1_000 })

const best = async (measure, better) => {
  let found = await measure()
  found = await measure()
  for (let round = 1; round < rounds; round++) found = better(found, await measure())
  return found
}
const perSecond = (count, began) => (count / (performance.now() - began)) * 1_000
const add = { type: 'add', by: 1 }

/** The mailbox holds 10 000: messages go in by batches below that, and the next batch when the last is handled. */
const batch = 5_000

const tell = async (address) => {
  const system = newSystem()
  system.tell(address, add)
  await system.quiesce()
  const result = await best(async () => {
    const began = performance.now()
    for (let sent = 0; sent < messages; sent += batch) {
      for (let n = 0; n < batch; n++) system.tell(address, add)
      await system.quiesce()
    }
    return perSecond(messages, began)
  }, Math.max)
  if (system.deadLetters().length > 0) throw new Error('messages were refused')
  await system.close()
  return result
}

/** To many actors in turn: every message wakes another one. */
const tellMany = async () => {
  const system = newSystem()
  const addresses = Array.from({ length: 1_000 }, (_, n) => `counter/${n}`)
  const result = await best(async () => {
    const began = performance.now()
    for (let sent = 0; sent < messages; sent += batch) {
      for (let n = 0; n < batch; n++) system.tell(addresses[n % addresses.length], add)
      await system.quiesce()
    }
    return perSecond(messages, began)
  }, Math.max)
  await system.close()
  return result
}

const ask = async (concurrent) => {
  const system = newSystem()
  const total = Math.max(concurrent, Math.floor(messages / 4))
  const result = await best(async () => {
    const began = performance.now()
    const asked = new Array(concurrent)
    for (let sent = 0; sent < total; sent += concurrent) {
      for (let n = 0; n < concurrent; n++) asked[n] = system.ask('counter/a', add)
      await Promise.all(asked)
    }
    return perSecond(total, began)
  }, Math.max)
  await system.close()
  return result
}

const hop = async () => {
  const system = newSystem()
  const result = await best(async () => {
    const began = performance.now()
    await new Promise((resolve) => {
      arrived = resolve
      system.tell('runner/0', { type: 'hop', left: hops })
    })
    return perSecond(hops, began)
  }, Math.max)
  await system.close()
  return result
}

/** `prefix/0` … brought to life by their first message, which they handle. */
const activate = async (prefix) => {
  const addresses = Array.from({ length: population }, (_, n) => `${prefix}/${n}`)
  return best(
    async () => {
      const system = newSystem()
      globalThis.gc()
      const before = process.memoryUsage().heapUsed
      const began = performance.now()
      for (let at = 0; at < population; at += batch) {
        for (let n = at; n < Math.min(population, at + batch); n++) system.tell(addresses[n], add)
        await system.quiesce()
      }
      const micros = ((performance.now() - began) * 1_000) / population
      globalThis.gc()
      globalThis.gc()
      const bytes = (process.memoryUsage().heapUsed - before) / population
      const stopping = performance.now()
      await system.close()
      return { micros, bytes, stopMicros: ((performance.now() - stopping) * 1_000) / population }
    },
    (a, b) => (a.micros < b.micros ? a : b),
  )
}

const plain = async (send) =>
  best(async () => {
    const began = performance.now()
    for (let n = 0; n < messages; n++) send()
    return perSecond(messages, began)
  }, Math.max)

const plainMachine = createActor(machine).start()
const plainTransition = createActor(transition).start()
const emitter = new EventEmitter()
let heard = 0
emitter.on('add', (message) => {
  heard += message.by
})
const xstateBytes = () => {
  globalThis.gc()
  const before = process.memoryUsage().heapUsed
  const began = performance.now()
  const actors = Array.from({ length: population }, () => createActor(machine).start())
  const micros = ((performance.now() - began) * 1_000) / population
  globalThis.gc()
  return { micros, bytes: (process.memoryUsage().heapUsed - before) / actors.length }
}

const results = {
  tell: await tell('counter/a'),
  tellMany: await tellMany(),
  tellChart: await tell('chart/a'),
  ask: await ask(1_000),
  askAlone: await ask(1),
  hop: await hop(),
  activate: await activate('counter'),
  activateChart: await activate('chart'),
  plainMachine: await plain(() => plainMachine.send(add)),
  plainTransition: await plain(() => plainTransition.send(add)),
  emitter: await plain(() => emitter.emit('add', add)),
  plainActors: xstateBytes(),
}
if (heard === 0) throw new Error('the emitter was not heard')
console.log(JSON.stringify(results))
process.exit(0)
