/** The `EventSource` of a real browser, as web pages use it: a server that is killed, and nothing is missed. */
import type { Page } from 'playwright-core'
import { describe, expect, it } from 'vitest'
import { hasBrowser, openBrowser } from '../support/browser.ts'
import { channelPath } from '../support/http.ts'
import { serve } from '../support/service.ts'

/** What the page keeps. */
interface Heard {
  source: EventSource
  numbers: number[]
  ready: { recovered: boolean | null }[]
}
declare global {
  var heard: Heard
}

describe.skipIf(!hasBrowser)('EventSource in Chromium', () => {
  const { server, http, stop, startAgain } = serve()
  const browser = openBrowser()

  /** A page of the server that listens to a channel. */
  const listen = async (path: string): Promise<Page> => {
    const page = await browser().newPage()
    await page.goto(`${server().http}/version`)
    await page.evaluate((url) => {
      const source = new EventSource(url)
      globalThis.heard = { source, numbers: [], ready: [] }
      source.addEventListener('ready', (event) => heard.ready.push(JSON.parse((event as Event & { data: string }).data)))
      source.addEventListener('message', ({ data }) => heard.numbers.push(JSON.parse(data).content.n))
    }, path)
    return page
  }
  const publish = async (from: number, to: number): Promise<void> => {
    const messages = Array.from({ length: to - from + 1 }, (_, n) => ({ content: { n: from + n } }))
    expect((await http().publish('counts', { messages })).status).toBe(200)
  }
  const hears = (page: Page, count: number) => page.waitForFunction((wanted) => heard.numbers.length >= wanted, count)

  it('[BE1] comes back by itself after kill -9, and has every message once and in order', async () => {
    const page = await listen(channelPath('counts', '/events'))
    await page.waitForFunction(() => heard.ready.length === 1)
    await publish(1, 5)
    await hears(page, 5)
    await stop('SIGKILL')
    await startAgain()
    await publish(6, 40)
    await page.waitForFunction(() => heard.ready.length === 2)
    await publish(41, 42)
    await hears(page, 42)
    const { numbers, ready } = await page.evaluate(() => ({ numbers: heard.numbers, ready: heard.ready }))
    expect(numbers).toEqual(Array.from({ length: 42 }, (_, n) => n + 1))
    expect(ready.map(({ recovered }) => recovered)).toEqual([null, true])
  })

  it('[BE2] does not try for ever what is refused', async () => {
    const page = await listen(channelPath('private_bob', '/events'))
    await page.waitForFunction(() => heard.source.readyState === EventSource.CLOSED)
    expect(await page.evaluate(() => heard.ready.length)).toBe(0)
  })
})
