/**
 * Looks again at what clients may do with the documents that they have open, and applies it in place: after a change in the
 * application's own database, nobody has to connect again, and nobody else notices.
 */
import type { Account, Roster } from '../../actors/account.ts'
import type { ConnectionMessage } from '../../actors/connection.ts'
import type { AccessOutcome } from '../../actors/documentAccess.ts'
import { isTroupeError } from '../../actors/errors.ts'
import type { ActorSystem } from '../../actors/system/system.ts'

/** Whose connections, to which document; all that are not named are meant. */
export interface RecheckRequest {
  readonly user?: string
  /** Empty: the default one. */
  readonly tenant?: string
  /** Its name in its tenant. */
  readonly document?: string
}

/** Connections to documents, by what became of them. */
export interface Rechecked {
  readonly same: number
  readonly changed: number
  readonly ended: number
}

export interface RecheckOptions {
  readonly system: Pick<ActorSystem, 'ask' | 'tell'>
  readonly roster: Roster
  /** The account as it is now. Errors: `auth.revoked`. */
  readonly refresh: (account: Account) => Promise<Account>
  /** Longest that the hooks may take. */
  readonly timeoutMs: number
}

/** At a time: each may ask the application's database. */
const width = 32

export const recheck = async ({ user, tenant, document }: RecheckRequest, options: RecheckOptions): Promise<Rechecked> => {
  const { system, roster, refresh, timeoutMs } = options
  const counts: Record<AccessOutcome, number> = { same: 0, changed: 0, ended: 0, elsewhere: 0 }
  const matching = [...roster].filter(
    ([address, account]) =>
      address.startsWith('connection/') &&
      (user === undefined || account.user === user) &&
      (tenant === undefined || account.tenant === tenant),
  )
  const fresh = new Map<Account, Promise<Account>>()
  const look = async (address: string, account: Account): Promise<AccessOutcome> => {
    try {
      if (!fresh.has(account)) fresh.set(account, refresh(account))
      const message: ConnectionMessage = {
        type: 'connection.recheck',
        account: (await fresh.get(account)) ?? account,
        ...(document !== undefined && { document }),
      }
      return (await system.ask(address, message, { timeoutMs })) as AccessOutcome // what the connection answers
    } catch (error) {
      if (!isTroupeError(error, 'auth.revoked')) return 'ended' // it was gone before it was asked
      system.tell(address, { type: 'connection.close', code: 'auth.revoked', detail: '' } satisfies ConnectionMessage)
      return 'ended'
    }
  }
  const next = async (): Promise<void> => {
    for (let one = matching.pop(); one !== undefined; one = matching.pop()) counts[await look(...one)]++
  }
  await Promise.all(Array.from({ length: width }, next))
  const { same, changed, ended } = counts
  return { same, changed, ended }
}
