/**
 * Passwords as they lie in the users file: `scrypt$N,r,p$salt$hash` (RFC 7914), salt and hash in base64url. The parameters
 * stand in each, so that they can be raised and old passwords still work.
 */
import { randomBytes, type ScryptOptions, scrypt, timingSafeEqual } from 'node:crypto'

/** 32 MiB and some 70 ms each: dear for whoever tries a list of passwords, cheap enough for a server of 2 cores. */
const cost = { N: 2 ** 15, r: 8, p: 1 } as const
const saltBytes = 16
const hashBytes = 32
/** What a file may ask for: 256 MiB each. */
const mostMemoryBytes = 256 * 1024 * 1024
export const maxPasswordBytes = 1_024

const memoryBytes = ({ N, r }: { readonly N: number; readonly r: number }): number => 128 * N * r

export interface PasswordHash {
  readonly N: number
  readonly r: number
  readonly p: number
  readonly salt: Buffer
  readonly hash: Buffer
}

/** Undefined: not one, or one that costs more than a server should spend. */
export const parseHash = (text: string): PasswordHash | undefined => {
  const match = /^scrypt\$(\d{1,8}),(\d{1,2}),(\d{1,2})\$([\w-]{22,86})\$([\w-]{43})$/.exec(text)
  if (match === null) return undefined
  const [, N, r, p, salt = '', hash = ''] = match
  const parsed = { N: Number(N), r: Number(r), p: Number(p), salt: Buffer.from(salt, 'base64url'), hash: Buffer.from(hash, 'base64url') }
  const isPowerOfTwo = Number.isInteger(Math.log2(parsed.N)) && parsed.N > 1
  const isCheapEnough = memoryBytes(parsed) <= mostMemoryBytes && parsed.r > 0 && parsed.p > 0 && parsed.p <= 16
  return isPowerOfTwo && isCheapEnough ? parsed : undefined
}

const derive = (password: string, salt: Buffer, { N, r, p }: Pick<PasswordHash, 'N' | 'r' | 'p'>): Promise<Buffer> => {
  const options: ScryptOptions = { N, r, p, maxmem: memoryBytes({ N, r }) + 1024 * 1024 * (p + 1) }
  // Normalised, or the same password from two keyboards is two (RFC 8265 §4.2.2).
  return new Promise((resolve, reject) =>
    scrypt(password.normalize('NFC'), salt, hashBytes, options, (error, hash) => (error === null ? resolve(hash) : reject(error))),
  )
}

export const hashPassword = async (password: string): Promise<string> => {
  const salt = randomBytes(saltBytes)
  const hash = await derive(password, salt, cost)
  return `scrypt$${cost.N},${cost.r},${cost.p}$${salt.toString('base64url')}$${hash.toString('base64url')}`
}

/** For users that are not there, so that they take as long as others. */
const nobody: PasswordHash = { ...cost, salt: randomBytes(saltBytes), hash: randomBytes(hashBytes) }

/** Takes the same time whether there is such a user or not. */
export const isPassword = async (password: string, expected: PasswordHash | undefined): Promise<boolean> => {
  const known = expected ?? nobody
  const hash = await derive(password, known.salt, known)
  return timingSafeEqual(hash, known.hash) && expected !== undefined
}
