/** Channels over HTTP: the built program, real sockets, a real disk. */
import { connect } from 'node:net'
import { describe, expect, it } from 'vitest'
import { BusClient } from '../support/bus.ts'
import { channelPath, secret, tokenOf } from '../support/http.ts'
import { serve } from '../support/service.ts'
import { until } from '../support/wait.ts'

const isoTime = expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)

describe('publishing', () => {
  const { server, http, restart } = serve()

  it('[HT1] is heard by members of the bus, and says where the message stands', async () => {
    const member = await new BusClient(`${server().ws}/`).opened()
    await member.join('sensors/hall 1')
    const content = { temperature: 21.5 }
    const { status, body } = await http().publish('sensors/hall 1', { content, metadata: { unit: 'C' } })
    expect([status, body]).toEqual([
      201,
      {
        id: expect.any(String),
        channel: 'sensors/hall 1',
        sequence: 1,
        epoch: expect.any(String),
        timestamp: isoTime,
        repeated: false,
      },
    ])
    expect(await member.frame((frame) => frame.type === 'message')).toMatchObject({
      id: body.id,
      channel: 'sensors/hall 1',
      content,
      metadata: { unit: 'C' },
      sender: 'anonymous',
      sequence: 1,
      timestamp: body.timestamp,
    })
  })

  it('[HT2] is on disk when it is answered', async () => {
    const { body } = await http().publish('durable', { content: 'kept', id: 'one' })
    await restart('SIGKILL')
    const { body: page } = await http().history('durable')
    expect(page.messages).toMatchObject([{ id: 'one', content: 'kept', sequence: 1 }])
    expect(page.epoch).toBe(body.epoch)
  })

  it('[HT3] with the id of an earlier one returns that one, also after a crash; the header names an id, too', async () => {
    const first = await http().publish('retries', { content: 'a', id: 'k1' })
    const again = () => http().with({ 'idempotency-key': '"k1"' }).publish('retries', { content: 'a' })
    expect(await again()).toMatchObject({ status: 201, body: { ...first.body, repeated: true } })
    await restart('SIGKILL')
    expect((await again()).body).toEqual({ ...first.body, repeated: true })
    expect(await http().publish('retries', { content: 'b', id: 'k1' })).toMatchObject({
      status: 409,
      body: { error: { code: 'message.id_reused' } },
    })
    const both = await http().with({ 'idempotency-key': 'k2' }).publish('retries', { content: 'c', id: 'k3' })
    expect(both).toMatchObject({ status: 400, body: { error: { code: 'command.bad_parameters' } } })
    expect((await http().history('retries')).body.messages).toHaveLength(1)
  })

  it('[HT4] takes several at once, in order, each with its own result', async () => {
    const { status, body } = await http().publish('batches', {
      messages: [{ content: 1 }, { text: 'no content' }, { content: 3, id: 'x' }, { content: 4 }, { content: 3, id: 'x' }],
    })
    expect(status).toBe(200)
    expect(body.results.map(({ sequence }: { sequence?: number }) => sequence)).toEqual([1, undefined, 2, 3, 2])
    expect(body.results[1].error).toMatchObject({ code: 'command.bad_parameters', message: expect.stringContaining('content: required') })
    expect(body.results[4]).toEqual({ ...body.results[2], repeated: true })
    const many = await http().publish('batches', { messages: Array.from({ length: 1_001 }, () => ({ content: 0 })) })
    expect(many).toMatchObject({ status: 400, body: { error: { code: 'command.bad_parameters' } } })
  })

  it.each([
    ['no JSON', '{"content":', 400, 'message.malformed'],
    ['a list', '[1]', 400, 'message.malformed'],
    ['nothing', '{}', 400, 'command.bad_parameters'],
    ['a field that there is not', '{"content":1,"contnet":2}', 400, 'command.bad_parameters'],
    ['metadata that is no object', '{"content":1,"metadata":[]}', 400, 'command.bad_parameters'],
    ['nesting that is too deep', `{"content":${'['.repeat(100)}${']'.repeat(100)}}`, 400, 'message.malformed'],
    ['too much', `{"content":"${'x'.repeat(1_050_000)}"}`, 413, 'message.too_large'],
    ['far too much', `{"content":"${'x'.repeat(2_100_000)}"}`, 413, 'message.too_large'],
  ])('[HT5] refuses %s', async (_, text, status, code) => {
    expect(await http().publish('bad', text)).toMatchObject({ status, body: { error: { code, message: expect.any(String) } } })
  })

  it('[HT5] refuses what would not fit into a frame, for numbers grow on the way, and says how large it is', async () => {
    expect(await http().publish('bad', `{"content":[${'1e20,'.repeat(100_000)}0]}`)).toMatchObject({
      status: 413,
      body: { error: { code: 'message.too_large', message: expect.stringMatching(/\d+ bytes with its envelope/) } },
    })
  })

  it('[HT5] refuses what is not JSON by its type, for a page of another origin could send that without asking', async () => {
    for (const type of ['text/plain', 'application/x-www-form-urlencoded'])
      expect(await http().with({ 'content-type': type }).publish('bad', '{"content":1}')).toMatchObject({
        status: 415,
        body: { error: { code: 'http.unsupported_type' } },
      })
  })

  it('[HT5] refuses what it could not pass on as it came: other charsets, compressed, no UTF-8, numbers without end', async () => {
    const send = async (body: string | Uint8Array, headers: Record<string, string> = {}) => {
      const response = await fetch(`${server().http}/v1/channels/strange/messages`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...headers },
        body: body as string, // fetch takes bytes, too
      })
      const { error } = (await response.json()) as { error?: { code: string } }
      return [response.status, error?.code]
    }
    const latin = Uint8Array.from(Buffer.from('{"content":"\xfc"}', 'latin1'))
    expect(await send('{"content":1}', { 'content-encoding': 'gzip' })).toEqual([415, 'http.unsupported_type'])
    expect(await send(latin, { 'content-type': 'application/json; charset=iso-8859-1' })).toEqual([415, 'http.unsupported_type'])
    expect(await send(latin)).toEqual([400, 'message.malformed'])
    expect(await send('{"content":[1e999]}')).toEqual([400, 'message.malformed'])
    expect(await http().history('strange')).toMatchObject({ status: 404 })
    for (const type of ['application/json; charset="UTF-8"', 'application/json;charset=us-ascii'])
      expect(await send('{"content":1}', { 'content-type': type })).toEqual([201, undefined])
  })

  it('[HT5] passes on any name of a field, also those that every object has', async () => {
    const content = '{"__proto__":{"a":1},"constructor":{"prototype":null}}'
    expect(await http().publish('names', `{"content":${content},"metadata":${content}}`)).toMatchObject({ status: 201 })
    const [message] = (await http().history('names')).body.messages
    expect([JSON.stringify(message.content), JSON.stringify(message.metadata)]).toEqual([content, content])
  })

  it('[HT5] passes over the offer of HTTP/2 that some clients make with every request', async () => {
    const offer = 'host: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n'
    const post = `POST /v1/channels/offered/messages HTTP/1.1\r\n${offer}content-type: application/json\r\ncontent-length: 13\r\n\r\n`
    const read = `GET /v1/channels/offered/messages HTTP/1.1\r\n${offer}\r\n`
    let answers = ''
    const socket = connect(server().port, '127.0.0.1')
    socket.setEncoding('utf8').on('data', (text: string) => {
      answers += text
    })
    socket.write(`${post}{"conte`)
    await until(() => socket.bytesWritten > post.length, 'half of the body on its way')
    socket.write('nt":1}')
    await until(() => answers.includes('"repeated":false'), 'the message on disk')
    for (const answered of [1, 2]) {
      socket.write(read)
      await until(() => answers.split('"has_more":false').length === 1 + answered, 'an answer on the same connection')
    }
    expect(answers.match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 201', 'HTTP/1.1 200', 'HTTP/1.1 200'])
    socket.destroy()
  })

  it('[HT5] says in JSON, too, what is wrong with what is no request', async () => {
    const answerTo = (bytes: string) =>
      new Promise<string>((resolve) => {
        let answer = ''
        const socket = connect(server().port, '127.0.0.1', () => socket.write(bytes))
        socket.setEncoding('utf8').on('data', (text: string) => {
          answer += text
        })
        socket.on('close', () => resolve(answer))
      })
    const parsed = async (bytes: string) => {
      const [head = '', body = ''] = (await answerTo(bytes)).split('\r\n\r\n')
      const { error } = JSON.parse(body) as { error: { code: string } }
      return [head.split('\r\n')[0], head.includes(`content-length: ${body.length}`), error.code]
    }
    const bad = ['HTTP/1.1 400 Bad Request', true, 'http.bad_request']
    const tooLarge = ['HTTP/1.1 431 Request Header Fields Too Large', true, 'http.head_too_large']
    expect(await parsed('what is this\r\n\r\n')).toEqual(bad)
    expect(await parsed('FROB /v1/channels HTTP/1.1\r\nhost: a\r\n\r\n')).toEqual(bad)
    expect(await parsed(`GET /v1/channels/${'x'.repeat(10_000)} HTTP/1.1\r\nhost: a\r\n\r\n`)).toEqual(tooLarge)
  })

  it.each([
    ['~acme/x', 'channel.bad_name'],
    ['$telemetry', 'channel.bad_name'],
    ['a\u0000b', 'channel.bad_name'],
    ['x'.repeat(256), 'channel.bad_name'],
  ])('[HT5] refuses the name %j', async (name, code) => {
    expect(await http().publish(name, { content: 1 })).toMatchObject({ status: 400, body: { error: { code } } })
  })

  it('[HT5] refuses to show all what is meant for one', async () => {
    const message = { content: 'psst', metadata: { recipient: 'bob' } }
    expect(await http().publish('town-square', message)).toMatchObject({ status: 400, body: { error: { code: 'command.bad_parameters' } } })
    expect(await http().publish('private_bob', message)).toMatchObject({ status: 201 })
  })

  it('[HT5] refuses a path that is no encoding of anything', async () => {
    for (const path of ['/v1/channels/%ff', '/v1/channels?prefix=%ff', '/v1/documents?after=%ed%a0%80', '/v1/events?channel=%'])
      expect([path, await http().get(path)]).toMatchObject([path, { status: 400, body: { error: { code: 'http.bad_request' } } }])
  })
})

