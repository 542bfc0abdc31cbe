/**
 * Wake-ups: which durable actors have a timer to fire while they are not in memory.
 *
 * The timers themselves are in the journals of their actors. This journal holds only the earliest deadline of each, as
 * a hint that is never too late: an actor that is woken too early looks at its own journal and sleeps on. So all of them are woken when
 * the clock is behind the last of these entries: it was set back while nobody looked, and their deadlines are further off than they were.
 */
import type { Journals, Offset } from '../journal.ts'
import type { Cancel, Clock, EpochMs } from '../world.ts'
import type { Address } from './address.ts'
import { atDeadline } from './deadline.ts'

const journal = 'system/timers'
/** Entries between snapshots; more when there are more hints, so that a write costs the same however many sleep. */
const snapshotEvery = 1_000
/** Between two of all that are woken at once. */
const wakeGapMs = 1
/** Wait before hints that the disk refused are written again. */
const retryMs = 1_000
const encoder = new TextEncoder()
const decoder = new TextDecoder()

export class Wakeups {
  readonly #journals: Journals
  readonly #clock: Clock
  readonly #wake: (address: Address) => void
  readonly #failed: (error: unknown) => void
  readonly #hints = new Map<Address, EpochMs>()
  readonly #armed = new Map<Address, Cancel>()
  /** Whose hint the disk refused. */
  readonly #unsaved = new Set<Address>()
  #cancelRetry: Cancel | undefined
  #isClosed = false
  #sinceSnapshot = 0
  #last: Promise<void> = Promise.resolve()

  constructor(journals: Journals, clock: Clock, wake: (address: Address) => void, failed: (error: unknown) => void) {
    this.#journals = journals
    this.#clock = clock
    this.#wake = wake
    this.#failed = failed
  }

  /** Reads the hints and arms a timer for each. */
  async load(): Promise<void> {
    const saved = await this.#journals.snapshot(journal)
    if (saved !== undefined) {
      for (const [address, at] of JSON.parse(decoder.decode(saved.data)) as [Address, EpochMs][]) this.#hints.set(address, at)
    }
    let after = saved?.offset ?? 0
    let lastAt = saved?.time ?? 0
    for (;;) {
      const entries = await this.#journals.read(journal, { after })
      for (const entry of entries) {
        const [address, at] = JSON.parse(decoder.decode(entry.data)) as [Address, EpochMs | null]
        if (at === null) this.#hints.delete(address)
        else this.#hints.set(address, at)
        after = entry.offset
        lastAt = entry.time
      }
      if (entries.length === 0) break
    }
    let soon = this.#clock.now()
    const isBehind = lastAt > soon
    for (const [address, at] of this.#hints) {
      soon += wakeGapMs
      this.#arm(address, isBehind ? Math.min(at, soon) : at)
    }
  }

  /**
   * The earliest timer of a live actor has changed. Writes only what would otherwise be too late: an early hint costs one
   * look, and stays until the actor sleeps. The promise resolves when the hint is on disk, or was refused and will be
   * written again later.
   */
  note(address: Address, earliest: EpochMs | undefined): Promise<void> | undefined {
    const hint = this.#hints.get(address)
    if (earliest === undefined || (hint !== undefined && hint <= earliest)) return undefined
    return this.#write(address, earliest)
  }

  /** The actor leaves memory; from now on the wake-up is ours. */
  sleep(address: Address, earliest: EpochMs | undefined): void {
    if (this.#hints.get(address) !== earliest) this.#write(address, earliest)
    if (earliest !== undefined) this.#arm(address, earliest)
  }

  /** The actor is in memory and fires its timers itself. */
  awake(address: Address): void {
    this.#armed.get(address)?.()
    this.#armed.delete(address)
  }

  has(address: Address): boolean {
    return this.#hints.has(address)
  }

  async close(): Promise<void> {
    this.#isClosed = true
    this.#cancelRetry?.()
    for (const cancel of this.#armed.values()) cancel()
    this.#armed.clear()
    await this.#last
  }

  #arm(address: Address, at: EpochMs): void {
    this.awake(address)
    if (this.#isClosed) return
    this.#armed.set(
      address,
      atDeadline(this.#clock, at, at - this.#clock.now(), () => {
        this.#armed.delete(address)
        this.#wake(address)
      }),
    )
  }

  #write(address: Address, at: EpochMs | undefined): Promise<void> {
    if (at === undefined) this.#hints.delete(address)
    else this.#hints.set(address, at)
    this.#unsaved.delete(address)
    const written = this.#journals.append(journal, [encoder.encode(JSON.stringify([address, at ?? null]))]).then(
      ({ last }) => this.#written(last),
      (error) => this.#refused(address, error),
    )
    this.#last = this.#last.then(() => written)
    return written
  }

  #written(last: Offset): void {
    if (++this.#sinceSnapshot < Math.max(snapshotEvery, this.#hints.size)) return
    this.#sinceSnapshot = 0
    const hints = encoder.encode(JSON.stringify([...this.#hints]))
    const saved = this.#journals.saveSnapshot(journal, last, hints, { trim: true }).catch(this.#failed)
    this.#last = this.#last.then(() => saved)
  }

  #refused(address: Address, error: unknown): void {
    this.#failed(error)
    this.#unsaved.add(address)
    if (this.#isClosed || this.#cancelRetry !== undefined) return
    this.#cancelRetry = this.#clock.after(retryMs, () => {
      this.#cancelRetry = undefined
      for (const unsaved of [...this.#unsaved]) this.#write(unsaved, this.#hints.get(unsaved))
    })
  }
}
