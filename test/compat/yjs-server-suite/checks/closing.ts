/** Signs of life, and the codes with which a socket is closed. */
import type { Check } from '../check.ts'
import { assert, pause, waitFor } from '../waiting.ts'
import { sources } from './sources.ts'

/** y-websocket 3.1 does not come back from these. */
const isForGood = (code: number): boolean => code >= 4400 && code < 4500
/** What a server may put into a close frame: RFC 6455 §7.4. */
const isCode = (code: number): boolean =>
  (code >= 1000 && code <= 1014 && ![1004, 1005, 1006].includes(code)) || (code >= 3000 && code < 5000)

export const closingChecks: readonly Check[] = [
  {
    id: 'liveness-ping',
    wire: 'both',
    title: 'A ping of the WebSocket protocol is answered',
    why: 'Proxies and native clients find dead connections with it.',
    source: `${sources.rfc6455}#section-5.5.2`,
    async run(context) {
      const { socket } = await context.join()
      socket.ping()
      await context.within(() => socket.pongs > 0, 'the pong')
    },
  },
  {
    id: 'liveness-silent',
    wire: 'both',
    title: 'A lone client without presence hears something at least every 30 s',
    why: 'Both stock clients close a socket on which no message came for 30 s, so such a user reconnects for ever.',
    source: sources.yWebsocket,
    isSlow: true,
    async run(context) {
      const { socket } = await context.join()
      const began = performance.now()
      while (performance.now() - began < 65_000) {
        await pause(250)
        assert(socket.closed === undefined, `the server closed it with ${socket.closed?.code} ${socket.closed?.reason}`)
        assert(performance.now() - socket.heardAt < 30_000, 'heard nothing for 30 s')
      }
    },
  },
  {
    id: 'liveness-heartbeat',
    wire: 'both',
    title: 'A lone client that renews its presence every 15 s hears something at least every 30 s',
    why: 'It is what stock clients do while nobody types.',
    source: sources.yWebsocket,
    isSlow: true,
    async run(context) {
      const client = await context.join()
      const began = performance.now()
      for (let renewals = 0; performance.now() - began < 50_000; await pause(250)) {
        if (performance.now() - began >= renewals * 15_000) {
          client.sayPresence({})
          renewals++
        }
        assert(performance.now() - client.socket.heardAt < 30_000, 'heard nothing for 30 s')
        assert(client.socket.closed === undefined, `the server closed it with ${client.socket.closed?.code}`)
      }
    },
  },
  {
    id: 'liveness-dead',
    wire: 'both',
    title: 'A client that has died without a word is gone for others within 65 s',
    why: 'A laptop that was shut does not close its socket; its cursor stays until somebody notices.',
    source: sources.awareness,
    isSlow: true,
    async run(context) {
      const [a, b] = [await context.join(), await context.join()]
      a.sayPresence({ user: { name: 'Ada' } })
      await context.within(() => b.isPresent(a.doc.clientID), 'the presence')
      a.socket.freeze()
      await waitFor(() => !b.isPresent(a.doc.clientID), 'the departure', 65_000)
    },
  },
  {
    id: 'close-code',
    wire: 'both',
    title: 'When garbage ends a connection, the close frame says so',
    why: 'Without a code the client takes it for a network that failed, and comes back with the same bytes.',
    source: `${sources.rfc6455}#section-7.4`,
    async run(context) {
      const client = await context.join()
      for (let n = 0; n < 20 && client.ending === undefined; n++) {
        client.say(Uint8Array.of(0, 2, 3, 1, 1))
        await context.roundTrip(client).catch(() => {})
      }
      const { closed } = client.socket
      assert(closed === undefined || isCode(closed.code), `the connection ended with ${closed?.code} ${closed?.reason}`)
    },
  },
  {
    id: 'close-bad-name',
    wire: 'yjs',
    title: 'A document name that cannot be one is taken, or refused for good after the upgrade',
    why: 'Browsers see no HTTP status, and every other code makes clients try again for ever.',
    source: sources.yWebsocket,
    async run(context) {
      for (const document of ['\u0000', 'x'.repeat(3_000), 'a\u202eb', '%']) {
        const socket = context.socket({ document })
        const shown = JSON.stringify(document.slice(0, 10))
        await context.within(() => socket.isOpen || socket.closed !== undefined, `an answer for ${shown}`)
        assert(socket.refused === undefined, `${shown} was refused with HTTP ${socket.refused}`)
        await context.quiet()
        if (socket.closed !== undefined) assert(isForGood(socket.closed.code), `${shown} was closed with ${socket.closed.code}`)
      }
    },
  },
  {
    id: 'close-idle',
    wire: 'yjs',
    title: 'A client that says nothing is closed, if at all, with a code that it comes back from',
    why: 'y-websocket 3.1 stops for good at 4400 to 4499; nothing that passes may have such a code, 4408 neither.',
    source: sources.yWebsocket,
    isSlow: true,
    async run(context) {
      const socket = await context.connect()
      const began = performance.now()
      while (performance.now() - began < 65_000 && socket.closed === undefined) await pause(250)
      const { closed } = socket
      assert(closed === undefined || !isForGood(closed.code), `closed with ${closed?.code} ${closed?.reason}`)
    },
  },
]
