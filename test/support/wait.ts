/**
 * Waiting for something to become true, instead of for a time to pass.
 *
 * Looking costs: it is often a request to the server that is waited for. So the pauses grow with what was waited already, and a long
 * wait is prolonged by a tenth at most. The patience is for a machine with ten times too much to do; nobody waits for it otherwise.
 */
const longestPauseMs = 40

/** `what` is said when it did not come true: a name, or what is there instead. */
export const until = async (
  isTrue: () => boolean | Promise<boolean>,
  what: string | (() => string) = 'the condition',
  timeoutMs = 60_000,
): Promise<void> => {
  const began = performance.now()
  while (!(await isTrue())) {
    const waitedMs = performance.now() - began
    if (waitedMs > timeoutMs) throw new Error(`${typeof what === 'string' ? what : what()} did not come true within ${timeoutMs} ms`)
    await new Promise((resolve) => setTimeout(resolve, Math.min(longestPauseMs, Math.max(5, waitedMs / 10))))
  }
}
