/** The world as it is: for programs that tests start. */
import { randomBytes } from 'node:crypto'
import type { Clock, Log, Random } from '../../actors/world.ts'
import { silentLog } from './world.ts'

export const realWorld = (): { clock: Clock; random: Random; log: Log } => ({
  clock: {
    now: () => Date.now(),
    monotonic: () => Math.floor(performance.timeOrigin + performance.now()),
    after(ms, fire) {
      const timer = setTimeout(fire, ms)
      timer.unref()
      return () => clearTimeout(timer)
    },
  },
  random: { next: Math.random, id: () => randomBytes(17).toString('base64url').slice(0, 22) },
  log: silentLog,
})
