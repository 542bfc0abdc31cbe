/** Requests to the HTTP side of a server, and tokens for them. */
import { SignJWT } from 'jose'

export const secret = 'a secret of the tests, long enough for HS256'

export interface Reply {
  readonly status: number
  readonly headers: Headers
  // biome-ignore lint/suspicious/noExplicitAny: what an answer holds is what the tests ask
  readonly body: any
}

/** The path of a channel; names have slashes. */
export const channelPath = (name: string, rest = ''): string => `/v1/channels/${encodeURIComponent(name)}${rest}`

export class HttpClient {
  readonly #base: string
  readonly #headers: Readonly<Record<string, string>>

  constructor(base: string, headers: Readonly<Record<string, string>> = {}) {
    this.#base = base
    this.#headers = headers
  }

  /** The same server, with more headers. */
  with(headers: Readonly<Record<string, string>>): HttpClient {
    return new HttpClient(this.#base, { ...this.#headers, ...headers })
  }

  as(token: string): HttpClient {
    return this.with({ authorization: `Bearer ${token}` })
  }

  async send(method: string, path: string, body?: unknown): Promise<Reply> {
    const type: Record<string, string> = body === undefined ? {} : { 'content-type': 'application/json' }
    const response = await fetch(this.#base + path, {
      method,
      headers: { ...type, ...this.#headers },
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    })
    const text = await response.text()
    return { status: response.status, headers: response.headers, body: text === '' ? undefined : JSON.parse(text) }
  }

  get(path: string): Promise<Reply> {
    return this.send('GET', path)
  }

  publish(channel: string, body: unknown): Promise<Reply> {
    return this.send('POST', channelPath(channel, '/messages'), body)
  }

  history(channel: string, query = ''): Promise<Reply> {
    return this.get(channelPath(channel, `/messages${query}`))
  }
}

interface Claims {
  readonly tenant?: string
  readonly permissions?: readonly string[]
  readonly jti?: string
}

/** A token of the tests' own secret. `expiresInS`: seconds from now. */
export const tokenOf = (user: string, claims: Claims = {}, expiresInS = 3_600): Promise<string> => {
  const now = Math.floor(Date.now() / 1_000)
  return new SignJWT({ ...claims })
    .setProtectedHeader({ alg: 'HS256' })
    .setSubject(user)
    .setIssuedAt(now)
    .setExpirationTime(now + expiresInS)
    .sign(new TextEncoder().encode(secret))
}
