/** What an account may do: the language of permissions, as docs/accounts.md tells it. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  type Account,
  accountDefect,
  birthBan,
  decide,
  documentAccess,
  isPermission,
  isTenantName,
  publicName,
  type Resource,
  scopedId,
  tenantOf,
  userDefect,
} from '../../actors/account.ts'
import { pattern } from '../../actors/pattern.ts'

const account = (...permissions: string[]): Account => ({ user: 'alice', tenant: '', isAnonymous: false, permissions })

type Wish = [resource: Resource, name: string, action: string]
const read = (name: string): Wish => ['channel', name, 'read']
const write = (name: string): Wish => ['channel', name, 'write']
const run = (name: string): Wish => ['command', name, 'run']

describe('a permission', () => {
  const cases: [permissions: string[], allowed: Wish[], denied: Wish[]][] = [
    [[], [], [read('a'), ['document', 'a', 'read'], run('ping'), ['telemetry', 'x', 'watch'], ['admin', 'x', 'revoke']]],
    [['channel:a:read'], [read('a')], [write('a'), read('b'), read('ab'), read('A'), ['document', 'a', 'read']]],
    [['channel:a:*'], [read('a'), write('a'), ['channel', 'a', 'delete']], [read('b')]],
    [['channel:a'], [read('a'), write('a')], [read('b'), ['document', 'a', 'read']]],
    [['channel:*:read'], [read('a'), read('a/b'), read('a:b'), read('')], [write('a')]],
    [['channel:*'], [read('a'), ['channel', 'x/y', 'create']], [['document', 'a', 'read'], run('a')]],
    [['channel:sensors/*:read'], [read('sensors/1'), read('sensors/a/b'), read('sensors/')], [read('sensors'), read('xsensors/1')]],
    [['channel:*/log:read'], [read('a/log'), read('a/b/log'), read('/log')], [read('a/logs'), read('log')]],
    [['channel:a*b*c:read'], [read('abc'), read('aXbXc'), read('abcabc')], [read('ab'), read('acb'), read('xabc'), read('abcx')]],
    [['channel:a*a:read'], [read('aa'), read('aba')], [read('a')]],
    [['channel:**:read'], [read('a/b')], [write('a')]],
    // Everything but the star stands for itself.
    [['channel:a.b:read'], [read('a.b')], [read('axb')]],
    [['channel:(a|b)+[c]$^?{1}\\d:read'], [read('(a|b)+[c]$^?{1}\\d')], [read('a'), read('ac'), read('(a|b)+[c]$^?{1}5')]],
    [['channel:.*:read'], [read('.'), read('.x')], [read('x')]],
    [['channel:a\nb:read'], [read('a\nb')], [read('a')]],
    [['channel:a*b:read'], [read('a\nb')], []],
    // Names with colons and slashes.
    [['channel:user:42:read'], [read('user:42')], [write('user:42'), read('user')]],
    [['channel:user:42'], [read('user:42'), write('user:42')], [read('user')]],
    [['channel:a:b:c:*'], [read('a:b:c')], [read('a:b')]],
    [['channel:x:read:*'], [read('x:read'), write('x:read')], [read('x')]],
    [['document:a/b/c:write'], [['document', 'a/b/c', 'write']], [['document', 'a/b/c', 'read']]],
    [
      ['document:x:delete'],
      [['document', 'x', 'delete']],
      [
        ['document', 'x', 'read'],
        ['document', 'x:delete', 'read'],
      ],
    ],
    // `rename` is no action of documents, so it is part of the name.
    [['document:x:rename'], [['document', 'x:rename', 'read']], [['document', 'x', 'rename']]],
    [['command:history'], [run('history')], [run('histor'), run('history2')]],
    [['command:op.*'], [run('op.cron')], [run('ops')]],
    [['command:a:b'], [run('a:b')], [run('a')]],
    [['history'], [run('history')], [run('ping'), read('history')]],
    [['op.*'], [run('op.cron')], [run('op')]],
    [['sender:bot-*'], [['sender', 'bot-7', 'speak']], [['sender', 'alice', 'speak']]],
    [['telemetry'], [['telemetry', 'any', 'watch']], [run('telemetry')]],
    [['command:telemetry'], [run('telemetry')], [['telemetry', 'any', 'watch']]],
    [['admin'], [['admin', 'revoke', 'run']], [read('a'), run('admin'), ['telemetry', 'x', 'watch']]],
    [
      ['*'],
      [read('a'), ['document', 'a', 'write'], run('a'), ['sender', 'x', 'speak'], ['telemetry', 'x', 'watch']],
      [['admin', 'x', 'x']],
    ],
    [['*', 'admin'], [['admin', 'revoke', 'run']], []],
    // What is forbidden stays so, wherever it stands.
    [['*', '!channel:secret:read'], [read('a'), write('secret')], [read('secret')]],
    [['!channel:secret:read', '*'], [read('a')], [read('secret')]],
    [['channel:secret:read', '!channel:secret'], [], [read('secret'), write('secret')]],
    [['*', '!channel:user:42'], [read('user')], [read('user:42'), write('user:42')]],
    [['*', '!channel:secret:raed'], [read('secret')], [read('secret:raed')]],
    [['*', '!command:delete_*'], [run('ping')], [run('delete_channel')]],
    [['*', '!history'], [run('ping')], [run('history')]],
    [['*', '!telemetry'], [run('ping')], [['telemetry', 'x', 'watch']]],
    [['admin', '!admin'], [], [['admin', 'x', 'x']]],
    [['channel:*', 'admin', '!*'], [['admin', 'x', 'x']], [read('a')]],
    // None of ours.
    [['orders:read', '!orders:read', 'Channel:*', 'channels:*:read', '', '!', ':', '::'], [], [read('a'), run('orders:read'), run('')]],
  ]
  it.each(cases)('[AC1] %j', (permissions, allowed, denied) => {
    for (const wish of allowed) expect([wish, decide(account(...permissions), ...wish).isAllowed]).toEqual([wish, true])
    for (const wish of denied) expect([wish, decide(account(...permissions), ...wish).isAllowed]).toEqual([wish, false])
  })

  it('[AC2] that decided is named; when none did, the one that is needed', () => {
    const rule = (permissions: string[], ...wish: Wish) => decide(account(...permissions), ...wish).rule
    expect(rule(['channel:b:read', 'channel:a*:read', '*'], ...read('a'))).toBe('channel:a*:read')
    expect(rule(['*', '!channel:a', '!*'], ...read('a'))).toBe('!channel:a')
    expect(rule([], ...read('a'))).toBe('needs channel:a:read')
    expect(rule([], 'document', 'x', 'write')).toBe('needs document:x:write')
    expect(rule([], ...run('history'))).toBe('needs command:history')
    expect(rule([], 'sender', 'bob', 'speak')).toBe('needs sender:bob')
    expect(rule([], 'telemetry', '$telemetry', 'watch')).toBe('needs telemetry')
    expect(rule(['*'], 'admin', 'revoke', 'run')).toBe('needs admin')
  })

  it.each([
    [[], undefined],
    [['document:x'], 'write'],
    [['*'], 'write'],
    [['document:x:read'], 'read'],
    [['document:x:comment'], 'comment'],
    [['document:x:write'], 'write'],
    [['document:*:read', 'document:x:comment'], 'comment'],
    [['document:y', 'document:x:delete'], undefined],
    [['document:*', '!document:x:write'], 'read'],
    [['*', '!document:*:write'], 'read'],
    [['*', 'document:x:comment', '!document:*:write'], 'comment'],
    [['document:x:comment', '!document:x:write'], 'comment'],
    [['document:y:comment', 'document:x', '!document:x:write'], 'read'],
    [['document:*', '!document:x:comment'], 'read'],
    [['document:x:write', '!document:x:comment'], undefined],
    [['document:*', '!document:x:read'], undefined],
    [['*', '!document:x'], undefined],
  ] as const)(
    '[AC11] %j open a document for %s: whoever may do more may do less, and what is forbidden ends the ladder',
    (permissions, access) => {
      expect(documentAccess(account(...permissions), 'x')).toBe(access)
    },
  )

  it.each([
    [['document:x:write'], undefined],
    [['document:x'], undefined],
    [[], undefined], // where the application says so
    [['document:*', '!document:*:create'], '!document:*:create'],
    [['document:*:write', '!document:y:create'], undefined],
  ] as const)('[AC12] %j to write a document is enough to bring it into being, unless creating is forbidden', (permissions, ban) => {
    expect(birthBan(account(...permissions), 'x')).toBe(ban)
  })

  it('[AC3] can be told from what is none', () => {
    for (const text of [
      'channel:*',
      'channel:a:read',
      'document:x',
      'command:x',
      'history',
      'sender:*',
      'telemetry',
      'admin',
      '*',
      '!*',
      '!channel:a',
    ])
      expect([text, isPermission(text)]).toEqual([text, true])
    for (const text of ['', '!', 'orders:read', 'chanel:a:read', ':a']) expect([text, isPermission(text)]).toEqual([text, false])
  })

  it('[AC4] is found for each account by itself, also when two share the same list', () => {
    const shared = ['channel:a:read']
    const alice = { ...account(), permissions: shared }
    const bob = { ...account('channel:b:read'), user: 'bob' }
    expect(decide(alice, ...read('a')).isAllowed).toBe(true)
    expect(decide(bob, ...read('a')).isAllowed).toBe(false)
    expect(decide({ ...bob, permissions: shared }, ...read('a')).isAllowed).toBe(true)
  })
})

