import { execFile } from 'node:child_process'
import { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { bundle } from '../support/bundle.ts'
import { newDirectory } from '../support/disk.ts'
import { buildWatcher, type Cut, fates, imageAfter, markOf, readLog, type Step } from '../support/powerDisk.ts'
import { Model } from '../support/powerModel.ts'
import { VerifierProcess } from '../support/powerVerifierProcess.ts'
import { SeededRandom } from '../support/world.ts'

const images = Number(process.env.POWER_IMAGES ?? 60)
const seed = Number(process.env.POWER_SEED ?? 20_260_307)
const appends = 1_500

const root = newDirectory()
const watcher = join(root, 'watcher')
const whyNot = buildWatcher(watcher)
if (whyNot !== undefined) rmSync(root, { recursive: true })
const title = (text: string): string => (whyNot === undefined ? text : `${text} (skipped: ${whyNot})`)

/**
 * POWER_IMAGES=n: so many cuts. POWER_SEED=n: others.
 *
 * The seed decides what is written and what is cut; how writes and flushes fall among each other is the machine's affair. So a
 * store that fails is kept, with the file as it was before it was opened, and its path is told.
 */
describe.skipIf(whyNot !== undefined)(title(`journals under a loss of power (seed ${seed})`), () => {
  const data = join(root, 'data')
  let steps: Step[] = []
  let open = 0
  let preflightPath: string
  let programs: string[]
  let verifier: VerifierProcess
  let isKept = false

  beforeAll(async () => {
    preflightPath = await bundle('src/storage/preflight.ts')
    const writer = await bundle('test/support/powerWriter.ts')
    const verifierProgram = await bundle('test/support/powerVerifier.ts')
    programs = [preflightPath, writer, verifierProgram]
    verifier = new VerifierProcess(verifierProgram)
    const [marks, log] = [join(root, 'marks'), join(root, 'log')]
    await promisify(execFile)(process.execPath, [writer, data, marks, String(seed), String(appends)], {
      env: {
        ...process.env,
        LD_PRELOAD: join(watcher, 'power.so'),
        POWER_DATA: join(data, 'data.mdb'),
        POWER_MARKS: marks,
        POWER_LOG: log,
      },
    })
    steps = readLog(readFileSync(log))
    open = steps.findIndex((step) => markOf(step)?.is === 'open')
  })

  afterAll(() => {
    verifier?.stop()
    for (const path of [...(programs ?? []), ...(isKept ? [] : [root])]) rmSync(path, { recursive: true, force: true })
  })

  /** Any moment since the store was open, but most of them right behind an acknowledgement, or when a flush begins or ends. */
  const moment = (chance: SeededRandom): number => {
    const at = open + 1 + chance.below(steps.length - open)
    if (chance.chance(0.3)) return at
    const kind = chance.pick(['mark', 'flush', 'end'])
    const next = steps.findIndex((step, index) => index >= at && step.kind === kind && markOf(step)?.is !== 'asked')
    return next < 0 ? at : next + 1
  }

  const modelOf = (at: number, isEarly: boolean): Model => {
    const model = new Model()
    for (const step of steps.slice(0, at)) {
      const mark = markOf(step)
      if (mark === undefined) continue
      model.add(mark)
      if (isEarly && mark.is === 'asked') model.add({ is: 'acknowledged', journal: mark.journal, number: mark.number })
    }
    return model
  }

  /** Cuts the power, and tells what is wrong with the store. Same seed and same log, same file. */
  const cutOnce = async (
    imageSeed: number,
    { flushes = true, early = false, keep = true }: { flushes?: boolean; early?: boolean; keep?: boolean } = {},
  ): Promise<string | undefined> => {
    const chance = new SeededRandom(imageSeed)
    const cut: Cut = { at: moment(chance), fate: chance.pick(fates), ...(flushes ? {} : { flushesUntil: open }) }
    const image = imageAfter(steps, cut, chance)
    const directory = join(root, `image-${imageSeed}`)
    mkdirSync(directory)
    copyFileSync(join(data, 'meta.json'), join(directory, 'meta.json'))
    writeFileSync(join(directory, 'data.mdb'), image)
    // The server lets the preflight look first. Without one, our own opening decides where the store goes back to; it refuses a file
    // that ends before its newest header says, unchanged and asking for the preflight, and then it shall have it.
    const first = await verifier.look(directory, chance.chance(0.5) ? preflightPath : undefined)
    const isShort = 'problem' in first && first.problem.includes('no preflight program is there')
    const found = isShort ? await verifier.look(directory, preflightPath) : first
    const violation = modelOf(cut.at, early).violation(found)
    if (violation === undefined || !keep) {
      rmSync(directory, { recursive: true, force: true })
      return violation
    }
    isKept = true
    writeFileSync(join(directory, 'data.mdb.cut'), image)
    return `image ${imageSeed}, cut at ${cut.at} of ${steps.length} (${cut.fate}), kept in ${directory}: ${violation}`
  }

  const violations = async (count: number, options?: Parameters<typeof cutOnce>[1]): Promise<string[]> => {
    const all: string[] = []
    for (let image = 0; image < count; image++) all.push(...[(await cutOnce(seed + image, options)) ?? []].flat())
    return all
  }

  it('the log holds everything that was written to the data file', () => {
    const end: Cut = { at: steps.length, fate: 'everything' }
    expect(Buffer.compare(imageAfter(steps, end, new SeededRandom(seed)), readFileSync(join(data, 'data.mdb')))).toBe(0)
    expect(steps.filter(({ kind }) => kind === 'flush').length).toBeGreaterThan(50)
    expect(steps.filter((step) => markOf(step)?.is === 'acknowledged').length).toBeGreaterThan(appends)
  })

  it(
    `[C2] keeps what was acknowledged, whole and in order, over ${images} cuts`,
    async () => {
      expect(await violations(images)).toEqual([])
    },
    60_000 + images * 1_000,
  )

  it('would notice flushes that do nothing', async () => {
    const found = await violations(20, { flushes: false, keep: false })
    expect(found.length).toBeGreaterThan(0)
  })

  it('would notice acknowledgements that come before the flush', async () => {
    const found = await violations(20, { early: true, keep: false })
    expect(found.length).toBeGreaterThan(0)
  })
})
