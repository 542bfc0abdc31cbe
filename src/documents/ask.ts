/** Asks actors of documents, and says in words about documents what the actor system says about actors. */
import type { DocumentDescription } from '../../actors/documentMessages.ts'
import { absence } from '../../actors/documentRecord.ts'
import { type ErrorCode, isTroupeError, TroupeError } from '../../actors/errors.ts'
import type { Address } from '../../actors/system/address.ts'
import type { Message } from '../../actors/system/message.ts'
import type { AskOptions } from '../../actors/system/scope.ts'

/** Loading a large document that nobody has open takes longer than a message to one that is there. */
const askTimeoutMs = 30_000

/** `isOpen`: the document may have got the message, so what changes something may be done. Else it has not. */
const unreachable: Readonly<Partial<Record<ErrorCode, { readonly code: ErrorCode; readonly isOpen?: true }>>> = {
  'actor.ask_timeout': { code: 'document.unavailable', isOpen: true },
  'actor.failed': { code: 'document.unavailable', isOpen: true },
  'system.closed': { code: 'system.closed', isOpen: true },
  // Who stops answers what it is at work on; only those whose turn has not come hear this.
  'actor.stopped': { code: 'document.unavailable' },
  'actor.mailbox_full': { code: 'document.busy' },
}

export interface Asker {
  ask(address: Address, message: Message, options?: AskOptions): Promise<unknown>
}

/** Questions that change nothing. */
const questions: ReadonlySet<string> = new Set([
  'document.state',
  'document.recall',
  'document.describe',
  'document.present',
  'document.history',
  'document.view',
  'document.diff',
  'document.version.list',
])
/**
 * Of these it makes no difference which content is there. A document that is loaded anew while they wait, because its content was
 * exchanged, is asked again; what was made for the old content is not, nor what names a moment of its past.
 */
const lives: ReadonlySet<string> = new Set([
  'document.create',
  'document.remove',
  'document.undelete',
  'document.purge',
  'document.reset',
  'document.copy',
  'document.rename',
])
const mostAttempts = 3

/**
 * Errors: `document.unavailable`, `document.busy`, and what the actor refuses with: nothing was done; `document.outcome_unknown` of
 * what changes something: nobody knows.
 */
export const askDocument = async <Answer>(asker: Asker, address: Address, message: Message): Promise<Answer> => {
  for (let attempt = 1; ; attempt++) {
    try {
      return (await asker.ask(address, message, { timeoutMs: askTimeoutMs })) as Answer // what that actor answers to this message
    } catch (error) {
      const isLeaving = isTroupeError(error, 'actor.stopped') || isTroupeError(error, 'document.unavailable')
      if (attempt < mostAttempts && isLeaving && (questions.has(message.type) || lives.has(message.type))) continue
      const found = isTroupeError(error) ? unreachable[error.code] : undefined
      if (found === undefined) throw error
      const isUnknown = found.isOpen === true && !questions.has(message.type)
      throw new TroupeError(isUnknown ? 'document.outcome_unknown' : found.code, undefined, { cause: error })
    }
  }
}

/** Without this, whoever asks about a document would make one. Errors: `document.unknown`, `document.deleted`, `document.renamed`. */
export const demandExistence = async (asker: Asker, address: Address): Promise<void> => {
  const { deleted } = await askDocument<DocumentDescription>(asker, address, { type: 'document.describe' })
  if (deleted !== undefined) throw absence(deleted)
}
