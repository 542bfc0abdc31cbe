/** Who is taken for dead, and when: clients behind lines of all kinds, in simulated time. */
import { describe, expect, it } from 'vitest'
import { type Sink, SocketLife, type SocketLimits, type SocketMessage, socketHandlers, socketLimits } from '../../actors/socketLife.ts'
import { defineActor } from '../../actors/system/definition.ts'
import type { SimulatedClock } from '../support/world.ts'
import { house, quiet } from './house.ts'

interface LineOptions {
  readonly bytesPerSecond: number
  /** What kernels and proxies take before the client has read it. Default: everything. */
  readonly bufferBytes?: number
  /** How fast they take it, when there is room. Default: at once. */
  readonly takenBytesPerSecond?: number
}

const tickMs = 100

/** A line that has deep buffers, and whose client answers the pings that reach it, until it is dead. */
class Line implements Sink<number> {
  readonly #clock: SimulatedClock
  readonly #bytesPerTick: number
  readonly #bufferBytes: number
  readonly #takenPerTick: number
  #written = 0
  #taken = 0
  #delivered = 0
  /** Where in the stream the pings stand that were not delivered yet. */
  #pings: number[] = []
  isDead = false
  /** It goes on reading, and says nothing to pings. */
  isMute = false
  answered = 0
  receivedBytes = 0
  cutAt: number | undefined
  tell: (message: SocketMessage) => void = () => {}

  constructor(clock: SimulatedClock, { bytesPerSecond, ...network }: LineOptions) {
    const { bufferBytes = Number.POSITIVE_INFINITY, takenBytesPerSecond = Number.POSITIVE_INFINITY } = network
    this.#clock = clock
    this.#bytesPerTick = (bytesPerSecond * tickMs) / 1_000
    this.#bufferBytes = bufferBytes
    this.#takenPerTick = (takenBytesPerSecond * tickMs) / 1_000
    this.#tick()
  }

  /** The buffers are filled and emptied. A kernel tells of room when a third of its buffer is free. */
  #tick(): void {
    if (this.cutAt !== undefined) return
    if (!this.isDead) this.#delivered = Math.min(this.#taken, this.#delivered + this.#bytesPerTick)
    if (this.queuedWrites > 0 && this.#room >= this.#bufferBytes / 3) this.#take()
    const due = this.#pings.filter((at) => at <= this.#delivered)
    this.#pings = this.#pings.filter((at) => at > this.#delivered)
    if (!this.isMute && !this.isDead)
      for (const _ of due) {
        this.answered++
        this.tell({ type: 'connection.pong' })
      }
    this.#clock.after(tickMs, () => this.#tick())
  }

  get #room(): number {
    return this.#bufferBytes - (this.#taken - this.#delivered)
  }

  #take(): void {
    this.#taken = Math.min(this.#written, this.#taken + Math.min(this.#room, this.#takenPerTick))
    if (this.queuedWrites === 0) this.tell({ type: 'connection.drained' })
  }

  send(bytes: number): void {
    const wasQueued = this.queuedWrites > 0
    this.#written += bytes
    if (!wasQueued) this.#take()
  }
  ping(): void {
    this.send(2)
    this.#pings.push(this.#written)
  }
  terminate(): void {
    this.cutAt = this.#clock.now()
  }
  pause(): void {}
  resume(): void {}
  handled(): void {}
  close(): void {}
  get queuedBytes(): number {
    return 0 // as answers do, what is sent counts for nothing
  }
  get queuedWrites(): number {
    return this.#written > this.#taken ? 1 : 0
  }
  get sentBytes(): number {
    return this.#taken
  }
  readonly isAnswering = false
  readonly isPaused = false
}

const MB = 1_000_000
const { pingMs, pongMs, longestPongMs, minimumBytesPerSecond } = socketLimits

const begin = async (options: LineOptions, limits: Partial<SocketLimits> = {}) => {
  let line: Line | undefined
  const kind = defineActor<{ readonly life: SocketLife<number> }, SocketMessage | { readonly type: 'send'; readonly bytes: number }>({
    kind: 'socket',
    state: (scope) => {
      line = new Line(clock, options)
      const life = new SocketLife(scope, line, { ...socketLimits, ...limits })
      life.begin()
      return { life }
    },
    handlers: {
      ...socketHandlers,
      'connection.drained': ({ life }) => life.drained(),
      'connection.deadline': () => {},
      send: ({ life }, { bytes }) => life.send(bytes),
    },
  })
  const { system, clock } = house([kind])
  const send = async (bytes: number) => {
    system.tell('socket/1', { type: 'send', bytes })
    await quiet()
  }
  await send(0)
  const opened = line as Line | undefined // set by the actor
  if (opened === undefined) throw new Error('the actor did not begin')
  opened.tell = (message) => void system.tell('socket/1', message)
  return { line: opened, clock, send, beganAt: clock.now() }
}

