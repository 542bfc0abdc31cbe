/**
 * The hooks of all plugins as one: called in the order of the plugins, each rewriting what the next one sees.
 *
 * Promises: what a hook throws as a TroupeError reaches the client; anything else is logged in full, and the client is told
 * only which hook it was (`hook.rejected`). A hook that does not come back within `timeoutMs` has refused. When no hook
 * returns a promise, the whole chain returns none: a publish then costs a few calls. What happened already, `onLeave` and
 * `onDisconnect`, is told to every hook, whatever the others do.
 */
import type { Account, DocumentAccess } from '../../actors/account.ts'
import type { PublishOptions } from '../../actors/command.ts'
import type { DocumentValidation } from '../../actors/documentGuard.ts'
import { isTroupeError, TroupeError } from '../../actors/errors.ts'
import type { DocumentChange, HookClient, Hooks } from '../../actors/hooks.ts'
import { pattern } from '../../actors/pattern.ts'
import type { Clock, Log } from '../../actors/world.ts'

const calledInTurn = [
  'onConnect',
  'onAuthenticate',
  'onJoin',
  'onPublish',
  'onLeave',
  'onDisconnect',
  'onDocumentAccess',
  'onStateless',
] as const
type HookName = (typeof calledInTurn)[number]
export const hookNames = [...calledInTurn, 'onDocumentChange'] as const

export interface NamedHooks {
  /** Of the plugin. */
  readonly name: string
  readonly hooks: Hooks
}

export interface HookOptions {
  readonly clock: Clock
  readonly log: Log
  /** A hook that takes longer has refused. */
  readonly timeoutMs: number
}

interface Step {
  /** `audit.onJoin` */
  readonly rule: string
  call(client: HookClient, ...values: unknown[]): unknown
}

/** Hooks are written in JavaScript, too, where an arrow function returns whatever its body is. */
const isAccount = (value: unknown): value is Account =>
  typeof value === 'object' &&
  value !== null &&
  'user' in value &&
  typeof value.user === 'string' &&
  'permissions' in value &&
  Array.isArray(value.permissions)
const isMessage = (value: unknown): value is PublishOptions =>
  typeof value === 'object' &&
  value !== null &&
  'channel' in value &&
  typeof value.channel === 'string' &&
  'body' in value &&
  value.body !== undefined

const isAccess = (value: unknown): value is DocumentAccess | 'none' =>
  value === 'write' || value === 'comment' || value === 'read' || value === 'none'

const isPromise = (value: unknown): value is PromiseLike<unknown> =>
  typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function'

class Chain {
  readonly #steps: readonly Step[]
  readonly #clock: Clock
  readonly #log: Log
  readonly #timeoutMs: number

  constructor(steps: readonly Step[], { clock, log, timeoutMs }: HookOptions) {
    this.#steps = steps
    this.#clock = clock
    this.#log = log
    this.#timeoutMs = timeoutMs
  }

  /** Every step may refuse. */
  ask(client: HookClient, value: unknown, from = 0): void | Promise<void> {
    for (let at = from; at < this.#steps.length; at++) {
      const returned = this.#run(this.#steps[at] as Step, client, value) // `at` is below the length
      if (returned instanceof Promise) return returned.then(() => this.ask(client, value, at + 1))
    }
  }

  /** Every step may refuse, or return another value instead. `about` stands before the value and stays as it is. */
  rewrite<Value>(
    client: HookClient,
    given: Value,
    fits: (value: unknown) => value is Value,
    about: readonly unknown[] = [],
    from = 0,
  ): Value | Promise<Value> {
    let value = given
    for (let at = from; at < this.#steps.length; at++) {
      const step = this.#steps[at] as Step // `at` is below the length
      const returned = this.#run(step, client, ...about, value)
      if (returned instanceof Promise)
        return returned.then((late) => this.rewrite(client, this.#next(step, value, late, fits), fits, about, at + 1))
      value = this.#next(step, value, returned, fits)
    }
    return value
  }

  /** Every step may refuse; true when one of them says so. */
  any(client: HookClient, values: readonly unknown[], from = 0): boolean | Promise<boolean> {
    let isTrue = false
    for (let at = from; at < this.#steps.length; at++) {
      const returned = this.#run(this.#steps[at] as Step, client, ...values) // `at` is below the length
      if (returned instanceof Promise) {
        const before = isTrue
        return returned.then(async (late) => (await this.any(client, values, at + 1)) || before || late === true)
      }
      isTrue ||= returned === true
    }
    return isTrue
  }

  /** No step can refuse; those after one that fails hear of it all the same. */
  tell(client: HookClient, value: unknown, from = 0): void | Promise<void> {
    for (let at = from; at < this.#steps.length; at++) {
      const step = this.#steps[at] as Step // `at` is below the length
      const note = (error: unknown) => this.#log.warn({ hook: step.rule, error: String(error) }, 'a hook refused what had happened already')
      try {
        const returned = this.#run(step, client, value)
        if (returned instanceof Promise) return returned.catch(note).then(() => this.tell(client, value, at + 1))
      } catch (error) {
        note(error)
      }
    }
  }

  #next<Value>(step: Step, value: Value, returned: unknown, fits: (value: unknown) => value is Value): Value {
    if (returned === undefined) return value
    if (fits(returned)) return returned
    throw this.#refusal(step, new TypeError(`a ${typeof returned} was returned, not what the hook may rewrite`))
  }

  #run(step: Step, client: HookClient, ...values: unknown[]): unknown {
    let returned: unknown
    try {
      returned = step.call(client, ...values)
    } catch (error) {
      throw this.#refusal(step, error)
    }
    return isPromise(returned) ? this.#inTime(step, returned) : returned
  }

