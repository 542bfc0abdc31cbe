import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import type { Command, Session } from '../../actors/command.ts'
import { commandTable, defineCommand } from '../../src/extend/commands.ts'

const command = (name: string): Command => defineCommand({ name, help: 'Does it.', params: z.object({}), run: () => null })

describe('a command', () => {
  it('runs with what its schema made of the parameters', async () => {
    const double = defineCommand({
      name: 'double',
      help: 'Twice a number.',
      params: z.object({ number: z.number(), times: z.number().default(2) }),
      run: ({ number, times }) => ({ number: number * times }),
    })
    const checked = await double.params['~standard'].validate({ number: 21 })
    const params = checked.issues === undefined ? checked.value : expect.unreachable('21 is a number')
    expect(double.run(params, {} as Session)).toEqual({ number: 42 })
  })

  it.each([
    ['a capital letter', { name: 'Double' }, '"Double"'],
    ['no name', { name: '' }, '""'],
    ['a name of 65 characters', { name: 'x'.repeat(65) }, 'at most 64'],
    ['a name that is none', { name: 7 }, '7'],
    ['help of two lines', { help: 'one\ntwo' }, 'double: `help`'],
    ['no help', { help: '' }, 'double: `help`'],
    ['a plain object as parameters', { params: { number: 'number' } }, 'double: `params`'],
    ['a word for needsAccount', { needsAccount: 'no' }, 'double: `needsAccount`'],
    ['nothing to run', { run: undefined }, 'double: `run`'],
  ])('with %s is refused when it is defined', (_, wrong, text) => {
    const right = { name: 'double', help: 'Twice.', params: z.object({}), run: () => null }
    expect(() => defineCommand({ ...right, ...(wrong as object) })).toThrow(
      expect.objectContaining({ code: 'config.invalid', message: expect.stringContaining(text) }),
    )
    expect(defineCommand(right).name).toBe('double')
  })
})

describe('the table of commands', () => {
  it('holds the built-in ones and those of all plugins', () => {
    const table = commandTable(
      [command('ping')],
      [{ name: 'a', commands: [command('one')] }, { name: 'b' }, { name: 'c', commands: [command('two')] }],
    )
    expect([...table.keys()]).toEqual(['ping', 'one', 'two'])
  })

  it.each([
    ['a built-in one', [{ name: 'mine', commands: [command('ping')] }], ['ping', 'plugin mine', 'Troupe itself']],
    [
      'one of another plugin',
      [
        { name: 'a', commands: [command('go')] },
        { name: 'b', commands: [command('go')] },
      ],
      ['go', 'plugin a', 'plugin b'],
    ],
    ['one of the same plugin', [{ name: 'a', commands: [command('go'), command('go')] }], ['go', 'plugin a']],
  ])('refuses a command named like %s, and names both', (_, plugins, words) => {
    const make = () => commandTable([command('ping')], plugins)
    expect(make).toThrow(expect.objectContaining({ code: 'config.invalid' }))
    for (const word of words) expect(make).toThrow(word)
  })
})
