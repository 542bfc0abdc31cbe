import type { EpochMs } from '../../actors/world.ts'

/**
 * UTC as Python's naive `datetime.isoformat()` writes it: microseconds, no zone. Clients parse it with `fromisoformat`, and
 * compare it with naive times of their own: a `Z` makes that a TypeError.
 */
export const naiveTime = (at: EpochMs): string => `${new Date(at).toISOString().slice(0, -1)}000`
