/** The example editor in a real browser: two tabs, a server that is killed, nothing lost. */
import type { Page } from 'playwright-core'
import { describe, expect, it } from 'vitest'
import { hasBrowser, openBrowser } from '../support/browser.ts'
import { serve } from '../support/service.ts'

describe.skipIf(!hasBrowser)('the example editor in Chromium', () => {
  const { server, stop, startAgain } = serve()
  const browser = openBrowser()

  const open = async (room: string, name: string): Promise<Page> => {
    // A context of its own: no BroadcastChannel to the other tab, so all they know of each other comes through the server.
    const page = await (await browser().newContext()).newPage()
    await page.goto(`${server().http}/examples/editor.html?room=${room}&name=${name}`)
    await page.getByText('synchronised', { exact: true }).waitFor()
    return page
  }
  const withText = (page: Page, text: string) =>
    page.waitForFunction((wanted) => document.querySelector('.cm-content')?.textContent?.includes(wanted), text)
  const type = async (page: Page, text: string, key = 'Control+End') => {
    await page.locator('.cm-content').click()
    await page.keyboard.press(key)
    await page.keyboard.type(text)
  }

  it('[WB1] two tabs see what the other types, and the cursor of the other', async () => {
    const [ada, ben] = await Promise.all([open('letters', 'Ada'), open('letters', 'Ben')])
    await type(ada, 'Dear Ben, ')
    await withText(ben, 'Dear Ben, ')
    await type(ben, 'hello Ada.')
    await withText(ada, 'hello Ada.')
    await ada.locator('.cm-ySelectionInfo', { hasText: 'Ben' }).waitFor({ state: 'attached' })
    await ben.locator('.cm-ySelectionInfo', { hasText: 'Ada' }).waitFor({ state: 'attached' })
    await ben.getByText('Ada, Ben').or(ben.getByText('Ben, Ada')).waitFor()
    await ada.context().close()
    await ben.locator('#people', { hasText: /^Ben$/ }).waitFor()
    await ben.context().close()
  })

  it('[WB2] after kill -9 and a new start both reconnect and agree, and nothing is lost', async () => {
    const [ada, ben] = await Promise.all([open('survivors', 'Ada'), open('survivors', 'Ben')])
    await type(ada, 'before the crash. ')
    await withText(ben, 'before the crash.')
    await stop('SIGKILL')
    await ada.getByText('disconnected').or(ada.getByText('connecting')).first().waitFor()
    await type(ada, 'Ada while it was away. ')
    await type(ben, 'Ben while it was away. ', 'Control+Home')
    await startAgain()
    for (const page of [ada, ben])
      for (const part of ['before the crash.', 'Ada while it was away.', 'Ben while it was away.']) await withText(page, part)
    const latecomer = await open('survivors', 'Cleo')
    await withText(latecomer, 'Ada while it was away.')
    const texts = await Promise.all(
      [ada, ben, latecomer].map((page) =>
        page.locator('.cm-content').evaluate((content) => {
          const copy = content.cloneNode(true) as HTMLElement
          for (const cursor of copy.querySelectorAll('.cm-ySelectionCaret')) cursor.remove()
          return copy.textContent
        }),
      ),
    )
    expect(new Set(texts).size).toBe(1)
    expect(texts[0]).toHaveLength('before the crash. Ada while it was away. Ben while it was away. '.length)
    await Promise.all([ada, ben, latecomer].map((page) => page.context().close()))
  })
})
