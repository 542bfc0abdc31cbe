/** Thousands of requests that are nearly right: each is answered with what the description says, and none is a fault of the server. */
import { Agent, request as httpRequest, type IncomingMessage } from 'node:http'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type ErrorCode, errorTable } from '../../actors/errors.ts'
import { apiRequests, type ChanceRequest } from '../support/apiRequests.ts'
import { ApiDescription } from '../support/description.ts'
import { serve } from '../support/service.ts'

interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly text: string
}

describe('the API, asked by chance', () => {
  const { server } = serve('auth.anonymousPermissions=*,admin')
  const seed = Number(process.env.SEED ?? 20_261_121)
  const runs = 800
  const agent = new Agent({ keepAlive: true })

  /** As it is: `fetch` would take `..` out of the path. */
  const send = ({ method, path, headers, body }: ChanceRequest): Promise<Answer> =>
    new Promise((resolve, reject) => {
      const length = body === undefined ? {} : { 'content-length': String(Buffer.byteLength(body)) }
      const sent = httpRequest(server().http, { method, path, headers: { ...headers, ...length }, agent }, (response: IncomingMessage) => {
        const isStream = response.headers['content-type']?.startsWith('text/event-stream') === true
        let text = ''
        const done = () => resolve({ status: response.statusCode as number, headers: new Headers(response.headers as never), text }) // it is there by now
        response.setEncoding('utf8').on('data', (part: string) => {
          text += part
        })
        if (isStream) {
          done()
          sent.destroy()
        } else response.on('end', done)
      })
      sent.on('error', reject).end(body)
    })

  it(`[HT13] ${runs} requests that are nearly right are answered as described, and none is a fault of the server (seed ${seed})`, async () => {
    const description = await ApiDescription.of(server().http)
    const fill = {
      method: 'PUT',
      headers: { 'content-type': 'application/json' },
      body: '{"content":{"map":{"a":1},"list":[1],"text":"hello"}}',
    }
    const statuses = new Map<string, Set<number>>()
    let asked = 0
    await fc.assert(
      fc.asyncProperty(apiRequests(description), async (request) => {
        if (asked++ % 10 === 0) for (const name of ['one', 'two', 'three']) await send({ ...fill, path: `/v1/documents/${name}` })
        const answer = await send(request)
        const { status, text } = answer
        expect([request.path, status < 500]).toEqual([request.path, true])
        if (request.method === 'HEAD') return
        if (status >= 400) {
          const { error } = JSON.parse(text) as { error: { code: ErrorCode; message: string } }
          expect([error.code, error.code in errorTable, error.message !== '']).toEqual([error.code, true, true])
        }
        const call = description.callOf(request.method, request.path)
        if (call === undefined) return
        if (status !== 404 || text === '') description.check(request.method, request.path, answer)
        const { operationId } = call.operation
        statuses.set(operationId, (statuses.get(operationId) ?? new Set()).add(status < 400 ? 200 : 400))
      }),
      { seed, numRuns: runs, endOnFailure: true },
    )
    agent.destroy()
    // It has done something: nearly every operation was both done and refused.
    const both = [...statuses.values()].filter((seen) => seen.size === 2)
    expect(both.length).toBeGreaterThan(25)
    expect(server().lines.filter(({ level }) => level >= 50)).toEqual([])
  })
})
