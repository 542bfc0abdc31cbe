/** `troupe user`: what it makes of the users file. */
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { PassThrough, Readable } from 'node:stream'
import { afterAll, beforeEach, describe, expect, it } from 'vitest'
import { isTroupeError } from '../../actors/errors.ts'
import { isPassword, parseHash } from '../../src/auth/passwords.ts'
import { userCommand, userHelp } from '../../src/auth/userCommand.ts'
import { readUsers } from '../../src/auth/usersFile.ts'
import { temporaryDirectory } from '../support/process.ts'

const directory = temporaryDirectory()
const file = join(directory.path, 'users.json')
beforeEach(() => rmSync(file, { force: true }))
afterAll(() => directory.remove())

/** What it printed, or why it refused. `typed`: at a terminal; else what is piped into it. */
const troupeUser = async (args: readonly string[], { piped = '', typed }: { piped?: string; typed?: readonly string[] } = {}) => {
  const output = new PassThrough()
  const prompts = new PassThrough()
  const terminal = Object.assign(new PassThrough(), { isTTY: true, setRawMode: () => terminal })
  const input = typed === undefined ? Readable.from([piped]) : terminal
  let answered = 0
  prompts.on('data', (text: Buffer) => {
    if (text.includes(':')) terminal.write(`${typed?.[answered++] ?? ''}\r`)
  })
  const printed = () => String(output.read() ?? '')
  try {
    await userCommand(args, async () => '', { input, output, prompts })
    return printed()
  } catch (error) {
    if (!isTroupeError(error, 'config.invalid')) throw error
    return error.detail
  }
}
const add = (name: string, ...args: string[]) => ['add', name, '--users', file, ...args]
const passwordOf = async (name: string) => parseHash((await readUsers(file)).find((user) => user.name === name)?.password ?? '')

describe('troupe user', () => {
  it('[UC1] adds a user whose password is the first line of standard input', async () => {
    expect(
      await troupeUser(add('alice', '--tenant', 'acme', '--permission', 'channel:*', '--permission', 'history'), {
        piped: 'correct horse\nmore\n',
      }),
    ).toBe('')
    expect(await readUsers(file)).toEqual([
      { name: 'alice', password: expect.any(String), tenant: 'acme', permissions: ['channel:*', 'history'] },
    ])
    expect(await isPassword('correct horse', await passwordOf('alice'))).toBe(true)
    expect(readFileSync(file, 'utf8')).not.toContain('correct')
  })

  it('[UC2] asks for it twice at a terminal', async () => {
    expect(await troupeUser(add('alice'), { typed: ['correct horse', 'correct house'] })).toBe('user: these are two passwords')
    expect(await troupeUser(add('alice'), { typed: ['correct horse', 'correct horse'] })).toBe('')
    expect(await isPassword('correct horse', await passwordOf('alice'))).toBe(true)
  })

  it('[UC3] gives a user that is there another password, and leaves the rest as it was', async () => {
    await troupeUser(add('alice', '--tenant', 'acme', '--permission', 'history'), { piped: 'correct horse' })
    await troupeUser(add('bob'), { piped: 'correct horse' })
    await troupeUser(add('alice', '--permission', 'status'), { piped: 'another one\r\n' })
    expect(await readUsers(file)).toMatchObject([{ name: 'alice', tenant: 'acme', permissions: ['status'] }, { name: 'bob' }])
    expect(await isPassword('another one', await passwordOf('alice'))).toBe(true)
  })

  it('[UC4] lists and removes', async () => {
    await troupeUser(add('alice', '--tenant', 'acme', '--permission', 'history', '--permission', 'status'), { piped: 'correct horse' })
    await troupeUser(add('bob'), { piped: 'correct horse' })
    expect(await troupeUser(['list', '--users', file])).toBe('alice\tacme\thistory status\nbob\t-\t(default)\n')
    expect(await troupeUser(['remove', 'alice', '--users', file])).toBe('')
    expect(await troupeUser(['list', '--users', file])).toBe('bob\t-\t(default)\n')
    expect(await troupeUser(['remove', 'alice', '--users', file])).toMatch(/there is no "alice"/)
  })

  it('[UC5] takes the file of the configuration', async () => {
    writeFileSync(file, '{"users":[]}')
    await userCommand(['add', 'alice'], async () => file, {
      input: Readable.from(['correct horse']),
      output: new PassThrough(),
      prompts: new PassThrough(),
    })
    expect(await readUsers(file)).toMatchObject([{ name: 'alice' }])
  })

  it.each([
    ['a short password', add('alice'), 'short', /at least 8 characters/],
    ['a long password', add('alice'), 'x'.repeat(1_025), /more than 1024 bytes/],
    ['no password', add('alice'), '', /at least 8 characters|no password/],
    ['a password on the command line', add('alice', '--password', 'correct horse'), '', /--password/],
    ['a second name', add('alice', 'bob'), 'correct horse', /"bob" is too much/],
    ['no name', ['add', '--users', file], 'correct horse', /which one/],
    ['a name that is none', add('~alice'), 'correct horse', /begins with ~/],
    ['a tenant that is none', add('alice', '--tenant', 'a/b'), 'correct horse', /tenant/],
    ['a permission that is none', add('alice', '--permission', 'chanel:*:read'), 'correct horse', /"chanel:\*:read" is not a permission/],
    ['no file', ['add', 'alice'], 'correct horse', /which file/],
    ['another command', ['rename', 'alice'], '', /no command "rename"/],
  ])('[UC6] refuses %s', async (_name, args, piped, reason) => {
    expect(await troupeUser(args, { piped })).toMatch(reason)
    expect(() => readFileSync(file)).toThrow(/ENOENT/)
  })

  it('[UC7] says how it is used', async () => {
    expect(await troupeUser([])).toBe(userHelp)
  })
})
