/**
 * `troupe user`: changes the users file. A server that runs takes the change up by itself.
 *
 * The password comes from the terminal, unseen, or as the first line of standard input; never from the command line, where
 * every other user of the machine could read it.
 */
import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'
import { Writable } from 'node:stream'
import { parseArgs } from 'node:util'
import { accountDefect, isPermission, isTenantName } from '../../actors/account.ts'
import { TroupeError } from '../../actors/errors.ts'
import { flagDefect } from '../cli.ts'
import { hashPassword, maxPasswordBytes } from './passwords.ts'
import { changeUsers, readUsers, type UserEntry } from './usersFile.ts'

export const userHelp = `Usage: troupe user COMMAND --users FILE

  add NAME [--tenant TENANT] [--permission PERMISSION ...]
                 add a user, or change the password of one; asks for it, or reads a line from standard input
  remove NAME    remove a user; what is connected in this name is disconnected
  list           print the users

The file is that of the option auth.users. docs/accounts.md tells about permissions.
`

/** What the command talks to. */
export interface Terminal {
  readonly input: Readable & { readonly isTTY?: boolean }
  readonly output: Writable
  /** Prompts; not part of the output. */
  readonly prompts: Writable
}

interface UserArguments {
  readonly command: string | undefined
  readonly name: string | undefined
  readonly file: string
  readonly tenant: string | undefined
  readonly permissions: readonly string[] | undefined
}

const leastPasswordLength = 8

const refuse = (reason: string): never => {
  throw new TroupeError('config.invalid', reason)
}

const parse = (args: readonly string[]): UserArguments => {
  try {
    const { values, positionals } = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        users: { type: 'string' },
        tenant: { type: 'string' },
        permission: { type: 'string', multiple: true },
        help: { type: 'boolean', short: 'h' },
      },
    })
    const [command, name, ...more] = values.help === true ? [] : positionals
    if (more.length > 0) refuse(`user: ${JSON.stringify(more[0])} is too much`)
    return { command, name, file: values.users ?? '', tenant: values.tenant, permissions: values.permission }
  } catch (error) {
    if (error instanceof TroupeError) throw error
    return refuse(`user: ${flagDefect(error)}; see troupe user`)
  }
}

/** One line; undefined when there is none. */
const readLine = ({ input, prompts }: Terminal, prompt: string): Promise<string | undefined> => {
  const isTerminal = input.isTTY === true
  if (isTerminal) prompts.write(prompt)
  // With a terminal, readline writes what is typed to its output: to nowhere.
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() })
  const lines = createInterface({ input, ...(isTerminal ? { output: nowhere, terminal: true } : {}) })
  return new Promise((resolve) => {
    const done = (line: string | undefined) => {
      if (isTerminal) prompts.write('\n')
      resolve(line)
    }
    lines.once('line', (line) => {
      lines.removeAllListeners('close')
      lines.close()
      done(line)
    })
    lines.once('close', () => done(undefined))
  })
}

const readPassword = async (terminal: Terminal, name: string): Promise<string> => {
  const password = (await readLine(terminal, `Password of ${name}: `)) ?? refuse('user: no password was given')
  if (password.length < leastPasswordLength) refuse(`user: the password needs at least ${leastPasswordLength} characters`)
  if (Buffer.byteLength(password) > maxPasswordBytes) refuse(`user: the password has more than ${maxPasswordBytes} bytes`)
  if (terminal.input.isTTY === true && (await readLine(terminal, 'Once more: ')) !== password) refuse('user: these are two passwords')
  return password
}

const check = ({ name = '', tenant = '', permissions = [] }: UserArguments): void => {
  const defect = name === '' ? 'which one?' : accountDefect(name)
  if (defect !== undefined) refuse(`user: ${defect}`)
  if (!isTenantName(tenant)) refuse(`user: the tenant ${JSON.stringify(tenant)} is not 1 to 64 of A-Z a-z 0-9 _ . -`)
  const wrong = permissions.find((text) => !isPermission(text))
  if (wrong !== undefined) refuse(`user: ${JSON.stringify(wrong)} is not a permission; docs/accounts.md has the language`)
}

/** What is not said anew stays as it was. */
const withUser = (users: readonly UserEntry[], name: string, changed: Partial<UserEntry>, password: string): readonly UserEntry[] => {
  const known = users.find((user) => user.name === name)
  const entry: UserEntry = { ...known, name, password, ...changed }
  return known === undefined ? [...users, entry] : users.map((user) => (user === known ? entry : user))
}

const add = async (given: UserArguments & { readonly name: string }, terminal: Terminal): Promise<void> => {
  const { name, file, tenant, permissions } = given
  const password = await hashPassword(await readPassword(terminal, name))
  const changed = { ...(tenant === undefined ? {} : { tenant }), ...(permissions === undefined ? {} : { permissions: [...permissions] }) }
  await changeUsers(file, (users) => withUser(users, name, changed, password))
}

const remove = ({ name, file }: UserArguments): Promise<void> =>
  changeUsers(file, (users) => {
    const others = users.filter((user) => user.name !== name)
    return others.length < users.length ? others : refuse(`user: there is no ${JSON.stringify(name)} in ${file}`)
  })

const list = async (file: string, output: Writable): Promise<void> => {
  for (const { name, tenant = '', permissions, disabled = false } of await readUsers(file))
    output.write(`${[name, tenant || '-', permissions?.join(' ') ?? '(default)', disabled ? 'disabled' : ''].join('\t').trimEnd()}\n`)
}

/**
 * `args`: what follows `user`. `configured`: the file of the configuration, asked when the arguments name none.
 * Errors: `config.invalid`.
 */
export const userCommand = async (args: readonly string[], configured: () => Promise<string>, terminal: Terminal): Promise<void> => {
  const given = parse(args)
  const { command } = given
  if (command === undefined) return void terminal.output.write(userHelp)
  if (!['add', 'remove', 'list'].includes(command)) refuse(`user: there is no command ${JSON.stringify(command)}; see troupe user`)
  const file = given.file === '' ? await configured() : given.file
  if (file === '') refuse('user: which file? Give --users FILE, or the option auth.users')
  if (command === 'list') return list(file, terminal.output)
  const full = { ...given, file, name: (given.name ?? '').normalize('NFC') }
  check(full)
  await (command === 'add' ? add(full, terminal) : remove(full))
}
