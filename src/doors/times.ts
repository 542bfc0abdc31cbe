/** How times are spelled. */
import type { EpochMs } from '../../actors/world.ts'

/** ISO 8601 in UTC, with milliseconds and `Z`. */
export const isoTime = (at: EpochMs): string => new Date(at).toISOString()

/**
 * UTC as Python's naive `datetime.isoformat()` writes it: microseconds, no zone. Clients parse it with `fromisoformat`, and
 * compare it with naive times of their own: a `Z` makes that a TypeError.
 */
export const naiveTime = (at: EpochMs): string => `${isoTime(at).slice(0, -1)}000`
