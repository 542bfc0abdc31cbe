import { describe, expect, it } from 'vitest'
import type { Account } from '../../actors/account.ts'
import { connectionKind, connectionLimits } from '../../actors/connection.ts'
import { type ErrorCode, TroupeError } from '../../actors/errors.ts'
import { refreshIn, restMs } from '../../actors/laneLife.ts'
import type { LaneOutput, LaneRequest, SharedSink } from '../../actors/laneMessages.ts'
import { type MultiplexerLimits, multiplexerKind, multiplexerLimits } from '../../actors/multiplexer.ts'
import { type Part, publication } from '../../actors/publication.ts'
import type { Address } from '../../actors/system/address.ts'
import { defineActor, type Message } from '../../actors/system/definition.ts'
import { type House, house, quiet } from './house.ts'

/** Writes down what goes out, and believes that the network took it. */
class PaperSink implements SharedSink {
  readonly lines: string[] = []
  pings = 0
  handledMessages = 0
  handledBytes = 0
  isPaused = false
  queuedBytes = 0
  queuedWrites = 0
  sentBytes = 0
  receivedBytes = 0
  isAnswering = false
  send(output: LaneOutput): void {
    this.lines.push(spelled(output))
  }
  discard(): void {}
  ping(): void {
    this.pings++
  }
  pause(): void {}
  resume(): void {}
  arrived(messages: number, bytes: number): void {
    this.handledMessages -= messages
    this.handledBytes -= bytes
  }
  handled(messages: number, bytes: number): void {
    this.handledMessages += messages
    this.handledBytes += bytes
  }
  close(code: ErrorCode): void {
    this.lines.push(`socket closed: ${code}`)
  }
  terminate(): void {
    this.lines.push('socket cut')
  }
  /** What was said since the last look. */
  take(): string[] {
    return this.lines.splice(0)
  }
}

const spelled = (output: LaneOutput): string => {
  if (output.type === 'lane.ping') return 'ping'
  const what = output.type.slice('lane.'.length)
  if (output.type === 'lane.publish') {
    const parts = output.publication.parts.map(({ kind, bytes }) => (kind === 'access' ? `access ${Buffer.from(bytes)}` : kind))
    return `${output.name}: ${parts.join(' ')}`
  }
  return 'reason' in output ? `${output.name}: ${what} ${output.reason}` : `${output.name}: ${what}`
}

/** A document that does what the test says, and writes down what it is told. */
interface Script {
  readonly heard: string[]
  joins: number
  /** That the last join said it knows. */
  epoch: string | undefined
  /** What a join is refused with. */
  refusal: TroupeError | undefined
  /** When `document/a` has taken in what it was told. */
  slow: Promise<void> | undefined
}

const scripted = (script: Script) => {
  const hear = (state: Script, message: Message, { from }: { readonly from: Address | undefined }): void => {
    if (message.type === 'document.join') {
      state.joins++
      state.epoch = (message as { readonly epoch?: string }).epoch
    }
    if (message.type === 'document.join' && state.refusal !== undefined) throw state.refusal
    if (message.type === 'document.leave') return
    const { update, payload, access, stateVector } = message as Message & { readonly [field: string]: unknown }
    const detail = update ?? payload ?? access ?? (stateVector === undefined ? undefined : `[${stateVector}]`)
    if (from !== undefined) state.heard.push(detail === undefined ? message.type : `${message.type} ${detail}`)
  }
  const pulse = ({ slow }: Script, _: Message, { address }: { readonly address: Address }) => (address === 'document/a' ? slow : undefined)
  const types = ['join', 'leave', 'access', 'sync', 'countAnew', 'update', 'awareness', 'presence', 'barrier', 'stateless'] as const
  const handlers = Object.fromEntries(types.map((type) => [`document.${type}`, hear]))
  return defineActor<Script, Message>({ kind: 'document', state: () => script, handlers: { ...handlers, 'document.pulse': pulse } })
}

const ada: Account = { user: 'ada', tenant: '', isAnonymous: false, permissions: ['document:*'] }

