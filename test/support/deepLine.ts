/** A line with deep buffers: a TCP proxy that takes all that the server says at once, and delivers so many bytes of it a second. */
import { type AddressInfo, connect, createServer } from 'node:net'

export interface DeepLine {
  readonly port: number
  close(): void
}

const tickMs = 20

export const openDeepLine = (port: number, bytesPerSecond: number): Promise<DeepLine> =>
  new Promise((resolve) => {
    const ends = new Set<() => void>()
    const proxy = createServer((client) => {
      const server = connect(port, '127.0.0.1')
      let taken = Buffer.alloc(0)
      const pace = setInterval(() => {
        const most = (bytesPerSecond * tickMs) / 1_000
        if (taken.length > 0) client.write(taken.subarray(0, most))
        taken = taken.subarray(most)
      }, tickMs)
      const end = () => {
        clearInterval(pace)
        client.destroy()
        server.destroy()
        ends.delete(end)
      }
      ends.add(end)
      for (const socket of [client, server]) {
        socket.on('error', () => undefined) // 'close' follows
        socket.on('close', end)
      }
      client.pipe(server)
      server.on('data', (chunk) => {
        taken = Buffer.concat([taken, chunk])
      })
    })
    proxy.listen(0, '127.0.0.1', () => {
      resolve({
        port: (proxy.address() as AddressInfo).port, // a TCP server that listens
        close() {
          proxy.close()
          for (const end of [...ends]) end()
        },
      })
    })
  })
