/** Waiting for what must come, with a bound; and the failure that says what did not. */

/** A check failed: the reason is for a person who knows the protocol. */
export class Failure extends Error {}

export const assert: (isTrue: boolean, reason: string) => asserts isTrue = (isTrue, reason) => {
  if (!isTrue) throw new Failure(reason)
}

export const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

/** What `look` gives as soon as it is neither undefined nor false. Throws `Failure`: `what` did not come. */
export const waitFor = async <T>(look: () => T | undefined | false, what: string, ms: number): Promise<T> => {
  const end = performance.now() + ms
  for (;;) {
    const found = look()
    if (found !== undefined && found !== false) return found
    if (performance.now() > end) throw new Failure(`${what}: not within ${ms} ms`)
    await pause(5)
  }
}
