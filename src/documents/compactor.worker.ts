/** The worker thread of the compactor: one job in, one result out. */
import { parentPort } from 'node:worker_threads'
import { type Job, perform } from './compactor.ts'

parentPort?.on('message', (job: Job) => parentPort?.postMessage(perform(job)))
