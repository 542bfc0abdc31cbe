/**
 * Keeps what one client says in order where one message takes a while: a large change is inspected in the worker, what the client says
 * behind it waits, and all others go on.
 *
 * Of a client that is gone what waits is still taken in, for a tab may close right after the last keystroke; but not without bound
 * (leavings.ts). What is dropped was not acknowledged.
 */
import type { Background } from './background.ts'
import { TroupeError } from './errors.ts'
import { Leavings } from './leavings.ts'
import type { Address } from './system/address.ts'

/** Looks of one document in the worker at a time. Those that wait here can still be dropped. */
const mostLooks = 2

interface Later {
  readonly handle: () => void
  readonly bytes: number
  /** It will not be handled. */
  readonly dropped?: () => void
}

/** Of a client with a message that is under way. */
interface Line {
  /** How many promises that message waits for; one may lead to the next. */
  held: number
  /** Of that message. */
  bytes: number
  /** What waits behind it. */
  later: Later[]
  /** Its client is gone, and so much of it was to be taken in then. */
  left: number | undefined
}

interface Look {
  readonly client: Address
  readonly begin: () => void
  readonly drop: () => void
}

export class DocumentIntake {
  readonly #background: Background
  readonly #leavings: Leavings
  readonly #lines = new Map<Address, Line>()
  #looks: Look[] = []
  #looking = 0

  constructor(background: Background, leavings: Leavings = new Leavings()) {
    this.#background = background
    this.#leavings = leavings
  }

  /** At once, or behind what this client said before. `bytes`: what it keeps in memory. */
  run(client: Address, handle: () => void, bytes = 0): void {
    const line = this.#lines.get(client)
    if (line === undefined) this.#handle(client, { handle, bytes })
    else line.later.push({ handle, bytes })
  }

  /** What this client says from now on waits for `promise`. Called from within `run`, or from `done`. */
  hold<T>(client: Address, promise: Promise<T>, done: (value: T) => void, failed: (error: unknown) => void): void {
    const line = this.#lines.get(client) ?? { held: 0, bytes: 0, later: [], left: undefined }
    line.held++
    this.#lines.set(client, line)
    const goOn = () => {
      if (--line.held > 0) return
      this.#lines.delete(client)
      this.#resume(client, line)
    }
    this.#background.run(
      promise,
      (value) => {
        done(value)
        goOn()
      },
      (error) => {
        failed(error)
        goOn()
      },
    )
  }

  /** As `hold`, for a look in the worker that begins when it is its turn. Fails with `document.busy` when it is dropped. */
  look<T>(client: Address, begin: () => Promise<T>, done: (value: T) => void, failed: (error: unknown) => void): void {
    const ended = () => {
      this.#looking--
      this.#nextLook()
    }
    const promise = new Promise<T>((resolve, reject) => {
      this.#looks.push({
        client,
        begin: () => begin().then(resolve, reject).finally(ended),
        drop: () => reject(new TroupeError('document.busy', 'its client is gone')),
      })
    })
    this.hold(client, promise, done, failed)
    this.#nextLook()
  }

  #nextLook(): void {
    if (this.#looking >= mostLooks) return
    const look = this.#looks.shift()
    if (look === undefined) return
    this.#looking++
    look.begin()
  }

  /** The client is gone: `handle` runs behind what it said, or at once, and that is dropped. */
  leave(client: Address, handle: () => void): void {
    const line = this.#lines.get(client)
    if (line === undefined) return handle()
    const bytes = line.later.reduce((sum, later) => sum + later.bytes, line.bytes)
    if (line.left === undefined && !this.#leavings.take(bytes)) {
      this.#drop(line)
      const dropped = this.#looks.filter((look) => look.client === client)
      this.#looks = this.#looks.filter((look) => look.client !== client)
      for (const { drop } of dropped) drop()
      return handle()
    }
    line.left ??= bytes
    line.later.push({ handle, bytes: 0 })
  }

  #handle(client: Address, { handle, bytes }: Later): Line | undefined {
    handle()
    const line = this.#lines.get(client)
    if (line !== undefined) line.bytes = bytes
    return line
  }

  #drop(line: Line): void {
    const dropped = line.later
    line.later = []
    for (const later of dropped) later.dropped?.()
  }

  /** One after the other; as soon as one of them takes a while, the rest waits again. */
  #resume(client: Address, { later, left }: Line): void {
    let toRelease = left
    try {
      for (const [at, next] of later.entries()) {
        const line = this.#handle(client, next)
        if (line === undefined) continue
        line.later.push(...later.slice(at + 1))
        line.left = left
        toRelease = undefined
        return
      }
    } finally {
      if (toRelease !== undefined) this.#leavings.released(toRelease)
    }
  }

  /** Resolves when all that this client said so far was taken in, or dropped; undefined when it was. */
  taken(client: Address): Promise<void> | undefined {
    const line = this.#lines.get(client)
    return line && new Promise((resolve) => line.later.push({ handle: resolve, bytes: 0, dropped: resolve }))
  }

  /** The document has ended: nothing that waits goes on. */
  end(): void {
    for (const line of this.#lines.values()) {
      if (line.left !== undefined) this.#leavings.released(line.left)
      this.#drop(line)
    }
    this.#lines.clear()
    this.#looks = []
  }
}
