/** Whose address counts where requests come through reverse proxies. */
import { describe, expect, it } from 'vitest'
import { completeConfig } from '../../src/config.ts'
import { isNetwork, Proxies } from '../../src/proxies.ts'

const trusted = ['10.0.0.0/8', '192.0.2.7', 'fd00::/8']

/** The client of a request from `peer` with these headers. */
const clientOf = (peer: string | undefined, forwarded?: string, networks: readonly string[] = trusted) =>
  new Proxies(networks).clientOf({
    headers: forwarded === undefined ? {} : { 'x-forwarded-for': forwarded },
    socket: { remoteAddress: peer },
  })

describe('the address of a client', () => {
  it.each([
    ['that of its peer, where no proxy is trusted', '10.0.0.1', '203.0.113.9', [], '10.0.0.1'],
    ['that of its peer, when that is no trusted proxy', '198.51.100.4', '203.0.113.9', trusted, '198.51.100.4'],
    ['one just outside of a trusted network', '11.0.0.1', '203.0.113.9', trusted, '11.0.0.1'],
  ])('[PX1] is %s', (_name, peer, forwarded, networks, client) => expect(clientOf(peer, forwarded, networks)).toBe(client))

  it.each([
    ['what a trusted proxy says', '10.0.0.1', '203.0.113.9', '203.0.113.9'],
    ['what the first of several trusted proxies says', '10.0.0.1', '203.0.113.9, 192.0.2.7, 10.9.9.9', '203.0.113.9'],
    ['not what the client has written before that', '10.0.0.1', '127.0.0.1, 192.0.2.7, 203.0.113.9', '203.0.113.9'],
    ['the last one that is known, when nobody says who called it', '10.0.0.1', 'unknown, 10.9.9.9', '10.9.9.9'],
    ['not one before a word that is no address', '10.0.0.1', '203.0.113.9, nonsense', '10.0.0.1'],
    ['the proxy itself, when it says nothing', '10.0.0.1', undefined, '10.0.0.1'],
    ['the first one, when all of them are trusted', '10.0.0.1', '10.1.1.1, 10.2.2.2', '10.1.1.1'],
    ['one of IPv6', 'fd00::1', '2001:DB8::0:9', '2001:db8::9'],
    ['one with a port', '10.0.0.1', '203.0.113.9:5678', '203.0.113.9'],
    ['one of IPv6 with a port', '10.0.0.1', '[2001:db8::9]:5678', '2001:db8::9'],
    ['one of IPv4 in the words of IPv6', '::ffff:10.0.0.1', '::ffff:203.0.113.9', '203.0.113.9'],
    ['the same in hexadecimal', '::ffff:a00:1', '::ffff:cb00:7109', '203.0.113.9'],
    ['no address with zeros that others read as octal', '10.0.0.1', '203.0.113.9, 010.0.0.1', '10.0.0.1'],
    ['nothing, of a client that is gone', undefined, '203.0.113.9', ''],
  ])('[PX2] is %s', (_name, peer, forwarded, client) => expect(clientOf(peer, forwarded)).toBe(client))

  it('[PX2] is found in time linear in the header', () => {
    expect(clientOf('10.0.0.1', Array(2_000).fill('10.0.0.2').join(','))).toBe('10.0.0.2')
    expect(clientOf('10.0.0.1', ','.repeat(8_000))).toBe('10.0.0.1')
  })
})

describe('a trusted proxy', () => {
  it('[PX3] is an address or a network, and never everybody', () => {
    for (const text of ['10.0.0.7', '10.0.0.0/8', '::1', 'fd00::/8', '10.0.0.7/32', '::ffff:10.0.0.7'])
      expect([text, isNetwork(text)]).toEqual([text, true])
    const wrong = [
      '',
      'localhost',
      '10.0.0',
      '10.0.0.0/33',
      'fd00::/129',
      '0.0.0.0/0',
      '::/0',
      '10.0.0.0/',
      '10.0.0.0/8/8',
      '10.0.0.7:80',
      '*',
    ]
    for (const text of wrong) {
      expect([text, isNetwork(text)]).toEqual([text, false])
      expect(() => completeConfig({ trustedProxies: [text] })).toThrow(/trustedProxies\.0: expected addresses or networks/)
    }
  })
})
