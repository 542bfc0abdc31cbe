/**
 * The supervisor: a small parent process that starts the server again when it crashes. A damaged data file makes the
 * store crash natively, which no code inside the process can catch; so somebody outside has to see it and say what to do.
 *
 * Promises: signals are passed on; a server that ends in order ends the supervisor with the same code; so does the sixth crash in a
 * minute in which it served. What it takes to start does not count: to look at all pages of a large file takes minutes. If the supervisor itself is killed, the server ends at once: acknowledged means on disk, so nothing
 * is lost, and the data directory is free for the next one.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import type { Log } from '../actors/world.ts'
import { exitCodes } from './exitCodes.ts'

/** Set for the server process; not an option, so it does not begin with TROUPE_. */
export const supervisedVariable = '_TROUPE_SUPERVISED'
/** What the server says to the supervisor when it is there for clients. */
export const serving = 'serving'

const lookFirst = 'Before the next start all pages of the data file are looked at, and a damaged one is named.'
const mayBeDamaged = 'The data file may be damaged: see docs/operations.md, and restore a backup with `troupe restore DIR`.'
const crashSignals: Readonly<Record<string, string>> = {
  SIGSEGV: `The store crashed natively. ${lookFirst}`,
  SIGBUS: `The data file is shorter than it should be, or the disk is failing: check the disk. ${lookFirst}`,
  SIGABRT: `The store gave up on its data file. ${lookFirst}`,
  SIGKILL: 'Somebody killed it, or the system ran out of memory: see the kernel log, and `system.maxActive`.',
}

/**
 * glibc (musl ignores it): larger blocks go back to the system as soon as they are free. Left to itself it raises this bound to the
 * largest block that was ever freed, up to 32 MiB, and what comes later lies scattered in its arenas: after work on a document of
 * 16 MB 302 MiB stayed instead of 174, after a look into its history 383 instead of 208 (100 at the start). Going to the system costs
 * time, a tenth of what it takes to compact such a document, so smaller blocks stay. It is read when a process starts, so only its parent
 * can set it.
 */
const allocator = { MALLOC_MMAP_THRESHOLD_: String(8 * 1024 * 1024) }

const withinMs = 60_000
const restarts = 5
const firstWaitMs = 100
const longestWaitMs = 5_000

const launch = (program: string, args: readonly string[]): ChildProcess =>
  spawn(process.execPath, [...process.execArgv, program, ...args], {
    // A process group of its own: Ctrl-C reaches it once, through us.
    detached: true,
    stdio: ['inherit', 'inherit', 'inherit', 'ipc'],
    env: { ...allocator, ...process.env, [supervisedVariable]: 'true' },
  })

/** Resolves with the exit code for this process. */
export const supervise = (program: string, args: readonly string[], log: Log): Promise<number> =>
  new Promise((resolve) => {
    let child: ChildProcess | undefined
    /** When it crashed, in milliseconds in which it had served. */
    let crashes: number[] = []
    let servedMs = 0
    let servingFrom: number | undefined
    /** The signal that ends all of this. */
    let passedOn: NodeJS.Signals | undefined

    const notStarted = (error: unknown) => {
      log.error({ error: error instanceof Error ? error.message : String(error) }, 'the server could not be started')
      ended(exitCodes.software, null) // it never ran, so it does not exit either
    }

    const start = () => {
      try {
        child = launch(program, args)
      } catch (error) {
        return notStarted(error) // for want of memory Node throws, where for want of a process it emits
      }
      const server = child
      server.on('exit', ended)
      server.on('message', (message) => {
        if (message === serving) servingFrom = performance.now()
      })
      server.on('error', (error) => {
        if (server.pid === undefined) notStarted(error)
        else log.error({ error: error.message }, 'the server could not be reached')
      })
    }

    const ended = (code: number | null, signal: NodeJS.Signals | null) => {
      child = undefined
      const isCrash = signal !== null || code === exitCodes.software
      // It had not come so far yet as to end in order, and so there was nothing to be put in order.
      if (signal !== null && signal === passedOn) return resolve(exitCodes.ok)
      if (passedOn !== undefined || !isCrash) return resolve(code ?? exitCodes.software)
      if (servingFrom !== undefined) servedMs += performance.now() - servingFrom
      servingFrom = undefined
      crashes = [...crashes.filter((at) => servedMs - at < withinMs), servedMs]
      const next = crashSignals[signal ?? ''] ?? 'See the lines above for the reason.'
      log.error({ code, signal, crashes: crashes.length, advice: next }, 'the server crashed')
      if (crashes.length > restarts) {
        const advice = signal === null || signal === 'SIGKILL' ? 'See the lines above for the reasons.' : mayBeDamaged
        log.error({ restarts, withinMs, advice }, 'the server crashes again and again; giving up')
        return resolve(code ?? exitCodes.software)
      }
      setTimeout(
        () => (passedOn !== undefined ? resolve(exitCodes.ok) : start()),
        Math.min(longestWaitMs, firstWaitMs * 2 ** (crashes.length - 1)),
      )
    }

    for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
      process.on(signal, () => {
        passedOn = signal
        if (child === undefined) resolve(exitCodes.ok)
        else child.kill(signal)
      })
    }
    start()
  })
