/**
 * The users file: { "users": [{ "name", "password", "tenant"?, "permissions"?, "disabled"? }] }. Written whole or not at all.
 */
import { open, readFile, realpath, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { z } from 'zod'
import { accountDefect, isPermission, isTenantName } from '../../actors/account.ts'
import { TroupeError } from '../../actors/errors.ts'
import { parseHash } from './passwords.ts'

const name = z.string().check(({ value, issues }) => {
  const message = accountDefect(value)
  if (message !== undefined) issues.push({ code: 'custom', input: value, message })
})

const user = z.strictObject({
  name,
  /** As `hashPassword` makes it. */
  password: z.string().refine((text) => parseHash(text) !== undefined, 'not a password as `troupe user add` writes it'),
  tenant: z.string().refine(isTenantName, 'not 1 to 64 of A-Z a-z 0-9 _ . -').optional(),
  permissions: z.array(z.string().refine(isPermission, 'not a permission')).optional(),
  disabled: z.boolean().optional(),
})

const schema = z.strictObject({ users: z.array(user) })

export type UserEntry = z.output<typeof user>

const refuse = (file: string, reason: string): never => {
  throw new TroupeError('config.invalid', `users file ${file}: ${reason}`)
}

const reasonOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))

/** What JSON.parse says about bad text quotes it, and that may be a password. */
const parseJson = (file: string, text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return refuse(file, 'not JSON')
  }
}

export const parseUsers = (file: string, text: string): readonly UserEntry[] => {
  const parsed = schema.safeParse(parseJson(file, text))
  if (!parsed.success) return refuse(file, parsed.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`).join('; '))
  const { users } = parsed.data
  const names = new Set<string>()
  for (const { name } of users) {
    if (names.has(name)) refuse(file, `there are two users ${JSON.stringify(name)}`)
    names.add(name)
  }
  return users
}

/** Errors: `config.invalid`. */
export const readUsers = async (file: string): Promise<readonly UserEntry[]> =>
  parseUsers(file, await readFile(file, 'utf8').catch((error) => refuse(file, reasonOf(error))))

const isMissing = (error: unknown): boolean => (error as NodeJS.ErrnoException).code === 'ENOENT'

/**
 * Changes the file, or makes it. A reader sees the old one or the new one; only its owner may read it. When it resolves, it
 * is on disk. Errors: `config.invalid`, also when somebody else is changing it.
 */
export const changeUsers = async (file: string, change: (users: readonly UserEntry[]) => readonly UserEntry[]): Promise<void> => {
  const target = await realpath(file).catch((error) => (isMissing(error) ? file : refuse(file, reasonOf(error)))) // a link stays one
  const draft = `${target}.new`
  // `wx`: the draft is the lock, too.
  const handle = await open(draft, 'wx', 0o600).catch((error: NodeJS.ErrnoException) =>
    refuse(file, error.code === 'EEXIST' ? `somebody is changing it; if not, remove ${draft}` : error.message),
  )
  try {
    const text = await readFile(target, 'utf8').catch((error) => (isMissing(error) ? '{"users":[]}' : refuse(file, reasonOf(error))))
    const users = change(parseUsers(file, text))
    await handle.writeFile(`${JSON.stringify({ users }, null, 2)}\n`)
    await handle.sync()
    await handle.close()
    await rename(draft, target)
  } catch (error) {
    await handle.close()
    await rm(draft, { force: true })
    throw error
  }
  const directory = await open(dirname(target), 'r')
  await directory.sync().finally(() => directory.close())
}
