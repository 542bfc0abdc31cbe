/**
 * Compaction off the hot path: small documents where they are (a worker's round trip would cost more), large ones in a
 * worker thread, one at a time, so that a hundred busy documents do not become a hundred trees in memory.
 */
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import type { Compactor } from '../../actors/document.ts'
import { type Compaction, compact, integrablePart } from '../../crdt/compact.ts'

export type Job =
  | { readonly kind: 'compact'; readonly snapshot: Uint8Array; readonly updates: readonly Uint8Array[] }
  | { readonly kind: 'integrablePart'; readonly snapshot: Uint8Array; readonly updates: readonly Uint8Array[]; readonly update: Uint8Array }

export const perform = (job: Job): Compaction | Uint8Array | undefined =>
  job.kind === 'compact' ? compact(job.snapshot, job.updates) : integrablePart(job.snapshot, job.updates, job.update)

/** Applying this much takes about 2 ms. */
const inlineBytes = 32 * 1024
/** A worker that takes longer is stuck in something that a client crafted. */
const jobTimeoutMs = 60_000
/**
 * A worker without a job is let go. It takes 50 ms of CPU to start one, so it is kept while documents are busy; after a large
 * job it goes soon, for it keeps what that took (a million structs: 500 MB).
 */
const workerIdleMs = 30_000
const workerIdleAfterLargeMs = 1_000
const largeBytes = 4 * 1024 * 1024

interface Waiting {
  readonly job: Job
  readonly resolve: (result: never) => void
  readonly reject: (error: unknown) => void
}

/** A clone of a view clones all that lies behind it; a view into a shared buffer becomes one of its own. */
const own = (bytes: Uint8Array): Uint8Array => (bytes.byteLength === bytes.buffer.byteLength ? bytes : bytes.slice())

const sizeOf = ({ snapshot, updates }: Job): number => updates.reduce((sum, update) => sum + update.length, snapshot.length)

export class WorkerCompactor implements Compactor {
  readonly #program: string | undefined
  readonly #waiting: Waiting[] = []
  #worker: Worker | undefined
  #running: Waiting | undefined
  #timer: NodeJS.Timeout | undefined
  /** This worker had a job whose memory is worth having back. */
  #hasSeenLarge = false
  #isClosed = false

  constructor(program = fileURLToPath(new URL('./compactor.worker.js', import.meta.url))) {
    this.#program = existsSync(program) ? program : undefined
  }

  compact(snapshot: Uint8Array, updates: readonly Uint8Array[]): Promise<Compaction> {
    return this.#do({ kind: 'compact', snapshot: own(snapshot), updates: updates.map(own) })
  }

  integrablePart(snapshot: Uint8Array, updates: readonly Uint8Array[], update: Uint8Array): Promise<Uint8Array | undefined> {
    return this.#do({ kind: 'integrablePart', snapshot: own(snapshot), updates: updates.map(own), update: own(update) })
  }

  async close(): Promise<void> {
    this.#isClosed = true
    for (const { reject } of this.#waiting.splice(0)) reject(new Error('the compactor is closed'))
    this.#end(new Error('the compactor is closed'))
    await this.#worker?.terminate()
  }

  #do<Result>(job: Job): Promise<Result> {
    return new Promise<Result>((resolve, reject) => {
      if (this.#isClosed) return reject(new Error('the compactor is closed'))
      if (this.#program === undefined || sizeOf(job) < inlineBytes) return resolve(perform(job) as Result)
      this.#waiting.push({ job, resolve: resolve as (result: never) => void, reject })
      this.#next(this.#program)
    })
  }

  #next(program: string): void {
    if (this.#running !== undefined) return
    this.#running = this.#waiting.shift()
    if (this.#running === undefined) return
    this.#worker ??= this.#start(program)
    this.#worker.ref()
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => this.#worker?.terminate(), jobTimeoutMs)
    if (sizeOf(this.#running.job) >= largeBytes) this.#hasSeenLarge = true
    this.#worker.postMessage(this.#running.job)
  }

  #start(program: string): Worker {
    const worker = new Worker(program)
    this.#hasSeenLarge = false
    worker.on('message', (result: unknown) => {
      const done = this.#running
      this.#running = undefined
      clearTimeout(this.#timer)
      worker.unref()
      done?.resolve(result as never) // what the job's promise was made for
      this.#next(program)
      if (this.#running !== undefined) return
      const wait = this.#hasSeenLarge ? workerIdleAfterLargeMs : workerIdleMs
      this.#timer = setTimeout(() => this.#release(worker), wait).unref()
    })
    worker.on('error', (error) => this.#end(error))
    worker.on('exit', (code) => {
      if (this.#worker !== worker) return // it was let go
      this.#worker = undefined
      this.#end(new Error(`the compaction worker exited with ${code}`))
      if (!this.#isClosed) this.#next(program)
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
}
