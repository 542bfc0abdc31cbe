/** What is kept of the past of documents, and in which form. */

/** Works off the main thread. */
export interface Compression {
  compress(bytes: Uint8Array): Promise<Uint8Array>
  /** Rejects when the result would have more than so many bytes. */
  decompress(compressed: Uint8Array, maxBytes: number): Promise<Uint8Array>
}

export interface HistoryOptions {
  readonly compression: Compression
  /** What is older is forgotten. Default 90 days; 0: nothing is. */
  readonly keepMs?: number
  /** Most compressed bytes of one document. Default 64 MiB; 0: no bound. */
  readonly keepBytes?: number
  /** Most bytes of changes that one request replays. Default 64 MiB. */
  readonly replayBytes?: number
  /** Most that one difference tells, about as JSON. Default 8 MiB. */
  readonly diffBytes?: number
  /** Most named versions of one document. Default 1 000. */
  readonly versions?: number
}
