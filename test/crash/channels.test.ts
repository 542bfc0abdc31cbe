/** Channels of the built server under kill -9, with publishers that retry and subscribers that come back. */
import { afterAll, afterEach, describe, expect, it } from 'vitest'
import { closeBusClients, connected } from '../support/bus.ts'
import { expectOneOrder, type Outgoing, Publisher, Subscriber, tally } from '../support/pressure.ts'
import { type Running, startTroupe, temporaryDirectory } from '../support/process.ts'
import { until } from '../support/wait.ts'
import { SeededRandom } from '../support/world.ts'

const seed = Number(process.env.SEED ?? 20_261_121)
const kills = Number(process.env.KILLS ?? 6)
const publisherCount = 50
const channelCount = 20
const messagesEach = 80
const subscriberCount = 15
const channelsEach = 6
/** Low, so that some who come back have missed more. */
const replayMessages = 25

const data = temporaryDirectory()
const running: Running[] = []
const start = async (...args: string[]): Promise<Running> => {
  const server = await startTroupe(data.path, ['--set', `bus.replayMessages=${replayMessages}`, ...args])
  running.push(server)
  return server
}

afterEach(async () => {
  closeBusClients()
  for (const server of running.splice(0)) await server.kill()
})
afterAll(() => data.remove())

describe('channels under kill -9', () => {
  it(`[CR4] number every message once and without holes, in one order for all, whoever retries and comes back, over ${kills} kills (seed ${seed})`, async () => {
    const chance = new SeededRandom(seed)
    const channels = Array.from({ length: channelCount }, (_, index) => `channel/${index}`)
    let server = await start()
    const { port, ws } = server
    const faults: string[] = []
    const publishers = Array.from({ length: publisherCount }, (_, index) => {
      const name = `publisher-${index}`
      const messages = Array.from({ length: messagesEach }, (_, n): Outgoing => ({ channel: chance.pick(channels), id: `${name}-${n}` }))
      return new Publisher(name, `${ws}/`, { messages, ahead: 1 + chance.below(3), chance, faults })
    })
    const subscribers = Array.from({ length: subscriberCount }, (_, index) => {
      const mine = Array.from({ length: channelsEach }, (_, n) => channels[(index * channelsEach + n) % channelCount] as string)
      return new Subscriber(`subscriber-${index}`, `${ws}/`, { channels: mine, chance, faults })
    })
    const acknowledged = () => publishers.reduce((sum, publisher) => sum + publisher.acknowledged.size, 0)
    const total = publisherCount * messagesEach
    for (const client of [...subscribers, ...publishers]) client.connect()

    try {
      for (let kill = 1; kill <= kills; kill++) {
        // Somewhere in the share of the messages that is the turn of this kill.
        const moment = Math.floor((total * (kill - 1 + chance.next())) / (kills + 1))
        await until(() => acknowledged() >= moment, `${moment} acknowledgements (seed ${seed})`)
        for (const subscriber of subscribers) if (chance.chance(0.2)) subscriber.drop()
        server.signal('SIGKILL')
        await server.exited
        server = await start('--port', String(port))
      }
      await expectOneOrder(await connected(server), channels, { publishers, subscribers, faults })
      expect(acknowledged()).toBe(total)
    } finally {
      for (const client of [...publishers, ...subscribers]) client.stop()
    }
    console.info('channels under kill -9:', { kills, ...tally(publishers, subscribers) })
  })
})
