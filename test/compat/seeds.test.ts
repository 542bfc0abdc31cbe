/**
 * The Python programs of the ArqonBus guide and tutorial, unmodified, against the built server. `SEED_SECONDS=60` lets the sensors
 * run for the full minute.
 */
import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, type TestContext } from 'vitest'
import { BusClient, closeBusClients } from '../support/bus.ts'
import { type Running, startTroupe, temporaryDirectory } from '../support/process.ts'
import { guideProgram, isTaken, seedsUnavailable, tutorialProgram, Workspace } from '../support/seeds.ts'
import { until } from '../support/wait.ts'

const sensorSeconds = Number(process.env.SEED_SECONDS ?? 7)
const reason = seedsUnavailable()

/** Where the programs look for the server; they cannot be told otherwise. */
const fixedPorts = { tutorial: 8765, guide: 9100, guideTests: 9101 }

let troupe: Running
let uri = ''
const free = new Set<number>()
const data = temporaryDirectory()
let folder: Workspace

beforeAll(async () => {
  if (reason !== undefined) return
  for (const port of Object.values(fixedPorts)) if (!(await isTaken(port))) free.add(port)
  const listeners = [...free].flatMap((port) => ['--listen', `${port}:${port === fixedPorts.tutorial ? 'bus' : 'main'}`])
  troupe = await startTroupe(data.path, listeners)
  uri = `${troupe.ws}/`
})
beforeEach(() => {
  folder = new Workspace()
})
afterEach(async () => {
  closeBusClients()
  await folder.remove()
})
afterAll(async () => {
  await troupe?.kill()
  data.remove()
})

/** The program that has the port may be another run of this test. */
const needsPort = (port: number, context: TestContext): void => {
  if (!free.has(port)) context.skip(`port ${port} is taken`)
}

