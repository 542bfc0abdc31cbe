/** A plugin that knows accounts: a token `badge-NAME` is the badge of NAME. */
import { definePlugin, TroupeError } from 'troupe'

export default definePlugin({
  name: 'badges',
  auth: {
    name: 'badges',
    async authenticate(credentials) {
      if (credentials.type !== 'token') return undefined
      const [, user] = /^badge-([a-z]+)$/.exec(credentials.token) ?? []
      if (user === undefined) throw new TroupeError('auth.failed', 'no such badge')
      return { user, tenant: '', isAnonymous: false, permissions: ['channel:town:read', 'command:*'] }
    },
  },
  hooks: {
    onConnect({ account }) {
      if (account.user === 'mallory') throw new TroupeError('hook.rejected', 'not today')
    },
    onAuthenticate(_client, account) {
      if (account.user === 'eve') throw new TroupeError('hook.rejected', 'badges of eve are not valid any more')
      if (account.user === 'boss') return { ...account, permissions: ['*'] }
    },
  },
})
