/** The examples do what they say. */
import { execFileSync, spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { afterEach, describe, expect, it, onTestFinished } from 'vitest'
import { BusClient, closeBusClients } from '../support/bus.ts'
import { openEditor, synced } from '../support/editors.ts'
import { startTroupe, temporaryDirectory } from '../support/process.ts'
import { until } from '../support/wait.ts'

afterEach(closeBusClients)

describe('examples/hello-actor.ts', () => {
  it('goes on counting when it is run again on the same data', () => {
    const data = temporaryDirectory()
    const program = fileURLToPath(new URL('../../dist/programs/hello-actor.js', import.meta.url))
    const run = () => execFileSync(process.execPath, [program, data.path], { encoding: 'utf8' }).trim()
    expect([run(), run(), run()]).toEqual(['visits: 1', 'visits: 2', 'visits: 3'])
    data.remove()
  })
})

describe('examples/order.ts', () => {
  it('answers, refuses what a paid order does not take, and has the mail sent', () => {
    const data = temporaryDirectory()
    const program = fileURLToPath(new URL('../../dist/programs/order.js', import.meta.url))
    const lines = execFileSync(process.execPath, [program, data.path], { encoding: 'utf8' }).trim().split('\n')
    expect(lines[0]).toBe('added')
    expect(lines[1]).toContain("value: 'paid'")
    expect(lines.slice(2)).toEqual(['actor.unhandled', "mails: [ 'thanks' ]"])
    data.remove()
  })
})

describe('examples/bus-client.ts', () => {
  it('shows every message once, although the server is killed and the network is away meanwhile', async () => {
    const data = temporaryDirectory()
    const program = fileURLToPath(new URL('../../dist/programs/bus-client.js', import.meta.url))
    let troupe = await startTroupe(data.path)
    const { port } = troupe
    const client = spawn(process.execPath, [program, `${troupe.ws}/`, 'general', 'alice'], { stdio: ['pipe', 'pipe', 'inherit'] })
    onTestFinished(async () => {
      client.kill('SIGKILL')
      await troupe.kill()
      data.remove()
    })
    let shown = ''
    client.stdout.on('data', (chunk: Buffer) => {
      shown += chunk
    })
    const other = new BusClient(`${troupe.ws}/`)
    await other.opened()
    await until(async () => (await other.command('channel_info', { channel: 'general' })).data?.members === 1, 'the client in the channel')
    await other.publish('general', { text: 'one' }, { sender: 'bob' })
    await until(() => shown === 'bob: one\n', 'the first message')
    await troupe.kill()
    client.stdin.write('two\nthree\n')
    troupe = await startTroupe(data.path, ['--port', String(port)])
    const back = new BusClient(`${troupe.ws}/`)
    await back.opened()
    await back.publish('general', { text: 'four' }, { sender: 'bob' })
    await until(() => shown.split('\n').length === 5, 'all messages')
    client.stdin.write('five\n')
    await until(() => shown.includes('five'), 'the last message')
    const lines = shown.trim().split('\n')
    expect(lines[0]).toBe('bob: one')
    expect([...lines].sort()).toEqual(['alice: five', 'alice: three', 'alice: two', 'bob: four', 'bob: one'])
    expect(lines.indexOf('alice: two')).toBeLessThan(lines.indexOf('alice: three'))
  })
})

describe('examples/agent.ts', () => {
  it('corrects what people type, is seen by them, and leaves in good order', async () => {
    const data = temporaryDirectory()
    const program = fileURLToPath(new URL('../../dist/programs/agent.js', import.meta.url))
    const agent = spawn(process.execPath, [program, data.path, '0'], { stdio: ['ignore', 'pipe', 'inherit'] })
    onTestFinished(() => {
      agent.kill('SIGKILL')
      data.remove()
    })
    let port = ''
    agent.stdout.on('data', (chunk: Buffer) => {
      port = /listening on (\d+)/.exec(chunk.toString())?.[1] ?? port
    })
    await until(() => port !== '', 'the port')
    const editor = openEditor(`ws://127.0.0.1:${port}/docs`, 'example', { text: 'codemirror' })
    onTestFinished(() => editor.close())
    await synced(editor)
    editor.text.insert(0, 'teh cat and teh dog recieve ')
    await until(() => editor.text.toString() === 'the cat and the dog receive ', 'the corrections')
    const names = () => [...editor.provider.awareness.getStates().values()].map(({ user }) => user?.name)
    await until(() => names().includes('Proofreader'), 'the agent among those who are here')
    const exited = new Promise((resolve) => agent.once('exit', resolve))
    agent.kill('SIGTERM')
    expect(await exited).toBe(0)
  })
})

describe('the code in the docs', () => {
  const read = (path: string) => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8')

  it.each([
    ['README.md', 'const counter', 'examples/hello-actor.ts'],
    ['docs/actors.md', 'const order', 'examples/order.ts'],
    ['docs/channels.md', 'const hear', 'examples/bus-client.ts'],
    ['docs/extend.md', 'const gameScore', 'examples/game-score.ts'],
    ['docs/documents-api.md', 'const correct', 'examples/agent.ts'],
  ])('%s: %s stands so in %s', (page, name, example) => {
    const block = [...read(page).matchAll(/```ts\n([\s\S]*?)```/g)].map((match) => match[1] ?? '').find((text) => text.includes(name))
    const definition = block?.slice(block.indexOf(name)).split('\n\n')[0]?.trim()
    expect(definition?.length).toBeGreaterThan(200)
    expect(read(example)).toContain(definition)
  })
})
