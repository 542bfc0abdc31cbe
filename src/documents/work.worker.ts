/** The worker thread of documents: one job in, one result out. */
import { parentPort } from 'node:worker_threads'
import { documentWork } from '../../crdt/work.ts'
import type { Job, Outcome } from './worker.ts'

const perform = ({ name, given }: Job): Outcome => {
  try {
    const run = documentWork[name] as (...given: unknown[]) => unknown // the caller's types say which
    return { ok: true, result: run(...given) }
  } catch (error) {
    return { ok: false, reason: error instanceof Error ? (error.stack ?? error.message) : String(error) }
  }
}

parentPort?.on('message', (job: Job) => parentPort?.postMessage(perform(job)))
