/** Where the checks take their authority from. */
export const sources = {
  protocol: 'https://github.com/yjs/y-protocols/blob/master/PROTOCOL.md',
  awareness: 'https://github.com/yjs/y-protocols/blob/master/awareness.js',
  yWebsocket: 'https://github.com/yjs/y-websocket/blob/master/src/y-websocket.js',
  provider: 'https://github.com/ueberdosis/hocuspocus/tree/main/packages/provider/src',
  rfc6455: 'https://www.rfc-editor.org/rfc/rfc6455',
  issue: (repository: string, number: number): string => `https://github.com/${repository}/issues/${number}`,
} as const
