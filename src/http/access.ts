/** `POST /v1/access/recheck`: the application says that somebody's permissions have changed. */
import { z } from 'zod'
import { TroupeError } from '../../actors/errors.ts'
import type { Rechecked, RecheckRequest } from '../documents/recheck.ts'
import { type DocumentRoute, documentRoute } from './documentSession.ts'

const name = z.string().max(255)
const connections = z.int().min(0)

const body = z.strictObject({
  user: name.min(1).optional().describe('Name of the account. Not there: everybody.'),
  tenant: name.optional().describe('Empty: the default one. Not there: all of them.'),
  document: name.min(1).optional().describe('Name of the document in its tenant. Not there: all of them.'),
})

const answer = z.object({
  same: connections.describe('Connections that may do what they could do before.'),
  changed: connections.describe('Connections that may do more or less from now on.'),
  ended: connections.describe('Connections that were closed.'),
})

export const accessRoutes = (recheck: (request: RecheckRequest) => Promise<Rechecked>): DocumentRoute[] => [
  documentRoute({
    method: 'POST',
    path: '/v1/access/recheck',
    operation: 'recheckAccess',
    tag: 'access',
    summary: 'Compute again what clients may do with the documents that they have open, and apply it in place',
    body: { schema: body },
    answers: { 200: { description: 'What became of the connections', schema: answer } },
    needs: 'admin',
    async handle({ session, body: { user, tenant, document } = {} }) {
      const { isAllowed, rule } = session.may('admin', 'recheck', 'run')
      if (!isAllowed) throw new TroupeError('access.denied', rule, { rule })
      const request: RecheckRequest = {
        ...(user !== undefined && { user: user.normalize('NFC') }),
        ...(tenant !== undefined && { tenant }),
        ...(document !== undefined && { document: document.normalize('NFC') }),
      }
      return { body: await recheck(request) }
    },
  }),
]