  /** Without a bound, one hook that forgets to answer holds back its client for ever. */
  #inTime(step: Step, promise: PromiseLike<unknown>): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const cancel = this.#clock.after(this.#timeoutMs, () => {
        this.#log.error({ hook: step.rule, timeoutMs: this.#timeoutMs }, 'a hook timed out')
        reject(new TroupeError('hook.rejected', `${step.rule} timed out`, { rule: step.rule }))
      })
      promise.then(
        (value) => {
          cancel()
          resolve(value)
        },
        (error: unknown) => {
          cancel()
          reject(this.#refusal(step, error)) // after the timeout it is only logged
        },
      )
    })
  }

  #refusal({ rule }: Step, error: unknown): TroupeError {
    if (isTroupeError(error)) {
      if (error.rule !== undefined) return error
      const { code, detail, retryAfterMs } = error
      return new TroupeError(code, detail === '' ? undefined : detail, {
        cause: error,
        rule,
        ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
      })
    }
    this.#log.error({ hook: rule, error: textOf(error) }, 'a hook failed')
    return new TroupeError('hook.rejected', `${rule} failed`, { cause: error, rule })
  }
}

const textOf = (error: unknown): string => (error instanceof Error ? (error.stack ?? String(error)) : String(error))

/** Only the hooks that somebody has are there, so that nothing is called for the others. */
export const combineHooks = (parts: readonly NamedHooks[], options: HookOptions): Hooks => {
  const chainOf = (hook: HookName): Chain | undefined => {
    const steps = parts.flatMap(({ name, hooks }): Step[] => {
      const call = hooks[hook]?.bind(hooks) as Step['call'] | undefined // the value is of the type that this hook takes
      return call === undefined ? [] : [{ rule: `${name}.${hook}`, call }]
    })
    return steps.length === 0 ? undefined : new Chain(steps, options)
  }
  const [connect, authenticate, join, publish, leave, disconnect, documentAccess, stateless] = calledInTurn.map(chainOf)
  return {
    ...(connect && { onConnect: (client) => connect.ask(client, undefined) }),
    ...(authenticate && { onAuthenticate: (client, account) => authenticate.rewrite(client, account, isAccount) }),
    ...(join && { onJoin: (client, channel) => join.ask(client, channel) }),
    ...(publish && { onPublish: (client, message) => publish.rewrite(client, message, isMessage) }),
    ...(leave && { onLeave: (client, channel) => leave.tell(client, channel) }),
    ...(disconnect && { onDisconnect: (client) => disconnect.tell(client, undefined) }),
    ...(documentAccess && {
      onDocumentAccess: (client, document, access) => documentAccess.rewrite(client, access, isAccess, [document]),
    }),
    ...(stateless && { onStateless: (client, document, payload) => stateless.any(client, [document, payload]) }),
  }
}

/** The hooks `onDocumentChange` of all plugins as one; undefined when there is none. */
export const combineChecks = (parts: readonly NamedHooks[], { log }: Pick<HookOptions, 'log'>): DocumentValidation | undefined => {
  const checks = parts.flatMap(({ name, hooks: { onDocumentChange: given } }) => {
    if (given === undefined) return []
    const { documents, check } = typeof given === 'function' ? { documents: '*', check: given } : given
    const patterns = (typeof documents === 'string' ? [documents] : documents).map(pattern)
    return [{ rule: `${name}.onDocumentChange`, check, covers: (document: string) => patterns.some((one) => one.test(document)) }]
  })
  if (checks.length === 0) return undefined
  const run = (rule: string, check: (change: DocumentChange) => unknown, change: DocumentChange): void => {
    let returned: unknown
    try {
      returned = check(change)
    } catch (error) {
      if (isTroupeError(error)) throw error
      log.error({ hook: rule, document: change.document, error: textOf(error) }, 'a hook failed')
      throw new TroupeError('document.invalid', `${rule} failed`, { cause: error, rule })
    }
    if (!isPromise(returned)) return
    // What it will say comes too late, so it is a refusal: an asynchronous check would let everything in.
    returned.then(undefined, () => {})
    log.error({ hook: rule, document: change.document }, 'a hook that must be synchronous returned a promise')
    throw new TroupeError('document.invalid', `${rule} is not synchronous`, { rule })
  }
  return {
    covers: (document) => checks.some(({ covers }) => covers(document)),
    check: (change) => {
      for (const { rule, check, covers } of checks) if (covers(change.document)) run(rule, check, change)
    },
  }
}
