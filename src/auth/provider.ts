/** Whoever knows accounts: the built-in ones (tokens, users file), and those of programs and plugins. */
import type { Account, Credentials } from '../../actors/account.ts'

export interface AuthProvider {
  /** For logs. */
  readonly name: string
  /**
   * Undefined: not my kind of credentials, ask the next one. For bad ones, throw `auth.failed` or `auth.expired`; the
   * detail is shown to the client. Anything else that is thrown means that nobody can tell at the moment: it is logged, and
   * the client is told to try again (`auth.unavailable`).
   */
  authenticate(credentials: Credentials): Promise<Account | undefined>
  /**
   * An account that this provider gave, as it is now: other permissions, another expiry. Undefined: it is no more, and is
   * disconnected. Asked when `troupe.recheck` is called. Without it, an account keeps what it had when it logged in. What is thrown
   * is logged and changes nothing.
   */
  refresh?(account: Account): Promise<Account | undefined>
  /** The server ends. */
  close?(): void
}