interface Scene extends House {
  readonly sink: PaperSink
  readonly script: Script
  /** What tokens are good for; may be changed. */
  readonly accounts: Map<string, Account | TroupeError | Promise<Account>>
  say(...requests: readonly LaneRequest[]): Promise<string[]>
  /** The same, in frames of so many bytes. */
  frames(bytes: number, ...requests: readonly LaneRequest[]): Promise<string[]>
  tellAll(...kinds: readonly Part['kind'][]): Promise<string[]>
  pass(ms: number): Promise<string[]>
}

const scene = (limits: Partial<MultiplexerLimits> = {}): Scene => {
  const script: Script = { heard: [], joins: 0, epoch: undefined, refusal: undefined, slow: undefined }
  const accounts: Scene['accounts'] = new Map([['good', ada]])
  const built = house([
    multiplexerKind({ ...multiplexerLimits, ...limits }),
    connectionKind({ ...connectionLimits, ...limits }),
    scripted(script),
  ])
  const sink = new PaperSink()
  built.system.begin('multiplexer/1', {
    sink,
    door: 'hocuspocus',
    epoch: 'of the URL',
    identify: async (token: string) => {
      const account = await accounts.get(token)
      if (account === undefined) throw new TroupeError('auth.failed', 'no such token')
      if (account instanceof TroupeError) throw account
      return account
    },
  })
  const settled = async () => {
    await quiet()
    return sink.take()
  }
  return {
    ...built,
    sink,
    script,
    accounts,
    async say(...requests) {
      for (const request of requests) built.system.tell('multiplexer/1', { type: 'multiplexer.receive', request })
      return settled()
    },
    async frames(bytes, ...requests) {
      for (const request of requests) built.system.tell('multiplexer/1', { type: 'multiplexer.receive', request, bytes })
      return settled()
    },
    async tellAll(...kinds) {
      const parts = kinds.map((kind) => ({ kind, bytes: new Uint8Array(0) }) as Part)
      for (const address of built.system.actors('connection/').map(({ address }) => address)) built.system.tell(address, publication(parts))
      return settled()
    },
    async pass(ms) {
      await built.clock.advance(ms)
      return settled()
    },
  }
}

const bytes = (...values: number[]) => Uint8Array.from(values)
const token = (name = 'a', text = 'good', knowsPing = false): LaneRequest => ({
  type: 'lane.token',
  name,
  document: name.split('\0')[0] as string,
  token: text,
  knowsPing,
})
const request = (inner: Extract<LaneRequest, { type: 'lane.request' }>['request'], name = 'a'): LaneRequest => ({
  type: 'lane.request',
  name,
  document: name,
  request: inner,
})
const step1 = (...vector: number[]) => request({ type: 'document.sync', stateVector: bytes(...vector) })
const update = (value: number, name = 'a') => request({ type: 'document.update', update: bytes(value), isAnswer: false }, name)
const step2 = (value: number) => request({ type: 'document.update', update: bytes(value), isAnswer: true })

