/**
 * Your own database in step with the documents: a receiver of webhooks that fetches what a document holds now and keeps it, here as a
 * file for each document. Search, mails and reports then read from there.
 *
 *   export SECRET="whsec_$(openssl rand -base64 32)"
 *   npm start -- --set webhooks.receivers='[{"name":"mirror","url":"http://127.0.0.1:9200/","secret":"'$SECRET'"}]'
 *   node dist/programs/mirror.js ./mirror http://127.0.0.1:9100 9200
 *
 * With accounts, TOKEN is one that may read documents. A tenant has its own documents, so it takes a receiver and a token for each.
 * A file name has 255 bytes at most, which a long name of a document goes beyond; a table has no such limit.
 */
import { createHmac, timingSafeEqual } from 'node:crypto'
import { mkdir, rm, writeFile } from 'node:fs/promises'
import { createServer, type IncomingMessage } from 'node:http'
import { join } from 'node:path'

const [directory = './mirror', server = 'http://127.0.0.1:9100', port = '9200'] = process.argv.slice(2)
const { SECRET = '', TOKEN } = process.env
const key = Buffer.from(SECRET.replace(/^whsec_/, ''), 'base64')
const headers = TOKEN === undefined ? {} : { authorization: `Bearer ${TOKEN}` }
const oldestSeconds = 300

interface Event {
  readonly type: string
  readonly data: { readonly document: string; readonly to?: string }
}

/** Whoever reaches this port could post; only the server knows the secret. */
const isGenuine = (request: IncomingMessage, body: string): boolean => {
  const { 'webhook-id': id, 'webhook-timestamp': seconds, 'webhook-signature': signature = '' } = request.headers
  const expected = Buffer.from(`v1,${createHmac('sha256', key).update(`${id}.${seconds}.${body}`).digest('base64')}`)
  const given = Buffer.from(String(signature))
  const isRecent = Math.abs(Date.now() / 1000 - Number(seconds)) < oldestSeconds
  return key.length > 0 && isRecent && given.length === expected.length && timingSafeEqual(given, expected)
}

/** Whatever the event was: what is there now counts. So one that comes twice, or late, does no harm. */
const mirror = async (name: string): Promise<void> => {
  const path = join(directory, `${encodeURIComponent(name)}.json`)
  const answer = await fetch(`${server}/v1/documents/${encodeURIComponent(name)}/content`, { headers })
  if (answer.ok) await writeFile(path, await answer.text())
  else if (answer.status === 404 || answer.status === 410) await rm(path, { force: true })
  else throw new Error(`${name}: ${answer.status} ${await answer.text()}`)
  console.log(answer.ok ? 'kept' : 'gone', name)
}

await mkdir(directory, { recursive: true })
const receiver = createServer(async (request, response) => {
  try {
    let body = ''
    for await (const chunk of request.setEncoding('utf8')) body += chunk
    if (!isGenuine(request, body)) return void response.writeHead(401).end()
    const { type, data } = JSON.parse(body) as Event // the server wrote it
    if (type.startsWith('document.')) await mirror(data.document)
    if (data.to !== undefined) await mirror(data.to)
    response.writeHead(204).end()
  } catch (error) {
    console.error(String(error))
    response.writeHead(500).end() // the event comes again
  }
})
receiver.listen(Number(port), '127.0.0.1', () => console.log('listening on', (receiver.address() as { port: number }).port))
