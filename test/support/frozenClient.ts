/**
 * A stock editor in a process of its own, to be stopped and continued by signals. Arguments: URL and room. It answers in lines
 * of JSON on stdout: whether it is synchronised, how much text it has, how often its connection ended.
 */
import { openEditor } from './editors.ts'

const [, , url = '', room = ''] = process.argv
const { provider, text } = openEditor(url, room)
let closings = 0
let said = ''

const say = (): void => {
  const line = JSON.stringify({ synced: provider.synced, length: text.length, closings })
  if (line !== said) process.stdout.write(`${line}\n`)
  said = line
}

provider.on('connection-close', () => {
  closings++
  say()
})
provider.on('sync', say)
text.observe(say)