describe('a pattern', () => {
  /** The plainest thing that is right: every way to split the name, by dynamic programming. */
  const matches = (text: string, name: string): boolean => {
    let reachable = new Set([0])
    for (const character of text) {
      const next = new Set<number>()
      for (const at of reachable)
        if (character === '*') for (let to = at; to <= name.length; to++) next.add(to)
        else if (name[at] === character) next.add(at + 1)
      reachable = next
    }
    return reachable.has(name.length)
  }

  it('[AC5] fits what every way of splitting the name would fit (seed 5)', () => {
    const letters = (...of: string[]) => fc.array(fc.constantFrom(...of), { maxLength: 9 }).map((parts) => parts.join(''))
    fc.assert(
      fc.property(letters('a', 'b', '*', '*'), letters('a', 'b'), (text, name) => pattern(text).test(name) === matches(text, name)),
      { seed: 5, numRuns: 5_000 },
    )
  })

  it('[AC6] of many stars looks at a name no more often than there are stars', () => {
    // Each part is looked for with `indexOf`, and the search never goes back. As a regular expression this would not end.
    let looks = 0
    class Counting extends String {
      override indexOf(part: string, at?: number): number {
        looks++
        return super.indexOf(part, at)
      }
    }
    const counted = new Counting('a'.repeat(250)) as unknown as string
    const evil = pattern(`${'*a'.repeat(100)}*b*c`)
    expect(evil.test(counted)).toBe(false)
    expect(looks).toBeLessThanOrEqual(101)
    expect(pattern(`${'a*'.repeat(5_000)}b`).test('a'.repeat(255))).toBe(false)
    expect(pattern('*'.repeat(10_000)).test('x')).toBe(true)
  })
})

