/**
 * Supervision: what to do with an actor that failed. Pure decisions; the cell carries them out.
 *
 * The default is that of OTP and Pekko: restart with backoff, at most 3 times in 5 s, then stop.
 */
import type { MonotonicMs } from '../world.ts'

export interface SupervisionOptions {
  /** `restart` (default) or `stop`: for actors that their client makes anew, such as connections. */
  readonly onFailure?: 'restart' | 'stop'
  /** Most restarts within `withinMs`. Default 3. */
  readonly restarts?: number
  /** Default 5 000. */
  readonly withinMs?: number
  /** Wait before the first restart; doubles with each further one. Default 50. */
  readonly backoffMs?: number
  /** Longest wait. Default 1 000. */
  readonly maxBackoffMs?: number
}

export type Verdict = { readonly restartAfterMs: number } | 'stop'

/** The failures that still count. */
export const recentFailures = (
  { withinMs = 5_000 }: SupervisionOptions,
  failures: readonly MonotonicMs[],
  now: MonotonicMs,
): MonotonicMs[] => failures.filter((at) => now - at < withinMs)

/**
 * `failures` are the times of earlier failures, oldest first; `jitter` is in [0, 1).
 * Half of each wait is chance, so that actors that failed together do not come back together.
 */
export const decide = (options: SupervisionOptions, failures: readonly MonotonicMs[], now: MonotonicMs, jitter: number): Verdict => {
  const { onFailure = 'restart', restarts = 3, backoffMs = 50, maxBackoffMs = 1_000 } = options
  if (onFailure === 'stop') return 'stop'
  const recent = recentFailures(options, failures, now).length
  if (recent >= restarts) return 'stop'
  const wait = Math.min(maxBackoffMs, backoffMs * 2 ** recent)
  return { restartAfterMs: Math.round(wait * (0.5 + jitter / 2)) }
}
