/** How many wrong passwords an address may try. */
import { describe, expect, it } from 'vitest'
import { isTroupeError } from '../../actors/errors.ts'
import { networkOf, Throttle } from '../../src/auth/throttle.ts'
import { SimulatedClock } from '../support/world.ts'

const setup = (perMinute = 3) => {
  const clock = new SimulatedClock()
  const throttle = new Throttle(clock, perMinute)
  /** Ms to wait; 0: it was let through, and failed. */
  const fail = (address: string): number => {
    try {
      throttle.attempt(address)
      return 0
    } catch (error) {
      return isTroupeError(error, 'rate.limited') ? (error.retryAfterMs ?? -1) : -2
    }
  }
  return { clock, throttle, fail }
}

describe('an address', () => {
  it('[TH1] may fail so often a minute, then waits until the minute is over', () => {
    const { clock, fail } = setup()
    expect([fail('a'), fail('a')]).toEqual([0, 0])
    clock.pass(20_000)
    expect([fail('a'), fail('a'), fail('b')]).toEqual([0, 40_000, 0])
    clock.pass(39_999)
    expect(fail('a')).toBe(1)
    clock.pass(1)
    expect([fail('a'), fail('a'), fail('a'), fail('a')]).toEqual([0, 0, 0, 60_000])
  })

  it('[TH2] is not held to what went well', () => {
    const { throttle, fail } = setup()
    for (let i = 0; i < 100; i++) throttle.attempt('a')()
    expect([fail('a'), fail('a'), fail('a'), fail('a') > 0]).toEqual([0, 0, 0, true])
  })

  it('[TH3] that tries a thousand at the same time gets no further', () => {
    const { throttle, fail } = setup()
    const open = [throttle.attempt('a'), throttle.attempt('a'), throttle.attempt('a')]
    expect(fail('a')).toBeGreaterThan(0)
    for (const wentWell of open) wentWell()
    expect(fail('a')).toBe(0)
  })

  it('[TH4] is a network of IPv6, and the same in both spellings of IPv4', () => {
    const same: [string, string][] = [
      ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
      ['2001:db8:1:2::1', '2001:db8:1:2::/64'],
      ['2001:0db8:0001:0002::1', '2001:db8:1:2::/64'],
      ['2001:db8::1', '2001:db8:0:0::/64'],
      ['::1', '0:0:0:0::/64'],
      ['fe80::1%eth0', 'fe80:0:0:0::/64'],
      ['::ffff:10.0.0.7', '10.0.0.7'],
      ['10.0.0.7', '10.0.0.7'],
      ['', ''],
    ]
    for (const [address, network] of same) expect([address, networkOf(address)]).toEqual([address, network])
    const { fail } = setup(2)
    expect([fail('2001:db8::1'), fail('2001:db8::2'), fail('2001:db8::3') > 0]).toEqual([0, 0, true])
  })

  it('[TH5] among very many is forgotten before memory runs out', () => {
    const { throttle, fail } = setup(1)
    for (let i = 0; i < 30_000; i++) fail(`10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`)
    expect(throttle.size).toBe(10_000)
    expect(fail('10.0.117.47')).toBeGreaterThan(0) // one of the last
  })
})
