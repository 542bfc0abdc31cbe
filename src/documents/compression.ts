/**
 * How history is compressed: Brotli at a middling quality, on the threads of libuv. The paper with 260 000 keystrokes takes 0.9 MB in
 * 80 ms; deflate at its usual level takes 1.2 MB in 125 ms.
 */
import { promisify } from 'node:util'
import { brotliCompress, brotliDecompress, constants } from 'node:zlib'
import type { Compression, HistoryOptions } from '../../actors/historyOptions.ts'
import type { Config } from '../config.ts'

const compress = promisify(brotliCompress)
const decompress = promisify(brotliDecompress)
const { BROTLI_PARAM_QUALITY, BROTLI_PARAM_SIZE_HINT } = constants
const quality = 5

export const brotli: Compression = {
  compress: (bytes) => compress(bytes, { params: { [BROTLI_PARAM_QUALITY]: quality, [BROTLI_PARAM_SIZE_HINT]: bytes.length } }),
  decompress: (compressed, maxBytes) => decompress(compressed, { maxOutputLength: maxBytes }),
}

/** What the options say about history. */
export const historyOptions = (documents: Config['documents']): HistoryOptions => ({
  compression: brotli,
  keepMs: documents.historyMs,
  keepBytes: documents.historyBytes,
  replayBytes: documents.historyReplayBytes,
  diffBytes: documents.historyDiffBytes,
  versions: documents.historyVersions,
})
