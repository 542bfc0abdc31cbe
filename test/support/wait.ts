/** Waiting for something to become true, instead of for a time to pass. */
export const until = async (isTrue: () => boolean | Promise<boolean>, what = 'the condition', timeoutMs = 20_000): Promise<void> => {
  const end = Date.now() + timeoutMs
  while (!(await isTrue())) {
    if (Date.now() > end) throw new Error(`${what} did not come true within ${timeoutMs} ms`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}
