/** Bugs that are planted in the actors of the bus: the simulation must find each of them, or it proves nothing. */
import { ClientFeed } from '../../actors/clientFeed.ts'
import { Presence } from '../../actors/presence.ts'
import { Repeats } from '../../actors/repeats.ts'

/** While `run` runs, a method does something else. */
const instead = async <Type extends object, Name extends keyof Type, Value>(
  prototype: Type,
  name: Name,
  method: Type[Name],
  run: () => Promise<Value>,
): Promise<Value> => {
  const { [name]: original } = prototype
  prototype[name] = method
  try {
    return await run()
  } finally {
    prototype[name] = original
  }
}

/** Whoever sends a message again sends another one. */
export const withoutMemoryOfIds = <Value>(run: () => Promise<Value>): Promise<Value> =>
  instead(Repeats.prototype, 'find', () => undefined, run)

/** A client stays in a channel that knows nothing of it. */
export const withoutComingBack = <Value>(run: () => Promise<Value>): Promise<Value> =>
  instead(ClientFeed.prototype, 'channelStopped', () => {}, run)

/** Whoever is gone without a word stays. */
export const withoutLosing = <Value>(run: () => Promise<Value>): Promise<Value> => instead(Presence.prototype, 'lose', () => [], run)