describe('reading', () => {
  const { http, server } = serve('bus.historyMessages=100')

  it('[HT6] pages through the history in both directions', async () => {
    await http().publish('log', { messages: Array.from({ length: 25 }, (_, n) => ({ content: `m${n + 1}` })) })
    const page = async (query: string) => {
      const { body } = await http().history('log', query)
      const sequences = body.messages.map(({ sequence }: { sequence: number }) => sequence)
      return [sequences[0], sequences.at(-1), body.has_more]
    }
    expect(await page('?limit=10')).toEqual([16, 25, true])
    expect(await page('?limit=10&before=16')).toEqual([6, 15, true])
    expect(await page('?limit=10&before=6')).toEqual([1, 5, false])
    // Who names a place to begin at reads on from there.
    expect(await page('?limit=10&after=5')).toEqual([6, 15, true])
    expect(await page('?limit=10&after=15')).toEqual([16, 25, false])
    expect(await page('?limit=10&after=5&direction=backwards')).toEqual([16, 25, true])
    const { body } = await http().history('log', '?limit=1')
    expect(body).toMatchObject({ channel: 'log', first_sequence: 1, sequence: 25, epoch: expect.any(String) })
    expect(body.messages[0]).toMatchObject({ type: 'message', content: 'm25', timestamp: isoTime })
  })

  it('[HT6] finds messages by time', async () => {
    const first = await http().publish('times', { content: 'early' })
    const at = Date.parse(first.body.timestamp)
    await until(() => Date.now() > at)
    const second = await http().publish('times', { content: 'late' })
    const contents = async (query: string) =>
      (await http().history('times', query)).body.messages.map(({ content }: { content: string }) => content)
    expect(await contents(`?until=${first.body.timestamp}`)).toEqual(['early'])
    expect(await contents(`?since=${Date.parse(second.body.timestamp)}`)).toEqual(['late'])
  })

  it.each(['?limit=0', '?limit=1001', '?limit=many', '?since=yesterday', '?after=-1', '?direction=up', '?limit=1&limit=2'])(
    '[HT6] refuses the question %s',
    async (query) => {
      expect(await http().history('log', query)).toMatchObject({ status: 400, body: { error: { code: 'command.bad_parameters' } } })
    },
  )

  it('[HT7] makes, describes, lists and deletes channels', async () => {
    expect(await http().send('PUT', channelPath('team/red'), { description: 'the red team' })).toMatchObject({
      status: 201,
      body: { channel: 'team/red', description: 'the red team', created_at: isoTime },
    })
    expect(await http().send('PUT', channelPath('team/red'))).toMatchObject({ status: 409, body: { error: { code: 'channel.exists' } } })
    await http().send('PUT', channelPath('team/sea'))
    expect((await http().get(channelPath('team/red'))).body).toMatchObject({
      channel: 'team/red',
      description: 'the red team',
      room: false,
      sequence: 0,
      members: 0,
    })
    const list = async (query: string) => {
      const { body } = await http().get(`/v1/channels${query}`)
      return [body.channels.map(({ name }: { name: string }) => name), body.has_more]
    }
    expect(await list('?prefix=team/')).toEqual([['team/red', 'team/sea'], false])
    expect(await list('?prefix=team/&limit=1')).toEqual([['team/red'], true])
    expect(await list('?prefix=team/&after=team/red')).toEqual([['team/sea'], false])
    expect(await http().send('DELETE', channelPath('team/red'))).toMatchObject({ status: 204, body: undefined })
    for (const path of ['', '/messages', '/members'])
      expect(await http().get(channelPath('team/red', path))).toMatchObject({ status: 404, body: { error: { code: 'channel.unknown' } } })
  })

  it('[HT7] makes rooms, which end by themselves', async () => {
    const { status, body } = await http().send('POST', '/v1/rooms', { room: 'huddle', ttl: 60 })
    expect([status, body]).toEqual([201, { room: 'huddle', channel: 'huddle', ttl: 60, expires_at: isoTime }])
    expect((await http().get('/v1/rooms')).body.rooms).toMatchObject([{ name: 'huddle', expires_at: body.expires_at }])
    expect(await http().send('POST', '/v1/rooms', { room: 'huddle', ttl: -1 })).toMatchObject({
      status: 400,
      body: { error: { code: 'command.bad_parameters' } },
    })
  })

  it('[HT7] tells who is in a channel', async () => {
    const ann = await new BusClient(`${server().ws}/`).opened()
    await ann.command('set_status', { username: 'ann', status: 'busy' })
    await ann.join('lobby')
    expect((await http().get(channelPath('lobby', '/members'))).body).toMatchObject({
      channel: 'lobby',
      members: [{ user: 'ann', status: 'busy', connections: 1, last_seen: isoTime }],
    })
  })
})

