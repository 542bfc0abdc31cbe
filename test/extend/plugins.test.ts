import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { defineActor } from '../../actors/system/definition.ts'
import { completeConfig } from '../../src/config.ts'
import { defineCommand } from '../../src/extend/commands.ts'
import { combinePlugins } from '../../src/extend/extensions.ts'
import { defineMessageType } from '../../src/extend/messageTypes.ts'
import { definePlugin, loadPlugins, type Plugin } from '../../src/extend/plugins.ts'
import { openMemoryJournals } from '../../src/storage/memory.ts'
import { openJournals } from '../../src/storage/registry.ts'
import { silentLog, testWorld } from '../support/world.ts'
import { clientOf } from './client.ts'

const directory = mkdtempSync(join(tmpdir(), 'troupe-plugins-'))
afterAll(() => rmSync(directory, { recursive: true, force: true }))

let files = 0
/** Writes a module and returns its name in the directory. */
const moduleOf = (text: string): string => {
  const file = `plugin${++files}.mjs`
  writeFileSync(join(directory, file), text)
  return file
}

const context = { config: completeConfig({ port: 1234 }), log: silentLog }
const load = (...sources: Parameters<typeof loadPlugins>[0]) => loadPlugins(sources, directory, context)

describe('plugins are loaded', () => {
  it('from modules, from functions and as values, in their order', async () => {
    const plugins = await load(
      moduleOf(`export default { name: 'plain' }`),
      definePlugin({ name: 'value' }),
      moduleOf(`export default async ({ config }) => ({ name: 'port-' + config.port })`),
      () => ({ name: 'made' }),
    )
    expect(plugins.map(({ name }) => name)).toEqual(['plain', 'value', 'port-1234', 'made'])
  })

  it.each([
    ['a file that is not there', () => 'absent.mjs', `there is no file ${join(directory, 'absent.mjs')}`],
    ['a module without a default export', () => moduleOf('export const plugin = {}'), 'no default export'],
    ['a module that throws', () => moduleOf(`throw new Error('no database')`), 'no database'],
    ['a module that is no JavaScript', () => moduleOf('export default {'), 'plugins: '],
    ['a function that throws', () => moduleOf(`export default () => { throw new Error('no licence') }`), 'no licence'],
    ['a text instead of a plugin', () => moduleOf(`export default 'plugin'`), 'a plugin must be an object'],
    ['a function that returns nothing', () => moduleOf('export default () => {}'), 'a plugin must be an object'],
    ['no name', () => moduleOf('export default {}'), '`name`'],
    [
      'a part that plugins do not have',
      () => moduleOf(`export default { name: 'p', command: [] }`),
      'plugin p: `command` is not one of name',
    ],
    [
      'a command without a schema',
      () => moduleOf(`export default { name: 'p', commands: [{ name: 'go', help: 'Go.' }] }`),
      'command go: `params`',
    ],
    [
      'a message type without a schema',
      () => moduleOf(`export default { name: 'p', messageTypes: [{ name: 't' }] }`),
      'message type t: `schema`',
    ],
    [
      'a hook that is none',
      () => moduleOf(`export default { name: 'p', hooks: { onMessage() {} } }`),
      '`hooks.onMessage` is not one of onConnect',
    ],
    ['commands that are no list', () => moduleOf(`export default { name: 'p', commands: {} }`), '`commands` must be a list'],
    ['actors that are none', () => moduleOf(`export default { name: 'p', actors: [{}] }`), '`actors` must hold'],
    ['a login that is none', () => moduleOf(`export default { name: 'p', auth: 'jwt' }`), '`auth` must have a `name`'],
    [
      'a backend that is none',
      () => moduleOf(`export default { name: 'p', storage: { files: {} } }`),
      '`storage.files` must be a function',
    ],
    [
      'a plugin of another copy of the library',
      () => moduleOf(`export default { name: 'p', [Symbol.for('troupe.plugin.copy')]: class TroupeError {} }`),
      'plugin p: it imports another copy of troupe',
    ],
  ])('or refused: %s', async (_, make, text) => {
    const source = make()
    await expect(load(source)).rejects.toMatchObject({ code: 'config.invalid', message: expect.stringContaining(text) })
    await expect(load(source)).rejects.toThrow(`plugins: ${source}: `)
  })

  it('or refused already where they are defined', () => {
    expect(() => definePlugin({ name: 'two words' })).toThrow(expect.objectContaining({ code: 'config.invalid' }))
  })
})

