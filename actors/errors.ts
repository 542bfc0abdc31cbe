/**
 * Errors: one type and one table. A code is a word of our domain; doors and HTTP translate it.
 *
 * `retry` says whether the same request may succeed later without a change on the caller's side.
 */

interface ErrorRow {
  /** What happened, for a human. */
  readonly text: string
  /** True when the same request may succeed later, unchanged. */
  readonly retry: boolean
  /** What the caller should do. */
  readonly advice: string
}

const table = {
  'actor.unknown_kind': {
    text: 'no kind of this name is defined',
    retry: false,
    advice: 'Define the kind with defineActor and pass it in `actors`, or correct the address.',
  },
  'actor.bad_address': {
    text: 'the address is not of the form kind/id',
    retry: false,
    advice: 'Use `kind/id`: a lower-case kind, an id of 1 to 255 bytes without control characters.',
  },
  'actor.bad_definition': {
    text: 'the actor definition is contradictory or incomplete',
    retry: false,
    advice: 'Correct the option that the message names.',
  },
  'actor.mailbox_full': {
    text: 'the mailbox of the actor is full',
    retry: true,
    advice: 'Send less, wait for answers, or raise `mailbox.limit` of the kind.',
  },
  'actor.ask_timeout': {
    text: 'the actor did not answer in time',
    retry: true,
    advice: 'Ask again, or give a longer `timeoutMs`. The message may have been handled.',
  },
  'actor.ask_self': {
    text: 'an actor cannot ask itself and wait for the answer',
    retry: false,
    advice: 'Use tell, or call the function directly.',
  },
  'actor.unhandled': {
    text: 'the actor does not handle this message in its present state',
    retry: false,
    advice: 'Check the type of the message and the state of the actor.',
  },
  'actor.failed': {
    text: 'the actor failed while it handled the message',
    retry: false,
    advice: 'See `cause`. The message lies in the dead letters and can be replayed.',
  },
  'actor.stopped': {
    text: 'the actor has stopped',
    retry: false,
    advice: 'It failed more often than its restart intensity allows, or was stopped. Start it again with `troupe.restart(address)`.',
  },
  'system.closed': {
    text: 'the system is closed or closing',
    retry: true,
    advice: 'Connect to the next instance.',
  },
  'journal.conflict': {
    text: 'the journal is not at the expected offset',
    retry: false,
    advice: 'Read the journal again, decide again, append again.',
  },
  'journal.trimmed': {
    text: 'entries that are needed were trimmed',
    retry: false,
    advice: 'Run the version that wrote the snapshot; a journal that was trimmed cannot be folded from its beginning.',
  },
  'journal.corrupt': {
    text: 'part of what is stored is damaged or missing',
    retry: false,
    advice: 'Restore a backup; a document can also be purged or begun anew. Other journals are unaffected.',
  },
  'journal.bad_name': {
    text: 'the journal name is not allowed',
    retry: false,
    advice: 'Use 1 to 512 bytes of well-formed text without control characters.',
  },
  'journal.too_large': {
    text: 'the entry is larger than the limit',
    retry: false,
    advice: 'Send smaller entries, or raise `storage.maxEntryBytes`.',
  },
  'storage.full': {
    text: 'the disk is full; writes are refused until there is space',
    retry: true,
    advice: 'Free disk space. Reads go on; nothing acknowledged is lost.',
  },
  'storage.failed': {
    text: 'the disk refused a write; writes stop until the store is opened again',
    retry: true,
    advice: 'Check the disk. The process restarts and opens the last flushed state.',
  },
  'storage.read_only': {
    text: 'the data directory cannot be written',
    retry: false,
    advice: 'Correct owner and permissions of the data directory.',
  },
  'storage.locked': {
    text: 'another process has this data directory open',
    retry: true,
    advice: 'Stop the other process, or give this one its own `--data`.',
  },
  'storage.newer_format': {
    text: 'the data directory was written by a newer version',
    retry: false,
    advice: 'Run the newer version, or restore a backup made by this one.',
  },
  'storage.corrupt': {
    text: 'the data file is damaged and was not opened',
    retry: false,
    advice: 'Restore the last backup with `troupe restore DIR` (docs/operations.md). The damaged file is kept.',
  },
  'storage.closed': {
    text: 'the store is closed',
    retry: true,
    advice: 'Connect to the next instance.',
  },
  'connection.bad_message': {
    text: 'the client sent something that is not a valid message',
    retry: false,
    advice: 'Correct the client. After some of these the connection is closed for good.',
  },
  'connection.bad_name': {
    text: 'the name of the document is not allowed',
    retry: false,
    advice: 'Use 1 to 255 bytes of well-formed text without control or format characters.',
  },
  'connection.silent': {
    text: 'the client said nothing within the handshake deadline',
    retry: true,
    advice: 'Send the first message within `limits.handshakeMs`.',
  },
  'connection.unresponsive': {
    text: 'the client answered no ping',
    retry: true,
    advice: 'Connect again. Check the network in between if it happens often.',
  },
  'connection.slow': {
    text: 'the client reads more slowly than it is written to',
    retry: true,
    advice: 'Connect again and synchronise; or raise `limits.outboundBytes`.',
  },
  'connection.origin': {
    text: 'pages of this origin may not connect',
    retry: false,
    advice: 'Add the origin to `origins`.',
  },
  'connection.too_many': {
    text: 'the server has as many connections as it may have',
    retry: true,
    advice: 'Connect again later, or raise `limits.connections`.',
  },
  'document.unavailable': {
    text: 'the document cannot be opened',
    retry: true,
    advice: 'Ask or connect again; of a request nothing was done. Should it stay so, the log of the server has the reason.',
  },
  'document.outcome_unknown': {
    text: 'it is not known whether the request was done',
    retry: false,
    advice: 'It may be done already, or be done yet. Repeat it with the same `Idempotency-Key`; without one, look at the document first.',
  },
  'document.key_reused': {
    text: 'another request on this document had this idempotency key',
    retry: false,
    advice: 'Give every request a key of its own; only a repetition has that of another.',
  },
  'document.busy': {
    text: 'the document has more to do than it can take in',
    retry: true,
    advice: 'Connect again later; nothing that you have is lost.',
  },
  'document.unsaved': {
    text: 'too much of the document waits for a disk that refuses it',
    retry: true,
    advice: 'Keep your changes and connect again when the disk is in order.',
  },
  'document.unknown': {
    text: 'there is no such document',
    retry: false,
    advice: 'Check the name, or create the document.',
  },
  'document.exists': {
    text: 'there is a document of this name already',
    retry: false,
    advice: 'Take another name, or use the document that is there.',
  },
  'document.deleted': {
    text: 'the document was deleted',
    retry: false,
    advice: 'Drop the local copy. Whoever may can restore the document, or create a new one of this name.',
  },
  'document.renamed': {
    text: 'the document has another name now',
    retry: false,
    advice: 'Open the document under the name that the detail gives.',
  },
  'document.epoch': {
    text: 'the client has a history of this document that is no more',
    retry: false,
    advice: 'Drop the local copy (and what IndexedDB has of it) and open the document anew; merging both would double its content.',
  },
  'document.invalid': {
    text: 'the change is not allowed in this document',
    retry: false,
    advice: 'Drop the local copy and open the document anew; the change was not stored.',
  },
  'document.changed': {
    text: 'the document is not as the request expects',
    retry: false,
    advice: 'Read it again, and repeat the change on what is there now.',
  },
  'document.misfit': {
    text: 'an operation does not fit what is in the document',
    retry: false,
    advice: 'Correct the operation; the detail says which one, and why.',
  },
  'document.full': {
    text: 'the document has reached its limit of size',
    retry: false,
    advice: 'Delete content, split the document, or raise its quota.',
  },
  'document.no_history': {
    text: 'no history is kept here',
    retry: false,
    advice: 'Switch `documents.history` on. What was changed before is not in it.',
  },
  'document.pruned': {
    text: 'this moment of the document is no longer kept',
    retry: false,
    advice:
      'Ask for a later one; `documents.historyMs` and `documents.historyBytes` say how long they are kept. Give a moment a name to keep it.',
  },
  'document.history_too_large': {
    text: 'too much was changed between these moments to be looked at in one go',
    retry: false,
    advice:
      'Ask for moments that are nearer to each other, or raise `documents.historyReplayBytes` or `documents.historyDiffBytes`, as the detail says.',
  },
  'document.history_unreadable': {
    text: 'the history of this document cannot be looked at',
    retry: false,
    advice: 'The log says why. Ask for other moments; the document itself is not concerned.',
  },
  'document.version_unknown': {
    text: 'the document has no version with this id',
    retry: false,
    advice: 'List the versions of the document.',
  },
  'auth.required': {
    text: 'this needs an account',
    retry: false,
    advice: 'Connect with a token, or send `authenticate` first.',
  },
  'auth.failed': {
    text: 'the credentials are not right',
    retry: false,
    advice: 'Check user name, password or token; the detail says which check failed.',
  },
  'auth.expired': {
    text: 'the token has expired',
    retry: false,
    advice: 'Get a new token and connect again.',
  },
  'auth.revoked': {
    text: 'the account or token was revoked',
    retry: false,
    advice: 'Ask whoever runs the server.',
  },
  'auth.unavailable': {
    text: 'whoever checks credentials cannot be reached',
    retry: true,
    advice: 'Try again; see the log of the server for the reason.',
  },
  'auth.too_many_revocations': {
    text: 'as many revocations are kept as may be',
    retry: false,
    advice: 'Revoke users instead of single tokens, or change the key that tokens are signed with.',
  },
  'access.denied': {
    text: 'the account may not do this',
    retry: false,
    advice: 'The rule names the permission that forbids it, or the one that would allow it.',
  },
  'rate.limited': {
    text: 'too many requests',
    retry: true,
    advice: 'Wait as long as the answer says, then go on more slowly.',
  },
  'message.malformed': {
    text: 'this is not a message of the protocol',
    retry: false,
    advice: 'Correct the client; the detail says what is wrong.',
  },
  'message.too_large': {
    text: 'the message is larger than the limit',
    retry: false,
    advice: 'Send less in one message, or raise the limit that the detail names.',
  },
  'message.id_reused': {
    text: 'another message was published under this id',
    retry: false,
    advice: 'Give every message an id of its own; only a retry repeats one.',
  },
  'message.invalid': {
    text: 'the content does not fit its message type',
    retry: false,
    advice: 'Correct the content; the detail says what is wrong.',
  },
  'hook.rejected': {
    text: 'the application refused this',
    retry: false,
    advice: 'See the detail.',
  },
  'command.unknown': {
    text: 'there is no such command',
    retry: false,
    advice: 'The command `help` lists them.',
  },
  'command.bad_parameters': {
    text: 'the parameters of the command are not right',
    retry: false,
    advice: 'Correct the parameter that the detail names.',
  },
  'command.failed': {
    text: 'the command failed',
    retry: false,
    advice: 'See the detail, or the log of the server.',
  },
  'channel.unknown': {
    text: 'there is no such channel',
    retry: false,
    advice: 'Create it first, or correct the name.',
  },
  'channel.exists': {
    text: 'there is a channel of this name',
    retry: false,
    advice: 'Join it, or choose another name.',
  },
  'channel.bad_name': {
    text: 'the name cannot be that of a channel',
    retry: false,
    advice: 'Use 1 to 255 bytes of well-formed text without control characters, not beginning with `~` or `$`.',
  },
  'channel.not_joined': {
    text: 'the client is not in the channel',
    retry: false,
    advice: 'Join it first.',
  },
  'channel.closed': {
    text: 'the channel was deleted or has expired',
    retry: false,
    advice: 'Join again if it is to be made anew.',
  },
  'channel.too_many': {
    text: 'the client is in as many channels as it may be',
    retry: false,
    advice: 'Leave one, or raise `bus.channelsPerClient`.',
  },
  'channel.unavailable': {
    text: 'the channel cannot be reached at the moment',
    retry: true,
    advice: 'Try again; see the log of the server for the reason.',
  },
  'http.not_found': {
    text: 'there is nothing at this path',
    retry: false,
    advice: 'Correct the path or the method; docs/reference/http.md lists them.',
  },
  'http.method_not_allowed': {
    text: 'this path does not take this method',
    retry: false,
    advice: 'The header `Allow` names those that it takes.',
  },
  'http.bad_request': {
    text: 'the request is not right',
    retry: false,
    advice: 'Correct what the detail names.',
  },
  'http.head_too_large': {
    text: 'path and headers of the request are too long',
    retry: false,
    advice: 'Send fewer or shorter headers, and what is long in the body. All of them together may have 8 KiB.',
  },
  'http.too_slow': {
    text: 'the request did not arrive in time',
    retry: true,
    advice: 'Send it again, over a connection that carries it within 15 seconds.',
  },
  'http.unsupported_type': {
    text: 'the body is of a type that is not understood',
    retry: false,
    advice: 'Send JSON, and say so: `content-type: application/json`; not compressed. Yjs updates are `application/octet-stream`.',
  },
  'http.failed': {
    text: 'the request failed',
    retry: true,
    advice: 'See the log of the server.',
  },
  'config.invalid': {
    text: 'the configuration is not valid',
    retry: false,
    advice: 'Correct the option that the message names.',
  },
} as const satisfies Record<string, ErrorRow>

export type ErrorCode = keyof typeof table

/** Every code with its text, whether to retry, and the advice; the reference docs are checked against it. */
export const errorTable: Readonly<Record<ErrorCode, ErrorRow>> = table

/** The only error type that leaves Troupe. `code` is stable; `message` is for people. */
export class TroupeError extends Error {
  readonly code: ErrorCode
  readonly retry: boolean
  /** What the caller of the constructor said beyond the text of the table. */
  readonly detail: string
  /** The permission, limit or hook that decided, where there is one. */
  readonly rule: string | undefined
  readonly retryAfterMs: number | undefined

  constructor(code: ErrorCode, detail?: string, options?: { cause?: unknown; rule?: string; retryAfterMs?: number }) {
    super(detail === undefined ? table[code].text : `${table[code].text}: ${detail}`, options)
    this.name = 'TroupeError'
    this.code = code
    this.retry = table[code].retry
    this.detail = detail ?? ''
    this.rule = options?.rule
    this.retryAfterMs = options?.retryAfterMs
  }
}

export const isTroupeError = (error: unknown, code?: ErrorCode): error is TroupeError =>
  error instanceof TroupeError && (code === undefined || error.code === code)