describe('the server about itself', () => {
  const { server, http } = serve()

  it('[HT8] counts its clients, channels and messages for probes and for Prometheus', async () => {
    const client = await new BusClient(`${server().ws}/`).opened()
    await client.join('a')
    await http().publish('a', { content: 1 })
    await client.frame((frame) => frame.type === 'message')
    expect((await http().get('/health')).body).toMatchObject({ status: 'healthy', clients: 1, topics: 1, uptime_ms: expect.any(Number) })
    const { body } = await http().get('/status')
    expect(body).toMatchObject({
      ready: true,
      storage: { state: 'ready' },
      connections: { total: 1, by_door: { bus: 1 } },
      channels: 1,
      actors: { by_kind: { channel: 1, client: 1 }, stopped: 0 },
      dead_letters: { total: expect.any(Number) },
      memory: { rss_bytes: expect.any(Number) },
    })
    const metrics = await fetch(`${server().http}/metrics`).then((response) => response.text())
    for (const line of [
      'arqonbus_connections_active 1',
      'troupe_channel_messages_total 1',
      'troupe_channel_deliveries_total 1',
      'troupe_channels 1',
    ])
      expect(metrics.split('\n')).toContain(line)
    expect(metrics).not.toContain('"a"')
  })

  it('[HT8] begins with what there is: every path of its start page leads somewhere, to documents and to channels', async () => {
    const { body } = await http().get('/')
    const { paths } = (await http().get('/v1/openapi.json')).body
    const listed = Object.values(body).filter((value) => String(value).startsWith('/')) as string[]
    for (const path of ['/docs/{name}', '/hocuspocus', '/v1/documents', '/v1/documents/{name}/content', '/v1/channels'])
      expect(listed).toContain(path)
    for (const path of listed.filter((one) => one.startsWith('/v1/'))) expect([path, path in paths]).toEqual([path, true])
    for (const path of ['/health', '/ready', '/status', '/metrics']) {
      expect(listed).toContain(path)
      expect([path, (await fetch(server().http + path)).status]).toEqual([path, 200])
    }
  })

  it('[HT8] streams events to clients that watch, of what comes by HTTP, too', async () => {
    const watcher = await new BusClient(`${server().ws}/`).opened()
    await watcher.command('subscribe_telemetry', { events: ['published', 'channel_created', 'dead_letter'] })
    await http().send('PUT', channelPath('watched'))
    const { body } = await http().publish('watched', { content: 1 })
    const seen = () => watcher.events('telemetry').flatMap(({ content }) => content.events as { event: string }[])
    await until(() => seen().some(({ event }) => event === 'published'), 'the event')
    expect(seen()).toMatchObject([
      { event: 'channel_created', channel: 'watched', door: 'http' },
      { event: 'published', channel: 'watched', door: 'http', id: body.id, sequence: 1, timestamp: isoTime },
    ])
  })
})

