/**
 * The costly work on documents, off the hot path: small jobs where they are (a worker's round trip would cost more), large ones in
 * a worker thread, one at a time, so that a hundred busy documents do not become a hundred trees in memory.
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
  readonly resolve: (result: unknown) => void
  readonly reject: (error: unknown) => void
}

/** A clone of a view clones all that lies behind it; a view into a shared buffer becomes one of its own. */
const own = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(own)
  if (!(value instanceof Uint8Array)) return value
  return value.byteLength === value.buffer.byteLength ? value : value.slice()
}

const sizeOf = (value: unknown): number => {
  if (value instanceof Uint8Array) return value.length
  return Array.isArray(value) ? value.reduce((sum: number, part) => sum + sizeOf(part), 0) : 0
}

export class DocumentWorker implements DocumentWork {
  readonly #program: string | undefined
  readonly #waiting: Waiting[] = []
  #worker: Worker | undefined
  #running: Waiting | undefined
  #timer: NodeJS.Timeout | undefined
  /** This worker had a job whose memory is worth having back. */
  #hasSeenLarge = false
  #isClosed = false

  constructor(program = fileURLToPath(new URL('./work.worker.js', import.meta.url))) {
    this.#program = existsSync(program) ? program : undefined
  }

  run<Name extends JobName>(
    name: Name,
    ...given: Parameters<(typeof documentWork)[Name]>
  ): Promise<ReturnType<(typeof documentWork)[Name]>> {
    return new Promise((resolve, reject) => {
      if (this.#isClosed) return reject(new Error('the worker of documents is closed'))
      if (this.#program === undefined || sizeOf(given) < inlineBytes) {
        const run = documentWork[name] as (...given: unknown[]) => ReturnType<(typeof documentWork)[Name]> // `given` fits `name`
        return resolve(run(...given))
      }
      this.#waiting.push({ job: { name, given: given.map(own) }, resolve: resolve as (result: unknown) => void, reject })
      this.#next(this.#program)
    })
  }

  async close(): Promise<void> {
    this.#isClosed = true
    for (const { reject } of this.#waiting.splice(0)) reject(new Error('the worker of documents is closed'))
    this.#end(new Error('the worker of documents is closed'))
    await this.#worker?.terminate()
  }

  #next(program: string): void {
    if (this.#running !== undefined) return
    this.#running = this.#waiting.shift()
    if (this.#running === undefined) return
    this.#worker ??= this.#start(program)
    this.#worker.ref()
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => this.#worker?.terminate(), jobTimeoutMs)
    if (sizeOf(this.#running.job.given) >= largeBytes) this.#hasSeenLarge = true
    this.#worker.postMessage(this.#running.job)
  }

  #start(program: string): Worker {
    const worker = new Worker(program)
    this.#hasSeenLarge = false
    worker.on('message', (outcome: Outcome) => {
      const done = this.#running
      this.#running = undefined
      clearTimeout(this.#timer)
      worker.unref()
      if (outcome.ok) done?.resolve(outcome.result)
      else done?.reject(new Error(outcome.reason))
      this.#next(program)
      if (this.#running !== undefined) return
      const wait = this.#hasSeenLarge ? workerIdleAfterLargeMs : workerIdleMs
      this.#timer = setTimeout(() => this.#release(worker), wait).unref()
    })
    worker.on('error', (error) => this.#end(error))
    worker.on('exit', (code) => {
      if (this.#worker !== worker) return // it was let go
      this.#worker = undefined
      this.#end(new Error(`the worker of documents exited with ${code}`))
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
