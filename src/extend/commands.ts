/**
 * Commands of users. They stand in one table with the built-in ones, so every door offers them, `help` lists them, and the
 * same permissions decide who may run them.
 */
import type { Command } from '../../actors/command.ts'
import { TroupeError } from '../../actors/errors.ts'
import { isSchema } from '../../actors/schema.ts'
import { Names } from './names.ts'

const namePattern = /^[a-z][a-z0-9_.-]{0,63}$/

/** What is wrong with a command; undefined when nothing is. */
export const commandDefect = (value: unknown): string | undefined => {
  if (typeof value !== 'object' || value === null) return 'a command must be an object'
  const { name, help, params, needsAccount, run } = value as Record<string, unknown> // every field is looked at below
  if (typeof name !== 'string' || !namePattern.test(name))
    return `command ${JSON.stringify(name)}: the name must match [a-z][a-z0-9_.-]* and have at most 64 characters`
  if (typeof help !== 'string' || help === '' || help.includes('\n')) return `command ${name}: \`help\` must be one line of text`
  if (!isSchema(params)) return `command ${name}: \`params\` must be a schema, for instance z.object({})`
  if (needsAccount !== undefined && typeof needsAccount !== 'boolean') return `command ${name}: \`needsAccount\` must be true or false`
  if (typeof run !== 'function') return `command ${name}: \`run\` must be a function`
  return undefined
}

/**
 * Defines a command. The types of `run`'s parameters are those of the schema.
 *
 * @example
 * const double = defineCommand({
 *   name: 'double',
 *   help: 'Twice a number.',
 *   params: z.object({ number: z.number() }),
 *   run: ({ number }) => ({ number: number * 2 }),
 * })
 *
 * Errors: `config.invalid`.
 */
export const defineCommand = <Params>(command: Command<Params>): Command => {
  const defect = commandDefect(command)
  if (defect !== undefined) throw new TroupeError('config.invalid', defect)
  // The table holds commands of many parameters; each is only ever run with what its own schema let through.
  return command as unknown as Command
}

interface Owner {
  readonly name: string
  readonly commands?: readonly Command[]
}

/** All commands by name. Errors: `config.invalid` when two have the same one. */
export const commandTable = (builtins: Iterable<Command>, plugins: readonly Owner[]): ReadonlyMap<string, Command> => {
  const names = new Names<Command>('command')
  for (const command of builtins) names.add('Troupe itself', command.name, command)
  for (const { name, commands = [] } of plugins) for (const command of commands) names.add(`plugin ${name}`, command.name, command)
  return names.values
}
