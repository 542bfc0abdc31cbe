/** A kind as the system uses it: the definition with its defaults filled in and its handlers in a Map. */
import type { AnyActorLogic } from 'xstate'
import {
  type ActorDefinition,
  type AnyTable,
  defaultIdleMs,
  defaultSnapshotEvery,
  type EventSourcing,
  type LogicDefinition,
  type WriteAhead,
} from './definition.ts'
import { eventDescriptors, isMachine } from './incarnation.ts'
import { defaultMailboxLimit, type Overflow } from './mailbox.ts'
import type { Message } from './message.ts'
import type { Scope } from './scope.ts'
import type { SupervisionOptions } from './supervisor.ts'

interface CommonKind {
  readonly name: string
  readonly mailboxLimit: number
  readonly overflow: Overflow
  readonly coalesceBy: ((message: Message) => string | undefined) | undefined
  readonly supervision: SupervisionOptions
  /** Undefined: never passivated. */
  readonly idleMs: number | undefined
  readonly isExplicit: boolean
  readonly dropsLate: boolean
  readonly snapshotEvery: number
  /** Messages handled by all actors of the kind. */
  handled: number
}

export type TableHandler = (state: unknown, message: Message, scope: Scope<unknown>) => unknown

export interface TableKind extends CommonKind {
  readonly style: 'table'
  readonly definition: AnyTable
  readonly handlers: ReadonlyMap<string, TableHandler>
  readonly durable: EventSourcing<unknown, unknown> | undefined
}

export interface LogicKind extends CommonKind {
  readonly style: 'logic'
  readonly definition: LogicDefinition
  readonly logic: AnyActorLogic
  readonly isMachine: boolean
  readonly durable: WriteAhead | undefined
  /** False when the machine has no transition for such a message in any state. */
  readonly mayHandle: (type: string) => boolean
}

export type Kind = TableKind | LogicKind

const mayHandle = (logic: AnyActorLogic): ((type: string) => boolean) => {
  if (!isMachine(logic)) return () => true
  const descriptors = eventDescriptors(logic)
  const exact = new Set(descriptors)
  const prefixes = descriptors.filter((d) => d.endsWith('*')).map((d) => d.slice(0, -1).replace(/\.$/, ''))
  return (type) => exact.has(type) || prefixes.some((prefix) => type.startsWith(prefix)) || type.startsWith('xstate.')
}

export const compileKind = (definition: ActorDefinition): Kind => {
  const idleDefault = definition.durable === undefined ? undefined : defaultIdleMs
  const common: CommonKind = {
    name: definition.kind,
    mailboxLimit: definition.mailbox?.limit ?? defaultMailboxLimit,
    overflow: definition.mailbox?.overflow ?? 'reject',
    coalesceBy: definition.mailbox?.coalesceBy,
    supervision: definition.supervision ?? {},
    idleMs:
      definition.passivation === false
        ? undefined
        : (definition.passivation?.idleMs ?? (definition.passivation === undefined ? idleDefault : defaultIdleMs)),
    isExplicit: definition.activation === 'explicit',
    dropsLate: definition.late === 'drop',
    snapshotEvery: definition.durable?.snapshotEvery ?? defaultSnapshotEvery,
    handled: 0,
  }
  if ('logic' in definition) {
    const { logic, durable } = definition
    return { ...common, style: 'logic', definition, logic, isMachine: isMachine(logic), durable, mayHandle: mayHandle(logic) }
  }
  return { ...common, style: 'table', definition, handlers: new Map(Object.entries(definition.handlers)), durable: definition.durable }
}
