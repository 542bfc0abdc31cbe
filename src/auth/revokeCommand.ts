/** The command `revoke`: what a user or a token was let in with is worth nothing from now on. For accounts with `admin`. */
import { TroupeError } from '../../actors/errors.ts'
import { type Revocation, type RevocationsMessage, revocationsAddress } from '../../actors/revocations.ts'
import { given, optional, parameters, text, time } from '../bus/parameters.ts'
import { defineCommand } from '../extend/commands.ts'

export const revocationData = (revocation: Revocation) =>
  'tokenId' in revocation ? given({ token_id: revocation.tokenId, until: revocation.until }) : { ...revocation }

const tokenIdLength = 16_384 // a token that is longer is not accepted

export const revoke = defineCommand({
  name: 'revoke',
  help: 'For admins: end what was issued to a user (user, tenant?, before? now), or one token (token_id, until?)',
  params: parameters({
    user: optional(text('user').min(1, { error: 'user: at least 1 character' })),
    tenant: optional(text('tenant')),
    before: optional(time('before')),
    token_id: optional(text('token_id', tokenIdLength).min(1, { error: 'token_id: at least 1 character' })),
    until: optional(time('until')),
  }).refine(({ user, token_id }) => (user === undefined) !== (token_id === undefined), { error: 'user or token_id: one of them' }),
  async run({ user, tenant, before, token_id: tokenId, until }, session) {
    const { isAllowed, rule } = session.may('admin', 'revoke', 'run')
    if (!isAllowed) throw new TroupeError('access.denied', rule, { rule })
    const what =
      tokenId === undefined
        ? { user: (user ?? '').normalize('NFC'), tenant: tenant ?? session.account.tenant, ...given({ before }) }
        : { tokenId, ...given({ until }) }
    const message: RevocationsMessage = { type: 'revocations.revoke', ...what }
    return revocationData((await session.ask(revocationsAddress, message)) as Revocation) // what the actor answers
  },
})
