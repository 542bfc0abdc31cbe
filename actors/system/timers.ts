/**
 * The timers of one incarnation, and the alarms that ring for them.
 *
 * A timer that has rung stays until its message is handled, so that it is not lost with the mailbox of a durable actor.
 * Its alarm stays on the list for as long: an alarm missing there would be set again, and the message would come twice.
 */
import type { Cancel, Clock, EpochMs } from '../world.ts'
import { atDeadline } from './deadline.ts'
import type { Timer, Timers } from './durable.ts'

interface Alarm {
  readonly timer: Timer
  readonly cancel: Cancel
}

export class RunningTimers {
  /** Call `sync` after a change. */
  readonly all: Timers
  readonly #clock: Clock
  readonly #ring: (name: string, timer: Timer) => void
  readonly #alarms = new Map<string, Alarm>()

  constructor(clock: Clock, ring: (name: string, timer: Timer) => void, all: Timers = new Map()) {
    this.#clock = clock
    this.#ring = ring
    this.all = all
  }

  /** `waitMs`: when it is tried again, and not at its time. */
  set(name: string, timer: Timer, waitMs?: number): void {
    this.all.set(name, timer)
    this.#disarm(name)
    this.#arm(name, timer, waitMs)
  }

  delete(name: string): void {
    this.all.delete(name)
    this.#disarm(name)
  }

  /** False for a timer that was cancelled or set anew after it had rung. */
  isCurrent(name: string, timer: Timer): boolean {
    return this.all.get(name) === timer
  }

  /** Sets an alarm for each timer that has none, and cancels those whose timer has gone. */
  sync(): void {
    for (const [name, alarm] of this.#alarms) if (this.all.get(name) !== alarm.timer) this.#disarm(name)
    for (const [name, timer] of this.all) if (!this.#alarms.has(name)) this.#arm(name, timer)
  }

  /** When the actor must be in memory for them; at once (0) for timers whose time goes on only while it is. Undefined: never. */
  wakeAt(): EpochMs | undefined {
    if (!this.mayWaitElsewhere) return 0
    let earliest: EpochMs | undefined
    for (const timer of this.all.values()) {
      const at = this.#dueAt(timer)
      if (earliest === undefined || at < earliest) earliest = at
    }
    return earliest
  }

  /**
   * True when all of them go on by their deadline, whoever has the actor in memory then. Where the clock was set back, the wait that is
   * left is known here alone: whoever loaded the actor next would begin it anew.
   */
  get mayWaitElsewhere(): boolean {
    const now = this.#clock.now()
    for (const { resume, deadline, delayMs } of this.all.values()) if (resume !== 'deadline' || deadline > now + delayMs) return false
    return true
  }

  stop(): void {
    for (const { cancel } of this.#alarms.values()) cancel()
    this.#alarms.clear()
  }

  /** Never further off than it was at first: the clock was set back then, and entries of a journal keep the time of those before them. */
  #dueAt({ deadline, delayMs }: Timer): EpochMs {
    return Math.min(deadline, this.#clock.now() + delayMs)
  }

  #arm(name: string, timer: Timer, waitMs = Math.max(0, this.#dueAt(timer) - this.#clock.now())): void {
    const ring = () => this.#ring(name, timer)
    // What was set here waits for as long as it was told to, whatever the clock is set to.
    const cancel = timer.isResumed ? atDeadline(this.#clock, timer.deadline, waitMs, ring) : this.#clock.after(waitMs, ring)
    this.#alarms.set(name, { timer, cancel })
  }

  #disarm(name: string): void {
    this.#alarms.get(name)?.cancel()
    this.#alarms.delete(name)
  }
}