describe.skipIf(reason !== undefined)(`programs of the ArqonBus tutorial${reason === undefined ? '' : ` (skipped: ${reason})`}`, () => {
  it('test_setup.py connects, and hears its own first message as the first frame', async (context) => {
    needsPort(fixedPorts.tutorial, context)
    folder.write('test_setup.py', tutorialProgram('# test_setup.py'))
    const { code, stdout } = await folder.run('test_setup.py').ended
    expect(stdout).toContain('Connected to ArqonBus successfully!')
    expect(stdout).toContain('Received response: Hello ArqonBus!')
    expect(stdout).not.toContain('failed')
    expect(code).toBe(0)
  })

  it('ChatClient joins, talks, sees who comes and goes and how they are, and gets private messages', async () => {
    folder.write('chat_client.py', tutorialProgram('# chat_client.py'))
    const program = folder.script(
      `
from chat_client import ChatClient
uri, = args
seen = {name: {'messages': [], 'presence': []} for name in ('alice', 'bob')}

async def enter(name, password):
    client = ChatClient(uri, name, password)
    await client.connect()
    await asyncio.sleep(0)
    async def message(frame): seen[name]['messages'].append(frame)
    async def presence(frame): seen[name]['presence'].append(frame['content'])
    client.on_message(message)
    client.on_presence(presence)
    return client

def heard(name, text):
    return lambda: any(frame['content'].get('text') == text for frame in seen[name]['messages'])

def noticed(name, kind):
    return lambda: any(content['type'] == kind for content in seen[name]['presence'])

alice = await enter('alice', 'a password')
bob = await enter('bob', None)
await attempt(bob.update_status('online'))
await attempt(alice.create_channel('lobby', 'for all'))
await attempt(alice.join_channel('lobby'))
await alice.send_message('lobby', 'nobody is here')
await until(heard('alice', 'nobody is here'), 'her own message')

await attempt(bob.join_channel('lobby'))
await until(noticed('alice', 'user_joined'), 'the arrival of Bob')
await bob.send_message('lobby', 'good morning')
await until(heard('alice', 'good morning'), 'the greeting')
await until(heard('bob', 'good morning'), 'his own greeting')
await alice.send_message('lobby', 'and to you')
await until(heard('bob', 'and to you'), 'the answer')

await attempt(bob.update_status('away'))
await until(noticed('alice', 'user_status'), 'the status of Bob')
await alice.send_private_message('bob', 'psst')
await until(heard('bob', 'psst'), 'the private message')
await until(heard('alice', 'psst'), 'its echo')
await attempt(bob.get_message_history('lobby', 10))
await attempt(bob.leave_channel('lobby'))
await until(noticed('alice', 'user_left'), 'the end of Bob')
users = alice.users
await alice.disconnect()
await bob.disconnect()
report({'seen': seen, 'users': users})
`,
      uri,
    )
    interface Frame {
      readonly channel: string
      readonly sender: string
      readonly content: { readonly text: string; readonly type: string }
    }
    const { seen, users } = await program.report<{
      readonly seen: Record<'alice' | 'bob', { readonly messages: readonly Frame[]; readonly presence: readonly object[] }>
      readonly users: object
    }>()
    const said = ({ channel, sender, content }: Frame) => [channel, sender, content.type, content.text]
    const conversation = [
      ['lobby', 'bob', 'text', 'good morning'],
      ['lobby', 'alice', 'text', 'and to you'],
    ]
    const privately = ['private_bob', 'alice', 'private', 'psst']
    expect(seen.alice.messages.map(said)).toEqual([['lobby', 'alice', 'text', 'nobody is here'], ...conversation, privately])
    expect(seen.bob.messages.map(said)).toEqual([...conversation, privately])
    expect(seen.alice.presence).toEqual([
      expect.objectContaining({ type: 'user_joined', user: 'bob', channel: 'lobby' }),
      expect.objectContaining({ type: 'user_status', user: 'bob', status: 'away' }),
      expect.objectContaining({ type: 'user_left', user: 'bob', channel: 'lobby' }),
    ])
    expect(users).toEqual({ bob: 'away' })
    for (const command of ['create_channel', 'join_channel', 'set_status', 'history', 'leave_channel'])
      expect(program.stdout).toContain(`Command '${command}' executed successfully`)
    expect(program.stdout).not.toMatch(/' failed:|error:|Connection closed\n.*user_/)
  })

  it('chat_interface.py lists the channels, joins others, and quits', async (context) => {
    needsPort(fixedPorts.tutorial, context)
    folder.write('chat_client.py', tutorialProgram('# chat_client.py'))
    folder.write('chat_interface.py', tutorialProgram('# chat_interface.py'))
    const program = folder.script(`
import runpy
await asyncio.to_thread(runpy.run_path, 'chat_interface.py', run_name='__main__')
`)
    program.say('carol', '', '/create workshop', '/join workshop', '/channels', '/status busy', 'hello', '/quit')
    const { code, stdout, stderr } = await program.ended
    expect([code, stderr]).toEqual([0, ''])
    const listed = stdout.split('\n').filter((line) => /(^| {2})#/.test(line))
    for (const channel of ['general', 'random', 'workshop']) expect(listed.filter((line) => line.includes(channel))).toHaveLength(1)
    expect(stdout).toContain('Created channel: workshop')
    expect(stdout).not.toMatch(/Input error|Failed to start/)
  })

  it.each([
    ['a small text', 'notes.md', 'document', Buffer.from('# Notes\n')],
    ['700 KiB of noise', 'noise.bin', 'binary', randomBytes(700 * 1024)],
  ])('file_sharing.py brings %s to another client as it was', async (_what, name, kind, bytes) => {
    folder.write('chat_client.py', tutorialProgram('# chat_client.py'))
    folder.write('file_sharing.py', tutorialProgram('# file_sharing.py'))
    const source = folder.write(name, bytes)
    const program = folder.script(
      `
import chat_client
builtins.ChatClient = chat_client.ChatClient
import file_sharing
uri, source, target = args
dave, erin = ChatClient(uri, 'dave'), ChatClient(uri, 'erin')
files = []
async def keep(frame): files.append(frame)
for client in (dave, erin):
    await client.connect()
    await asyncio.sleep(0)
    client.on_message(keep)
await attempt(erin.join_channel('files'))
await erin.send_message('files', 'ready')
await until(lambda: len(files) == 1, 'the arrival of Erin')
files.clear()
await file_sharing.FileSharer(dave).share_file('files', source)
await until(lambda: len(files) == 2, 'the file at Erin, and its echo at Dave')
received = next(frame for frame in files if frame['content']['type'] == 'file')
await file_sharing.FileSharer(erin).download_file(received, target)
del received['content']['data']
report(received)
await dave.disconnect()
await erin.disconnect()
`,
      uri,
      source,
      `${source}.received`,
    )
    const frame = await program.report<{ readonly content: object }>()
    expect(frame).toMatchObject({ type: 'message', channel: 'files', sender: 'dave' })
    expect(frame.content).toMatchObject({ type: 'file', filename: name, file_type: kind, size: bytes.length })
    expect(readFileSync(`${source}.received`).equals(bytes)).toBe(true)
  })

  it('collaborative_editor.py hears the edits, cursors and undos of an editor with another id', async () => {
    folder.write('collaborative_editor.py', tutorialProgram('# collaborative_editor.py'))
    const program = folder.script(
      `
from collaborative_editor import CollaborativeEditor
uri, = args
editors = [CollaborativeEditor('demo', uri) for _ in range(2)]
a, b = editors
for number, editor in enumerate(editors):
    editor.client_id = f'editor_{number}'
    await editor.connect()
    await editor.update_cursor(1, number)
await until(lambda: 'editor_1' in a.document.cursors, 'the cursor of the second')
await a.edit_text('insert', 0, 'hello')
await until(lambda: b.document.content == 'hello', 'the first edit')
await b.edit_text('insert', 5, ' world')
await until(lambda: a.document.content == 'hello world', 'the second edit')
await b.undo()
await until(lambda: a.document.content == 'hello', 'the undo')
for editor in editors: await editor.disconnect()
report([editor.document.content for editor in editors])
`,
      uri,
    )
    expect(await program.report()).toEqual(['hello', 'hello'])
  })

  it(`iot_simulator.py publishes for ${sensorSeconds} s without reading, and iot_dashboard.py has every point and every alert`, async () => {
    folder.write('iot_simulator.py', tutorialProgram('# iot_simulator.py'))
    folder.write('iot_dashboard.py', tutorialProgram('# iot_dashboard.py'))
    const dashboard = folder.script(
      `
from iot_dashboard import IoTDashboard
uri, = args
dashboard = IoTDashboard(uri)
await dashboard.connect()
points, alerts = map(int, (await line()).split())
count = lambda: sum(len(series) for series in dashboard.sensor_data.values())
try:
    await until(lambda: count() >= points and len(dashboard.alerts) >= alerts)
except TimeoutError:
    pass  # the report says what is missing
dashboard.display_dashboard()
report({**dashboard.get_dashboard_summary(), 'points': count(), 'alerts': len(dashboard.alerts),
        'values': {id: device['current_value'] for id, device in dashboard.devices.items()}})
await dashboard.disconnect()
`,
      uri,
    )
    const observer = await new BusClient(uri).opened()
    await until(async () => (await observer.command('channel_info', { channel: 'alerts' })).data?.connections === 1, 'the last join')
    // One reading in a hundred makes the program sleep for half a minute or more; with these numbers none does within 100 s.
    const simulator = folder.script(
      `
import iot_simulator
uri, seconds = args
random.seed(178)
publisher = iot_simulator.IoTDataPublisher(uri)
try:
    await asyncio.wait_for(publisher.run_simulation(), float(seconds))
except asyncio.TimeoutError:
    pass
points = [point for device in publisher.device_manager.devices.values() for point in device.data_points]
alerts = [alert for point in points for alert in point.get('alerts', [])]
report({'points': len(points), 'alerts': len(alerts),
        'critical': sum(alert['severity'] == 'critical' for alert in alerts),
        'warning': sum(alert['severity'] == 'warning' for alert in alerts),
        'values': {point['device_id']: point['value'] for point in points},
        'closed': publisher.websocket.close_code})
`,
      uri,
      String(sensorSeconds),
    )
    const published = await simulator.report<{
      readonly points: number
      readonly alerts: number
      readonly critical: number
      readonly warning: number
      readonly values: object
      readonly closed: number
    }>()
    expect(simulator.stdout).not.toContain('went offline')
    expect(published.points).toBeGreaterThanOrEqual(6 * Math.floor(sensorSeconds / 2.5))
    expect(published.alerts).toBeGreaterThan(3)
    expect(published.critical).toBeGreaterThan(0)
    expect(published.closed).toBe(1000)

    // The dashboard keeps the last 100 alerts.
    const kept = Math.min(100, published.alerts)
    dashboard.say(`${published.points} ${kept}`)
    const seen = await dashboard.report<{ readonly summary: object; readonly devices_by_type: object }>()
    expect(seen).toMatchObject({ points: published.points, alerts: kept, values: published.values })
    expect(seen.devices_by_type).toEqual({ temperature_sensor: 2, humidity_sensor: 1, motion_detector: 2, light_sensor: 1 })
    expect(seen.summary).toMatchObject({ total_devices: 6, devices_online: 6, devices_offline: 0, recent_alerts: kept })
    if (published.alerts <= 100)
      expect(seen.summary).toMatchObject({ critical_alerts: published.critical, warning_alerts: published.warning })
    expect(dashboard.stdout).toContain('REAL-TIME MONITORING')
    expect(dashboard.stdout).not.toContain('connection closed')
  })
})

describe.skipIf(reason !== undefined)(`programs of the ArqonBus guide${reason === undefined ? '' : ` (skipped: ${reason})`}`, () => {
  it('the client with a context manager hears its own message', async (context) => {
    needsPort(fixedPorts.guide, context)
    folder.write('client.py', guideProgram('async def __aenter__'))
    const { code, stdout } = await folder.run('client.py').ended
    expect(stdout).toMatch(/^Response: \{.*'content': 'Hello from async client!'/m)
    expect(code).toBe(0)
  })

  it('its pytest suites pass: health, routing, ten clients at once, more than 500 messages a second', async (context) => {
    needsPort(fixedPorts.guideTests, context)
    folder.write('test_unit.py', guideProgram('async def test_server_health'))
    folder.write('test_integration.py', guideProgram('async def test_multiple_clients'))
    folder.write('test_performance.py', guideProgram('async def test_message_throughput'))
    // What the suites start is running already; what they forgot to import is put where they find it.
    folder.write('arqonbus/__init__.py', '')
    folder.write(
      'arqonbus/server.py',
      'class ArqonBusServer:\n    def __init__(self, config): pass\n    async def start(self): pass\n    async def stop(self): pass\n',
    )
    folder.write('arqonbus/config/__init__.py', '')
    folder.write(
      'arqonbus/config/config.py',
      'from types import SimpleNamespace\n\nclass ArqonBusConfig:\n    def __init__(self):\n        self.server, self.storage = SimpleNamespace(), SimpleNamespace()\n',
    )
    folder.write(
      'conftest.py',
      'import asyncio, builtins, json\nimport pytest, websockets\nbuiltins.asyncio, builtins.json, builtins.pytest, builtins.websockets = asyncio, json, pytest, websockets\n',
    )
    folder.write('pytest.ini', '[pytest]\nasyncio_mode = auto\nmarkers = integration\n')
    const { code, stdout } = await folder.run(
      '-m',
      'pytest',
      '-v',
      '-p',
      'no:cacheprovider',
      '--deselect',
      'test_integration.py::test_redis_integration',
    ).ended
    expect([code, stdout]).toEqual([0, expect.stringContaining('4 passed, 1 deselected')])
  })

  it('ArqonBusClient, MicroserviceBus and DashboardClient register, send events and hear metrics', async () => {
    folder.write('bus_client.py', guideProgram('async def send_message(self, channel, content, sender=None)'))
    folder.write('microservice.py', guideProgram('class MicroserviceBus'))
    folder.write('dashboard.py', guideProgram('class DashboardClient'))
    const program = folder.script(
      `
import bus_client
builtins.ArqonBusClient = bus_client.ArqonBusClient
import microservice, dashboard
uri, = args
listener = ArqonBusClient(uri)
heard = []
async def keep(message): heard.append(message)
listener.handle_message = keep
await listener.connect()
await listener.send_command('join_channel', channel='services/events')
listening = asyncio.create_task(listener.listen())
await until(lambda: len(heard) == 1, 'the answer to the join')

service = microservice.MicroserviceBus('user-service', uri)
await service.client.connect()
await service.register_service()
await service.send_event('user.created', {'id': 7})
await until(lambda: len(heard) == 2, 'the event of the service')

board = dashboard.DashboardClient(uri)
await board.connect()
updates = []
async def update(channel, content): updates.append([channel, content])
updating = asyncio.create_task(board.update_dashboard(update))
while not updates:
    await listener.send_message('metrics.system', {'cpu': 0.5})
    await asyncio.sleep(0.05)
for task in (listening, updating): task.cancel()
for socket in (listener.websocket, service.client.websocket, board.websocket): await socket.close()
report({'answer': heard[0], 'event': heard[1], 'update': updates[0]})
`,
      uri,
    )
    const { answer, event, update } = await program.report<{ readonly answer: object; readonly event: object; readonly update: object }>()
    expect(answer).toMatchObject({ type: 'command_response', command: 'join_channel', success: true })
    expect(event).toMatchObject({
      type: 'message',
      channel: 'services/events',
      sender: 'anonymous',
      content: { service: 'user-service', event: 'user.created', data: { id: 7 } },
    })
    expect(update).toEqual(['metrics.system', { cpu: 0.5 }])
  })
})