describe('a lane', () => {
  it('waits for its token: nothing reaches the document before, and everything after, in order', async () => {
    const { say, script } = scene()
    expect(await say(step1(5), update(1), update(2))).toEqual([])
    expect(script.heard).toEqual([])
    expect(await say(token())).toEqual(['a: access write'])
    expect(script.heard).toEqual(['document.join write', 'document.sync [5]', 'document.update 1', 'document.update 2'])
  })

  it('is denied without a token in time, and may bring one later', async () => {
    const { say, pass, script } = scene()
    await say(step1(5), update(1))
    expect(await pass(10_000)).toEqual(['a: denied auth.required: no token within 10000 ms'])
    expect(await say(update(2))).toEqual([])
    expect(await say(token())).toEqual(['a: access write', 'a: presenceWanted'])
    expect(script.heard).toEqual(['document.join write', 'document.sync [5]'])
  })

  it.each<[string, ErrorCode, string]>([
    ['a token that is none', 'auth.failed', 'a: denied auth.failed: no such token'],
    ['one that was revoked', 'auth.revoked', 'a: denied auth.revoked'],
  ])('is denied for %s, once, and the socket stays', async (_, code, line) => {
    const { say, pass, accounts } = scene({ pingMs: 1e9, keepAliveMs: 1e9 })
    if (code !== 'auth.failed') accounts.set('bad', new TroupeError(code))
    expect(await say(token('a', 'bad'), step1(0), update(1))).toEqual([line])
    expect(await say(update(2), update(3))).toEqual([])
    expect(await pass(3_600_000)).toEqual([])
  })

  it('looks at the latest of several tokens only', async () => {
    const { say, accounts } = scene()
    let answer = (_account: Account): void => {}
    accounts.set('slow', new Promise((resolve) => (answer = resolve)))
    expect(await say(token('a', 'slow'), token('a', 'bad'), token('a', 'good'))).toEqual([])
    answer(ada)
    expect(await say()).toEqual(['a: access write'])
  })

  it('asks again when tokens cannot be checked for now, ever more rarely', async () => {
    const { say, pass, accounts } = scene()
    accounts.set('good', new TroupeError('auth.unavailable'))
    expect(await say(token())).toEqual([])
    expect(await pass(750)).toEqual(['a: tokenWanted'])
    expect(await say(token())).toEqual([])
    expect(await pass(450)).toEqual([])
    accounts.set('good', ada)
    expect(await pass(1_100)).toEqual(['a: tokenWanted'])
    expect(await say(token())).toEqual(['a: access write'])
  })

  it('keeps at most so many messages and bytes before it is open, and asks for the rest', async () => {
    for (const limits of [{ pendingMessages: 3 }, { pendingBytes: 10 }]) {
      const { say, script } = scene(limits)
      const large = request({ type: 'document.update', update: new Uint8Array(8), isAnswer: false })
      expect(await say(step1(5, 5), update(1), update(1), large, update(9), token())).toEqual(['a: access write', 'a: presenceWanted'])
      expect(script.heard).toEqual(['document.join write', 'document.update 9', 'document.sync [5,5]'])
    }
  })

  it('is left by its client, and begun anew under the same name', async () => {
    const { say, script, system } = scene()
    await say(token(), step1(0))
    expect(await say({ type: 'lane.leave', name: 'a' })).toEqual([])
    expect(system.actors('connection/')).toEqual([])
    script.heard.length = 0
    expect(await say(token(), step1(3))).toEqual(['a: access write'])
    expect(script.heard).toEqual(['document.join write', 'document.sync [3]'])
  })
})

