/**
 * Before all tests: builds what the tests run, and finds (or, as root on Debian, installs) the browser, and the Python libraries
 * of foreign clients where their texts are. With CI=true a missing browser is a failure; otherwise the tests that need what is
 * missing are skipped with the reason.
 */
import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { installPackages } from './debian.ts'
import { hasTexts, missingModules, pythonPackages } from './seeds.ts'

const candidates = [
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
]

const findBrowser = (): string | undefined => [process.env.CHROMIUM, ...candidates].find((path) => path !== undefined && existsSync(path))

export default function setup(): void {
  execFileSync(process.execPath, ['build.mjs'], { stdio: 'inherit' })
  if (findBrowser() === undefined) installPackages('chromium')
  const browser = findBrowser()
  if (browser !== undefined) process.env.CHROMIUM = browser
  else if (process.env.CI === 'true')
    throw new Error('Chromium is missing; install it (on Debian: apt-get install chromium) or set CHROMIUM to its path')
  else process.stderr.write('Chromium is missing: the browser tests are skipped. Install it, or set CHROMIUM to its path.\n')
  if (hasTexts() && missingModules().length > 0) installPackages(...pythonPackages)
}
