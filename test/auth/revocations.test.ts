/** Revoked users and tokens: who is kept out, and that it stays so. */
import { describe, expect, it } from 'vitest'
import type { Account } from '../../actors/account.ts'
import { type Revocation, RevocationSet, revocationsAddress, revocationsKind } from '../../actors/revocations.ts'
import { codeOf, Machine, track } from '../actors/house.ts'

const account = (fields: Partial<Account> = {}): Account => ({ user: 'alice', tenant: '', isAnonymous: false, permissions: [], ...fields })

const dayMs = 86_400_000
const toleranceMs = 5

const boot = async (limit?: number) => {
  const told: Revocation[] = []
  const kind = revocationsKind({
    toleranceMs,
    ...(limit === undefined ? {} : { limit }),
    revoked: (revocation) => void told.push(revocation),
  })
  const machine = await Machine.boot([kind])
  const revoke = (request: object) => machine.system.ask(revocationsAddress, { type: 'revocations.revoke', ...request })
  const list = () => machine.system.ask(revocationsAddress, { type: 'revocations.list' })
  return { machine, told, revoke, list }
}

describe('revocations', () => {
  it('[RV1] of a user and of a token survive the end of the process', async () => {
    const { machine, told, revoke, list } = await boot()
    expect(await revoke({ user: 'alice' })).toEqual({ user: 'alice', tenant: '', before: 1_000_000 })
    expect(await revoke({ user: 'alice', tenant: 'acme', before: 5 })).toEqual({ user: 'alice', tenant: 'acme', before: 5 })
    expect(await revoke({ tokenId: 't1' })).toEqual({ tokenId: 't1' })
    const all = [{ user: 'alice', tenant: '', before: 1_000_000 }, { user: 'alice', tenant: 'acme', before: 5 }, { tokenId: 't1' }]
    expect(told).toEqual(all)
    await machine.crash()
    expect(await list()).toEqual(all)
    await machine.reboot()
    expect(await list()).toEqual(all)
  })

  it('[RV2] are told to nobody before they are on disk, and not at all when the disk refuses', async () => {
    const { machine, told, revoke, list } = await boot()
    machine.disk.refuse('storage.full')
    expect(await codeOf(revoke({ user: 'alice' }))).toBe('storage.full')
    expect(told).toEqual([])
    machine.disk.refuse(undefined)
    const after = track(list())
    await machine.clock.advance(1_000)
    expect(after).toEqual({ state: 'kept', value: [] })
  })

  it('[RV3] of the same user or token become one, the wider one', async () => {
    const { revoke, list } = await boot()
    for (const before of [10, 30, 20]) await revoke({ user: 'alice', before })
    for (const until of [2_000_000, 4_000_000, 3_000_000]) await revoke({ tokenId: 't1', until })
    for (const until of [2_000_000, undefined, 3_000_000]) await revoke({ tokenId: 't2', ...(until === undefined ? {} : { until }) })
    expect(await list()).toEqual([{ user: 'alice', tenant: '', before: 30 }, { tokenId: 't1', until: 4_000_000 }, { tokenId: 't2' }])
  })

  it('[RV4] of a token are forgotten a day after it would have expired, those of users never', async () => {
    const { machine, revoke, list } = await boot()
    await revoke({ tokenId: 't1', until: 1_000_010 })
    await revoke({ user: 'alice' })
    machine.clock.pass(dayMs + toleranceMs + 10)
    const until = machine.clock.now()
    await revoke({ tokenId: 't2', until })
    expect(await list()).toHaveLength(3)
    machine.clock.pass(1)
    await revoke({ tokenId: 't3' })
    const kept = [{ user: 'alice', tenant: '', before: 1_000_000 }, { tokenId: 't2', until }, { tokenId: 't3' }]
    expect(await list()).toEqual(kept)
    await machine.crash()
    expect(await list()).toEqual(kept)
  })

  it('[RV5] past the limit are refused, for to forget an old one would let somebody in', async () => {
    const { machine, revoke, list } = await boot(2)
    await revoke({ user: 'alice' })
    await revoke({ tokenId: 't1', until: 1_000_010 })
    expect(await codeOf(revoke({ user: 'bob' }))).toBe('auth.too_many_revocations')
    expect(await revoke({ user: 'alice', before: 1_000_500 })).toMatchObject({ before: 1_000_500 })
    machine.clock.pass(toleranceMs + 10)
    expect(await codeOf(revoke({ user: 'bob' }))).toBe('auth.too_many_revocations')
    machine.clock.pass(1)
    expect(await revoke({ user: 'bob' })).toMatchObject({ user: 'bob' })
    expect(await list()).toHaveLength(2)
  })

  it('[RV6] that say neither user nor token, or no time, are refused', async () => {
    const { revoke, list } = await boot()
    for (const request of [
      {},
      { user: '' },
      { tokenId: 7 },
      { user: 'alice', before: Number.POSITIVE_INFINITY },
      { tokenId: 't', until: '2027' },
    ])
      expect([request, await codeOf(revoke(request))]).toEqual([request, 'command.bad_parameters'])
    expect(await list()).toEqual([])
  })

  it('[RV7] keep names apart that look like parts of the store', async () => {
    const { machine, revoke, list } = await boot()
    for (const name of ['__proto__', 'constructor', 'user alice', 'token t1']) await revoke({ tokenId: name })
    await machine.crash()
    expect(await list()).toHaveLength(4)
  })
})

describe('a revocation', () => {
  const set = new RevocationSet()
  set.add({ user: 'alice', tenant: '', before: 1_000 })
  set.add({ user: 'bob', tenant: 'acme', before: 1_000 })
  set.add({ tokenId: 't1' })

  it.each([
    ['what was issued before', account({ issuedAt: 999 }), true],
    ['what was issued in the same moment', account({ issuedAt: 1_000 }), true],
    ['not what was issued after', account({ issuedAt: 1_001 }), false],
    ['what does not say when it was issued', account(), true],
    ['what was issued in a time that is still far off', account({ issuedAt: 2_001 + dayMs }), true],
    ['not what was issued by a clock that is ahead', account({ issuedAt: 2_000 + dayMs }), false],
    ['not another user', account({ user: 'carol', issuedAt: 1 }), false],
    ['not the user of this name of another tenant', account({ tenant: 'acme', issuedAt: 1 }), false],
    ['the user of the tenant', account({ user: 'bob', tenant: 'acme', issuedAt: 1 }), true],
    ['not the user of this name without a tenant', account({ user: 'bob', issuedAt: 1 }), false],
    ['the token, whoever has it', account({ user: 'carol', tenant: 'x', tokenId: 't1', issuedAt: 5_000 }), true],
    ['not another token', account({ user: 'carol', tokenId: 't2' }), false],
    ['nobody who did not log in', account({ isAnonymous: true }), false],
  ])('[RV8] covers %s', (_name, given, isCovered) => expect(set.covers(given, 2_000)).toBe(isCovered))
})
