import { describe, expect, it } from 'vitest'
import { openMemoryJournals } from '../../src/storage/memory.ts'
import { openJournals, registerJournals } from '../../src/storage/registry.ts'
import { testWorld } from '../support/world.ts'

describe('journal backends by name', () => {
  const options = { directory: '/nowhere', ...testWorld() }

  it('[R1] memory is there, and a registered one is opened with the options', async () => {
    expect((await openJournals('memory', options)).status()).toEqual({ state: 'ready' })
    const given: unknown[] = []
    registerJournals('mine', (opened) => {
      given.push(opened.backend)
      return openMemoryJournals(opened)
    })
    await openJournals('mine', { ...options, backend: { url: 'somewhere' } })
    expect(given).toEqual([{ url: 'somewhere' }])
  })

  it('[R2] a name nobody registered is refused with those that are there, and so is a name that is taken', async () => {
    await expect(openJournals('cloud', options)).rejects.toMatchObject({
      code: 'config.invalid',
      message: expect.stringContaining('lmdb, memory'),
    })
    expect(() => registerJournals('lmdb', openMemoryJournals)).toThrow(expect.objectContaining({ code: 'config.invalid' }))
  })
})
