/**
 * The line of `slow-link`: towards the client so many bytes a second, towards the server at once. A process of its own, for a busy client
 * must not slow it down. What kernels hold on both sides of it is on its way, as behind any proxy.
 */
import { connect, createServer } from 'node:net'

const { port, bytesPerSecond } = JSON.parse(process.argv[2])

const line = createServer((client) => {
  const server = connect(port, '127.0.0.1')
  for (const [socket, other] of [
    [client, server],
    [server, client],
  ]) {
    socket.on('error', () => {})
    socket.on('close', () => other.destroy())
  }
  client.pipe(server)
  server.on('data', (chunk) => {
    client.write(chunk)
    server.pause()
    setTimeout(() => server.resume(), (chunk.length / bytesPerSecond) * 1_000)
  })
})
line.listen(0, '127.0.0.1', () => console.log(line.address().port))
// It ends with whoever started it.
process.stdin.on('end', () => process.exit(0)).resume()
