/** A slow link: a TCP proxy that lets through so many bytes a second towards the client, and all at once towards the server. */
import { type AddressInfo, connect, createServer } from 'node:net'

export interface SlowLink {
  readonly port: number
  close(): void
}

export const openSlowLink = (port: number, bytesPerSecond: number): Promise<SlowLink> =>
  new Promise((resolve) => {
    const sockets = new Set<{ destroy(): unknown }>()
    const proxy = createServer((client) => {
      const server = connect(port, '127.0.0.1')
      for (const [socket, other] of [
        [client, server],
        [server, client],
      ] as const) {
        sockets.add(socket)
        socket.on('error', () => undefined) // 'close' follows
        socket.on('close', () => other.destroy())
      }
      client.pipe(server)
      server.on('data', (chunk) => {
        client.write(chunk)
        server.pause()
        setTimeout(() => server.resume(), (chunk.length / bytesPerSecond) * 1_000)
      })
    })
    proxy.listen(0, '127.0.0.1', () => {
      resolve({
        port: (proxy.address() as AddressInfo).port, // a TCP server that listens
        close() {
          proxy.close()
          for (const socket of sockets) socket.destroy()
        },
      })
    })
  })
