/**
 * A user: the connections of one account, and the status that it has on all of them. Lives as long as one is there.
 *
 * Runs under the system as a volatile actor at `user/<id in the tenant>`. On a crash the status is `online` again.
 */
import type { Status } from './output.ts'
import type { Address } from './system/address.ts'
import { defineActor } from './system/definition.ts'

export type UserMessage =
  /** From a client, an ask: it is one of the user's from now on. Answered with the present status. */
  | { readonly type: 'user.attach' }
  | { readonly type: 'user.detach' }
  /** All connections of the user are told. */
  | { readonly type: 'user.status'; readonly status: Status }
  | { readonly type: 'actor.stopped'; readonly address: Address }

/** To a client actor: this is the status of its user now. */
export interface StatusChanged {
  readonly type: 'client.status'
  readonly status: Status
}

interface User {
  status: Status
  readonly clients: Set<Address>
}

export const userKind = () =>
  defineActor<User, UserMessage>({
    kind: 'user',
    state: () => ({ status: 'online', clients: new Set() }),
    canPassivate: ({ clients }) => clients.size === 0,
    handlers: {
      'user.attach': ({ status, clients }, _message, scope) => {
        if (scope.from === undefined) return status
        clients.add(scope.from)
        scope.watch(scope.from)
        return status
      },
      'user.detach': ({ clients }, _message, scope) => {
        if (scope.from === undefined) return
        clients.delete(scope.from)
        scope.unwatch(scope.from)
        // Not `stop`: who attaches meanwhile is in the mailbox and keeps it.
        if (clients.size === 0) scope.passivate()
      },
      'user.status': (user, { status }, scope) => {
        user.status = status
        const changed: StatusChanged = { type: 'client.status', status }
        for (const client of user.clients) scope.tell(client, changed)
        if (user.clients.size === 0) scope.passivate()
      },
      'actor.stopped': ({ clients }, { address }, scope) => {
        clients.delete(address)
        if (clients.size === 0) scope.passivate()
      },
    },
  })
