/** Wrong passwords of each remote address: so many a minute, and then no more logins from there until the minute is over. */
import { TroupeError } from '../../actors/errors.ts'
import type { Clock, MonotonicMs } from '../../actors/world.ts'

interface Count {
  failures: number
  readonly until: MonotonicMs
}

const windowMs = 60_000
/** Addresses that are remembered, some 1 MB; when there are more, the one that failed first is forgotten. */
const mostAddresses = 10_000

/** One subscriber has a whole /64 of IPv6 (RFC 6177), and would count as another one with every address of it. */
export const networkOf = (address: string): string => {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)
  if (mapped?.[1] !== undefined) return mapped[1]
  if (!address.includes(':')) return address
  const [head = '', tail] = (address.split('%')[0] as string).split('::') // split gives at least one
  const groups = head === '' ? [] : head.split(':')
  const after = tail === undefined || tail === '' ? [] : tail.split(':')
  if (tail !== undefined) groups.push(...Array<string>(Math.max(0, 8 - groups.length - after.length)).fill('0'), ...after)
  return `${groups
    .slice(0, 4)
    .map((group) => Number.parseInt(group, 16).toString(16))
    .join(':')}::/64`
}

export class Throttle {
  readonly #clock: Clock
  readonly #perMinute: number
  readonly #counts = new Map<string, Count>()

  constructor(clock: Clock, perMinute: number) {
    this.#clock = clock
    this.#perMinute = perMinute
  }

  /**
   * An attempt begins. It counts as failed until the function that is returned is called: of a thousand at the same time,
   * each would otherwise see that none has failed yet. Errors: `rate.limited`.
   */
  attempt(address: string): () => void {
    const network = networkOf(address)
    const now = this.#clock.monotonic()
    const known = this.#counts.get(network)
    const count = known === undefined || known.until <= now ? { failures: 0, until: now + windowMs } : known
    if (count.failures >= this.#perMinute) {
      const rule = `auth.attemptsPerMinute ${this.#perMinute}`
      throw new TroupeError('rate.limited', 'too many wrong passwords', { rule, retryAfterMs: count.until - now })
    }
    count.failures++
    if (count !== known) this.#remember(network, count)
    return () => {
      count.failures--
    }
  }

  get size(): number {
    return this.#counts.size
  }

  #remember(network: string, count: Count): void {
    this.#counts.delete(network)
    this.#counts.set(network, count)
    if (this.#counts.size <= mostAddresses) return
    const [oldest = ''] = this.#counts.keys()
    this.#counts.delete(oldest)
  }
}
