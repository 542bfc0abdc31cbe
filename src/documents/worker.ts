/**
 * The costly work on documents, off the hot path: small jobs where they are (a worker's round trip would cost more), large ones in
 * three worker threads, so that a hundred busy documents do not become a hundred trees in memory.
 *
 * Promises: one thread is kept for what clients wait for, and one for compactions, so that a long look into a history, or a compaction
 * of something crafted, delays neither a change nor an answer. A job that takes too long is stuck in something that a client crafted: its thread is ended, and the next job gets a new one.
 */
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import { type DocumentWork, documentWork, type JobName } from '../../crdt/work.ts'

export interface Job {
  readonly name: JobName
  readonly given: readonly unknown[]
}

export type Outcome = { readonly ok: true; readonly result: unknown } | { readonly ok: false; readonly reason: string }

export interface WorkerOptions {
  /** Time for a job. Default 60 000. */
  readonly jobMs?: number
  /** Time for the inspection of a change. Default 5 000. */
  readonly inspectMs?: number
  readonly program?: string
}

/** Applying this much takes about 2 ms. */
const inlineBytes = 32 * 1024
const defaultJobMs = 60_000
const defaultInspectMs = 5_000
type Kind = 'urgent' | 'compaction' | 'look'

const kinds: Partial<Record<JobName, Kind>> = {
  inspect: 'urgent',
  integrablePart: 'urgent',
  splitUpdates: 'urgent',
  cutElsewhere: 'urgent',
  compact: 'compaction',
}
const kindOf = (name: JobName): Kind => kinds[name] ?? 'look'
/** Reading is forty times as fast as applying, so it is done in place up to where its callers draw the line. */
const isAlwaysElsewhere: ReadonlySet<JobName> = new Set<JobName>(['inspect'])
/**
 * A worker without a job is let go. It takes 50 ms of CPU to start one, so it is kept while documents are busy; after a large
 * job it goes soon, for it keeps what that took (a million structs: 500 MB).
 */
const workerIdleMs = 30_000
const workerIdleAfterLargeMs = 1_000
const largeBytes = 4 * 1024 * 1024

interface Waiting {
  readonly job: Job
  readonly bytes: number
  readonly resolve: (result: unknown) => void
  readonly reject: (error: unknown) => void
}

/** Bytes lie in what is given, in its lists, and in the fields of its plain objects. */
const fieldsOf = (value: unknown): readonly [string, unknown][] | undefined =>
  typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype ? Object.entries(value) : undefined

/**
 * What has so many bytes is copied once and handed over: a clone is two copies, and 20 MB take 15 ms in each. Not as shared memory: the
 * collector does not count that, and 2.5 GB of it lie there before it looks.
 */
const movedBytes = 64 * 1024

/** A clone of a view clones all that lies behind it, so a view becomes a buffer of its own. `moved`: those that are handed over. */
const own = (value: unknown, moved: ArrayBuffer[]): unknown => {
  if (value instanceof Uint8Array) {
    const isMoved = value.length >= movedBytes
    if (!isMoved && value.byteLength === value.buffer.byteLength) return value
    const copy = new Uint8Array(value) // not `slice`, which gives a `Buffer` a place in a pool
    if (isMoved) moved.push(copy.buffer)
    return copy
  }
  if (Array.isArray(value)) return value.map((part) => own(part, moved))
  const fields = fieldsOf(value)
  return fields === undefined ? value : Object.fromEntries(fields.map(([name, field]) => [name, own(field, moved)]))
}

const sizeOf = (value: unknown): number => {
  if (value instanceof Uint8Array) return value.length
  const parts = Array.isArray(value) ? value : (fieldsOf(value) ?? []).map(([, field]) => field)
  return parts.reduce((sum: number, part) => sum + sizeOf(part), 0)
}

const closed = () => new Error('the worker of documents is closed')

/** One thread at most, one job at a time. */
class Thread {
  readonly #program: string
  readonly #limitMs: (name: JobName) => number
  /** Takes the next job that is for this thread from those that wait. */
  readonly #take: () => Waiting | undefined
  #worker: Worker | undefined
  #running: Waiting | undefined
  #timer: NodeJS.Timeout | undefined
  /** This worker had a job whose memory is worth having back. */
  #hasSeenLarge = false
  #isClosed = false

  constructor(program: string, limitMs: (name: JobName) => number, take: () => Waiting | undefined) {
    this.#program = program
    this.#limitMs = limitMs
    this.#take = take
  }

