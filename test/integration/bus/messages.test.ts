/** Messages of the bus over the wire: the built program, real sockets, a real disk. */
import { describe, expect, it } from 'vitest'
import { connected, isoTime } from '../../support/bus.ts'
import { MiB } from '../../support/processes.ts'
import { serve } from '../../support/service.ts'
import { until } from '../../support/wait.ts'

const aTime = expect.stringMatching(isoTime)

describe('a message', () => {
  const { server } = serve()

  it('[BW1] comes to every member in the envelope of the guide, on a connection that was silent before', async () => {
    const [a, b] = await Promise.all([connected(server()), connected(server())])
    expect([a.texts, b.texts]).toEqual([[], []])
    for (const client of [a, b]) await client.join('envelope')
    const metadata = { recipient: null, trace: ['x', 1] }
    a.send({ type: 'message', channel: 'envelope', content: { text: 'hi' }, sender: 'ada', id: 'm-1', metadata, extra: 'ignored' })
    const wanted = {
      id: 'm-1',
      type: 'message',
      timestamp: aTime,
      sender: 'ada',
      channel: 'envelope',
      content: { text: 'hi' },
      metadata,
      sequence: 1,
      epoch: expect.stringMatching(/./),
    }
    for (const client of [a, b]) expect(await client.frame(({ sequence }) => sequence === 1)).toEqual(wanted)
  })

  it('[BW2] keeps its content as it was, whatever is in it; what is neither object nor text is put into `data`', async () => {
    const [a, b] = await Promise.all([connected(server()), connected(server())])
    await b.join('content')
    const objects = [
      '{}',
      '{"__proto__":{"a":1},"constructor":2}',
      '{"timestamp":"2025-01-01T00:00:00","n":1e-7}',
      '{"deep":[[[{"x":null}]]]}',
    ]
    const texts = ['""', '"text"', '"déjà 漢字 𝄞 \\u0000 \\ud800"', `"${'x'.repeat(70_000)}"`]
    const wrapped = ['1', 'null', 'true', '[1,2]', '-0.5']
    for (const content of [...objects, ...texts, ...wrapped]) a.send(`{"type":"message","channel":"content","content":${content}}`)
    const all = objects.length + texts.length + wrapped.length
    await until(() => b.messages('content').length === all, 'all messages')
    const heard = b.texts.filter((_, index) => typeof b.frames[index]?.sequence === 'number')
    for (const [index, content] of [...objects, ...texts].entries())
      expect(heard[index]).toContain(`"content":${JSON.stringify(JSON.parse(content)).replace(/^{"a":1},/, '')}`)
    expect(b.contents('content').slice(-wrapped.length)).toEqual(wrapped.map((content) => ({ data: JSON.parse(content) })))
  })

  it('[BW3] reaches the members from somebody who never joined, who hears the first eight of its own and no more', async () => {
    const [outsider, member] = await Promise.all([connected(server()), connected(server())])
    await member.join('budget')
    for (let n = 0; n < 20; n++) {
      outsider.send({ type: 'message', channel: 'budget', content: { n } })
      outsider.send({ type: 'command', command: 'create_channel', channel: `beside/${n}` }) // an echo does not get lost in it
    }
    await until(() => member.messages('budget').length === 20, 'all at the member')
    await outsider.settled()
    expect(outsider.contents('budget')).toEqual(Array.from({ length: 8 }, (_, n) => ({ n })))
    expect(member.contents('budget')).toEqual(Array.from({ length: 20 }, (_, n) => ({ n })))
    for (let n = 0; n < 20; n++) member.send({ type: 'message', channel: 'budget', content: { own: n } })
    await until(() => member.messages('budget').length === 40, 'all of its own')
  })

  it('[BW4] goes to nobody outside of its channel', async () => {
    const [a, b] = await Promise.all([connected(server()), connected(server())])
    await a.join('inside')
    await b.join('outside')
    expect(await a.publish('inside', 'x')).toMatchObject({ type: 'ack' })
    await b.settled()
    expect(b.messages()).toEqual([])
  })

  it('[BW5] is numbered 1, 2, 3 in one order for all, whoever sends', async () => {
    const clients = await Promise.all(Array.from({ length: 5 }, () => connected(server())))
    await Promise.all(clients.map((client) => client.join('order')))
    for (let n = 0; n < 100; n++)
      for (const [from, client] of clients.entries()) client.send({ type: 'message', channel: 'order', content: { from, n } })
    await until(() => clients.every((client) => client.messages('order').length === 500), 'all messages at all')
    const [first, ...others] = clients.map((client) => client.messages('order'))
    expect(first?.map(({ sequence }) => sequence)).toEqual(Array.from({ length: 500 }, (_, index) => index + 1))
    for (const heard of others) expect(heard).toEqual(first)
    for (const from of clients.keys()) {
      const own = first?.map(({ content }) => content as { from: number; n: number }).filter((content) => content.from === from)
      expect(own?.map(({ n }) => n)).toEqual(Array.from({ length: 100 }, (_, n) => n))
    }
  })

  it('[BW6] is acknowledged where that is asked for, with what names its place', async () => {
    const client = await connected(server())
    const joined = await client.join('acknowledged')
    const ack = await client.publish('acknowledged', 'x', { id: 'mine' })
    expect(ack).toEqual({
      type: 'ack',
      id: 'mine',
      channel: 'acknowledged',
      sequence: joined.data.sequence + 1,
      epoch: expect.stringMatching(/./),
      timestamp: aTime,
      repeated: false,
      request_id: expect.any(String),
    })
    client.send({ type: 'message', channel: 'acknowledged', content: 'y' })
    await client.settled()
    expect(client.frames.filter(({ type }) => type === 'ack')).toHaveLength(1)
  })

  it('[BW7] that comes again under its id is there once, and is answered like the first; another one under this id is refused', async () => {
    const [a, b] = await Promise.all([connected(server()), connected(server())])
    await b.join('again')
    const first = await a.publish('again', { n: 1 }, { id: 'm', sender: 'ada' })
    const again = await a.publish('again', { n: 1 }, { id: 'm', sender: 'ada' })
    const other = await a.publish('again', { n: 2 }, { id: 'm', sender: 'ada' })
    const somebodyElse = await b.publish('again', { n: 3 }, { id: 'm', sender: 'bob' })
    expect(again).toEqual({ ...first, repeated: true, request_id: again.request_id })
    expect(other).toMatchObject({ type: 'error', code: 'message.id_reused', id: 'm', channel: 'again' })
    expect(somebodyElse).toMatchObject({ type: 'ack', repeated: false, sequence: 2 })
    await b.settled()
    expect(b.contents('again')).toEqual([{ n: 1 }, { n: 3 }])
  })

  it('[BW8] in a batch is published as if it had come alone; one that is refused takes no other with it', async () => {
    const [a, b] = await Promise.all([connected(server()), connected(server())])
    await b.join('batch')
    const messages = [
      { channel: 'batch', content: 1, id: 'a' },
      { type: 'event', channel: 'batch', content: { n: 2 } },
      { channel: 'batch' },
      'nothing',
      { type: 'command', command: 'status' },
      { channel: 'batch', content: 'last' },
    ]
    a.send({ type: 'batch', messages, ack: true, request_id: 'r' })
    await until(() => a.frames.filter(({ type }) => type === 'ack' || type === 'error').length === 6, 'six answers')
    await until(() => b.messages('batch').length === 3, 'three messages')
    expect(b.messages('batch').map(({ type, content }) => [type, content])).toEqual([
      ['message', { data: 1 }],
      ['event', { n: 2 }],
      ['message', 'last'],
    ])
    expect(a.frames.filter(({ type }) => type === 'ack').map(({ sequence, request_id }) => [sequence, request_id])).toEqual([
      [1, 'r'],
      [2, 'r'],
      [3, 'r'],
    ])
    expect(a.frames.filter(({ type }) => type === 'error').map(({ code }) => code)).toEqual(Array(3).fill('message.malformed'))
    a.send({ type: 'batch', messages: Array(1_001).fill({ channel: 'batch', content: 0 }), request_id: 'large' })
    expect(await a.frame(({ request_id }) => request_id === 'large')).toMatchObject({ type: 'error', code: 'message.too_large' })
    a.send({ type: 'batch', messages: [] })
    await a.settled()
    expect((await a.command('channel_info', { channel: 'batch' })).data.sequence).toBe(3)
  })

  it('[BW9] without a channel goes to the room that it names; an event of a client can be told from one of the server', async () => {
    const [a, b] = await Promise.all([connected(server()), connected(server())])
    await b.join('lobby')
    a.send({ type: 'event', room: 'lobby', content: { type: 'user_joined', user: 'nobody' }, sender: 'ada' })
    expect(await b.frame(({ type }) => type === 'event')).toMatchObject({ channel: 'lobby', room: 'lobby', sender: 'ada', sequence: 1 })
    a.send({ type: 'message', channel: 'lobby', room: 'elsewhere', content: 'x' })
    expect(await b.frame(({ sequence }) => sequence === 2)).toMatchObject({
      channel: 'lobby',
      room: 'elsewhere',
      sender: expect.any(String),
    })
  })

  it('[BW10] that was said before the client closed its connection is published', async () => {
    const reader = await connected(server())
    await reader.join('goodbye')
    const writer = await connected(server())
    for (let n = 0; n < 50; n++) writer.send({ type: 'command', command: 'create_channel', channel: `made in haste/${n}` })
    for (let n = 0; n < 50; n++) writer.send({ type: 'message', channel: 'goodbye', content: { n } })
    await writer.close()
    await until(() => reader.messages('goodbye').length === 50, 'all of them')
    await until(async () => (await reader.command('members', { channel: 'goodbye' })).data.member_count === 1, 'its end')
  })

  it('[BW11] may be close to 1 MiB, and then comes through whole; what would not fit into 1 MiB with its envelope is refused', async () => {
    const [a, b] = await Promise.all([connected(server()), connected(server())])
    await b.join('large')
    const fitting = 'é'.repeat((MiB - 16 * 1024) / 2)
    expect(await a.publish('large', fitting)).toMatchObject({ type: 'ack' })
    await until(() => b.messages('large').length === 1, 'the message')
    expect(b.contents('large')).toEqual([fitting])
    for (const characters of [MiB - 100, MiB, MiB + 512 * 1024]) {
      const from = a.frames.length
      a.send({ type: 'message', channel: 'large', content: 'x'.repeat(characters) })
      expect(await a.frame(({ type }) => type === 'error', 'a refusal', from)).toMatchObject({
        code: 'message.too_large',
        rule: expect.any(String),
      })
    }
    await b.settled()
    expect(b.messages('large')).toHaveLength(1)
    expect(Math.max(...b.texts.map((text) => Buffer.byteLength(text)))).toBeLessThanOrEqual(MiB)
    a.send('x'.repeat(3 * MiB))
    expect((await a.closed).code).toBe(1009)
  })
})
