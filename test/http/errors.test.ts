import fastify from 'fastify'
import { describe, expect, it } from 'vitest'
import { type ErrorCode, errorTable, TroupeError } from '../../actors/errors.ts'
import { headOf, sendError, statusOf } from '../../src/http/errors.ts'
import { silentLog } from '../support/world.ts'

const codes = Object.keys(errorTable) as ErrorCode[]

/** What a request gets whose handler throws. */
const answerTo = async (error: unknown) => {
  const logged: string[] = []
  const app = fastify()
  app.setErrorHandler((thrown, _request, reply) => void sendError(reply, thrown, { ...silentLog, error: (_, text) => logged.push(text) }))
  app.post('/', () => Promise.reject(error))
  const { statusCode: status, headers, body } = await app.inject({ method: 'POST', url: '/' })
  return { status, headers, body: JSON.parse(body) as unknown, logged }
}

describe('the status of an error', () => {
  it('is there for every code, and says whose fault it is', () => {
    for (const code of codes) {
      const status = statusOf(code)
      expect([code, status >= 400 && status < 600]).toEqual([code, true])
      // What may be tried again unchanged is not a fault of the client.
      if (errorTable[code].retry) expect([code, [408, 429, 500, 503].includes(status)]).toEqual([code, true])
    }
  })

  it('401 names the scheme, and says that a token was bad only where there was one', () => {
    expect(headOf({ code: 'auth.required', message: '' })).toEqual({
      status: 401,
      headers: { 'www-authenticate': 'Bearer realm="troupe"' },
    })
    for (const code of ['auth.failed', 'auth.expired', 'auth.revoked'] as const)
      expect(headOf({ code, message: '' }).headers['www-authenticate']).toBe('Bearer realm="troupe", error="invalid_token"')
  })

  it('429 and 503 say when to come back, in whole seconds', () => {
    expect(headOf({ code: 'rate.limited', message: '', retryAfterMs: 1_200 }).headers).toEqual({ 'retry-after': '2' })
    expect(headOf({ code: 'storage.full', message: '' })).toEqual({ status: 503, headers: { 'retry-after': '1' } })
    expect(headOf({ code: 'access.denied', message: '' }).headers).toEqual({})
  })
})

describe('an answer to what went wrong', () => {
  it('has code, text, rule and time to wait', async () => {
    const error = new TroupeError('rate.limited', undefined, { rule: 'requests of one user', retryAfterMs: 2_500 })
    expect(await answerTo(error)).toMatchObject({
      status: 429,
      headers: { 'retry-after': '3' },
      body: { error: { code: 'rate.limited', message: 'too many requests', rule: 'requests of one user', retry_after: 3 } },
      logged: [],
    })
  })

  it('says what an application refused in its own words', async () => {
    expect((await answerTo(new TroupeError('hook.rejected', 'no links, please'))).body).toEqual({
      error: { code: 'hook.rejected', message: 'no links, please' },
    })
  })

  it('does not show actors to clients', async () => {
    expect(await answerTo(new TroupeError('actor.ask_timeout', 'channel/a'))).toMatchObject({
      status: 503,
      body: { error: { code: 'channel.unavailable' } },
    })
  })

  it('keeps what broke to itself, and logs it', async () => {
    const { status, body, logged } = await answerTo(new Error('the secret is 42'))
    expect([status, JSON.stringify(body).includes('42'), logged]).toEqual([500, false, ['a request failed']])
  })
})
