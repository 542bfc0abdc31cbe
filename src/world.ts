/** The real world: the clock of the machine, the event loop of Node, chance from the kernel. */
import { randomBytes } from 'node:crypto'
import type { Clock, Log, Turns, World } from '../actors/world.ts'

/** setTimeout takes at most 2^31 - 1 ms and fires at once for more, so a longer wait is made of several. */
const longest = 2 ** 31 - 1

/** In wall time, so that 0 is long ago by the monotonic clock, too, and can stand for "never". */
const startedAt = performance.timeOrigin

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => Math.floor(startedAt + performance.now()),
  after(ms, fire) {
    let left = Math.max(0, ms)
    let timer: NodeJS.Timeout
    const arm = () => {
      const wait = Math.min(left, longest)
      left -= wait
      timer = setTimeout(() => (left > 0 ? arm() : fire()), wait)
    }
    arm()
    return () => clearTimeout(timer)
  },
}

export const systemTurns: Turns = { soon: queueMicrotask, later: setImmediate }

export const systemWorld = (log: Log): World => ({
  clock: systemClock,
  turns: systemTurns,
  random: { next: Math.random, id: () => randomBytes(16).toString('base64url') },
  log,
})
