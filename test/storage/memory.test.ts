import { openMemoryJournals } from '../../src/storage/memory.ts'
import { describeJournals } from '../contract/journals.ts'
import { testWorld } from '../support/world.ts'

describeJournals('memory', async () => {
  const { clock, random } = testWorld()
  return {
    clock,
    isDurable: false,
    open: async () => openMemoryJournals({ clock, random, maxEntryBytes: 100_000 }),
    dispose: async () => undefined,
  }
})
