/** Where a request may carry its credentials, and what it is answered. */
import { describe, expect, it } from 'vitest'
import { isTroupeError } from '../../actors/errors.ts'
import { answeredProtocol, credentialsOf } from '../../src/auth/credentials.ts'

const basic = (text: string) => `Basic ${Buffer.from(text).toString('base64')}`
const token = (text: string) => ({ type: 'token', token: text })
const password = (username: string, text: string) => ({ type: 'password', username, password: text })

interface Given {
  readonly url?: string
  readonly authorization?: string
  readonly protocols?: string
}

const found = ({ url = '/', authorization, protocols }: Given): unknown => {
  try {
    return credentialsOf({
      url,
      headers: {
        ...(authorization === undefined ? {} : { authorization }),
        ...(protocols === undefined ? {} : { 'sec-websocket-protocol': protocols }),
      },
    })
  } catch (error) {
    if (!isTroupeError(error)) throw error
    return `${error.code}: ${error.detail}`
  }
}

const differ = 'auth.failed: the request carries credentials that differ'
const neither = 'auth.failed: Authorization: neither Bearer nor Basic'

describe('credentials', () => {
  const cases: [name: string, given: Given, expected: unknown][] = [
    ['none', {}, undefined],
    ['token in the query', { url: '/ws?token=t1' }, token('t1')],
    ['access_token in the query', { url: '/?x=1&access_token=t1' }, token('t1')],
    ['auth_token in the query', { url: '/?auth_token=t1' }, token('t1')],
    ['encoded in the query', { url: '/?token=a%2Bb%3D' }, token('a+b=')],
    ['a broken encoding in the query', { url: '/?token=%E0%A4' }, token('\ufffd')],
    ['an empty one in the query', { url: '/ws?token=' }, undefined],
    ['before the fragment', { url: '/?token=t1#token=t2' }, token('t1')],
    ['in the path', { url: '/token=t1' }, undefined],
    ['Bearer', { authorization: 'Bearer t1' }, token('t1')],
    ['Bearer in any case, with spaces', { authorization: '  bEARER   t1  ' }, token('t1')],
    ['Bearer and nothing', { authorization: 'Bearer' }, undefined],
    ['an empty header', { authorization: ' ' }, undefined],
    ['Basic', { authorization: basic('alice:secret') }, password('alice', 'secret')],
    ['Basic with colons in the password', { authorization: basic('alice:a:b:') }, password('alice', 'a:b:')],
    ['Basic with letters of all the world', { authorization: basic('zoë:пароль') }, password('zoë', 'пароль')],
    ['Basic without a colon', { authorization: basic('alice') }, 'auth.failed: Authorization: Basic without a colon'],
    ['another scheme', { authorization: 'Negotiate abc' }, neither],
    ['a bare token', { authorization: 't1' }, neither],
    ['a subprotocol', { protocols: 'bearer.t1' }, token('t1')],
    ['a subprotocol next to a real one', { protocols: 'troupe, bearer.t1' }, token('t1')],
    ['a pair of subprotocols', { protocols: 'bearer, t1' }, token('t1')],
    ['a pair and a real one', { protocols: 'bearer,t1,troupe' }, token('t1')],
    ['a real one alone', { protocols: 'troupe' }, undefined],
    ['bearer without a token', { protocols: 'troupe, bearer' }, undefined],
    ['an empty subprotocol', { protocols: 'bearer.' }, undefined],
    ['the same token twice', { url: '/?token=t1', authorization: 'Bearer t1', protocols: 'bearer.t1' }, token('t1')],
    ['two tokens in the query', { url: '/?token=t1&token=t2' }, differ],
    ['two names in the query', { url: '/?token=t1&auth_token=t2' }, differ],
    ['query and header', { url: '/?token=t1', authorization: 'Bearer t2' }, differ],
    ['header and subprotocol', { authorization: 'Bearer t1', protocols: 'bearer.t2' }, differ],
    ['two subprotocols', { protocols: 'bearer.t1, bearer.t2' }, differ],
    ['token and password', { url: '/?token=t1', authorization: basic('a:b') }, differ],
  ]
  it.each(cases)('[CD1] %s', (_name, given, expected) => expect(found(given)).toEqual(expected))

  it('[CD2] are in no error', () => {
    for (const given of [{ url: '/?token=hunter2&token=other' }, { authorization: basic('hunter2') }, { authorization: 'hunter2' }])
      expect(found(given)).not.toContain('hunter2')
  })

  it('[CD3] of 8 KiB of anything are read in one go', () => {
    for (const authorization of [`Bearer${' '.repeat(8_000)}x${' '.repeat(8_000)}y`, basic(':'.repeat(6_000)), `${' '.repeat(8_000)}`])
      found({ authorization })
    found({ url: `/?${'token=&'.repeat(1_000)}`, protocols: 'bearer,'.repeat(1_000) })
  })
})

describe('the subprotocol of the answer', () => {
  it.each([
    [['troupe', 'bearer.t1'], 'troupe'],
    [['bearer.t1', 'troupe', 'other'], 'troupe'],
    [['bearer', 't1', 'troupe'], 'troupe'],
    [['bearer', 't1'], 'bearer'],
    [['bearer.t1'], 'bearer.t1'],
    [['troupe'], 'troupe'],
    [['bearer'], 'bearer'],
    [[], undefined],
  ])('[CD4] to %j is %j: never the token, unless nothing else was offered', (offered, answer) => {
    expect(answeredProtocol(new Set(offered))).toBe(answer)
  })
})
