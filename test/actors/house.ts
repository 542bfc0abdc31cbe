/** A system in a simulated world, with the verbs that its tests need. */
import { isTroupeError } from '../../actors/errors.ts'
import { type ActorDefinition, defineActor, type Message } from '../../actors/system/definition.ts'
import { ActorSystem, type SystemOptions } from '../../actors/system/system.ts'
import { type DiskOptions, SimulatedDisk } from '../support/simJournals.ts'
import { quiet, type SimulatedClock, silentLog, type TestWorld, testWorld } from '../support/world.ts'

export interface House {
  readonly world: TestWorld
  readonly clock: SimulatedClock
  readonly system: ActorSystem
  /** What was logged at `warn` and above, as texts. */
  readonly logged: string[]
}

// What a test defines is of any state and message; the types were checked where it was defined.
// biome-ignore lint/suspicious/noExplicitAny: see above
export type Definitions = readonly any[]

export const house = (actors: Definitions, options: Partial<SystemOptions> = {}, base: TestWorld = testWorld()): House => {
  const logged: string[] = []
  const note = (_: unknown, text: string) => {
    logged.push(text)
  }
  const world: TestWorld = { ...base, log: { ...silentLog, warn: note, error: note } }
  const system = new ActorSystem({ world, actors: actors as ActorDefinition[], ...options })
  return { world, clock: world.clock, system, logged }
}

/** One disk, and processes one after the other that have it open. */
export class Machine {
  readonly world: TestWorld
  readonly disk: SimulatedDisk
  readonly #actors: Definitions
  readonly #options: Partial<SystemOptions>
  system!: ActorSystem // set by boot
  readonly logged: string[] = []

  private constructor(actors: Definitions, options: Partial<SystemOptions>, disk: DiskOptions, seed: number) {
    this.world = testWorld(seed)
    this.disk = new SimulatedDisk(this.world.clock, disk)
    this.#actors = actors
    this.#options = options
  }

  static async boot(actors: Definitions, options: Partial<SystemOptions> = {}, disk: DiskOptions = {}, seed = 1): Promise<Machine> {
    const machine = new Machine(actors, options, disk, seed)
    await machine.boot()
    return machine
  }

  get clock(): SimulatedClock {
    return this.world.clock
  }

  /** The next process. Another `actors`: it runs a newer version. */
  async boot(actors: Definitions = this.#actors): Promise<void> {
    const { system, logged } = house(actors, { ...this.#options, journals: this.disk.open() }, this.world)
    this.system = system
    this.logged.push(...logged)
    await system.start()
  }

  /** The process ends without a word; its timers and what is not on disk are gone. */
  async crash(actors: Definitions = this.#actors): Promise<void> {
    this.disk.crash()
    this.clock.forget()
    await quiet()
    await this.boot(actors)
  }

  /** The process ends in order, and the next one starts. */
  async reboot(actors: Definitions = this.#actors): Promise<void> {
    await this.system.close()
    await this.boot(actors)
  }
}

/** The code of the error that `promise` rejects with. */
export const codeOf = async (promise: Promise<unknown>): Promise<string> => {
  try {
    return `no error, but ${JSON.stringify(await promise)}`
  } catch (error) {
    return isTroupeError(error) ? error.code : `not ours: ${error}`
  }
}

export const codes = (system: ActorSystem): string[] => system.deadLetters().map(({ code }) => code)

/** How a promise stands, without waiting for it. */
export const track = <T>(promise: Promise<T>): { state: 'open' | 'kept' | 'broken'; value: unknown } => {
  const tracked: { state: 'open' | 'kept' | 'broken'; value: unknown } = { state: 'open', value: undefined }
  promise.then(
    (value) => Object.assign(tracked, { state: 'kept', value }),
    (error) => Object.assign(tracked, { state: 'broken', value: error?.code ?? error }),
  )
  return tracked
}

export type Any = Message & { readonly [field: string]: unknown }
export { quiet }

type Amount<T extends string> = { type: T; n: number }

/** A durable sum with a handler for each way of writing, and an ear for what it tells others. */
export const defineBank = () => {
  let wake = (): void => {}
  const sleep = () =>
    new Promise<void>((resolve) => {
      wake = resolve
    })
  const messages: number[] = []
  const definition = defineActor<null, Amount<'heard'>>({
    kind: 'ear',
    state: () => null,
    handlers: { heard: (_, { n }) => messages.push(n) },
  })
  interface State {
    n: number
    values: number[]
  }
  const bank = defineActor<
    State,
    | Amount<'put'>
    | Amount<'putTwice'>
    | Amount<'putLater'>
    | Amount<'putAndThrow'>
    | Amount<'putAndSleep'>
    | Amount<'sleepAndPut'>
    | Amount<'announce'>
    | { type: 'add'; value: number }
    | { type: 'addLater'; value: number }
    | { type: 'putBig' }
    | { type: 'get' }
    | { type: 'values' },
    number | { value: number } | { big: bigint }
  >({
    kind: 'bank',
    state: (_, input) => ({ n: typeof input === 'number' ? input : 0, values: [] }),
    handlers: {
      put: (state, { n }, scope) => {
        void scope.persist(n)
        return state.n
      },
      putTwice: (_, { n }, scope) => {
        void scope.persist(n)
        void scope.persist(n)
      },
      putLater: async (_, { n }, scope) => scope.persist(n),
      putAndThrow: (_, { n }, scope) => {
        void scope.persist(n)
        scope.tell('ear/a', { type: 'heard', n: -1 })
        throw new Error('after persist')
      },
      putAndSleep: async (state, { n }, scope) => {
        void scope.persist(n)
        await sleep()
        return state.n
      },
      sleepAndPut: async (state, { n }, scope) => {
        await sleep()
        void scope.persist(n)
        return state.n
      },
      announce: (state, { n }, scope) => {
        void scope.persist(n - n)
        scope.tell('ear/a', { type: 'heard', n })
        return state.n
      },
      add: (_, { value }, scope) => void scope.persist({ value }),
      addLater: async (_, { value }, scope) => {
        await null
        await scope.persist({ value })
      },
      putBig: (_, __, scope) => void scope.persist({ big: 1n }),
      get: ({ n }) => n,
      values: ({ values }) => [...values],
    },
    durable: {
      version: 1,
      apply: (state, event) => {
        if (typeof event === 'number') state.n += event
        else if ('value' in event) state.values.push(event.value)
      },
    },
  })
  return { bank, heard: { definition, messages, wake: () => wake() } }
}
