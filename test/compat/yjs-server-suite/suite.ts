/**
 * A conformance suite for Yjs servers: run against any server that speaks the wire of y-websocket or of Hocuspocus.
 *
 * Each check opens documents of its own, so a server with data in it can be tried, and checks do not meet. A check that needs
 * what the caller did not give is skipped with the reason.
 */
import { type Check, Context, type Need, type Target } from './check.ts'
import { ackChecks } from './checks/acks.ts'
import { authChecks } from './checks/auth.ts'
import { awarenessChecks } from './checks/awareness.ts'
import { closingChecks } from './checks/closing.ts'
import { frameChecks } from './checks/frames.ts'
import { multiplexingChecks } from './checks/multiplexing.ts'
import { stormChecks } from './checks/storms.ts'
import { syncChecks } from './checks/sync.ts'
import { updateChecks } from './checks/updates.ts'
import { Failure } from './waiting.ts'
import type { Wire } from './wire.ts'

export const checks: readonly Check[] = [
  ...syncChecks,
  ...updateChecks,
  ...awarenessChecks,
  ...frameChecks,
  ...closingChecks,
  ...ackChecks,
  ...multiplexingChecks,
  ...authChecks,
  ...stormChecks,
]

export const checksOf = (wire: Wire): readonly Check[] => checks.filter((check) => check.wire === wire || check.wire === 'both')

export type Outcome = 'pass' | 'fail' | 'skipped'

export interface Result {
  readonly id: string
  readonly title: string
  readonly outcome: Outcome
  /** Of a failure, or of why it was skipped; empty for a pass. */
  readonly reason: string
  readonly ms: number
}

const whatIsMissing: Readonly<Record<Need, string>> = {
  deniedToken: 'needs --denied-token',
  readonlyToken: 'needs --readonly-token',
  kick: 'needs --kick',
  server: 'needs --server',
}

const skipReason = (check: Check, target: Target, isSlowWanted: boolean): string | undefined => {
  if (check.needs !== undefined && target[check.needs] === undefined) return whatIsMissing[check.needs]
  return check.isSlow === true && !isSlowWanted ? 'slow; runs with --slow' : undefined
}

/** No check may hang the run, whatever the server does. */
const limitMs = (check: Check): number => (check.isSlow === true ? 180_000 : 90_000)

export const runCheck = async (check: Check, target: Target, isSlowWanted = false): Promise<Result> => {
  const { id, title } = check
  const skipped = skipReason(check, target, isSlowWanted)
  if (skipped !== undefined) return { id, title, outcome: 'skipped', reason: skipped, ms: 0 }
  const context = new Context(target)
  const began = performance.now()
  const done = (outcome: Outcome, reason: string): Result => ({ id, title, outcome, reason, ms: Math.round(performance.now() - began) })
  let timer: NodeJS.Timeout | undefined
  const limit = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Failure(`not done within ${limitMs(check)} ms`)), limitMs(check))
  })
  try {
    await Promise.race([check.run(context), limit])
    return done('pass', '')
  } catch (error) {
    if (!(error instanceof Error)) throw error
    return done('fail', error instanceof Failure ? error.message : `${error.name}: ${error.message}`)
  } finally {
    clearTimeout(timer)
    context.close()
  }
}

const recoveryMs = 60_000

/** After a failure: resolves when the server answers somebody again, so that one check does not fail for what another has done. */
export const recovered = async (target: Target): Promise<void> => {
  const end = performance.now() + recoveryMs
  for (let isAnswering = false; !isAnswering && performance.now() < end; ) {
    const context = new Context(target)
    isAnswering = await context.join().then(
      () => true,
      () => false,
    )
    context.close()
  }
}
