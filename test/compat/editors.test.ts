/** Unmodified editors in a real browser, all in one document, over both wires at once. */
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import type { Page } from 'playwright-core'
import { beforeAll, describe, expect, it } from 'vitest'
import { hasBrowser, openBrowser } from '../support/browser.ts'
import { serve } from '../support/service.ts'
import './editors/connect.ts'

type Wire = 'yjs' | 'hocuspocus'
const editors = ['tiptap', 'prosemirror', 'quill', 'codemirror'] as const
type Editor = (typeof editors)[number]
const surfaces: Readonly<Record<Editor, string>> = {
  tiptap: '.tiptap',
  prosemirror: '.ProseMirror',
  quill: '.ql-editor',
  codemirror: '.cm-content',
}

/** The program of a page, with all that it imports. */
const programOf = async (editor: Editor): Promise<string> => {
  const entry = fileURLToPath(new URL(`./editors/${editor}.ts`, import.meta.url))
  const { outputFiles } = await build({ entryPoints: [entry], bundle: true, write: false, format: 'iife', target: 'es2022', minify: true })
  return outputFiles[0]?.text ?? ''
}

describe.skipIf(!hasBrowser)('editors in Chromium', () => {
  const { server, stop, startAgain } = serve()
  const browser = openBrowser()
  const programs = new Map<Editor, string>()

  beforeAll(async () => {
    for (const editor of editors) programs.set(editor, await programOf(editor))
  })

  const open = async (editor: Editor, wire: Wire, room: string): Promise<Page> => {
    const page = await (await browser().newContext()).newPage()
    const problems: string[] = []
    page.on('pageerror', (error) => problems.push(error.message))
    await page.goto(`${server().http}/health`)
    await page.setContent('<!doctype html><style>[contenteditable] { white-space: pre-wrap }</style><div id="editor"></div>')
    const given = { wire, server: server().http.replace('http', 'ws'), room, user: `${editor} over ${wire}` }
    await page.evaluate((value) => {
      window.troupeTest = value
    }, given)
    await page.addScriptTag({ content: programs.get(editor) ?? '' })
    await settled(page)
    await page.locator(surfaces[editor]).waitFor()
    expect(problems).toEqual([])
    return page
  }
  const settled = (page: Page) => page.waitForFunction(() => window.isSettled())
  const type = async (page: Page, editor: Editor, text: string) => {
    await page.locator(surfaces[editor]).click()
    await page.keyboard.press('Control+Home')
    await page.keyboard.type(text)
  }
  const shows = (page: Page, editor: Editor, text: string) =>
    page.waitForFunction(([surface, wanted]) => document.querySelector(surface as string)?.textContent?.includes(wanted as string), [
      surfaces[editor],
      text,
    ] as const)
  /** Everything in the document, whatever an editor shows of it. */
  const contents = (page: Page) =>
    page.evaluate(() => {
      const { sharedDocument } = window
      return `${sharedDocument.getXmlFragment('prose').toString()} | ${sharedDocument.getText('plain').toString()}`
    })

  const together = async (room: string, wires: Readonly<Record<Editor, Wire>>) => {
    const pages = new Map<Editor, Page>()
    for (const editor of editors) pages.set(editor, await open(editor, wires[editor], room))
    const page = (editor: Editor) => pages.get(editor) as Page // opened above
    const pair = async (one: Editor, other: Editor) => {
      await type(page(one), one, `from ${one}; `)
      await shows(page(other), other, `from ${one}; `)
      await type(page(other), other, `from ${other}; `)
      await shows(page(one), one, `from ${other}; `)
    }
    await pair('tiptap', 'prosemirror')
    await pair('quill', 'codemirror')
    return page
  }
  const agree = async (page: (editor: Editor) => Page) => {
    for (const editor of editors) await settled(page(editor))
    await expect
      .poll(async () => new Set(await Promise.all(editors.map((editor) => contents(page(editor))))).size, { timeout: 20_000 })
      .toBe(1)
  }

  it('[WE1] Tiptap and Quill over the one wire, ProseMirror and CodeMirror over the other, edit one document', async () => {
    const page = await together('newsroom', { tiptap: 'hocuspocus', quill: 'hocuspocus', prosemirror: 'yjs', codemirror: 'yjs' })
    const tiptap = page('tiptap')
    await tiptap.keyboard.press('Control+b')
    await tiptap.keyboard.type('bold words')
    await page('prosemirror').locator('strong', { hasText: 'bold words' }).waitFor()
    await agree(page)
    const content = await contents(tiptap)
    for (const editor of editors) expect(content.split(`from ${editor}; `)).toHaveLength(2)
    for (const editor of editors) await page(editor).context().close()
  })

  it('[WE2] the other way round, through kill -9 in the middle: nothing is lost, nothing is doubled', async () => {
    const page = await together('night shift', { tiptap: 'yjs', quill: 'yjs', prosemirror: 'hocuspocus', codemirror: 'hocuspocus' })
    await stop('SIGKILL')
    await Promise.all(editors.map((editor) => type(page(editor), editor, `${editor} in the dark; `)))
    await startAgain()
    for (const editor of ['tiptap', 'prosemirror'] as const)
      for (const other of ['tiptap', 'prosemirror']) await shows(page(editor), editor, `${other} in the dark; `)
    for (const editor of ['quill', 'codemirror'] as const)
      for (const other of ['quill', 'codemirror']) await shows(page(editor), editor, `${other} in the dark; `)
    await agree(page)
    const content = await contents(page('quill'))
    for (const editor of editors) expect(content.split(`from ${editor}; `)).toHaveLength(2)
    for (const editor of editors) await page(editor).context().close()
  })
})
