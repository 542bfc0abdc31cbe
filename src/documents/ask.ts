/** Asks actors of documents, and says in words about documents what the actor system says about actors. */
import type { DocumentDescription } from '../../actors/documentMessages.ts'
import { absence } from '../../actors/documentRecord.ts'
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

/** Questions that change nothing. A document that is loaded anew while they wait, because its content was exchanged, is asked again. */
const questions: ReadonlySet<string> = new Set([
  'document.state',
  'document.describe',
  'document.present',
  'document.history',
  'document.view',
  'document.diff',
  'document.version.list',
])
const mostAttempts = 3

/** Errors: `document.unavailable`, `document.busy`, and what the actor refuses with. */
export const askDocument = async <Answer>(asker: Asker, address: Address, message: Message): Promise<Answer> => {
  for (let attempt = 1; ; attempt++) {
    try {
      return (await asker.ask(address, message, { timeoutMs: askTimeoutMs })) as Answer // what that actor answers to this message
    } catch (error) {
      const isLeaving = isTroupeError(error, 'actor.stopped') || isTroupeError(error, 'document.unavailable')
      if (attempt < mostAttempts && isLeaving && questions.has(message.type)) continue
      const code = isTroupeError(error) ? unreachable[error.code] : undefined
      throw code === undefined ? error : new TroupeError(code, undefined, { cause: error })
    }
  }
}

/** Without this, whoever asks about a document would make one. Errors: `document.unknown`, `document.deleted`, `document.renamed`. */
export const demandExistence = async (asker: Asker, address: Address): Promise<void> => {
  const { deleted } = await askDocument<DocumentDescription>(asker, address, { type: 'document.describe' })
  if (deleted !== undefined) throw absence(deleted)
}