  get isFree(): boolean {
    return this.#running === undefined
  }

  next(): void {
    if (this.#running !== undefined || this.#isClosed) return
    this.#running = this.#take()
    if (this.#running === undefined) return
    this.#worker ??= this.#start()
    this.#worker.ref()
    clearTimeout(this.#timer)
    const { job, bytes } = this.#running
    this.#timer = setTimeout(() => this.#worker?.terminate(), this.#limitMs(job.name))
    if (bytes >= largeBytes) this.#hasSeenLarge = true
    // Copied now and not before: 150 jobs may wait for one thread, and bytes that were handed out are never written to again.
    const moved: ArrayBuffer[] = []
    const given = job.given.map((value) => own(value, moved))
    this.#worker.postMessage({ ...job, given } satisfies Job, moved)
  }

  #start(): Worker {
    const worker = new Worker(this.#program)
    this.#hasSeenLarge = false
    worker.on('message', (outcome: Outcome) => {
      const done = this.#running
      this.#running = undefined
      clearTimeout(this.#timer)
      worker.unref()
      if (outcome.ok) done?.resolve(outcome.result)
      else done?.reject(new Error(outcome.reason))
      this.next()
      if (this.#running !== undefined) return
      const wait = this.#hasSeenLarge ? workerIdleAfterLargeMs : workerIdleMs
      this.#timer = setTimeout(() => this.#release(worker), wait).unref()
    })
    worker.on('error', (error) => this.#end(error))
    worker.on('exit', (code) => {
      if (this.#worker !== worker) return // it was let go
      this.#worker = undefined
      this.#end(new Error(`the worker of documents exited with ${code}`))
      this.next()
    })
    return worker
  }

  #release(worker: Worker): void {
    if (this.#running !== undefined || this.#worker !== worker) return
    this.#worker = undefined
    void worker.terminate()
  }

  #end(error: Error): void {
    const failed = this.#running
    this.#running = undefined
    clearTimeout(this.#timer)
    failed?.reject(error)
  }

  async close(): Promise<void> {
    this.#isClosed = true
    this.#end(closed())
    await this.#worker?.terminate()
  }
}

export class DocumentWorker implements DocumentWork {
  readonly #waiting: Waiting[] = []
  /** What each of them takes stands in the constructor; none where the program of the worker is missing. */
  readonly #threads: readonly Thread[]
  #isClosed = false

  constructor({ jobMs = defaultJobMs, inspectMs = defaultInspectMs, program = programFile }: WorkerOptions = {}) {
    const limitMs = (name: JobName) => (name === 'inspect' ? inspectMs : jobMs)
    const takes = [() => this.#take('urgent'), () => this.#take('compaction'), () => this.#take('urgent') ?? this.#take('look')]
    this.#threads = existsSync(program) ? takes.map((take) => new Thread(program, limitMs, take)) : []
  }

  run<Name extends JobName>(
    name: Name,
    ...given: Parameters<(typeof documentWork)[Name]>
  ): Promise<ReturnType<(typeof documentWork)[Name]>> {
    return new Promise((resolve, reject) => {
      if (this.#isClosed) return reject(closed())
      const bytes = sizeOf(given)
      if (this.#threads.length === 0 || (bytes < inlineBytes && !isAlwaysElsewhere.has(name))) {
        const run = documentWork[name] as (...given: unknown[]) => ReturnType<(typeof documentWork)[Name]> // `given` fits `name`
        return resolve(run(...given))
      }
      this.#waiting.push({ job: { name, given }, bytes, resolve: resolve as (result: unknown) => void, reject })
      // What is urgent goes to its own thread even when all are free: the other one may not have been started yet.
      for (const thread of this.#threads) if (thread.isFree) thread.next()
    })
  }

  /** In the order in which they came. */
  #take(kind: Kind): Waiting | undefined {
    const at = this.#waiting.findIndex(({ job }) => kindOf(job.name) === kind)
    return at === -1 ? undefined : this.#waiting.splice(at, 1)[0]
  }

  async close(): Promise<void> {
    this.#isClosed = true
    for (const { reject } of this.#waiting.splice(0)) reject(closed())
    await Promise.all(this.#threads.map((thread) => thread.close()))
  }
}

/** Beside the bundle. */
const programFile = fileURLToPath(new URL('./work.worker.js', import.meta.url))
