/** Asks actors of documents, and says in words about documents what the actor system says about actors. */
import { type ErrorCode, isTroupeError, TroupeError } from '../../actors/errors.ts'
import type { Address } from '../../actors/system/address.ts'
import type { Message } from '../../actors/system/message.ts'
import type { AskOptions } from '../../actors/system/scope.ts'

/** Loading a large document that nobody has open takes longer than a message to one that is there. */
const askTimeoutMs = 30_000

const unreachable: Readonly<Partial<Record<ErrorCode, ErrorCode>>> = {
  'actor.ask_timeout': 'document.unavailable',
  'actor.failed': 'document.unavailable',
  'actor.stopped': 'document.unavailable',
  'actor.mailbox_full': 'document.busy',
}

export interface Asker {
  ask(address: Address, message: Message, options?: AskOptions): Promise<unknown>
}

/** Errors: `document.unavailable`, `document.busy`, and what the actor refuses with. */
export const askDocument = async <Answer>(asker: Asker, address: Address, message: Message): Promise<Answer> => {
  try {
    return (await asker.ask(address, message, { timeoutMs: askTimeoutMs })) as Answer // what that actor answers to this message
  } catch (error) {
    const code = isTroupeError(error) ? unreachable[error.code] : undefined
    throw code === undefined ? error : new TroupeError(code, undefined, { cause: error })
  }
}