describe('who may do what', () => {
  const { server, http } = serve(
    `auth.jwtSecret=${secret}`,
    'auth.anonymous=false',
    'bus.allowedCommands=history,members,list_channels,revoke',
  )
  const permissions = ['channel:sensors/*:read', 'channel:mine:*', 'command:*']

  it('[HT9] nobody without an account, and 401 says how to come with one', async () => {
    const answer = await http().history('mine')
    expect(answer).toMatchObject({ status: 401, body: { error: { code: 'auth.required' } } })
    expect(answer.headers.get('www-authenticate')).toBe('Bearer realm="troupe"')
    const expired = await http()
      .as(await tokenOf('ann', {}, -3_600))
      .history('mine')
    expect(expired).toMatchObject({ status: 401, body: { error: { code: 'auth.expired' } } })
    expect(expired.headers.get('www-authenticate')).toContain('error="invalid_token"')
    expect(await http().as('nonsense').history('mine')).toMatchObject({ status: 401, body: { error: { code: 'auth.failed' } } })
  })

  it('[HT9] an account what its permissions say, with the rule in the refusal', async () => {
    const ann = http().as(await tokenOf('ann', { permissions }))
    expect(await ann.publish('mine', { content: 1 })).toMatchObject({ status: 201 })
    expect((await ann.history('mine')).body.messages).toMatchObject([{ sender: 'ann' }])
    expect(await ann.publish('sensors/a', { content: 1 })).toMatchObject({
      status: 403,
      body: { error: { code: 'access.denied', rule: 'needs channel:sensors/a:write' } },
    })
    expect(await ann.publish('mine', { content: 1, sender: 'bob' })).toMatchObject({
      status: 403,
      body: { error: { code: 'access.denied', rule: 'needs sender:bob' } },
    })
    expect(await ann.history('private_bob')).toMatchObject({ status: 403, body: { error: { code: 'access.denied' } } })
    const withQuery = await http().history('mine', `?token=${await tokenOf('ann', { permissions })}`)
    expect(withQuery.status).toBe(200)
  })

  it('[HT9] no command that the server does not allow, or the account may not run', async () => {
    const ann = http().as(await tokenOf('ann', { permissions: ['channel:*'] }))
    expect(await ann.history('mine')).toMatchObject({ status: 403, body: { error: { rule: 'needs command:history' } } })
    const bob = http().as(await tokenOf('bob', { permissions: ['*'] }))
    expect(await bob.send('PUT', channelPath('new'))).toMatchObject({ status: 403, body: { error: { rule: 'bus.allowedCommands' } } })
  })

  it('[HT9] no tenant what another one has', async () => {
    const of = async (tenant: string) => http().as(await tokenOf('ann', { tenant, permissions: ['*'] }))
    const [red, blue] = [await of('red'), await of('blue')]
    await red.publish('plans', { content: 'secret' })
    expect((await blue.get('/v1/channels')).body.channels).toEqual([])
    expect(await blue.history('plans')).toMatchObject({ status: 404 })
    expect((await red.history('plans')).body.messages).toMatchObject([{ channel: 'plans', content: 'secret' }])
  })

  it('[HT10] revokes tokens and users at once, and only by an admin', async () => {
    const admin = http().as(await tokenOf('root', { permissions: ['*', 'admin'] }))
    const token = await tokenOf('eve', { permissions: ['*'], jti: 'token-1' })
    const eve = http().as(token)
    const socket = await new BusClient(`${server().ws}/?token=${token}`).opened()
    expect(await eve.publish('mine', { content: 1 })).toMatchObject({ status: 201 })
    expect(await eve.send('POST', '/v1/revocations', { user: 'root' })).toMatchObject({
      status: 403,
      body: { error: { code: 'access.denied', rule: 'needs admin' } },
    })
    expect(await admin.send('POST', '/v1/revocations', {})).toMatchObject({ status: 400 })
    expect(await admin.send('POST', '/v1/revocations', { token_id: 'token-1' })).toMatchObject({
      status: 201,
      body: { token_id: 'token-1' },
    })
    expect(await eve.publish('mine', { content: 2 })).toMatchObject({ status: 401, body: { error: { code: 'auth.revoked' } } })
    expect((await socket.closed).reason).toContain('auth.revoked')
    const other = http().as(await tokenOf('eve', { permissions: ['*'] }))
    expect(await other.publish('mine', { content: 3 })).toMatchObject({ status: 201 })
    await admin.send('POST', '/v1/revocations', { user: 'eve' })
    expect(await other.publish('mine', { content: 4 })).toMatchObject({ status: 401, body: { error: { code: 'auth.revoked' } } })
    expect((await admin.get('/v1/revocations')).body.revocations).toMatchObject([
      { token_id: 'token-1' },
      { user: 'eve', tenant: '', before: isoTime },
    ])
  })
})

describe('limits', () => {
  const { http } = serve('bus.requestsPerMinute=3', 'origins=https://app.example')

  it('[HT11] says when to come back after too many requests', async () => {
    for (let n = 0; n < 3; n++) expect((await http().publish('a', { content: n })).status).toBe(201)
    const answer = await http().publish('a', { content: 3 })
    expect(answer).toMatchObject({ status: 429, body: { error: { code: 'rate.limited', rule: expect.any(String) } } })
    const seconds = Number(answer.headers.get('retry-after'))
    expect(seconds > 0 && seconds <= 60).toBe(true)
    expect(answer.body.error.retry_after).toBe(seconds)
  })

  it('[HT12] answers pages of the origins that may come, and no others', async () => {
    const from = (origin: string) => http().with({ origin }).send('OPTIONS', channelPath('a', '/messages'))
    const allowed = await from('https://app.example')
    expect([allowed.status, allowed.headers.get('access-control-allow-origin')]).toEqual([204, 'https://app.example'])
    expect(allowed.headers.get('access-control-allow-headers')).toContain('idempotency-key')
    expect(await from('https://evil.example')).toMatchObject({ status: 403, body: { error: { code: 'connection.origin' } } })
  })
})
