/** The description of the API for programs, OpenAPI 3.1, made of the same tables as its routes: `GET /v1/openapi.json`. */
import type { FastifyPluginAsync } from 'fastify'
import { z } from 'zod'
import { version } from '../version.ts'
import type { ApiAnswer, ApiBody, ApiOperation, ApiTag } from './apiRoute.ts'
import { corsHeaders } from './cors.ts'

type Part = Readonly<Record<string, unknown>>

const binary = 'application/octet-stream'

const tags: Readonly<Record<ApiTag, string>> = {
  documents: 'The life of documents: create, list, copy, rename, delete, restore',
  content: 'What is in documents, for programs that know no Yjs and for those that do',
  history: 'What documents were, who changed them, and back',
  channels: 'Messages for programs without WebSocket',
  access: 'Accounts, and what they may do',
  server: 'The server about itself',
}

const description: ApiOperation = {
  method: 'GET',
  path: '/v1/openapi.json',
  operation: 'describeApi',
  tag: 'server',
  summary: 'This description',
  answers: { 200: { description: 'OpenAPI 3.1', schema: z.looseObject({ openapi: z.string() }) } },
  needs: 'nothing',
}

/** What a program may send (`input`), or what it is sent. Defaults and coercions differ in these. */
const schemaOf = (schema: z.ZodType, io: 'input' | 'output'): Part => {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { io, unrepresentable: 'any' })
  return rest
}

const parameter = (name: string, place: string, text: string, isRequired: boolean, schema: Part): Part => ({
  name,
  in: place,
  description: text,
  required: isRequired,
  schema,
})

const pathParameters = ({ path, parameters = {} }: ApiOperation): Part[] =>
  [...path.matchAll(/\{(\w+)\}/g)].map(([, name = '']) => {
    const text = parameters[name] ?? 'Percent-encoded, its slashes too'
    return parameter(name, 'path', text, true, { type: 'string', ...(name === 'name' && { minLength: 1, maxLength: 255 }) })
  })

const queryParameters = ({ query }: ApiOperation): Part[] => {
  if (query === undefined) return []
  const { properties = {}, required = [] } = schemaOf(query, 'input') as { properties?: Record<string, Part>; required?: string[] }
  return Object.entries(properties).map(([name, { description: text = '', ...schema }]) =>
    // A query is text; a number in it is a number all the same.
    parameter(name, 'query', String(text), required.includes(name), schema),
  )
}

const headerParameters = ({ headers = {} }: ApiOperation): Part[] =>
  // Described elsewhere in OpenAPI, and not to be listed as parameters.
  Object.entries(headers)
    .filter(([name]) => !['accept', 'content-type', 'authorization'].includes(name.toLowerCase()))
    .map(([name, text]) => parameter(name, 'header', text, false, { type: 'string' }))

const bodyOf = ({ schema, isBinary, isRequired = false }: ApiBody): Part => ({
  required: isRequired,
  content: {
    ...(schema !== undefined && { 'application/json': { schema: schemaOf(schema, 'input') } }),
    ...(isBinary && { [binary]: { schema: {} } }),
  },
})

const answerOf = ({ description: text, schema, types = [], headers }: ApiAnswer): Part => {
  const content = {
    ...(schema !== undefined && { 'application/json': { schema: schemaOf(schema, 'output') } }),
    ...Object.fromEntries(types.map((type) => [type, { schema: type === binary ? {} : { type: 'string' } }])),
  }
  return {
    description: text,
    ...(Object.keys(content).length > 0 && { content }),
    ...(headers !== undefined && {
      headers: Object.fromEntries(
        Object.entries(headers).map(([name, about]) => [name, { description: about, schema: { type: 'string' } }]),
      ),
    }),
  }
}

const operationOf = (operation: ApiOperation): Part => {
  const parameters = [...pathParameters(operation), ...queryParameters(operation), ...headerParameters(operation)]
  const answers = Object.entries(operation.answers).map(([status, answer]) => [status, answerOf(answer)] as const)
  return {
    operationId: operation.operation,
    tags: [operation.tag],
    summary: operation.summary,
    description: `Needs: ${operation.needs}.`,
    ...(parameters.length > 0 && { parameters }),
    ...(operation.body !== undefined && { requestBody: bodyOf(operation.body) }),
    responses: { ...Object.fromEntries(answers), default: { $ref: '#/components/responses/Error' } },
  }
}

const errorBody = z.object({
  error: z.object({
    code: z.string().describe('One of docs/reference/errors.md'),
    message: z.string(),
    rule: z.string().optional().describe('The permission, limit or hook that decided'),
    retry_after: z.int().optional().describe('Seconds'),
  }),
})

export const openapi = (operations: readonly ApiOperation[]): Part => {
  const paths: Record<string, Record<string, Part>> = {}
  for (const operation of [...operations, description]) {
    paths[operation.path] ??= {}
    Object.assign(paths[operation.path] as object, { [operation.method.toLowerCase()]: operationOf(operation) })
  }
  const used = new Set([...operations, description].map(({ tag }) => tag))
  return {
    openapi: '3.1.0',
    info: { title: 'Troupe', version, description: 'Documents and channels over HTTP. Times are ISO 8601 in UTC.' },
    tags: Object.entries(tags)
      .filter(([name]) => used.has(name as ApiTag))
      .map(([name, text]) => ({ name, description: text })),
    security: [{}, { bearer: [] }, { basic: [] }, { token: [] }],
    paths,
    components: {
      securitySchemes: {
        bearer: { type: 'http', scheme: 'bearer' },
        basic: { type: 'http', scheme: 'basic' },
        token: { type: 'apiKey', in: 'query', name: 'token' },
      },
      responses: { Error: { description: 'Refused', content: { 'application/json': { schema: schemaOf(errorBody, 'output') } } } },
    },
  }
}

/** Public: it says what the program can do, and nothing about what is in it. */
export const openapiRoutes = (operations: readonly ApiOperation[], origins: readonly string[]): FastifyPluginAsync => {
  const text = JSON.stringify(openapi(operations))
  return async (app) => {
    app.get('/v1/openapi.json', (request, reply) =>
      reply.headers(corsHeaders(origins, request.headers.origin)).type('application/json; charset=utf-8').send(text),
    )
  }
}
