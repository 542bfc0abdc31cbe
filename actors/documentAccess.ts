/**
 * What a client may do with a document: what its permissions say, and then what the application says. Asked when it joins, and
 * again whenever either may have changed.
 */
import { type Account, type DocumentAccess, decide, documentAccess } from './account.ts'
import { TroupeError } from './errors.ts'
import type { HookClient, Hooks } from './hooks.ts'

export type AccessOutcome =
  /** It may do what it could do before. */
  | 'same'
  | 'changed'
  /** It has another document open than the one that was asked about. */
  | 'elsewhere'
  /** It is no longer connected. */
  | 'ended'

/**
 * Errors: `access.denied` with the rule that decided; what the hook throws. A promise only if the hook returns one, so that
 * nobody waits who has no hook.
 */
export const accessTo = (
  { onDocumentAccess }: Pick<Hooks, 'onDocumentAccess'>,
  client: HookClient,
  name: string,
): DocumentAccess | Promise<DocumentAccess> => {
  const permitted = documentAccess(client.account, name)
  if (onDocumentAccess === undefined) return granted(permitted, client.account, name)
  const decided = (answer: DocumentAccess | 'none' | void) => {
    const access = answer ?? permitted
    return granted(access === 'none' ? undefined : access, client.account, name)
  }
  const answer = onDocumentAccess(client, name, permitted ?? 'none')
  return answer instanceof Promise ? answer.then(decided) : decided(answer)
}

const granted = (access: DocumentAccess | undefined, account: Account, name: string): DocumentAccess => {
  if (access !== undefined) return access
  const { isAllowed, rule } = decide(account, 'document', name, 'read')
  const decided = isAllowed ? 'onDocumentAccess' : rule
  throw new TroupeError('access.denied', decided, { rule: decided })
}
