/** From one document to another: what is checked, asked and taken along when it is copied or renamed. */
import type { RequestKey } from '../crdt/change.ts'
import { publicName, scopedId, tenantOf } from './account.ts'
import { contentOf } from './documentContent.ts'
import type { DocumentDescription, DocumentLifeRequest, DocumentMessage, DocumentOrigin } from './documentMessages.ts'
import { type DocumentRecord, newRecord, withRequest } from './documentRecord.ts'
import { isTroupeError, TroupeError } from './errors.ts'
import type { Journals, Offset } from './journal.ts'
import { idDefect } from './system/address.ts'
import type { Scope } from './system/scope.ts'

/** Copies of large documents take their time on the disk of the other one. */
const receiveTimeoutMs = 60_000
const mostTries = 5
/** A document with more changes than this begins a new history under its new name: their places take 3 bytes each on their way. */
const mostSkipped = 2_000_000

/** Another document of the same tenant. */
const namesake = ({ id }: Scope, name: string): string => scopedId(tenantOf(id), name)

const historyOf = (scope: Scope, name: string): string => `history/${namesake(scope, name)}`

/** Errors: `connection.bad_name`, `document.exists`. */
export const checkTarget = (scope: Scope, to: string): void => {
  const defect = to.startsWith('~') ? 'it begins with ~' : idDefect(namesake(scope, to))
  if (defect !== undefined) throw new TroupeError('connection.bad_name', defect)
  if (to === publicName(scope.id)) throw new TroupeError('document.exists', to)
}

/** Changes whose places the new journal leaves free, so that history and changes fit together there. Undefined: there is no history. */
const skippedOf = async (journals: Journals, { id, address }: Scope): Promise<Offset | undefined> => {
  const { last } = await journals.head(`history/${id}`)
  const snapshot = await journals.snapshot(address)
  const skipped = Math.max(0, (snapshot?.offset ?? 0) - 1)
  return last === 0 || skipped > mostSkipped ? undefined : skipped
}

type Question = DocumentLifeRequest | Extract<DocumentMessage, { type: 'document.received' }>
type AnswerTo<Asked extends Question> = Asked extends DocumentLifeRequest ? DocumentDescription : DocumentDescription | undefined

/** `checkAlive`: throws when it is no longer for this document to ask. Errors: that, and what the other one refuses with. */
export const askOther = async <Asked extends Question>(
  scope: Scope,
  name: string,
  request: Asked,
  checkAlive: () => void,
): Promise<AnswerTo<Asked>> => {
  for (let left = mostTries; ; left--) {
    try {
      return (await scope.ask(`document/${namesake(scope, name)}`, request, { timeoutMs: receiveTimeoutMs })) as AnswerTo<Asked> // as it answers
    } catch (error) {
      // It has just got other content and is loaded anew.
      const isLeaving = isTroupeError(error, 'document.unavailable') || isTroupeError(error, 'actor.stopped')
      if (!isLeaving || left === 1) throw error
      checkAlive()
    }
  }
}

export interface Sending extends Pick<DocumentOrigin, 'isMove' | 'createdAt' | 'createdBy'> {
  readonly to: string
  readonly by: string
  readonly request?: RequestKey | undefined
}

/** The content goes to another name, whole. `checkAlive` and errors: those of `askOther`. */
export const handOver = async (
  scope: Scope,
  journals: Journals,
  { to, by, isMove, createdAt, createdBy, request }: Sending,
  checkAlive: () => void,
): Promise<DocumentDescription> => {
  const { epoch } = await journals.head(scope.address)
  const entries = await contentOf(journals, scope.address).entries(by, isMove ? 'rename' : 'copy')
  checkAlive()
  const skipped = isMove ? await skippedOf(journals, scope) : undefined
  checkAlive()
  const from = { name: publicName(scope.id), epoch, isMove, createdAt, createdBy, ...(skipped !== undefined && { skipped }) }
  return askOther(scope, to, { type: 'document.receive', by, from, entries, request }, checkAlive)
}

/** The other document has decided, and has changed nothing. */
export const isFinal = (error: unknown): boolean =>
  isTroupeError(error) &&
  ['document.exists', 'document.full', 'document.invalid', 'journal.too_large', 'actor.bad_address', 'connection.bad_name'].includes(
    error.code,
  )

type Receive = Extract<DocumentLifeRequest, { type: 'document.receive' }>

/** The answer to this was lost, or its asker was; what happened here since came later. */
export const hasReceived = (record: DocumentRecord | undefined, { from }: Receive): boolean => {
  const origin = record?.origin
  return from.isMove && origin?.isMove === true && origin.name === from.name && origin.epoch === from.epoch
}

/** Of the document that begins with this. */
export const receivedRecord = (scope: Scope, { by, from, entries, request }: Receive): DocumentRecord => {
  const { name, epoch, isMove, skipped, createdAt, createdBy } = from
  const history = skipped === undefined || entries.length === 0 ? undefined : { journal: historyOf(scope, name), epoch, skipped }
  return {
    ...newRecord(by, scope.now()),
    origin: from,
    ...(isMove && { createdAt, createdBy }),
    ...(history && { history }),
    ...withRequest({}, request, scope.now()),
  }
}
