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

/** Large memory goes over as it lies, for nobody here needs it any more. What is smaller may be a constant of this program. */
const movedBytes = 64 * 1024

const moved = (value: unknown, found: Set<ArrayBuffer>, depth: number): Set<ArrayBuffer> => {
  if (ArrayBuffer.isView(value)) {
    if (value.buffer instanceof ArrayBuffer && value.buffer.byteLength >= movedBytes) found.add(value.buffer)
  } else if (depth > 0 && typeof value === 'object' && value !== null) {
    for (const part of Object.values(value)) moved(part, found, depth - 1)
  }
  return found
}

parentPort?.on('message', (job: Job) => {
  const outcome = perform(job)
  parentPort?.postMessage(outcome, [...moved(outcome, new Set(), 4)])
})
