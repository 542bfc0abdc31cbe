/**
 * Requests that offer a change to another protocol than WebSocket: Java's HttpClient and `curl --http2` offer HTTP/2 with each of theirs.
 * An offer may be passed over (RFC 9110 §7.8), and Node cannot do that: once somebody listens for WebSockets it stops parsing at any
 * `Upgrade`. So the head goes back without the offer to where it was read, and is a request like any other.
 */
import type { IncomingMessage, Server } from 'node:http'
import type { Duplex } from 'node:stream'

export const wantsWebSocket = ({ headers }: IncomingMessage): boolean => /\bwebsocket\b/i.test(headers.upgrade ?? '')

const isOffer = (name: string): boolean => ['upgrade', 'http2-settings'].includes(name.trim().toLowerCase())

const withoutOffer = ({ method, url, httpVersion, rawHeaders }: IncomingMessage): string => {
  const lines = [`${method} ${url} HTTP/${httpVersion}`]
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const [name, value] = rawHeaders.slice(at, at + 2) as [string, string] // they come in pairs
    if (isOffer(name)) continue
    const kept = name.toLowerCase() === 'connection' ? value.split(',').filter((token) => !isOffer(token)) : [value]
    if (kept.length > 0) lines.push(`${name}: ${kept.join(',')}`)
  }
  return `${lines.join('\r\n')}\r\n\r\n`
}

export const passOver = (server: Server, request: IncomingMessage, socket: Duplex, head: Buffer): void => {
  socket.unshift(Buffer.concat([Buffer.from(withoutOffer(request), 'latin1'), head])) // as Node reads heads
  server.emit('connection', socket)
}
