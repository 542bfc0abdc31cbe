/** Users with passwords over the wire: the built program, its command line, and a users file that changes while it runs. */
import { spawnSync } from 'node:child_process'
import { statSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { BusClient } from '../support/bus.ts'
import { mainProgram, temporaryDirectory } from '../support/process.ts'
import { serve } from '../support/service.ts'

const directory = temporaryDirectory()
afterAll(() => directory.remove())
const file = join(directory.path, 'users.json')

const troupeUser = (args: readonly string[], input = '') => {
  const { status, stdout, stderr } = spawnSync(process.execPath, [mainProgram, 'user', ...args, '--users', file], {
    input,
    encoding: 'utf8',
  })
  return { status, stdout, stderr }
}
const done = { status: 0, stderr: '' }
troupeUser(['add', 'alice', '--permission', 'channel:*', '--permission', 'command:*'], 'correct horse\n')

const basic = (user: string, password: string) => ({ authorization: `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}` })

describe('a user with a password', () => {
  const { server, http } = serve('auth.anonymous=false', `auth.users=${file}`, 'auth.attemptsPerMinute=4')
  const connect = () => new BusClient(`${server().ws}/`).opened()
  const login = async (username: string, password: string) => (await connect()).command('authenticate', { username, password })

  it('[PA1] is made on the command line, in a file for its owner only', () => {
    expect(troupeUser(['add', 'bob', '--tenant', 'acme'], 'battery staple\n')).toMatchObject(done)
    expect(troupeUser(['list'])).toMatchObject({ ...done, stdout: 'alice\t-\tchannel:* command:*\nbob\tacme\t(default)\n' })
    expect(troupeUser(['add', 'carol'], 'short\n')).toMatchObject({ status: 78, stderr: expect.stringContaining('at least 8 characters') })
    expect(statSync(file).mode & 0o777).toBe(0o600)
  })

  it('[PA2] logs in on the bus, or over HTTP, and is who the file says; a server that runs takes new users up', async () => {
    expect(await login('alice', 'correct horse')).toMatchObject({ success: true, data: { user: 'alice', tenant: '' } })
    await server().line(({ msg }) => msg === 'the users file was read again')
    expect(await login('bob', 'battery staple')).toMatchObject({ success: true, data: { tenant: 'acme' } })
    expect(await http().with(basic('alice', 'correct horse')).publish('lobby', { content: 'hi' })).toMatchObject({ status: 201 })
    expect(await http().with(basic('alice', 'correct')).publish('lobby', { content: 'hi' })).toMatchObject({
      status: 401,
      body: { error: { code: 'auth.failed', message: expect.stringContaining('user name or password') } },
    })
  })

  it('[PA3] who is removed is disconnected, and does not come back', async () => {
    const alice = await connect()
    await alice.command('authenticate', { username: 'alice', password: 'correct horse' })
    expect(troupeUser(['remove', 'alice'])).toMatchObject(done)
    expect(await alice.closed).toMatchObject({ code: 4403, reason: 'auth.revoked' })
    expect(await login('alice', 'correct horse')).toMatchObject({ success: false, code: 'auth.failed' })
  })

  it('[PA4] may be guessed a few times a minute from one address, then also right passwords have to wait', async () => {
    const answers = []
    do answers.push(await login('bob', 'wrong password'))
    while (answers.at(-1)?.code === 'auth.failed')
    expect(answers.length).toBeLessThanOrEqual(5)
    expect(answers.at(-1)).toMatchObject({ code: 'rate.limited', rule: 'auth.attemptsPerMinute 4', retry_after: expect.any(Number) })
    expect(await login('bob', 'battery staple')).toMatchObject({ success: false, code: 'rate.limited' })
  })
})
