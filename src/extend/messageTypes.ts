/**
 * Custom message types. A message says its type in `content.message_type`; when somebody defined that type, the content must
 * fit its schema, or the publish is refused with `message.invalid` and the path of what is wrong. Types that nobody defined
 * are relayed as they are, and so is content that fits: a check never changes it, whatever the schema would make of it.
 */
import type { Schema, Validation } from '../../actors/command.ts'
import { TroupeError } from '../../actors/errors.ts'
import type { Hooks } from '../../actors/hooks.ts'
import { type Pattern, pattern } from '../../actors/pattern.ts'
import { describeIssues, isSchema } from '../../actors/schema.ts'
import { isWord, Names } from './names.ts'

export interface MessageType {
  /** What `content.message_type` says: letters, digits, `_`, `.`, `-`; at most 64. */
  readonly name: string
  /** Of the whole content, `message_type` included; a z.object lets it pass, a z.strictObject has to name it. */
  readonly schema: Schema<unknown>
  /** Where the type means this, with `*` for any run of characters; elsewhere it is not defined. Default: everywhere. */
  readonly channels?: string
}

export const messageTypeDefect = (value: unknown): string | undefined => {
  if (typeof value !== 'object' || value === null) return 'a message type must be an object'
  const { name, schema, channels } = value as Record<string, unknown> // every field is looked at below
  if (!isWord(name))
    return `message type ${JSON.stringify(name)}: the name must be a word of letters, digits, _ . - of at most 64 characters`
  if (!isSchema(schema)) return `message type ${name}: \`schema\` must be a schema, for instance z.object({})`
  if (channels !== undefined && (typeof channels !== 'string' || channels === ''))
    return `message type ${name}: \`channels\` must be a pattern`
  return undefined
}

/** Defines a message type: what says so in `message_type` must fit the schema. Errors: `config.invalid`. */
export const defineMessageType = (type: MessageType): MessageType => {
  const defect = messageTypeDefect(type)
  if (defect !== undefined) throw new TroupeError('config.invalid', defect)
  return type
}

interface Owner {
  readonly name: string
  readonly messageTypes?: readonly MessageType[]
}

/**
 * A hook that checks the types of all plugins; undefined when there are none. A promise only where a schema gives one.
 * Errors: `config.invalid` when two types have the same name. The hook refuses with `message.invalid`.
 */
export const messageCheck = (plugins: readonly Owner[]): Hooks['onPublish'] => {
  const names = new Names<{ readonly schema: Schema<unknown>; readonly channels: Pattern }>('message type')
  for (const { name: owner, messageTypes = [] } of plugins)
    for (const { name, schema, channels = '*' } of messageTypes) names.add(`plugin ${owner}`, name, { schema, channels: pattern(channels) })
  if (names.values.size === 0) return undefined
  return (_client, { channel, body }) => {
    const name = typeof body === 'object' && body !== null && 'message_type' in body ? body.message_type : undefined
    const type = typeof name === 'string' ? names.values.get(name) : undefined
    if (type === undefined || !type.channels.test(channel)) return
    const judge = ({ issues }: Validation<unknown>): void => {
      if (issues !== undefined)
        throw new TroupeError('message.invalid', describeIssues(issues, 'content'), { rule: `message_type ${name}` })
    }
    const found = type.schema['~standard'].validate(body)
    return found instanceof Promise ? found.then(judge) : judge(found)
  }
}
