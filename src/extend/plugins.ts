/**
 * Plugins: what somebody adds to Troupe, in one value. A module exports one by default, or a function that makes one, and
 * stands in the option `plugins`; programs pass the values themselves.
 */
import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { Command } from '../../actors/command.ts'
import { isTroupeError, TroupeError } from '../../actors/errors.ts'
import type { Hooks } from '../../actors/hooks.ts'
import type { ActorDefinition } from '../../actors/system/definition.ts'
import type { Log } from '../../actors/world.ts'
import type { AuthProvider } from '../auth/provider.ts'
import type { Config } from '../config.ts'
import type { JournalsOpener } from '../storage/registry.ts'
import { commandDefect } from './commands.ts'
import { hookNames } from './hooks.ts'
import { type MessageType, messageTypeDefect } from './messageTypes.ts'
import { isWord } from './names.ts'

export interface Plugin {
  /** For errors, logs and rules: letters, digits, `_`, `.`, `-`; at most 64. */
  readonly name: string
  readonly commands?: readonly Command[]
  readonly messageTypes?: readonly MessageType[]
  readonly hooks?: Hooks
  /** Kinds of your own. */
  readonly actors?: readonly ActorDefinition[]
  /** Knows accounts; asked before those of the configuration, in the order of the plugins. */
  readonly auth?: AuthProvider
  /** Journal backends by the name that `storage.backend` chooses. */
  readonly storage?: Readonly<Record<string, JournalsOpener>>
}

export interface PluginContext {
  readonly config: Config
  readonly log: Log
}

/** What `plugins` of a program may hold: a plugin, a function that makes one, or the path of a module. */
export type PluginSource = Plugin | ((context: PluginContext) => Plugin | Promise<Plugin>) | string

/**
 * Marks a plugin with the copy of Troupe that made it. A plugin that imports another copy throws errors and defines machines
 * that this one does not recognise: every text it meant for a client would be swallowed. Better refused at start.
 */
const copyMark = Symbol.for('troupe.plugin.copy')
const thisCopy: unknown = TroupeError

/**
 * Says that a value is a plugin, for the type checker and at once. Errors: `config.invalid`.
 *
 * @example
 * export default definePlugin({ name: 'calculator', commands: [double] })
 */
export const definePlugin = (plugin: Plugin): Plugin => {
  const defect = pluginDefect(plugin)
  if (defect !== undefined) throw new TroupeError('config.invalid', defect)
  return Object.defineProperty({ ...plugin }, copyMark, { value: thisCopy })
}

const isRecord = (value: unknown): value is Record<string | symbol, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const listDefect = (what: string, value: unknown, itemDefect: (item: unknown) => string | undefined): string | undefined => {
  if (value === undefined) return undefined
  if (!Array.isArray(value)) return `\`${what}\` must be a list`
  return value.map(itemDefect).find((defect) => defect !== undefined)
}

const hooksDefect = (value: unknown): string | undefined => {
  if (!isRecord(value) || !isRecord(value.onDocumentChange)) return functionsDefect('hooks', value, hookNames)
  const { onDocumentChange: given, ...others } = value
  const { documents, check } = given as Record<string, unknown> // looked at above
  const names = typeof documents === 'string' ? [documents] : documents
  if (typeof check !== 'function') return '`hooks.onDocumentChange.check` must be a function'
  if (!Array.isArray(names) || !names.every((name) => typeof name === 'string'))
    return '`hooks.onDocumentChange.documents` must be a pattern of names, or a list of them'
  return functionsDefect('hooks', others, hookNames)
}

const functionsDefect = (what: string, value: unknown, names?: readonly string[]): string | undefined => {
  if (value === undefined) return undefined
  if (!isRecord(value)) return `\`${what}\` must be an object`
  for (const [name, call] of Object.entries(value)) {
    if (names !== undefined && !names.includes(name)) return `\`${what}.${name}\` is not one of ${names.join(', ')}`
    if (typeof call !== 'function') return `\`${what}.${name}\` must be a function`
  }
  return undefined
}

const actorDefect = (actor: unknown): string | undefined =>
  isRecord(actor) && typeof actor.kind === 'string' ? undefined : '`actors` must hold what defineActor returns'

const parts: Readonly<Record<keyof Plugin, (value: unknown) => string | undefined>> = {
  name: (value) => (isWord(value) ? undefined : '`name` must be a word of letters, digits, _ . - of at most 64 characters'),
  commands: (value) => listDefect('commands', value, commandDefect),
  messageTypes: (value) => listDefect('messageTypes', value, messageTypeDefect),
  hooks: hooksDefect,
  actors: (value) => listDefect('actors', value, actorDefect),
  auth: (value) =>
    value === undefined || (isRecord(value) && isWord(value.name) && typeof value.authenticate === 'function')
      ? undefined
      : '`auth` must have a `name` and a function `authenticate`',
  storage: (value) => functionsDefect('storage', value),
}

const pluginDefect = (value: unknown): string | undefined => {
  if (!isRecord(value)) return 'a plugin must be an object'
  const label = isWord(value.name) ? `plugin ${value.name}: ` : ''
  if (copyMark in value && value[copyMark] !== thisCopy)
    return `${label}it imports another copy of troupe than the one that runs; install one, and leave it out of bundles`
  const stray = Object.keys(value).find((key) => !Object.hasOwn(parts, key))
  if (stray !== undefined) return `${label}\`${stray}\` is not one of ${Object.keys(parts).join(', ')}`
  for (const [key, defectOf] of Object.entries(parts)) {
    const defect = defectOf(value[key])
    if (defect !== undefined) return label + defect
  }
  return undefined
}

const moduleAt = async (path: string, directory: string): Promise<unknown> => {
  const file = resolve(directory, path)
  if (!existsSync(file)) throw new Error(`there is no file ${file}`)
  const module: unknown = await import(pathToFileURL(file).href)
  if (!isRecord(module) || module.default === undefined) throw new Error('it has no default export; `export default definePlugin({ … })`')
  return module.default
}

/**
 * Loads plugins, in their order. Paths are relative to `directory`.
 * Errors: `config.invalid`: a module that is not there, throws, or has no default export; something that is no plugin.
 */
export const loadPlugins = async (sources: readonly PluginSource[], directory: string, context: PluginContext): Promise<Plugin[]> => {
  const plugins: Plugin[] = []
  for (const source of sources) {
    const label = typeof source === 'string' ? source : undefined
    try {
      const exported = typeof source === 'string' ? await moduleAt(source, directory) : source
      const made: unknown = typeof exported === 'function' ? await exported(context) : exported
      const defect = pluginDefect(made)
      if (defect !== undefined) throw new Error(defect)
      plugins.push(made as Plugin) // pluginDefect found nothing wrong
    } catch (error) {
      const reason = isTroupeError(error, 'config.invalid') ? error.detail : error instanceof Error ? error.message : String(error)
      throw new TroupeError('config.invalid', `plugins: ${label === undefined ? '' : `${label}: `}${reason}`, { cause: error })
    }
  }
  return plugins
}
