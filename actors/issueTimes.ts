/**
 * When accounts were issued, by a clock that is never set back: the later of what the clock shows and what was issued last. So a
 * revocation comes after all that was issued before it, and before all that is issued after it, though the clock is set in between.
 *
 * It leads by a day at most. More than that, and one of the two was wrong by far: whoever is revoked would be kept out for as long.
 */
import type { EpochMs } from './world.ts'

export const mostLeadMs = 24 * 3_600_000

export class IssueTimes {
  #latest: EpochMs = 0

  /** What was issued last. */
  get latest(): EpochMs {
    return this.#latest
  }

  /** Of what is issued here and now. */
  issue(now: EpochMs): EpochMs {
    this.#latest = this.#present(now)
    return this.#latest
  }

  /** Something was issued elsewhere, or before this process began. */
  note(at: EpochMs, now: EpochMs): void {
    const isCredible = (time: EpochMs) => time <= now + mostLeadMs
    if (isCredible(at) && (at > this.#latest || !isCredible(this.#latest))) this.#latest = at
  }

  /** Of a revocation: what has it or an earlier time was issued before. */
  revoke(now: EpochMs): EpochMs {
    const before = this.#present(now)
    this.#latest = before + 1
    return before
  }

  #present(now: EpochMs): EpochMs {
    return this.#latest > now + mostLeadMs ? now : Math.max(now, this.#latest)
  }
}
