/** What actors send each other. */
export interface Message {
  readonly type: string
}

/**
 * How a durable timer goes on after its actor was away: at its old `deadline` (at once when that has passed), after the
 * time that `remaining` when the actor was last written, or from the start (`restart`).
 */
export type Resume = 'deadline' | 'remaining' | 'restart'
