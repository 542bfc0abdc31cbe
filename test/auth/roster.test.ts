/** Who is connected: nobody who was revoked stays, at whatever moment that was. */
import { describe, expect, it } from 'vitest'
import type { Account } from '../../actors/account.ts'
import { GuardedRoster } from '../../src/auth/roster.ts'

const account = (user: string): Account => ({ user, tenant: '', isAnonymous: false, permissions: [] })

describe('the roster', () => {
  const revoked = new Set<string>()
  const expelled: string[] = []
  const roster = new GuardedRoster(
    ({ user }) => revoked.has(user),
    (address) => void expelled.push(address),
  )

  it('[RO1] expels who is revoked while connected', () => {
    roster.set('client/1', account('alice')).set('client/2', account('bob')).set('connection/3', account('alice'))
    roster.look()
    expect(expelled.splice(0)).toEqual([])
    revoked.add('alice')
    roster.look()
    expect(expelled.splice(0)).toEqual(['client/1', 'connection/3'])
    roster.delete('client/1')
    roster.look()
    expect(expelled.splice(0)).toEqual(['connection/3'])
  })

  it('[RO2] expels who was revoked on the way in, or becomes somebody who was', () => {
    roster.set('client/4', account('alice'))
    roster.set('client/2', account('alice'))
    expect(expelled).toEqual(['client/4', 'client/2'])
    expect(roster.get('client/4')).toEqual(account('alice'))
  })
})
