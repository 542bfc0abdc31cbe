/** Standard Schema, version 1: whether something is one, and what one found wrong, as a line for people. */
import type { Schema, Validation } from './command.ts'

/** A list of 10 000 wrong items has as many faults; the first ones say enough. */
const mostFaults = 5
const mostCharacters = 1_000

type Issues = NonNullable<Validation<unknown>['issues']>
type Path = NonNullable<Issues[number]['path']>

/** `readings[3].value`; keys that are no plain words stand in brackets, too. */
const pathOf = (path: Path, root: string): string =>
  path.reduce<string>((before, step) => {
    const key = typeof step === 'object' && step !== null && 'key' in step ? step.key : step // the standard allows both
    if (typeof key === 'string' && /^[\w-]+$/.test(key)) return before === '' ? key : `${before}.${key}`
    return `${before}[${typeof key === 'number' ? key : JSON.stringify(String(key))}]`
  }, root)

/** A message that begins with the name of its parameter says already where it is. */
const isNamed = (path: Path, message: string): boolean => path.length === 0 || message.startsWith(String(path[0]))

/** `root` is what the schema was given, for instance `content`; without one, the keys of the outermost object stand alone. */
export const describeIssues = (issues: Issues, root = ''): string => {
  const faults = issues
    .slice(0, mostFaults)
    .map(({ path = [], message }) => (root === '' && isNamed(path, message) ? message : `${pathOf(path, root)}: ${message}`))
  if (issues.length > mostFaults) faults.push(`and ${issues.length - mostFaults} more`)
  return faults.join('; ').slice(0, mostCharacters)
}

export const isSchema = (value: unknown): value is Schema<unknown> => {
  const standard =
    ((typeof value === 'object' && value !== null) || typeof value === 'function') && '~standard' in value && value['~standard']
  return typeof standard === 'object' && standard !== null && 'validate' in standard && typeof standard.validate === 'function'
}
