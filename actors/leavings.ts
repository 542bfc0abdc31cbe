/**
 * What clients that are gone have left to be taken in, of all documents together. A client that sends large changes and leaves, again
 * and again, would otherwise fill the memory of the server: no socket is there any more that could be left unread.
 */
export class Leavings {
  readonly #mostBytes: number
  #bytes = 0

  /** `mostBytes`: option `documents.leftBytes`. */
  constructor(mostBytes = 64 * 1024 * 1024) {
    this.#mostBytes = mostBytes
  }

  /** False: there is no room for so much. What is small is always kept: a few keystrokes are not to be the price of an attack. */
  take(bytes: number): boolean {
    if (bytes > smallBytes && this.#bytes + bytes > this.#mostBytes) return false
    this.#bytes += bytes
    return true
  }

  released(bytes: number): void {
    this.#bytes -= bytes
  }
}

const smallBytes = 64 * 1024