describe('what plugins bring', () => {
  const world = testWorld()
  const combine = (...plugins: Plugin[]) => combinePlugins(plugins, { builtins: [], clock: world.clock, log: world.log, timeoutMs: 5_000 })
  const go = defineCommand({ name: 'go', help: 'Go.', params: z.object({}), run: () => null })
  const counter = defineActor<object, { type: 'add' }>({ kind: 'counter', state: () => ({}), handlers: { add: () => null } })
  const login = { name: 'badges', authenticate: async () => clientOf('ada').account }

  it('is one thing for the server', () => {
    const extensions = combine(
      { name: 'a', commands: [go], storage: { files: openMemoryJournals } },
      { name: 'b', actors: [counter], auth: login, hooks: { onJoin: () => undefined } },
    )
    expect([...extensions.commands.keys()]).toEqual(['go'])
    expect(extensions.actors).toEqual([counter])
    expect(extensions.providers).toEqual([login])
    expect([...extensions.storage.keys()]).toEqual(['files'])
    expect(Object.keys(extensions.hooks)).toEqual(['onJoin'])
    expect(combine()).toMatchObject({ hooks: {}, actors: [], providers: [] })
  })

  it.each<[string, Plugin[], string]>([
    ['plugins', [{ name: 'a' }, { name: 'a' }], 'two are called a'],
    [
      'kinds of actors',
      [
        { name: 'a', actors: [counter] },
        { name: 'b', actors: [counter] },
      ],
      'kind of actors counter of plugin b: plugin a',
    ],
    [
      'backends',
      [
        { name: 'a', storage: { x: openMemoryJournals } },
        { name: 'b', storage: { x: openMemoryJournals } },
      ],
      'storage backend x of plugin b',
    ],
    [
      'commands',
      [
        { name: 'a', commands: [go] },
        { name: 'b', commands: [go] },
      ],
      'command go of plugin b: plugin a',
    ],
  ])('is refused when two %s have the same name', (_, plugins, text) => {
    expect(() => combine(...plugins)).toThrow(expect.objectContaining({ code: 'config.invalid', message: expect.stringContaining(text) }))
  })

  it('is checked as it will be stored: types are looked at after the hooks have rewritten', () => {
    const rise = defineMessageType({ name: 'rise', schema: z.object({ by: z.number() }) })
    const { hooks } = combine({
      name: 'a',
      messageTypes: [rise],
      hooks: { onPublish: (_, message) => ({ ...message, body: { message_type: 'rise', by: String(message.body) } }) },
    })
    expect(() => hooks.onPublish?.(clientOf('ada'), { channel: 'c', body: 7 })).toThrow(
      expect.objectContaining({ code: 'message.invalid', rule: 'message_type rise' }),
    )
  })

  it('can be opened as a store by its name, and may not be called like a built-in one', async () => {
    const options = { directory, ...world }
    const { storage } = combine({ name: 'a', storage: { files: openMemoryJournals } })
    expect((await openJournals('files', options, storage)).status()).toEqual({ state: 'ready' })
    await expect(openJournals('fils', options, storage)).rejects.toThrow('there are lmdb, memory, files')
    const clash = combine({ name: 'a', storage: { lmdb: openMemoryJournals } }).storage
    await expect(openJournals('lmdb', options, clash)).rejects.toMatchObject({ code: 'config.invalid' })
  })
})