describe('a name', () => {
  it.each([
    ['', 'the name is empty'],
    ['~acme/bob', 'the name begins with ~'],
    ['a\u0000', 'the name has control characters or is not well-formed'],
    ['\ud800', 'the name has control characters or is not well-formed'],
    ['a\u202eb', 'the name has invisible characters'],
    ['e\u0301', 'the name is not normalised (NFC)'],
    ['x'.repeat(129), 'the name is longer than 128 bytes'],
    ['€'.repeat(43), 'the name is longer than 128 bytes'],
  ])('[AC7] nobody is called %j', (user, defect) => {
    expect(userDefect(user)).toBe(defect)
    expect(accountDefect(user)).toBe(defect)
  })

  it('[AC8] of a client that did not log in is no name to log in with', () => {
    expect(userDefect('guest:bob')).toBeUndefined()
    expect(accountDefect('guest:bob')).toBe('the name begins with guest:')
    for (const user of ['alice', 'a@b.c', 'José', 'a b', 'a/b', '山田', 'x'.repeat(128), '€'.repeat(42)])
      expect([user, accountDefect(user)]).toEqual([user, undefined])
  })
})

describe('a tenant', () => {
  it('[AC9] has names of its own, which its members see without it', () => {
    expect(scopedId('', 'general')).toBe('general')
    expect(scopedId('acme', 'a/b')).toBe('~acme/a/b')
    for (const tenant of ['', 'acme'])
      for (const name of ['general', 'a/b', 'a:b'])
        expect([publicName(scopedId(tenant, name)), tenantOf(scopedId(tenant, name))]).toEqual([name, tenant])
  })

  it('[AC10] cannot be called so that its names would be those of another', () => {
    for (const name of ['', 'acme', 'a.b_c-1', 'x'.repeat(64)]) expect([name, isTenantName(name)]).toEqual([name, true])
    for (const name of ['a/b', '~a', 'a b', 'é', 'a\n', 'x'.repeat(65)]) expect([name, isTenantName(name)]).toEqual([name, false])
  })
})