describe('the socket', () => {
  it('has at most so many lanes, and none for what cannot be a name', async () => {
    const { say } = scene({ lanes: 2 })
    expect(await say(token('a'), token('a\0session'), token('c'), update(1))).toEqual([
      'c: denied connection.too_many: 2 documents on one socket',
      'a: access write',
      'a\0session: access write',
    ])
    const misnamed = (isToken: boolean): LaneRequest => ({ type: 'lane.misnamed', name: '~', detail: 'why', isToken })
    expect(await say(misnamed(true), misnamed(false), misnamed(false), misnamed(false), misnamed(false))).toEqual([
      '~: denied connection.bad_name: why',
    ])
  })

  it('is closed when the client says nothing, or nothing that can be read', async () => {
    const silent = scene()
    expect(await silent.pass(10_000)).toEqual(['socket closed: connection.silent'])
    const noisy = scene()
    const noise: LaneRequest = { type: 'lane.unreadable', detail: 'truncated' }
    expect(await noisy.say(noise, noise)).toEqual([])
    expect(await noisy.say(noise)).toEqual(['socket closed: connection.bad_message'])
  })

  it('stays when an open lane is closed for what was said on it', async () => {
    const { say } = scene()
    await say(token('a'), token('b'))
    const garbage: LaneRequest = { type: 'lane.garbage', name: 'a', detail: 'kind: nonsense' }
    const reason = 'connection.bad_message: kind: nonsense'
    expect(await say(garbage, garbage, garbage)).toEqual([`a: closed ${reason}`, `a: denied ${reason}`])
    expect(await say(garbage, garbage, garbage, garbage, token('b'))).toEqual(['b: access write'])
  })

  it('hears a ping only if its client knows them, and something else otherwise, also when every lane is denied', async () => {
    const [knows, older, denied] = [scene({ pingMs: 1e9 }), scene({ pingMs: 1e9 }), scene({ pingMs: 1e9 })]
    await Promise.all([knows.say(token('a', 'good', true)), older.say(token()), denied.say(token('a', 'bad'))])
    expect(await knows.pass(20_000)).toEqual(['ping'])
    expect(await older.pass(20_000)).toEqual(['a: awareness'])
    expect(await denied.pass(40_000)).toEqual(['a: awareness', 'a: awareness'])
    await older.say({ type: 'lane.leave', name: 'a' })
    expect(await older.pass(20_000)).toEqual([': awareness'])
    await knows.pass(10_000)
    await knows.tellAll('update')
    expect(await knows.pass(15_000)).toEqual([])
  })

  it('is cut when its client answers no ping of WebSockets', async () => {
    const { say, pass, sink } = scene()
    await say(token())
    await pass(25_000)
    expect(sink.pings).toBe(1)
    expect(await pass(8_000)).toEqual(['socket cut'])
  })

  it('is cut when its client does not read, whichever lane it was that said too much', async () => {
    const { say, tellAll, sink } = scene()
    await say(token('a'), token('b'))
    sink.queuedBytes = 2 ** 21
    expect(await tellAll('update')).toContain('socket cut')
  })

  it('is not cut for an answer that we do not read', async () => {
    const { say, pass, sink } = scene()
    await say(token())
    sink.isPaused = true
    expect(await pass(25_000 + 60_000)).not.toContain('socket cut')
    sink.isPaused = false
    expect(await pass(16_000)).toContain('socket cut')
  })

  it('lets as many messages in as were taken in', async () => {
    const { say, sink } = scene()
    await say(token())
    expect(sink.handledMessages).toBe(1)
    await say(...Array.from({ length: 130 }, (_, i) => update(i)))
    expect(sink.handledMessages).toBe(129)
  })

  it('lets as many bytes in as were taken in; a slow document holds its own, and others go on', async () => {
    const { say, frames, script, sink, pass } = scene()
    await say(token('a'), token('b'))
    sink.handledMessages = 0
    script.slow = new Promise(() => {})
    await frames(300_000, update(1, 'a'), update(2, 'b'), update(3, 'a'), update(4, 'b'))
    expect([sink.handledMessages, sink.handledBytes]).toEqual([2, 600_000])
    await pass(35_000) // however long it takes
    expect([sink.handledMessages, sink.handledBytes]).toEqual([2, 600_000])
  })

  it('has what waits for a token read on, and counts it when it goes in', async () => {
    const { say, frames, script, sink } = scene()
    script.slow = new Promise(() => {})
    await frames(300_000, update(1, 'a'), update(2, 'a'))
    expect([sink.handledMessages, sink.handledBytes]).toEqual([2, 600_000])
    await say(token('a'))
    expect(sink.handledMessages).toBe(1)
  })

  it('ends with all its connections', async () => {
    const { say, system, sink } = scene()
    await say(token('a'), token('b'))
    expect(system.actors('connection/')).toHaveLength(2)
    system.tell('multiplexer/1', { type: 'connection.close', code: 'system.closed', detail: '' })
    await quiet()
    expect(sink.take()).toEqual(['socket closed: system.closed'])
    expect(system.actors('connection/')).toEqual([])
    expect(system.deadLetters()).toEqual([])
  })
})

