/** What must be true of a channel on disk. It looks at the disk itself, behind the back of the product, and remembers all of it. */
import { publicName } from '../../actors/account.ts'
import { decodeMessage } from '../../actors/channelEntry.ts'
import type { Offset } from '../../actors/journal.ts'
import type { ChannelMessage, Position } from '../../actors/output.ts'
import type { SimulatedDisk } from '../support/simJournals.ts'

export type Rule =
  /** Nobody hears of anything that is not on disk. */
  | 'durable'
  /** Offsets are 1, 2, 3 … in every epoch, on disk and for everybody who listens. */
  | 'order'
  /** A message is in a channel once; one that was acknowledged is there. */
  | 'once'
  /** What is said to be recovered is all of it; what is said to be lost could not be had. */
  | 'honest'
  /** When all is quiet, everybody has everything. */
  | 'complete'
  /** When all is quiet, exactly those are present who are there. */
  | 'presence'
  /** Every request is answered once, commands in the order in which they were sent. */
  | 'answers'
  /** Private messages come to their user and to nobody else. */
  | 'private'
  /** Nothing is left in memory when all have gone. */
  | 'memory'
  | 'failure'

export type Violate = (rule: Rule, text: string) => void

/** One life of a channel, from its first message until its history is removed. */
interface Life {
  readonly messages: ChannelMessage[]
  /** Oldest offset that can be had. */
  first: Offset
  readonly offsets: Map<string, Offset>
}

export class StoredChannel {
  readonly address: string
  readonly #disk: SimulatedDisk
  readonly #historyMessages: number
  readonly #violate: Violate
  readonly #lives = new Map<string, Life>()
  #epoch = ''

  constructor(disk: SimulatedDisk, address: string, historyMessages: number, violate: Violate) {
    this.#disk = disk
    this.#historyMessages = historyMessages
    this.address = address
    this.#violate = violate
  }

  /** Takes in what has come to the disk since. */
  refresh(): void {
    const stored = this.#disk.stored(this.address)
    this.#epoch = stored?.epoch ?? ''
    if (stored === undefined) return
    const life = this.#lives.get(stored.epoch) ?? { messages: [], first: 1, offsets: new Map<string, Offset>() }
    this.#lives.set(stored.epoch, life)
    life.first = stored.first
    for (let at = Math.max(0, life.messages.length + 1 - stored.first); at < stored.entries.length; at++) {
      const entry = stored.entries[at]
      if (entry === undefined) return
      const { message } = decodeMessage(entry, publicName(this.address.slice('channel/'.length)), stored.epoch)
      if (message.offset !== life.messages.length + 1)
        this.#violate('order', `${this.address} has ${message.offset} on disk after ${life.messages.length}`)
      life.messages.push(message)
      const earlier = life.offsets.get(message.id)
      // After a restart ids are known as long as their messages are kept.
      if (earlier !== undefined && message.offset - earlier <= this.#historyMessages)
        this.#violate('once', `${message.id} is in ${this.address} at ${earlier} and at ${message.offset}`)
      life.offsets.set(message.id, message.offset)
    }
  }

  /** The last message that is on disk. */
  get last(): Position {
    this.refresh()
    return { epoch: this.#epoch, offset: this.#lives.get(this.#epoch)?.messages.length ?? 0 }
  }

  /** Of the oldest message that can be had. */
  firstOf(epoch: string): Offset {
    this.refresh()
    return this.#lives.get(epoch)?.first ?? 1
  }

  check(message: ChannelMessage, who: string): void {
    this.refresh()
    const stored = this.#lives.get(message.epoch)?.messages[message.offset - 1]
    if (stored === undefined)
      return this.#violate('durable', `${who} is told of ${message.id} at ${message.offset} of ${this.address}, which is not on disk`)
    if (stored.id !== message.id || JSON.stringify(stored.body) !== JSON.stringify(message.body))
      this.#violate('order', `${who} is told that ${message.offset} of ${this.address} is ${message.id}, and on disk it is ${stored.id}`)
  }

  idAt(epoch: string, offset: Offset): string | undefined {
    this.refresh()
    return this.#lives.get(epoch)?.messages[offset - 1]?.id
  }

  offsetOf(epoch: string, id: string): Offset | undefined {
    this.refresh()
    return this.#lives.get(epoch)?.offsets.get(id)
  }
}
