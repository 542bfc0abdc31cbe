import { describe, expect, it } from 'vitest'
import { SlidingWindow, SlidingWindows } from '../../actors/rate.ts'
import { SeededRandom } from '../support/world.ts'

describe('a sliding window', () => {
  it('gives so many in any time of its length, and says how long to wait', () => {
    const window = new SlidingWindow(3, 1_000)
    expect([0, 100, 500].map((now) => window.take(now))).toEqual([0, 0, 0])
    expect(window.take(600)).toBe(400)
    expect(window.take(999)).toBe(1)
    expect(window.take(1_000)).toBe(0)
    expect(window.take(1_000)).toBe(100)
    expect(window.take(1_100)).toBe(0)
    expect(window.take(1_100)).toBe(400)
  })

  it('takes nothing when it refuses: whoever waits as long as it says gets one', () => {
    const window = new SlidingWindow(1, 1_000)
    window.take(0)
    for (let now = 0; now < 1_000; now += 100) expect(window.take(now)).toBe(1_000 - now)
    expect(window.take(1_000)).toBe(0)
  })

  it('is idle when nothing was taken for its length', () => {
    const window = new SlidingWindow(2, 1_000)
    expect(window.isIdle(0)).toBe(true)
    window.take(0)
    window.take(400)
    expect([window.isIdle(1_399), window.isIdle(1_400)]).toEqual([false, true])
    expect(window.take(1_400)).toBe(0)
    expect(window.isIdle(1_400)).toBe(false)
  })

  it.each([1, 2, 3, 4, 5])('never gives one too many nor one too few, whatever the times (seed %i)', (seed) => {
    const random = new SeededRandom(seed)
    const [count, withinMs] = [1 + random.below(20), 100 + random.below(500)]
    const window = new SlidingWindow(count, withinMs)
    const given: number[] = []
    let refused = 0
    for (let now = 0, n = 0; n < 3_000; n++) {
      now += random.chance(0.1) ? random.below(withinMs * 2) : random.below(Math.ceil((2 * withinMs) / count))
      const recent = given.filter((at) => at > now - withinMs)
      const wait = window.take(now)
      expect(wait).toBe(recent.length < count ? 0 : (recent.at(-count) as number) + withinMs - now)
      if (wait === 0) given.push(now)
      else refused++
    }
    expect([given.length > 100, refused > 20]).toEqual([true, true])
  })
})

describe('windows by name', () => {
  it('are one for each name', () => {
    const windows = new SlidingWindows(1, 1_000)
    expect(['ada', 'bob', 'ada'].map((name) => windows.take(name, 5_000))).toEqual([0, 0, 1_000])
  })

  it('are forgotten when they are idle, and only then', () => {
    const windows = new SlidingWindows(2, 1_000)
    for (let n = 0; n < 100; n++) windows.take(`client ${n}`, 10_000 + n)
    windows.take('ada', 10_900)
    windows.take('ada', 11_050)
    expect(windows.take('ada', 11_098)).toBe(802)
    expect(windows.size).toBeLessThan(60) // those that were idle at 11 050
    expect(windows.take('client 99', 11_099)).toBe(0)
    windows.take('ada', 20_000)
    expect(windows.size).toBe(1)
  })
})
