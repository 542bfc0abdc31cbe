/** How often a client may ask for what it lacks, in simulated time. */
import { expect, it } from 'vitest'
import { type ConnectionInput, connectionKind, connectionLimits } from '../../actors/connection.ts'
import { type Publication, publication } from '../../actors/publication.ts'
import type { Sink } from '../../actors/socketLife.ts'
import { defineActor, type Message } from '../../actors/system/definition.ts'
import { house, quiet } from './house.ts'

const sink: Sink<Publication> = {
  send: () => {},
  ping: () => {},
  pause: () => {},
  resume: () => {},
  handled: () => {},
  close: () => {},
  terminate: () => {},
  queuedBytes: 0,
  queuedWrites: 0,
  sentBytes: 0,
  receivedBytes: 0,
  isAnswering: false,
  isPaused: false,
}

it('[QUE1] a client that asks all the time is answered at a bounded rate, and its newest question in the end', async () => {
  const asked: number[] = []
  const answer = publication([{ kind: 'state', bytes: new Uint8Array(2) }], true)
  const document = defineActor<null, Message & { readonly stateVector?: Uint8Array }>({
    kind: 'document',
    state: () => null,
    handlers: {
      'document.join': () => {},
      'document.leave': () => {},
      'document.pulse': () => {},
      'document.countAnew': () => {},
      'document.sync': (_, { stateVector }, scope) => {
        asked.push(stateVector?.[0] ?? -1)
        if (scope.from !== undefined) scope.tell(scope.from, answer)
      },
    },
  })
  const { system, clock } = house([document, connectionKind({ ...connectionLimits, questionsPerSecond: 2 })])
  const account = { user: 'ada', tenant: '', isAnonymous: true, permissions: ['*'] }
  system.begin('connection/1', { sink, document: 'document/plan', account, door: 'yjs', wantsReceipts: false } satisfies ConnectionInput)
  await quiet()
  for (let n = 0; n < 100; n++) {
    system.tell('connection/1', { type: 'connection.receive', message: { type: 'document.sync', stateVector: Uint8Array.of(n) } })
    await quiet()
  }
  expect(asked).toHaveLength(20)
  await clock.advance(10_000)
  expect(asked).toHaveLength(21)
  expect(asked.at(-1)).toBe(99)
})