describe('a connection that ends', () => {
  const crash = ({ system }: Scene) => {
    system.stop('document/a')
  }

  it('for a reason that passes is made again after a token, and what was lost is asked for', async () => {
    const made = scene()
    const { say, pass, script, tellAll } = made
    await say(token(), step1(7), step2(0), update(1), update(2))
    await tellAll('saved')
    crash(made)
    expect(await say()).toEqual(['a: closed document.unavailable: the document was closed'])
    expect(await pass(750)).toEqual(['a: tokenWanted'])
    script.heard.length = 0
    expect(await say(update(3), token())).toEqual(['a: access write', 'a: presenceWanted'])
    expect(script.heard).toEqual(['document.join write', 'document.update 3', 'document.sync [7]'])
  })

  it('leaves no receipt behind: those that were lost come when the answer is on disk', async () => {
    const made = scene()
    const { say, pass, script, tellAll } = made
    await say(token(), step1(0), step2(0), update(1), update(2), update(3))
    expect(await tellAll('saved', 'saved')).toEqual(['a: saved saved'])
    crash(made)
    await pass(750)
    await say(token())
    script.heard.length = 0
    expect(await say(step2(9), update(4))).toEqual([])
    expect(script.heard).toEqual(['document.update 9', 'document.barrier ', 'document.update 4'])
    // Of 1 for the first answer and 3 for changes, 2 were given. What came since, the document itself owes.
    expect(await tellAll('barrier')).toEqual(['a: barrier', 'a: saved saved'])
    expect(await tellAll('barrier')).toEqual(['a: barrier'])
  })

  it('makes nothing good of what was refused', async () => {
    const made = scene()
    const { say, pass, tellAll } = made
    await say(token(), step1(0), step2(0), update(1))
    await tellAll('saved', 'refused')
    crash(made)
    await pass(750)
    await say(token())
    await say(step2(9))
    expect(await tellAll('refused', 'barrier')).toEqual(['a: refused barrier'])
  })

  it('of a damaged document is denied with the reason, and asked again after about a minute', async () => {
    const { say, pass, script } = scene({ pingMs: 1e9, keepAliveMs: 1e9, handshakeMs: 1e9 })
    script.refusal = new TroupeError('journal.corrupt', 'entries 4 to 5 are missing')
    expect(await say(token(), update(1))).toEqual(['a: denied journal.corrupt: entries 4 to 5 are missing'])
    expect(await pass(29_000)).toEqual([])
    expect(await pass(61_000)).toEqual(['a: tokenWanted'])
    expect(await say(token())).toEqual(['a: denied journal.corrupt: entries 4 to 5 are missing'])
    script.refusal = undefined
    expect(await pass(90_000)).toEqual(['a: tokenWanted'])
    // What it said meanwhile was not listened to, so it is asked for all that it has.
    script.heard.length = 0
    expect(await say(token())).toEqual(['a: access write', 'a: presenceWanted'])
    expect(script.heard.map((line) => line.split(' ')[0])).toEqual(['document.join', 'document.sync'])
  })

  it('before it joined is made again without the client, ever more rarely', async () => {
    const { say, pass, script, system } = scene({ pingMs: 1e9, keepAliveMs: 1e9 })
    script.refusal = new TroupeError('storage.failed')
    await say(token(), step1(1))
    expect(await pass(20_000)).toEqual([])
    // Then the document has failed too often, and until somebody starts it again it is not even asked.
    expect(script.joins).toBe(4)
    script.refusal = undefined
    system.restart('document/a')
    expect(await pass(50_000)).toEqual(['a: access write'])
    expect(script.heard).toEqual(['document.join write', 'document.sync [1]'])
  })

  it.each<ErrorCode>(['document.deleted', 'document.epoch', 'document.full'])(
    'because a document refuses the join with %s, is denied',
    async (code) => {
      const { say, pass, script } = scene({ pingMs: 1e9, keepAliveMs: 1e9 })
      script.refusal = new TroupeError(code, 'for good')
      expect(await say(token(), step1(1))).toEqual([`a: denied ${code}: for good`])
      expect(await pass(3_600_000)).toEqual([])
    },
  )

  it('for good is denied, and another lane goes on', async () => {
    const { say, system, script } = scene()
    await say(token('a'))
    const [first] = system.actors('connection/')
    await say(token('b'))
    system.tell(first?.address as Address, { type: 'connection.close', code: 'auth.revoked', detail: '' })
    expect(await say()).toEqual(['a: closed auth.revoked', 'a: denied auth.revoked'])
    script.heard.length = 0
    await say(update(1), request({ type: 'document.presence' }, 'b'))
    expect(script.heard).toEqual(['document.presence'])
  })
})