describe('a client on a slow line', () => {
  it.each([
    ['behind a proxy that takes 20 MB at once', { bytesPerSecond: 2_000_000 / 8 }, 20 * MB],
    ['at the slowest rate that is promised', { bytesPerSecond: minimumBytesPerSecond * 1.05 }, 20 * MB],
    ['with 4 MB of buffers, which tell of room every twenty seconds', { bytesPerSecond: 65_536, bufferBytes: 4 * MB }, 20 * MB],
    ['slower than promised, with small buffers', { bytesPerSecond: 5_000, bufferBytes: 64 * 1024 }, 2 * MB],
  ])('%s is not taken for dead', async (_, options, bytes) => {
    const { line, clock, send } = await begin(options)
    await send(bytes)
    await clock.advance((bytes / options.bytesPerSecond) * 1_000 + 2 * pingMs)
    expect(line.cutAt).toBeUndefined()
    expect(line.answered).toBeGreaterThan(1)
  })

  it('is not taken for dead while its ping waits with us, nor when a proxy has it and delivers for minutes', async () => {
    const { line, clock, send } = await begin({ bytesPerSecond: 65_536, takenBytesPerSecond: MB })
    await clock.advance(pingMs - 500)
    await send(20 * MB)
    await clock.advance(1_000)
    await send(MB)
    await clock.advance((21 * MB * 1_000) / 65_536 + 2 * pingMs)
    expect(line.cutAt).toBeUndefined()
    expect(line.answered).toBeGreaterThan(1)
  })

  it('that says something, though its answer waits behind a large upload, is not taken for dead', async () => {
    const { line, clock } = await begin({ bytesPerSecond: MB })
    line.isMute = true
    for (let at = 0; at < 5 * pingMs; at += pongMs / 2) {
      line.receivedBytes += 1
      await clock.advance(pongMs / 2)
    }
    expect(line.cutAt).toBeUndefined()
    await clock.advance(2 * pongMs)
    expect(line.cutAt).toBeDefined()
  })
})

describe('a client that is gone', () => {
  it('with nothing under way ends within pingMs + pongMs', async () => {
    const { line, clock, beganAt } = await begin({ bytesPerSecond: MB })
    line.isDead = true
    await clock.advance(pingMs + pongMs)
    expect((line.cutAt ?? Number.NaN) - beganAt).toBe(pingMs + pongMs)
  })

  it('that had read all of it on a fast line ends as soon', async () => {
    const { line, clock, send } = await begin({ bytesPerSecond: 50 * MB, bufferBytes: 4 * MB })
    await send(20 * MB)
    await clock.advance(3_000)
    line.isDead = true
    await clock.advance(pingMs + pongMs)
    expect(line.cutAt).toBeDefined()
  })

  it('ends when what the network took of it would have arrived on the slowest line', async () => {
    const { line, clock, send, beganAt } = await begin({ bytesPerSecond: MB, bufferBytes: 4 * MB })
    line.isDead = true
    await send(20 * MB)
    await clock.advance(longestPongMs)
    const promised = pingMs + pongMs + (4 * MB * 1_000) / minimumBytesPerSecond
    expect((line.cutAt ?? Number.NaN) - beganAt).toBeGreaterThan(pingMs)
    expect((line.cutAt ?? Number.NaN) - beganAt).toBeLessThanOrEqual(promised + 2 * pongMs)
  })

  it('ends within longestPongMs, however much the network took, and whatever it is sent meanwhile', async () => {
    const { line, clock, send, beganAt } = await begin({ bytesPerSecond: MB })
    line.isDead = true
    await send(100 * MB)
    for (let at = 0; at <= pingMs + longestPongMs; at += 1_000) {
      await send(100_000)
      await clock.advance(1_000)
    }
    expect((line.cutAt ?? Number.NaN) - beganAt).toBeLessThanOrEqual(pingMs + longestPongMs)
  })

  it('is not kept by what others write when little was under way to it', async () => {
    const { line, clock, send, beganAt } = await begin({ bytesPerSecond: MB })
    line.isDead = true
    await clock.advance(pingMs)
    for (let at = 0; at < 2 * pongMs; at += 1_000) {
      await send(MB)
      await clock.advance(1_000)
    }
    expect((line.cutAt ?? Number.NaN) - beganAt).toBeLessThanOrEqual(pingMs + pongMs + 1_000)
  })
})
