/**
 * A chat on the message bus: a plain WebSocket and JSON frames (docs/wire/bus.md), no library.
 * `?channel=NAME` chooses the channel, `?name=NAME` what others call you.
 *
 * Nothing is lost and nothing comes twice, whatever the network does, by three rules:
 * - the place of the last message that was shown (`epoch`, `sequence`) is given back on the next join;
 * - what was sent and not acknowledged is sent again under the same id;
 * - when the server says that the place is gone, the page begins anew.
 */

interface Frame {
  readonly type: string
  readonly id?: string
  readonly sender?: string
  readonly channel?: string
  readonly timestamp?: string
  readonly content?: { readonly text?: string; readonly type?: string; readonly user?: string; readonly status?: string } | string
  readonly sequence?: number
  readonly epoch?: string
  readonly command?: string
  readonly success?: boolean
  readonly error?: string
  readonly data?: Joined
}
interface Joined {
  readonly epoch: string
  readonly sequence: number
  readonly recovered: boolean | null
  readonly replayed: number
  readonly members: readonly { readonly user: string; readonly status: string }[]
}

const query = new URLSearchParams(location.search)
const channel = query.get('channel') ?? 'general'
const name = query.get('name') ?? `guest ${Math.floor(Math.random() * 1000)}`
const element = <Type extends HTMLElement>(id: string) => document.querySelector(`#${id}`) as Type // in chat.html
const list = element('messages')
const status = element<HTMLSelectElement>('status')
const input = element<HTMLInputElement>('text')

const firstMessages = 50
const members = new Map<string, string>()
/** By id: what is not yet on disk, as far as we know. */
const unsaved = new Map<string, { readonly text: string; readonly item: HTMLElement }>()
let position: { epoch: string; sequence: number } | undefined
let socket: WebSocket | undefined
let isWanted = true
let waitMs = 500

const say = (frame: object) => {
  if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify(frame))
}
const command = (name: string, parameters: object) => say({ type: 'command', command: name, ...parameters })

// ── what is shown ───────────────────────────────────────────────────────────────────────────────────────────────

/** Text only: whatever others wrote must not become a part of the page. */
const make = (tag: string, text: string, className = ''): HTMLElement =>
  Object.assign(document.createElement(tag), { textContent: text, className })

const append = (item: HTMLElement) => {
  const isAtEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 60
  list.append(item)
  if (isAtEnd) item.scrollIntoView()
}
const notice = (text: string) => append(make('li', text, 'notice'))

const bubble = (sender: string, text: string): HTMLElement => {
  const item = make('li', '', sender === name ? 'message mine' : 'message')
  item.append(make('b', sender), make('span', text))
  return item
}

const showMembers = () => {
  const items = [...members]
    .sort(([a], [b]) => a.localeCompare(b))
    .map(([user, status]) => {
      const item = make('li', user === name ? `${user} (you)` : user)
      item.dataset.status = status
      return item
    })
  element('members').replaceChildren(...items)
}

const showLink = (text: string, isUp: boolean) => {
  const link = element('link')
  link.textContent = text
  link.toggleAttribute('data-up', isUp)
  element('toggle').textContent = isWanted ? 'disconnect' : 'connect'
}

const saved = (id: string | undefined, timestamp = '') => {
  const entry = unsaved.get(id ?? '')
  if (entry === undefined) return
  unsaved.delete(id ?? '')
  entry.item.classList.remove('waiting')
  entry.item.append(make('small', new Date(timestamp).toLocaleTimeString()))
}

// ── what the server says ────────────────────────────────────────────────────────────────────────────────────────

const textOf = ({ content }: Frame): string => (typeof content === 'string' ? content : (content?.text ?? JSON.stringify(content)))

const showMessage = (frame: Frame) => {
  const { id, sender = '?', timestamp = '', sequence = 0, epoch = '' } = frame
  if (frame.channel !== channel) return notice(`${sender}, only to you: ${textOf(frame)}`)
  position = { epoch, sequence }
  const own = unsaved.get(id ?? '')
  if (own !== undefined) {
    append(own.item) // others may have been faster
    return saved(id, timestamp)
  }
  const item = bubble(sender, textOf(frame))
  item.append(make('small', new Date(timestamp).toLocaleTimeString()))
  append(item)
}

const beginAnew = () => {
  list.replaceChildren()
  notice('too much was missed; here are the latest messages')
  position = undefined
  command('leave_channel', { channel })
  command('join_channel', { channel, rewind: firstMessages })
}

const joined = (data: Joined) => {
  members.clear()
  for (const { user, status } of data.members) members.set(user, status)
  showMembers()
  if (data.recovered === false) return beginAnew()
  if (data.recovered) notice(data.replayed === 1 ? 'recovered 1 message' : `recovered ${data.replayed} messages`)
  position ??= { epoch: data.epoch, sequence: data.sequence }
  for (const [id, { text }] of unsaved) publish(id, text)
}

const presence = (content: Frame['content']) => {
  if (typeof content !== 'object' || content.user === undefined) return
  const { type, user, status = 'online' } = content
  if (type === 'user_left') members.delete(user)
  else members.set(user, status)
  if (type === 'user_joined' || type === 'user_left') notice(`${user} ${type === 'user_left' ? 'left' : 'is here'}`)
  showMembers()
}

const heard = (frame: Frame) => {
  if (frame.type === 'message') showMessage(frame)
  else if (frame.type === 'ack') saved(frame.id, frame.timestamp)
  else if (frame.type === 'event' && frame.sender === undefined) {
    if (typeof frame.content === 'object' && frame.content.type === 'lost') beginAnew()
    else presence(frame.content)
  } else if (frame.type === 'command_response' && frame.success && frame.command === 'join_channel') joined(frame.data as Joined)
  else if (frame.error !== undefined) notice(frame.error)
}

// ── the connection ──────────────────────────────────────────────────────────────────────────────────────────────

const connect = () => {
  showLink('connecting', false)
  socket = new WebSocket(`${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/`)
  socket.onopen = () => {
    waitMs = 500
    showLink(`connected as ${name}`, true)
    command('set_status', { status: status.value, username: name })
    command('join_channel', { channel, ...(position === undefined ? { rewind: firstMessages } : { recover: position }) })
  }
  socket.onmessage = ({ data }) => heard(JSON.parse(data as string) as Frame)
  socket.onclose = ({ code }) => {
    showLink('not connected', false)
    if (!isWanted || (code >= 4400 && code < 4500)) return // those will not get better by themselves
    setTimeout(() => isWanted && connect(), waitMs * (0.5 + Math.random()))
    waitMs = Math.min(waitMs * 2, 10_000)
  }
}

const publish = (id: string, text: string) =>
  say({ type: 'message', channel, id, sender: name, content: { type: 'text', text }, ack: true })

element('form').onsubmit = (event) => {
  event.preventDefault()
  const text = input.value.trim()
  if (text === '') return
  input.value = ''
  const id = Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('')
  const item = bubble(name, text)
  item.classList.add('waiting')
  unsaved.set(id, { text, item })
  append(item)
  publish(id, text)
}
status.onchange = () => {
  command('set_status', { status: status.value })
  members.set(name, status.value) // a client does not hear of itself
  showMembers()
}
element('toggle').onclick = () => {
  isWanted = !isWanted
  if (isWanted) connect()
  else socket?.close()
}

element('channel').textContent = channel
connect()
input.focus()
