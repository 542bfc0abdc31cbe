/**
 * Parameters of commands, as lenient as clients are different: unknown ones are ignored, null counts as absent, numbers may be
 * numeric text, times are milliseconds or ISO 8601 (without a zone: UTC), and a room is named in `room` or in `channel`.
 *
 * Every message names the parameter, for that is all that the client is told.
 */
import { z } from 'zod'

const says = (name: string, what: string) => ({
  error: ({ input }: { readonly input?: unknown }) => `${name}: ${input === undefined || input === null ? 'required' : what}`,
})

export const text = (name: string, most = 255) =>
  z.string(says(name, 'must be a text')).max(most, { error: `${name}: at most ${most} characters` })

/** Whether it can be the name of a channel is checked where the channel is looked for. */
const nameLength = 1_000
export const name = (of: string) => text(of, nameLength)

export const names = (of: string, most: number) =>
  z.custom<readonly string[]>(
    (value) => Array.isArray(value) && value.length <= most && value.every((item) => typeof item === 'string' && item.length <= nameLength),
    says(of, `must be a list of at most ${most} names`),
  )

const numberOf = (value: unknown): unknown =>
  typeof value === 'string' && /^\s*-?\d+(\.\d+)?\s*$/.test(value) ? Number(value) : (value ?? undefined)

export const number = (name: string, least: number, most: number) =>
  z.preprocess(
    numberOf,
    z
      .number(says(name, 'must be a number'))
      .min(least, { error: `${name}: at least ${least}` })
      .max(most, { error: `${name}: at most ${most}` }),
  )

export const whole = (name: string, least: number, most = Number.MAX_SAFE_INTEGER) =>
  number(name, least, most).refine(Number.isInteger, { error: `${name}: must be a whole number` })

const iso = /^(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d(?:\.\d+)?)?)(Z|[+-]\d\d:?\d\d)?)?$/i

/**
 * Milliseconds since 1970 of an ISO 8601 time. `Date.parse` takes one without a zone as that of the machine, and `page 3` as a day of
 * March 2001.
 */
export const isoMs = (text: string): number | undefined => {
  const match = iso.exec(text.trim())
  if (match === null) return undefined
  const [, day, time = '00:00', zone = 'Z'] = match
  const at = Date.parse(`${day}T${time}${zone.toUpperCase()}`)
  return Number.isNaN(at) ? undefined : at
}

const timeOf = (value: unknown): unknown => (typeof value === 'string' ? isoMs(value) : undefined) ?? numberOf(value)

/** Milliseconds since 1970. */
export const time = (name: string) => {
  const wrong = `${name}: must be a time, in milliseconds or ISO 8601`
  return z.preprocess(
    timeOf,
    z
      .number(says(name, wrong.slice(name.length + 2)))
      .min(0, { error: wrong })
      .max(8.64e15, { error: wrong }),
  )
}

export const optional = <Inner extends z.ZodType>(inner: Inner) => z.preprocess((value) => value ?? undefined, inner.optional())

type Fields = Readonly<Record<string, unknown>>

/** The first that is there, under another name where it has one. */
const renamed = (fields: Fields, to: string, from: readonly string[]): Fields => {
  const found = [to, ...from].find((name) => (fields[name] ?? undefined) !== undefined)
  return found === undefined || found === to ? fields : { ...fields, [to]: fields[found] }
}

/** An object of parameters. `also`: other names of a parameter. */
export const parameters = <Shape extends z.ZodRawShape>(shape: Shape, also: Readonly<Record<string, readonly string[]>> = {}) => {
  const schema = z.object(shape, { error: 'parameters: must be an object' })
  return z.preprocess((value) => {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return value ?? {}
    return Object.entries(also).reduce((fields, [to, from]) => renamed(fields, to, from), value as Fields)
  }, schema)
}

/** Parameters with the name of a channel or room. */
export const ofChannel = <Shape extends z.ZodRawShape>(shape: Shape) =>
  parameters({ channel: name('channel'), ...shape }, { channel: ['room'] })

/** Without the fields that are undefined. */
export const given = <Fields extends object>(fields: Fields): { [Key in keyof Fields]: Exclude<Fields[Key], undefined> } =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as never // exactly those fields
