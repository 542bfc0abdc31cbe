/** The example chat in a real browser: two people, a server that is killed, nothing lost and nothing twice. */
import type { Page } from 'playwright-core'
import { describe, expect, it } from 'vitest'
import { hasBrowser, openBrowser } from '../support/browser.ts'
import { BusClient } from '../support/bus.ts'
import { serve } from '../support/service.ts'
import { until } from '../support/wait.ts'

describe.skipIf(!hasBrowser)('the example chat in Chromium', () => {
  const { server, stop, startAgain } = serve('bus.graceMs=300') // who is gone has left soon
  const browser = openBrowser()

  const open = async (channel: string, name: string): Promise<Page> => {
    const page = await (await browser().newContext()).newPage()
    await page.goto(`${server().http}/examples/chat.html?channel=${channel}&name=${name}`)
    await page.getByText(`${name} (you)`).waitFor()
    return page
  }
  const say = async (page: Page, text: string) => {
    await page.getByLabel('message').fill(text)
    await page.getByRole('button', { name: 'send' }).click()
  }
  const texts = (page: Page) => page.locator('.message span').allInnerTexts()
  const shows = async (page: Page, wanted: readonly string[]) => {
    let shown = ''
    const isShown = async () => {
      shown = JSON.stringify(await texts(page))
      return shown === JSON.stringify(wanted)
    }
    const instead = () => `${JSON.stringify(wanted)} instead of ${shown}`
    await until(isShown, instead)
  }
  const switchLink = (page: Page, to: 'connect' | 'disconnect') => page.getByRole('button', { name: to, exact: true }).click()

  it('shows what others say, who is there and how they are', async () => {
    const [ada, ben] = [await open('general', 'Ada'), await open('general', 'Ben')]
    await say(ada, 'hello <b>Ben</b>')
    await shows(ben, ['hello <b>Ben</b>'])
    await say(ben, 'hello Ada')
    for (const page of [ada, ben]) await shows(page, ['hello <b>Ben</b>', 'hello Ada'])
    expect(await ada.locator('.waiting').count()).toBe(0)
    await ben.getByLabel('status').selectOption('away')
    await ada.locator('#members li[data-status=away]', { hasText: 'Ben' }).waitFor()
    await switchLink(ben, 'disconnect')
    await ada.getByText('Ben left').waitFor()
    for (const page of [ada, ben]) await page.context().close()
  })

  it('recovers what was said while it was away, and then says what it was told meanwhile', async () => {
    const [ada, ben] = [await open('absent', 'Ada'), await open('absent', 'Ben')]
    await say(ada, 'one')
    await shows(ben, ['one'])
    await switchLink(ben, 'disconnect')
    await ben.getByText('not connected').waitFor()
    await ada.getByText('Ben left').waitFor() // until then what she says may still reach him
    for (const text of ['two', 'three']) await say(ada, text)
    await say(ben, 'from afar')
    await shows(ada, ['one', 'two', 'three'])
    await ben.locator('.waiting').waitFor()
    await switchLink(ben, 'connect')
    await ben.getByText('recovered 2 messages').waitFor()
    for (const page of [ada, ben]) await shows(page, ['one', 'two', 'three', 'from afar'])
    for (const page of [ada, ben]) await page.context().close()
  })

  it('begins anew when it missed more than is replayed', async () => {
    const ada = await open('busy', 'Ada')
    await say(ada, 'before')
    await shows(ada, ['before'])
    await switchLink(ada, 'disconnect')
    const writer = await new BusClient(`${server().ws}/`).opened()
    for (let n = 1; n <= 310; n++) writer.send({ type: 'message', channel: 'busy', content: { text: `message ${n}` } })
    await until(async () => (await writer.command('channel_info', { channel: 'busy' })).data.sequence === 311, 'all on disk')
    await switchLink(ada, 'connect')
    await ada.getByText('too much was missed').waitFor()
    await shows(
      ada,
      Array.from({ length: 50 }, (_, n) => `message ${n + 261}`),
    )
    await ada.context().close()
  })

  it('goes on after kill -9 and a new start', async () => {
    const [ada, ben] = [await open('crash', 'Ada'), await open('crash', 'Ben')]
    await say(ada, 'before')
    await shows(ben, ['before'])
    await stop('SIGKILL')
    await ada.getByText('not connected').or(ada.getByText('connecting')).waitFor()
    await say(ada, 'during')
    await startAgain()
    await shows(ben, ['before', 'during'])
    await say(ben, 'after')
    for (const page of [ada, ben]) await shows(page, ['before', 'during', 'after'])
    for (const page of [ada, ben]) await page.context().close()
  })
})
