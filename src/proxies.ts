/**
 * The address of a client that comes through reverse proxies.
 *
 *   X-Forwarded-For: CLIENT, PROXY, …      each proxy appends the address that it was called from
 *
 * Promises: what the header says counts only as far as trusted proxies have written it. Read from its end, the first address that is not
 * one of them is the client; whatever a client has put before that is not looked at.
 *
 * `Forwarded` (RFC 7239) is not read: few proxies write it, and most pass on the one that a client has made up.
 */
import type { IncomingMessage } from 'node:http'
import { BlockList, isIP, SocketAddress } from 'node:net'

const prefixBits = { ipv4: 32, ipv6: 128 } as const

interface Network {
  readonly address: string
  readonly family: 'ipv4' | 'ipv6'
  readonly bits: number
}

/** An IPv4 address, also when it is written as one of IPv6 or with a port; undefined for what is no address. */
const addressOf = (text: string): Omit<Network, 'bits'> | undefined => {
  const bare = /^\[([^\]]*)\](?::\d+)?$/.exec(text)?.[1] ?? /^([\d.]+):\d+$/.exec(text)?.[1] ?? text
  const [unzoned = ''] = bare.split('%', 1)
  const version = isIP(unzoned)
  if (version === 0) return undefined
  // One spelling for each. A piece of the header would keep all of it in memory, as long as the connection.
  const { address } = new SocketAddress({ address: unzoned, family: version === 4 ? 'ipv4' : 'ipv6' })
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/.exec(address)?.[1]
  if (mapped !== undefined) return { address: mapped, family: 'ipv4' }
  return { address, family: version === 4 ? 'ipv4' : 'ipv6' }
}

/** `10.0.0.7`, `10.0.0.0/8`, `fd00::/8`. Undefined for what is none, and for everybody: then a client could say what it likes. */
const networkOf = (text: string): Network | undefined => {
  const [, host = '', prefix] = /^([^/]+)(?:\/(\d{1,3}))?$/.exec(text) ?? []
  if (isIP(host) === 0) return undefined
  const found = addressOf(host)
  if (found === undefined) return undefined
  const most = prefixBits[found.family]
  const bits = prefix === undefined ? most : Number(prefix)
  return bits >= 1 && bits <= most ? { ...found, bits } : undefined
}

export const isNetwork = (text: string): boolean => networkOf(text) !== undefined

export type Arriving = Pick<IncomingMessage, 'headers'> & { readonly socket: { readonly remoteAddress?: string | undefined } }

export class Proxies {
  readonly #trusted = new BlockList()
  readonly #isEmpty: boolean

  /** `networks`: addresses and networks of proxies, each as `isNetwork` says. */
  constructor(networks: readonly string[]) {
    this.#isEmpty = networks.length === 0
    for (const text of networks) {
      const network = networkOf(text)
      if (network !== undefined) this.#trusted.addSubnet(network.address, network.bits, network.family)
    }
  }

  /** '' when the client is gone. */
  clientOf({ headers, socket }: Arriving): string {
    const peer = socket.remoteAddress ?? ''
    if (this.#isEmpty) return peer
    let found = addressOf(peer)
    if (found === undefined) return peer
    const hops = String(headers['x-forwarded-for'] ?? '').split(',')
    while (this.#trusted.check(found.address, found.family)) {
      const next = addressOf((hops.pop() ?? '').trim())
      if (next === undefined) break // who called this proxy, nobody says
      found = next
    }
    return found.address
  }
}
