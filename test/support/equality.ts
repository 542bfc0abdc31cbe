/**
 * Bytes are compared as bytes: `toEqual` would look at them as objects with a key for each, which is most of the time of the tests
 * that compare documents. Of unlike classes are left to what is built in, which knows what `toStrictEqual` wants.
 */
import { expect } from 'vitest'

expect.addEqualityTesters([
  (a: unknown, b: unknown): boolean | undefined =>
    a instanceof Uint8Array && b instanceof Uint8Array && a.constructor === b.constructor ? Buffer.compare(a, b) === 0 : undefined,
])
