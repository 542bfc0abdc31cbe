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
  /** The server ends. */
  close?(): void
}
