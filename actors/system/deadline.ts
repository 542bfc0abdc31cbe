/** Waits for a deadline that is stored, and that an earlier process may have set by another clock than ours. */
import type { Cancel, Clock, EpochMs } from '../world.ts'

/** A clock that was behind may be put right meanwhile. */
const lookMs = 60_000

/** Fires after `waitMs`, or within a minute of the time at which the clock shows `at`, whichever comes first. */
export const atDeadline = (clock: Clock, at: EpochMs, waitMs: number, fire: () => void): Cancel => {
  const end = clock.monotonic() + waitMs
  let cancel: Cancel
  const wait = () => {
    const leftMs = Math.min(at - clock.now(), end - clock.monotonic())
    cancel = leftMs <= lookMs ? clock.after(Math.max(0, leftMs), fire) : clock.after(lookMs, wait)
  }
  wait()
  return () => cancel()
}