describe('a token', () => {
  const until = (expiresAt: number, more: Partial<Account> = {}): Account => ({ ...ada, expiresAt, ...more })
  const start = 1_000_000

  it('is asked for anew before it runs out, and the next one takes effect in place', async () => {
    const { say, pass, accounts, script } = scene({ pingMs: 1e9, keepAliveMs: 1e9 })
    accounts.set('first', until(start + 100_000)).set('second', until(start + 300_000, { permissions: ['document:*:read'] }))
    expect(await say(token('a', 'first'), step1(0))).toEqual(['a: access write'])
    expect(await pass(69_999)).toEqual([])
    expect(await pass(1)).toEqual(['a: tokenWanted'])
    script.heard.length = 0
    expect(await say(token('a', 'second'))).toEqual(['a: access read'])
    expect(script.heard).toEqual(['document.access read'])
    expect(await pass(199_999)).toEqual([])
    expect(await pass(1)).toEqual(['a: tokenWanted'])
  })

  it('is asked for anew in time though the clock was set on meanwhile', async () => {
    const { say, pass, accounts, clock } = scene({ pingMs: 1e9, keepAliveMs: 1e9 })
    accounts.set('first', until(start + 200_000))
    await say(token('a', 'first'), step1(0))
    await pass(1_000)
    clock.set(100_000)
    expect(await pass(68_999)).toEqual([])
    expect(await pass(1)).toEqual(['a: tokenWanted'])
  })

  it('that changes nothing is answered all the same', async () => {
    const { say } = scene()
    await say(token(), step1(0))
    expect(await say(token())).toEqual(['a: access write'])
  })

  it('that is the old one again keeps the lane to its end, then it is denied; a new one lets it in again', async () => {
    const { say, pass, accounts } = scene({ pingMs: 1e9, keepAliveMs: 1e9 })
    accounts.set('first', until(start + 100_000))
    await say(token('a', 'first'))
    expect(await pass(70_000)).toEqual(['a: tokenWanted'])
    expect(await say(token('a', 'first'))).toEqual(['a: access write'])
    expect(await pass(29_999)).toEqual([])
    expect(await pass(1)).toEqual(['a: closed auth.expired', 'a: denied auth.expired'])
    expect(await say(token())).toEqual(['a: access write', 'a: presenceWanted'])
  })

  it('that allows nothing, or is none, ends the lane', async () => {
    const { say, accounts } = scene()
    accounts.set('nothing', { ...ada, permissions: [] })
    await say(token('a'), token('b'))
    expect(await say(token('a', 'nothing'))).toEqual([
      'a: closed access.denied: needs document:a:read',
      'a: denied access.denied: needs document:a:read',
    ])
    expect(await say(token('b', 'bad'))).toEqual(['b: closed auth.failed: no such token', 'b: denied auth.failed: no such token'])
  })

  it('of another user ends the socket, for what is on the screen belongs to the first', async () => {
    const { say, accounts } = scene()
    accounts.set('eve', { ...ada, user: 'eve' })
    await say(token())
    expect(await say(token('a', 'eve'))).toEqual(['socket closed: auth.expired'])
  })

  it('may say which history of its document the client knows, and counts before the URL', async () => {
    const { say, accounts, script } = scene()
    accounts.set('knowing', { ...ada, epoch: 'of the token' })
    await say(token('a', 'knowing'))
    expect(script.epoch).toBe('of the token')
    await say(token('b', 'good'))
    expect(script.epoch).toBe('of the URL')
  })

  it('is asked for in time, and an end is never waited for in a hurry', () => {
    expect(refreshIn(0, 3_600_000, 30_000)).toBe(3_570_000)
    expect(refreshIn(0, 40_000, 30_000)).toBe(20_000)
    expect(refreshIn(0, 100, 30_000)).toBe(1_000)
    expect(refreshIn(500, 100, 30_000)).toBe(1_000)
    expect([restMs(0, 0), restMs(0, 1), restMs(1, 0.5), restMs(60, 0.5)]).toEqual([250, 750, 1_000, 30_000])
  })
})
