/**
 * Hooks: functions of the user that see what clients do before it is done, and may rewrite or refuse it.
 *
 * To refuse, throw: `new TroupeError('hook.rejected', text)` shows the text to the client; anything else that is thrown
 * shows only the name of the hook. A hook that returns a promise holds back what this client does next, and nobody else.
 */
import type { Account } from './account.ts'
import type { PublishOptions } from './command.ts'

export interface HookClient {
  readonly client: string
  readonly account: Account
  /** `bus`, `chat`, `pubsub`, `arqonbus`, `sse`, `http`. */
  readonly door: string
}

type Awaitable<Value> = Value | Promise<Value>

export interface Hooks {
  readonly onConnect?: (client: HookClient) => Awaitable<void>
  /** May return another account instead. */
  readonly onAuthenticate?: (client: HookClient, account: Account) => Awaitable<Account | void>
  readonly onJoin?: (client: HookClient, channel: string) => Awaitable<void>
  /** May return another message instead. */
  readonly onPublish?: (client: HookClient, message: PublishOptions) => Awaitable<PublishOptions | void>
  /** What happened already cannot be refused; errors are logged. */
  readonly onLeave?: (client: HookClient, channel: string) => Awaitable<void>
  readonly onDisconnect?: (client: HookClient) => Awaitable<void>
}
