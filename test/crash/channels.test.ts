/** Channels of the built server under kill -9, with publishers that retry and subscribers that come back. */
import { afterAll, afterEach, describe, expect, it } from 'vitest'
import { BusClient, closeBusClients } from '../support/bus.ts'
import { type Outgoing, Publisher, Subscriber } from '../support/pressure.ts'
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

/** The whole channel, page by page. */
const history = async (client: BusClient, channel: string): Promise<{ readonly id: string; readonly sequence: number }[]> => {
  const all: { id: string; sequence: number }[] = []
  for (;;) {
    const answer = await client.command('history', { channel, after: all.length, direction: 'forwards', limit: 100 })
    expect(answer).toMatchObject({ success: true })
    all.push(...answer.data.messages)
    if (!answer.data.has_more) return all
  }
}

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
      await until(() => publishers.every(({ isDone }) => isDone), `all acknowledgements (seed ${seed})`)

      const reader = await new BusClient(`${ws}/`).opened()
      for (const channel of channels) {
        const stored = await history(reader, channel)
        const ids = stored.map(({ id }) => id)
        expect([channel, stored.map(({ sequence }) => sequence)]).toEqual([channel, ids.map((_, index) => index + 1)])
        const sent = publishers.flatMap(({ acknowledged }) => [...acknowledged].filter(([, { channel: its }]) => its === channel))
        expect([channel, [...ids].sort()]).toEqual([channel, sent.map(([id]) => id).sort()])
        for (const [id, { sequence }] of sent) expect([channel, id, ids[sequence - 1]]).toEqual([channel, id, id])
        for (const { name, tracks } of subscribers) {
          const track = tracks.get(channel)
          if (track === undefined) continue
          await until(() => track.prefix >= ids.length, `${channel} at ${name}, which has ${track.prefix} of ${ids.length} (seed ${seed})`)
          expect([name, channel, ids.map((_, index) => track.seen.get(index + 1))]).toEqual([name, channel, ids])
          expect(track.seen.size).toBe(ids.length)
        }
      }
      expect(faults).toEqual([])
      expect(acknowledged()).toBe(total)
    } finally {
      for (const client of [...publishers, ...subscribers]) client.stop()
    }
    const sum = (numbers: readonly number[]) => numbers.reduce((a, b) => a + b, 0)
    console.info('channels under kill -9:', {
      kills,
      acknowledged: acknowledged(),
      retries: sum(publishers.map(({ retries }) => retries)),
      repeated: sum(publishers.map(({ repeated }) => repeated)),
      refused: sum(publishers.map(({ refused }) => refused)),
      connections: sum([...publishers, ...subscribers].map(({ connections }) => connections)),
      ...Object.fromEntries(
        (['first', 'recovered', 'notRecovered', 'lost', 'messages', 'fetched'] as const).map((name) => [
          name,
          sum(subscribers.map(({ counts }) => counts[name])),
        ]),
      ),
    })
  })
})
