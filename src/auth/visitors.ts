/** Who a request comes from, by socket or by HTTP: whose credentials it carries, or nobody in particular. */
import type { Account } from '../../actors/account.ts'
import { TroupeError } from '../../actors/errors.ts'
import type { Random } from '../../actors/world.ts'
import type { Authenticator } from './authenticator.ts'
import { credentialsOf, type Request } from './credentials.ts'

export interface Visitor {
  readonly account: Account
  readonly hasLoggedIn: boolean
  /** Address of the client. */
  readonly remote: string
}

/**
 * `mayLogInLater`: comes as nobody for now, even where everybody has to be somebody.
 * Errors: `auth.required`, and those of the authenticator.
 */
export const identify = async (
  authenticator: Authenticator,
  random: Random,
  request: Request,
  remote: string,
  { mayLogInLater = false } = {},
): Promise<Visitor> => {
  const credentials = credentialsOf(request)
  if (credentials !== undefined) return { account: await authenticator.authenticate(credentials, remote), hasLoggedIn: true, remote }
  if (authenticator.isRequired && !mayLogInLater) throw new TroupeError('auth.required')
  return { account: authenticator.anonymous(random.id()), hasLoggedIn: false, remote }
}
