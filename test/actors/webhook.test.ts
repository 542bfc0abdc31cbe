/** Webhooks as actors, in simulated time: what is told, when, in which order, and what happens when nobody listens. */
import { describe, expect, it } from 'vitest'
import { type Delivery, type DocumentEvent, type Outcome, webhookKind } from '../../actors/webhook.ts'
import { Machine } from './house.ts'

const event = (type: DocumentEvent['type'], document = 'plan', more: Partial<DocumentEvent> = {}): DocumentEvent => ({
  type,
  document,
  tenant: '',
  at: 0,
  users: [],
  ...more,
})

const open = async (answer: (delivery: Delivery) => Outcome | Promise<Outcome> = () => 'delivered', limit = 100) => {
  const taken: Delivery[] = []
  const outcomes: string[] = []
  const kind = webhookKind({
    limit,
    deliver: async (_name, delivery) => {
      taken.push(delivery)
      return answer(delivery)
    },
    observe: (outcome) => outcomes.push(outcome),
  })
  const machine = await Machine.boot([kind])
  const note = (...given: Parameters<typeof event>) =>
    machine.system.tell('webhook/site', { type: 'webhook.note', event: { ...event(...given), at: machine.clock.now() } })
  const told = () => taken.map(({ event: { type, document } }) => `${document} ${type.slice('document.'.length)}`)
  return { machine, note, told, taken, outcomes }
}

describe('a webhook', () => {
  it('[WH1] tells changes of a document once it was left alone, as one event with everybody who took part', async () => {
    const { machine, note, taken } = await open()
    for (const [user, offset] of [
      ['ada', 3],
      ['ben', 7],
      ['ada', 9],
    ] as const) {
      note('document.changed', 'plan', { users: [user], offset })
      await machine.clock.advance(1_500)
    }
    expect(taken).toEqual([])
    await machine.clock.advance(600)
    expect(taken.map((delivery) => delivery.event)).toMatchObject([{ type: 'document.changed', users: ['ada', 'ben'], offset: 9 }])
    await machine.clock.advance(60_000)
    expect(taken).toHaveLength(1)
  })

  it('[WH2] tells of a document that never rests after the longest wait, again and again', async () => {
    const { machine, note, told } = await open()
    for (let second = 0; second < 25; second++) {
      note('document.changed')
      await machine.clock.advance(1_000)
    }
    expect(told()).toEqual(['plan changed', 'plan changed'])
  })

  it('[WH3] tells what else happens at once, after the changes before it', async () => {
    const { machine, note, told } = await open()
    note('document.changed')
    note('document.changed', 'other')
    note('document.deleted')
    await machine.clock.advance(50)
    expect(told()).toEqual(['plan changed', 'plan deleted'])
    await machine.clock.advance(5_000)
    expect(told()).toEqual(['plan changed', 'plan deleted', 'other changed'])
  })

  it('[WH4] tries again with growing gaps under the same id, and keeps the order', async () => {
    let failures = 4
    const { machine, note, told, taken } = await open(() => (failures-- > 0 ? 'failed' : 'delivered'))
    const began = machine.clock.now()
    note('document.created')
    note('document.deleted')
    await machine.clock.advance(14_000)
    expect(taken).toHaveLength(4)
    await machine.clock.advance(2_000)
    expect(told()).toEqual([...Array(5).fill('plan created'), 'plan deleted'])
    expect(new Set(taken.map(({ id }) => id)).size).toBe(2)
    expect(machine.clock.now() - began).toBe(16_000)
  })

  it('[WH5] tells after a crash what it had noted, and what it was just telling', async () => {
    const answers: Outcome[] = []
    const { machine, note, told } = await open(() => answers.shift() ?? new Promise<Outcome>(() => {}))
    note('document.created')
    note('document.changed', 'other')
    await machine.clock.advance(100)
    expect(told()).toEqual(['plan created'])
    answers.push('delivered', 'delivered')
    await machine.crash()
    await machine.clock.advance(10_000)
    expect(told()).toEqual(['plan created', 'plan created', 'other changed'])
  })

  it('[WH6] gives up after a day, or when the receiver wants no more', async () => {
    let answer: Outcome = 'failed'
    const { machine, note, outcomes } = await open(() => answer)
    note('document.created')
    await machine.clock.advance(86_400_000 + 600_000)
    expect(outcomes.at(-1)).toBe('dropped')
    answer = 'refused'
    note('document.created')
    await machine.clock.advance(600_000)
    expect(outcomes.slice(-2)).toEqual(['refused', 'dropped'])
    expect(await machine.system.ask('webhook/site', { type: 'webhook.describe' })).toMatchObject({ waiting: 0, changing: 0 })
  })

  it('[WH7] keeps a bounded number of events for a receiver that is away, the newest', async () => {
    let answer: Outcome = 'failed'
    const { machine, note, told, taken } = await open(() => answer, 3)
    for (const name of ['a', 'b', 'c', 'd', 'e']) note('document.created', name)
    await machine.clock.advance(10)
    taken.length = 0
    answer = 'delivered'
    await machine.clock.advance(600_000)
    expect(told()).toEqual(['c created', 'd created', 'e created'])
  })
})
