/** The description of the API, and whether an answer is one that it names. */
import { expect } from 'vitest'
import { z } from 'zod'

// biome-ignore lint/suspicious/noExplicitAny: a description of an API
type Part = any

export interface ApiCall {
  readonly method: string
  /** `/v1/documents/{name}/content` */
  readonly path: string
  readonly operation: Part
}

export interface ApiAnswered {
  readonly status: number
  readonly headers: Headers
  readonly text: string
}

const literals = (path: string): number => path.split('/').filter((part) => !part.startsWith('{')).length

export class ApiDescription {
  readonly api: Part
  readonly calls: readonly ApiCall[]
  readonly #schemas = new Map<unknown, z.ZodType>()

  constructor(api: Part) {
    this.api = api
    this.calls = Object.entries(api.paths as Record<string, Record<string, Part>>).flatMap(([path, operations]) =>
      Object.entries(operations).map(([method, operation]) => ({ method: method.toUpperCase(), path, operation })),
    )
  }

  static async of(http: string): Promise<ApiDescription> {
    return new ApiDescription(await (await fetch(`${http}/v1/openapi.json`)).json())
  }

  /** `path`: as it was asked for. */
  callOf(method: string, path: string): ApiCall | undefined {
    const parts = (path.split('?')[0] ?? '').split('/')
    const fits = (template: string) => {
      const pieces = template.split('/')
      return pieces.length === parts.length && pieces.every((piece, at) => piece.startsWith('{') || piece === parts[at])
    }
    const found = this.calls.filter((call) => call.method === method && fits(call.path))
    return found.sort((a, b) => literals(b.path) - literals(a.path))[0]
  }

  /** Expects what the description says of this operation: the status, the type of the body, and its form. */
  check(method: string, path: string, { status, headers, text }: ApiAnswered): void {
    const call = this.callOf(method, path)
    const what = [method, path.slice(0, 200), status]
    expect([...what, call === undefined]).toEqual([...what, false])
    const answer = call?.operation.responses[status] ?? (status >= 400 ? this.api.components.responses.Error : undefined)
    expect([...what, answer === undefined]).toEqual([...what, false])
    const type = headers.get('content-type')?.split(';')[0] ?? ''
    if (text === '') return
    expect([...what, Object.keys(answer.content ?? {})]).toEqual([...what, expect.arrayContaining([type])])
    if (type !== 'application/json') return
    const parsed = this.#schema(answer.content[type].schema).safeParse(JSON.parse(text))
    expect([...what, parsed.error?.issues ?? []]).toEqual([...what, []])
  }

  #schema(schema: Part): z.ZodType {
    const made = this.#schemas.get(schema) ?? z.fromJSONSchema(schema)
    this.#schemas.set(schema, made)
    return made
  }
}
