/**
 * A life as a state chart: an order that is paid or expires, also if the process is away when its time comes.
 *
 *   node dist/programs/order.js ./data
 *
 * It prints `added`, the paid order, that a paid order takes nothing more, and the mail that was sent.
 */
import { createTroupe, defineActor, reply, tell } from 'troupe'
import { assign, setup } from 'xstate'

interface Mail {
  readonly type: 'send'
  readonly template: string
}

const mailer = defineActor<string[], Mail>({
  kind: 'mailer',
  state: () => [],
  handlers: { send: (sent, { template }) => sent.push(template) },
})

const order = defineActor({
  kind: 'order',
  durable: { version: 1 },
  logic: setup({ types: { context: {} as { items: number } } }).createMachine({
    context: { items: 0 },
    initial: 'open',
    states: {
      open: {
        on: {
          add: { actions: [assign({ items: ({ context }) => context.items + 1 }), reply('added')] },
          pay: 'paid',
        },
        after: { 86400000: 'expired' },
      },
      paid: { entry: tell('mailer/main', { type: 'send', template: 'thanks' }) },
      expired: { entry: tell('mailer/main', { type: 'send', template: 'sorry' }) },
    },
  }),
})

const troupe = await createTroupe({
  actors: [mailer, order],
  isListening: false,
  data: process.argv[2] ?? './data',
  log: { level: 'silent' },
})
console.log(await troupe.ask('order/4711', { type: 'add' }))
console.log(await troupe.ask('order/4711', { type: 'pay' }))
await troupe.ask('order/4711', { type: 'add' }).catch((error) => console.log(error.code))
console.log('mails:', troupe.inspect('mailer/main'))
await troupe.close()
