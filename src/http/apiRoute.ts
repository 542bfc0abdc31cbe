/**
 * A route of the API as data: what it takes, what it answers, what an account needs for it, and the function that does it.
 * The server registers routes from it and the description for programs (openapi.ts) is made of it, so that the two cannot drift apart.
 */
import type { FastifyRequest, HTTPMethods } from 'fastify'
import type { z } from 'zod'

export type ApiTag = 'documents' | 'content' | 'history' | 'channels' | 'access' | 'server'

/** One status that a route answers with. Errors are the same everywhere and are not listed. */
export interface ApiAnswer {
  readonly description: string
  /** Of a JSON body. */
  readonly schema?: z.ZodType
  /** Media types of bodies that are not JSON. */
  readonly types?: readonly string[]
  /** Headers beside the usual ones, with their meaning. */
  readonly headers?: Readonly<Record<string, string>>
}

export interface ApiBody {
  /** Of a JSON body; not there: JSON is not taken. */
  readonly schema?: z.ZodType
  /** True: `application/octet-stream` is taken, too. */
  readonly isBinary?: boolean
  readonly isRequired?: boolean
}

export interface ApiOperation {
  readonly method: HTTPMethods & ('GET' | 'PUT' | 'POST' | 'PATCH' | 'DELETE')
  /** `/v1/documents/{name}/content` */
  readonly path: string
  /** Name of the operation for programs that are made from the description: `readContent`. */
  readonly operation: string
  readonly tag: ApiTag
  readonly summary: string
  /** Parameters of the path beside `name`, with their meaning. */
  readonly parameters?: Readonly<Record<string, string>>
  /** An object; what it does not name is passed over, for credentials stand in the query, too. */
  readonly query?: z.ZodObject
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: ApiBody
  readonly answers: Readonly<Record<number, ApiAnswer>>
  /** What an account needs, for people: `document:NAME:read`. */
  readonly needs: string
}

/** What a handler answers. `type`: the body is a text or bytes and goes out as it is; without it, JSON. */
export interface ApiReply {
  readonly status?: number
  readonly headers?: Readonly<Record<string, string>>
  readonly type?: string
  readonly body?: unknown
}

/** `/v1/documents/{name}` as Fastify writes it. */
export const routerPath = (path: string): string => path.replace(/\{(\w+)\}/g, ':$1')

export const paramsOf = ({ params }: FastifyRequest): Readonly<Record<string, string>> => params as Record<string, string> // what a router gives
