/**
 * The hooks of all plugins as one: called in the order of the plugins, each rewriting what the next one sees.
 *
 * Promises: what a hook throws as a TroupeError reaches the client; anything else is logged in full, and the client is told
 * only which hook it was (`hook.rejected`). A hook that does not come back within `timeoutMs` has refused. When no hook
 * returns a promise, the whole chain returns none: a publish then costs a few calls. What happened already, `onLeave` and
 * `onDisconnect`, is told to every hook, whatever the others do.
 */
import type { Account } from '../../actors/account.ts'
import type { PublishOptions } from '../../actors/command.ts'
import { isTroupeError, TroupeError } from '../../actors/errors.ts'
import type { HookClient, Hooks } from '../../actors/hooks.ts'
import type { Clock, Log } from '../../actors/world.ts'

export const hookNames = ['onConnect', 'onAuthenticate', 'onJoin', 'onPublish', 'onLeave', 'onDisconnect'] as const
type HookName = (typeof hookNames)[number]

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
  call(client: HookClient, value: unknown): unknown
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

  /** Every step may refuse, or return another value instead. */
  rewrite<Value>(client: HookClient, given: Value, fits: (value: unknown) => value is Value, from = 0): Value | Promise<Value> {
    let value = given
    for (let at = from; at < this.#steps.length; at++) {
      const step = this.#steps[at] as Step // `at` is below the length
      const returned = this.#run(step, client, value)
      if (returned instanceof Promise)
        return returned.then((late) => this.rewrite(client, this.#next(step, value, late, fits), fits, at + 1))
      value = this.#next(step, value, returned, fits)
    }
    return value
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

  #run(step: Step, client: HookClient, value: unknown): unknown {
    let returned: unknown
    try {
      returned = step.call(client, value)
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
    this.#log.error({ hook: rule, error: error instanceof Error ? (error.stack ?? String(error)) : String(error) }, 'a hook failed')
    return new TroupeError('hook.rejected', `${rule} failed`, { cause: error, rule })
  }
}

/** Only the hooks that somebody has are there, so that nothing is called for the others. */
export const combineHooks = (parts: readonly NamedHooks[], options: HookOptions): Hooks => {
  const chainOf = (hook: HookName): Chain | undefined => {
    const steps = parts.flatMap(({ name, hooks }): Step[] => {
      const call = hooks[hook]?.bind(hooks) as Step['call'] | undefined // the value is of the type that this hook takes
      return call === undefined ? [] : [{ rule: `${name}.${hook}`, call }]
    })
    return steps.length === 0 ? undefined : new Chain(steps, options)
  }
  const [connect, authenticate, join, publish, leave, disconnect] = hookNames.map(chainOf)
  return {
    ...(connect && { onConnect: (client) => connect.ask(client, undefined) }),
    ...(authenticate && { onAuthenticate: (client, account) => authenticate.rewrite(client, account, isAccount) }),
    ...(join && { onJoin: (client, channel) => join.ask(client, channel) }),
    ...(publish && { onPublish: (client, message) => publish.rewrite(client, message, isMessage) }),
    ...(leave && { onLeave: (client, channel) => leave.tell(client, channel) }),
    ...(disconnect && { onDisconnect: (client) => disconnect.tell(client, undefined) }),
  }
}
