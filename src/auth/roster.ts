/**
 * Who is connected, by the address of the connection.
 *
 * Promises: whoever is revoked is expelled, at whatever moment. Between the check of a token and the entry here lie hooks of
 * users, which may take seconds; a revocation in between finds nobody, so who enters is looked at once more.
 */
import type { Account } from '../../actors/account.ts'
import type { Address } from '../../actors/system/address.ts'

export class GuardedRoster extends Map<Address, Account> {
  readonly #isRevoked: (account: Account) => boolean
  readonly #expel: (address: Address) => void

  constructor(isRevoked: (account: Account) => boolean, expel: (address: Address) => void) {
    super()
    this.#isRevoked = isRevoked
    this.#expel = expel
  }

  override set(address: Address, account: Account): this {
    if (this.#isRevoked(account)) this.#expel(address)
    return super.set(address, account)
  }

  /** Something was revoked. */
  readonly look = (): void => {
    for (const [address, account] of this) if (this.#isRevoked(account)) this.#expel(address)
  }
}
