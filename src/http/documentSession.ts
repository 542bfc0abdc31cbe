/**
 * What a request about a document may do: whose it is, which document, and the way to it.
 *
 * A route about documents is data (apiRoute.ts) and a handler that gets a `DocumentCall`; before it runs, the account was found,
 * the request counted, `demands` checked, query and body read.
 */
import type { FastifyRequest } from 'fastify'
import type { z } from 'zod'
import { type Account, birthBan, type DocumentAccess, documentLevels, scopedId } from '../../actors/account.ts'
import type { DocumentLifeRequest, DocumentMessage } from '../../actors/documentMessages.ts'
import { TroupeError } from '../../actors/errors.ts'
import type { Address } from '../../actors/system/address.ts'
import type { Message } from '../../actors/system/message.ts'
import type { Author, RequestKey } from '../../crdt/change.ts'
import { askDocument, demandExistence } from '../documents/ask.ts'
import { documentName } from '../documents/name.ts'
import type { ApiOperation, ApiReply } from './apiRoute.ts'
import type { HttpSession } from './session.ts'

/** A header of routes that are to be done once, however often they are asked for. */
export const repeatable = {
  'Idempotency-Key': 'A request with the key of an earlier one of the same account is answered as that was, and not done again',
}

export const ifMatch = { 'If-Match': 'ETags: change it only if one is still there; else 412' }

/** What an account may do with a document, over HTTP. */
export type DocumentAction = 'read' | 'comment' | 'write' | 'create' | 'delete'

export class DocumentSession {
  /** As the tenant knows it. */
  readonly name: string
  /** Among those of all tenants. */
  readonly id: string
  readonly session: HttpSession
  #access: DocumentAccess | undefined

  /** Errors: `connection.bad_name`. */
  constructor(session: HttpSession, name: string) {
    this.session = session
    this.name = documentName(name)
    this.id = scopedId(session.account.tenant, this.name)
  }

  get account(): Account {
    return this.session.account
  }

  get address(): Address {
    return `document/${this.id}`
  }

  /** Of what this request changes. */
  get author(): Author {
    const { isAnonymous, user } = this.account
    return { user: isAnonymous ? '' : user, via: 'http' }
  }

  /** What forbids the account to bring the document into being by changing it. */
  get birthBan(): string | undefined {
    return birthBan(this.account, this.name)
  }

  /** Another document of the same account. */
  sibling(name: string): DocumentSession {
    return new DocumentSession(this.session, name)
  }

  /**
   * What the account may do here is at least this. Creating and deleting have permissions of their own; what the application allows
   * less than `write`, it does not allow to be deleted, either. Errors: `access.denied`, and those of the hook `onDocumentAccess`.
   */
  async demand(action: DocumentAction): Promise<void> {
    const isLife = action === 'create' || action === 'delete'
    const { isAllowed, rule } = this.session.may('document', this.name, action)
    if (isLife && !isAllowed) throw new TroupeError('access.denied', rule, { rule })
    if (isLife && !this.session.asksForDocuments) return
    const access = await this.session.documentAccess(this.name)
    this.#access = access
    if (documentLevels.indexOf(access) < documentLevels.indexOf(isLife ? 'write' : action)) {
      const reason = isAllowed ? 'onDocumentAccess' : rule
      throw new TroupeError('access.denied', reason, { rule: reason })
    }
  }

  /** Without this, whoever asks about a document would make one. Errors: `document.unknown`, `document.deleted`, `document.renamed`. */
  demandExistence(): Promise<void> {
    return demandExistence(this.session, this.address)
  }

  /** After `demand` for reading, commenting or writing. */
  get access(): DocumentAccess {
    return this.#access ?? 'read'
  }

  /** Asks the document; the answer is what it answers to this message. Errors: `document.unavailable`, `document.busy`, what it refuses with. */
  ask<Answer>(message: DocumentMessage | DocumentLifeRequest): Promise<Answer> {
    return this.askActor<Answer>(this.address, message)
  }

  askActor<Answer>(address: Address, message: Message): Promise<Answer> {
    return askDocument<Answer>(this.session, address, message)
  }
}

export interface DocumentCall<Query = unknown, Body = unknown> {
  readonly session: HttpSession
  /** Of routes with a name in their path. */
  readonly document: DocumentSession
  readonly query: Query
  /** The JSON body; undefined when there was none, or another one. */
  readonly body: Body
  /** A body of `application/octet-stream`. */
  readonly bytes: Uint8Array | undefined
  /** Of routes that take an `Idempotency-Key`; undefined when there was none. */
  readonly key: RequestKey | undefined
  /** Of the path, decoded. */
  readonly params: Readonly<Record<string, string>>
  readonly request: FastifyRequest
}

export interface DocumentRoute extends ApiOperation {
  /** Checked before the handler runs; a route without it checks by itself. */
  readonly demands?: DocumentAction
  handle(call: DocumentCall): Promise<ApiReply> | ApiReply
}

interface Typed<Query extends z.ZodObject, Body extends z.ZodType> extends Omit<ApiOperation, 'query' | 'body'> {
  readonly demands?: DocumentAction
  readonly query?: Query
  readonly body?: { readonly schema?: Body; readonly isBinary?: boolean; readonly isRequired?: boolean }
  handle(call: DocumentCall<z.output<Query>, z.output<Body> | undefined>): Promise<ApiReply> | ApiReply
}

/** Query and body have in the handler the types of their schemas; they were read with them. */
export const documentRoute = <Query extends z.ZodObject, Body extends z.ZodType>(route: Typed<Query, Body>): DocumentRoute =>
  route as unknown as DocumentRoute
