import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { describeIssues, isSchema } from '../../actors/schema.ts'

const faultsOf = (schema: z.ZodType, value: unknown, root?: string): string => {
  const { error } = schema.safeParse(value)
  return describeIssues(error?.issues ?? expect.unreachable('it does not fit'), root)
}

describe('what a schema found wrong', () => {
  const readings = z.object({ readings: z.array(z.object({ value: z.number('a number'), 'a b': z.boolean('a flag').optional() })) })

  it('is said with the path of each fault', () => {
    expect(faultsOf(readings, { readings: [{ value: 1 }, { value: 'x', 'a b': 1 }] })).toBe(
      'readings[1].value: a number; readings[1]["a b"]: a flag',
    )
    expect(faultsOf(readings, { readings: [{ value: 'x' }] }, 'content')).toBe('content.readings[0].value: a number')
    expect(faultsOf(z.number('a number'), 'x', 'content')).toBe('content: a number')
  })

  it('does not repeat a name that the message begins with', () => {
    const named = z.object({ limit: z.number('limit: must be a number'), nested: z.object({ at: z.number('nested.at: must be a time') }) })
    expect(faultsOf(named, { limit: 'x', nested: { at: 'x' } })).toBe('limit: must be a number; nested.at: must be a time')
    expect(
      faultsOf(
        z.object({}).refine(() => false, 'one of both'),
        {},
      ),
    ).toBe('one of both')
  })

  it('may give its path as objects with keys, as the standard allows', () => {
    expect(describeIssues([{ path: [{ key: 'a' }, { key: 0 }], message: 'wrong' }], 'content')).toBe('content.a[0]: wrong')
    expect(describeIssues([{ message: 'wrong' }])).toBe('wrong')
  })
})

describe('a schema', () => {
  it.each([
    [z.object({}), true],
    [Object.assign(() => {}, { '~standard': { validate: () => ({ value: 1 }) } }), true],
    [{ '~standard': {} }, false],
    [{ parse: () => 1 }, false],
    [null, false],
    ['schema', false],
  ])('is whatever has the standard: %#', (value, is) => {
    expect(isSchema(value)).toBe(is)
  })
})
