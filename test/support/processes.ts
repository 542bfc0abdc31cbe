/** Other processes, as the kernel knows them. For Linux, which has /proc. */
import { readFileSync } from 'node:fs'
import { createServer } from 'node:net'

export const MiB = 1024 * 1024

const statusOf = (pid: number): string => {
  try {
    return readFileSync(`/proc/${pid}/status`, 'utf8')
  } catch {
    return ''
  }
}

/** Resident memory. */
export const residentBytes = (pid: number): number => {
  const found = /VmRSS:\s+(\d+) kB/.exec(statusOf(pid))
  if (found === null) throw new Error(`process ${pid} has ended`)
  return Number(found[1]) * 1024
}

/** It runs no more. A zombie counts: in a container there may be nobody who buries it. */
export const isGone = (pid: number): boolean => !/State:\s+[^ZX]/.test(statusOf(pid))

/**
 * How long its main thread was ready to run and had to wait for a processor, since it began. Taken from a measured time, what is left
 * is its own doing, on a machine with much else to do as on an idle one. 0 where the kernel does not count it.
 */
export const waitedForProcessorMs = (pid: number): number => {
  try {
    return Number(readFileSync(`/proc/${pid}/schedstat`, 'utf8').split(' ')[1]) / 1_000_000
  } catch {
    return 0
  }
}

/** Milliseconds that these processes took for something, without those in which others had the processors. */
export const ownMs = async (pids: readonly number[], work: () => Promise<unknown>): Promise<number> => {
  const waited = () => pids.reduce((sum, pid) => sum + waitedForProcessorMs(pid), 0)
  const [before, began] = [waited(), performance.now()]
  await work()
  return Math.max(0, performance.now() - began - (waited() - before))
}

/** A port that was free a moment ago, for a server that must come back on the same one. */
export const freePort = (): Promise<number> =>
  new Promise((resolve, reject) => {
    const server = createServer()
    server.on('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      server.close(() => (typeof address === 'object' && address !== null ? resolve(address.port) : reject(new Error('no port'))))
    })
  })
