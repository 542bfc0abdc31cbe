/** What the server takes from its plugins: one table of commands, one set of hooks, kinds of actors, storage backends, logins. */
import type { Command } from '../../actors/command.ts'
import type { DocumentValidation } from '../../actors/documentGuard.ts'
import { TroupeError } from '../../actors/errors.ts'
import type { Hooks } from '../../actors/hooks.ts'
import type { ActorDefinition } from '../../actors/system/definition.ts'
import type { AuthProvider } from '../auth/provider.ts'
import type { JournalsOpener } from '../storage/registry.ts'
import { commandTable } from './commands.ts'
import { combineChecks, combineHooks, type HookOptions, type NamedHooks } from './hooks.ts'
import { messageCheck } from './messageTypes.ts'
import { Names } from './names.ts'
import type { Plugin } from './plugins.ts'

export interface Extensions {
  /** With the built-in ones. */
  readonly commands: ReadonlyMap<string, Command>
  /** Of all plugins, in their order; after them messages are checked against their types, so that what is stored fits. */
  readonly hooks: Hooks
  /** What they say about changes of documents; undefined when none does. */
  readonly validation: DocumentValidation | undefined
  readonly actors: readonly ActorDefinition[]
  readonly storage: ReadonlyMap<string, JournalsOpener>
  /** Who knows accounts, to be asked in this order. */
  readonly providers: readonly AuthProvider[]
}

export interface ExtensionOptions extends HookOptions {
  readonly builtins: Iterable<Command>
}

/** Errors: `config.invalid` when two plugins bring something of the same name; the message names both. */
export const combinePlugins = (plugins: readonly Plugin[], { builtins, ...options }: ExtensionOptions): Extensions => {
  const names = new Set<string>()
  const kinds = new Names<ActorDefinition>('kind of actors')
  const storage = new Names<JournalsOpener>('storage backend')
  for (const plugin of plugins) {
    const owner = `plugin ${plugin.name}`
    if (names.has(plugin.name)) throw new TroupeError('config.invalid', `plugins: two are called ${plugin.name}`)
    names.add(plugin.name)
    for (const actor of plugin.actors ?? []) kinds.add(owner, actor.kind, actor)
    for (const [name, open] of Object.entries(plugin.storage ?? {})) storage.add(owner, name, open)
  }
  const hooks: NamedHooks[] = plugins.flatMap(({ name, hooks }) => (hooks === undefined ? [] : [{ name, hooks }]))
  const onPublish = messageCheck(plugins)
  if (onPublish !== undefined) hooks.push({ name: 'message_type', hooks: { onPublish } })
  return {
    commands: commandTable(builtins, plugins),
    hooks: combineHooks(hooks, options),
    validation: combineChecks(hooks, options),
    actors: [...kinds.values.values()],
    storage: storage.values,
    providers: plugins.flatMap(({ auth }) => (auth === undefined ? [] : [auth])),
  }
}
