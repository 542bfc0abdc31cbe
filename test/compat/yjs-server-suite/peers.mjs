/**
 * Runs the suite against Troupe and the servers that can be installed beside it, and writes the table of docs/conformance.md.
 *
 *   npm ci --prefix test/bench      the peers
 *   node build.mjs                  Troupe
 *   node test/compat/yjs-server-suite/peers.mjs [--peers DIR] [--fast] [--write]
 *
 * `--peers`: where they are installed, default test/bench. `--fast`: without checks that take a minute. `--write`: into the page.
 * Every server stores on disk as its own documentation shows it; each is started, killed and ended by the suite.
 */
import { execFile } from 'node:child_process'
import { createHmac } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs, promisify } from 'node:util'

const root = fileURLToPath(new URL('../../../', import.meta.url))
const main = join(root, 'dist/main.js')
const here = fileURLToPath(new URL('peers/', import.meta.url))
const page = join(root, 'docs/conformance.md')
const { values: options } = parseArgs({
  options: { peers: { type: 'string' }, fast: { type: 'boolean' }, write: { type: 'boolean' } },
})
const peers = resolve(options.peers ?? join(root, 'test/bench'))

const secret = 'of the conformance run, thirty-two bytes and more'
const encode = (value) => Buffer.from(JSON.stringify(value)).toString('base64url')
const tokenOf = (claims) => {
  const input = `${encode({ alg: 'HS256', typ: 'JWT' })}.${encode(claims)}`
  return `${input}.${createHmac('sha256', secret).update(input).digest('base64url')}`
}

const versionIn = (directory, name) => JSON.parse(readFileSync(join(directory, 'node_modules', name, 'package.json'), 'utf8')).version

const quoted = (text) => `'${text.replaceAll("'", `'\\''`)}'`
const node = quoted(process.execPath)

/** `run`: the command that starts it with this data directory and port. */
const troupe = (wire, path) => ({
  name: `Troupe ${JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).version}`,
  wire,
  path,
  run: (data, port) =>
    `exec ${node} ${quoted(main)} --no-supervisor --log-level silent --data ${quoted(data)} --port ${port} --set auth.jwtSecret=${quoted(secret)}`,
  args: (_data, port) => [
    ...['--denied-token', 'denied', '--readonly-token', tokenOf({ sub: 'reader', permissions: ['document:*:read'] })],
    ...(wire === 'hocuspocus'
      ? [
          '--kick',
          `curl -fsS -X DELETE "http://127.0.0.1:${port}/v1/documents/$DOCUMENT" -H "Authorization: Bearer ${tokenOf({ sub: 'admin', permissions: ['admin', 'document:*', 'command:*'] })}"`,
        ]
      : []),
  ],
})

const servers = [
  troupe('yjs', '/docs'),
  {
    name: `@y/websocket-server ${versionIn(peers, '@y/websocket-server')}`,
    wire: 'yjs',
    path: '',
    run: (data, port) =>
      `PEERS=${quoted(peers)} PORT=${port} YPERSISTENCE=${quoted(data)} exec ${node} ${quoted(join(here, 'yWebsocket.mjs'))}`,
    args: () => [],
  },
  troupe('hocuspocus', '/hocuspocus'),
  {
    name: `Hocuspocus ${versionIn(peers, '@hocuspocus/server')}`,
    wire: 'hocuspocus',
    path: '',
    run: (data, port) =>
      `PEERS=${quoted(peers)} PORT=${port} DATABASE=${quoted(join(data, 'db.sqlite'))} exec ${node} ${quoted(join(here, 'hocuspocus.mjs'))}`,
    args: (_data, port) => [
      ...['--denied-token', 'denied', '--readonly-token', 'reader'],
      ...['--kick', `curl -fsS -X POST "http://127.0.0.1:${port}/kick?document=$DOCUMENT"`],
    ],
  },
]

const freePort = () =>
  new Promise((resolve) => {
    const server = createServer()
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address()
      server.close(() => resolve(port))
    })
  })

/** The results of one run, with a data directory of its own. `more`: options of the suite. */
const runSuite = async ({ name, wire, path, run, args }, more) => {
  const data = mkdtempSync(join(tmpdir(), 'conformance-'))
  try {
    const port = await freePort()
    const suite = [
      'conformance',
      `ws://127.0.0.1:${port}${path}`,
      '--wire',
      wire,
      '--json',
      '--server',
      run(data, port),
      ...args(data, port),
    ]
    const { stdout } = await promisify(execFile)(process.execPath, [main, ...suite, ...more], { maxBuffer: 2 ** 24 }).catch((error) => {
      if (error.code !== 1) throw error // 1: checks failed, and the results are there all the same
      return error
    })
    const { pass, fail, skipped, results } = JSON.parse(stdout)
    process.stderr.write(`${name}, ${wire}: ${pass} passed, ${fail} failed, ${skipped} skipped\n`)
    return results
  } finally {
    rmSync(data, { recursive: true, force: true })
  }
}

