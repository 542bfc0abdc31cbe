/** What presence costs, in all documents together: numbers that only grow, added to where it happens and read when somebody looks. */
export interface PresenceCounts {
  /** Messages of clients. */
  received: number
  /** Of these, those that came too fast and were overtaken by a later one of the same client. */
  dropped: number
  /** States in the others that nobody had heard of, and those that came back or were out of date. */
  news: number
  known: number
  /** News that were overtaken by a later state of the same client before they were told. */
  collapsed: number
  /** Windows that were told, each as one message, and to how many readers. */
  windows: number
  sent: number
}

export const presenceCounts = (): PresenceCounts => ({ received: 0, dropped: 0, news: 0, known: 0, collapsed: 0, windows: 0, sent: 0 })
