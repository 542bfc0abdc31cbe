/**
 * Runs a command of the table for somebody, whether it came over a socket or by HTTP.
 * Errors: `command.unknown`, `access.denied`, `command.bad_parameters`, and those of the command.
 */
import type { Command, Session } from './command.ts'
import { TroupeError } from './errors.ts'
import { describeIssues } from './schema.ts'

export interface CommandRules {
  readonly commands: ReadonlyMap<string, Command>
  /** Empty: all. */
  readonly allowedCommands: readonly string[]
}

export const runCommand = async (
  { commands, allowedCommands }: CommandRules,
  name: string,
  params: unknown,
  session: Session,
): Promise<unknown> => {
  const command = commands.get(name)
  if (command === undefined) throw new TroupeError('command.unknown', name)
  if (allowedCommands.length > 0 && !allowedCommands.includes(name))
    throw new TroupeError('access.denied', name, { rule: 'bus.allowedCommands' })
  if (command.needsAccount !== false) {
    const { isAllowed, rule } = session.may('command', name, 'run')
    if (!isAllowed) throw new TroupeError('access.denied', rule, { rule })
  }
  const checked = await command.params['~standard'].validate(params)
  if (checked.issues !== undefined) throw new TroupeError('command.bad_parameters', describeIssues(checked.issues))
  return command.run(checked.value, session)
}