const { stdout: listed } = await promisify(execFile)(process.execPath, [main, 'conformance', '--list', '--json'], { maxBuffer: 2 ** 24 })
const checks = JSON.parse(listed)
const outcomes = servers.map(() => new Map())
const keep = (at, results) => {
  for (const result of results) outcomes[at].set(result.id, result)
}
// One after the other: they measure. Then the slow ones at the same time: they wait.
for (const [at, server] of servers.entries()) keep(at, await runSuite(server, []))
const slow = ({ wire }) =>
  checks.filter((check) => check.isSlow && (check.wire === wire || check.wire === 'both')).flatMap(({ id }) => ['--only', id])
if (!options.fast) await Promise.all(servers.map(async (server, at) => keep(at, await runSuite(server, slow(server)))))

const row = (cells) => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`
const marks = { pass: 'yes', fail: '**no**', skipped: 'not run' }
const mark = (check, { wire }, results) =>
  check.wire === wire || check.wire === 'both' ? marks[results.get(check.id)?.outcome ?? 'skipped'] : ''
const heads = servers.map(({ name, wire }) => `${name}, ${wire}`)
const failures = servers.flatMap(({ name, wire }, at) =>
  [...outcomes[at].values()]
    .filter(({ outcome }) => outcome === 'fail')
    .map(({ id, reason }) => `| ${name}, ${wire} | \`${id}\` | ${reason.replaceAll('|', '\\|')} |`),
)
const text = [
  `Measured on ${new Date().toISOString().slice(0, 10)} with Node ${process.versions.node}; yjs ${versionIn(root, 'yjs')}.`,
  '',
  row(['check', ...heads]),
  row(['---', ...heads.map(() => '---')]),
  ...checks.map((check) => row([`\`${check.id}\``, ...servers.map((server, at) => mark(check, server, outcomes[at]))])),
  '',
  'What was seen where the answer is no:',
  '',
  row(['server', 'check', 'seen']),
  row(['---', '---', '---']),
  ...failures,
].join('\n')

const list = [
  row(['check', 'wire', 'what it says', 'why', 'see']),
  row(['---', '---', '---', '---', '---']),
  ...checks.map(({ id, wire, title, why, source, isSlow }) =>
    row([`\`${id}\`${isSlow ? ' (slow)' : ''}`, wire, title, why, `[source](${source})`]),
  ),
].join('\n')

const replaced = (content, name, inside) => {
  const [begin, end] = [`<!-- table ${name} -->\n`, `\n<!-- end ${name} -->`]
  return content.slice(0, content.indexOf(begin) + begin.length) + inside + content.slice(content.indexOf(end))
}
if (options.write) writeFileSync(page, replaced(replaced(readFileSync(page, 'utf8'), 'checks', list), 'results', text))
else process.stdout.write(`${text}\n`)
