/** Users with passwords over the wire: the built program, its command line, and a users file that changes while it runs. */
import { spawnSync } from 'node:child_process'
import { statSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { BusClient } from '../support/bus.ts'
import { mainProgram, temporaryDirectory } from '../support/process.ts'
import { serve } from '../support/service.ts'
import { until } from '../support/wait.ts'

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

/** Ways to log in with a password, as somebody whose request says that it was forwarded for this address; the code of the refusal. */
const doorsOf = ({ server, http }: ReturnType<typeof serve>) => ({
  http: async (address: string, password = 'wrong password') => {
    const { status, body } = await http()
      .with({ ...basic('dora', password), 'x-forwarded-for': address })
      .publish('lobby', { content: 'hi' })
    return status === 201 ? 'in' : body.error.code
  },
  upgrade: async (address: string, password = 'wrong password') => {
    const client = new BusClient(`${server().ws}/`, { headers: { ...basic('dora', password), 'x-forwarded-for': address } })
    await until(() => client.socket.readyState !== client.socket.CONNECTING, 'the connection')
    const refused = async () => (await client.closed).reason.split(':')[0]
    return client.command('ping').then(() => 'in', refused)
  },
  command: async (address: string, password = 'wrong password') => {
    const client = await new BusClient(`${server().ws}/`, { headers: { 'x-forwarded-for': address } }).opened()
    const { success, code } = await client.command('authenticate', { username: 'dora', password })
    return success ? 'in' : code
  },
})

describe('wrong passwords through a proxy', () => {
  const settings = ['auth.anonymous=false', `auth.users=${file}`, 'auth.attemptsPerMinute=3']
  beforeAll(() => void troupeUser(['add', 'dora', '--permission', 'channel:*', '--permission', 'command:*'], 'open sesame\n'))

  describe('that is trusted', () => {
    const { http, upgrade, command } = doorsOf(serve(...settings, 'trustedProxies=127.0.0.1'))

    it('[PA5] are counted for the address of the client, whatever the door, and not for that of the proxy', async () => {
      const guesses = [await http('203.0.113.1'), await upgrade('203.0.113.1'), await command('203.0.113.1')]
      expect(guesses).toEqual(Array(3).fill('auth.failed'))
      for (const guess of [http, upgrade, command]) {
        expect(await guess('203.0.113.1', 'open sesame')).toBe('rate.limited')
        expect(await guess('203.0.113.2', 'open sesame')).toBe('in')
      }
      expect(await http('203.0.113.2, 203.0.113.1', 'open sesame')).toBe('rate.limited')
    })
  })

  describe('that is not trusted', () => {
    const { http, upgrade, command } = doorsOf(serve(...settings, 'trustedProxies=10.0.0.0/8'))

    it('[PA5] are counted for the peer, whatever it says', async () => {
      const guesses = [await http('203.0.113.1'), await upgrade('203.0.113.2'), await command('203.0.113.3')]
      expect(guesses).toEqual(Array(3).fill('auth.failed'))
      for (const guess of [http, upgrade, command]) expect(await guess('203.0.113.4', 'open sesame')).toBe('rate.limited')
    })
  })
})
