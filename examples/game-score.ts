/**
 * A command with a memory: scores of games, kept by a durable actor for each game, so that they survive a restart.
 *
 *   npm start -- --set plugins=dist/programs/game-score.js
 *   {"type":"command","command":"game_score","action":"update","game":"chess","score":1250}
 *   {"type":"command","command":"game_score","game":"chess"}
 */
import { defineActor, defineCommand, definePlugin, TroupeError } from 'troupe'
import { z } from 'zod'

type Message = { readonly type: 'update'; readonly player: string; readonly score: number } | { readonly type: 'scores' }
interface Scored {
  readonly player: string
  readonly score: number
}

const mostScores = 100

const game = defineActor<Map<string, number>, Message, Scored>({
  kind: 'game',
  state: () => new Map(),
  durable: {
    version: 1,
    apply: (scores, { player, score }) => void scores.set(player, score),
    toJson: (scores) => [...scores],
    fromJson: (stored) => new Map(stored as [string, number][]), // what toJson made
  },
  handlers: {
    update(_scores, { player, score }, scope) {
      scope.persist({ player, score })
      return null // sent when the score is on disk
    },
    scores: (scores) =>
      [...scores]
        .map(([player, score]): Scored => ({ player, score }))
        .sort((a, b) => b.score - a.score)
        .slice(0, mostScores),
  },
})

const gameScore = defineCommand({
  name: 'game_score',
  help: 'Get or update game scores. Parameters: action (get, update), game, score.',
  params: z.object({
    action: z.string().default('get'),
    game: z
      .string()
      .max(64)
      .regex(/^[\w .-]+$/),
    score: z.number().optional(),
  }),
  async run({ action, game, score }, session) {
    const { account } = session
    const address = `game/${account.tenant}/${game}`
    if (action === 'get') return { game, scores: await session.ask(address, { type: 'scores' }) }
    if (action !== 'update') throw new TroupeError('command.failed', 'Invalid action')
    if (score === undefined) throw new TroupeError('command.bad_parameters', 'score: a number is needed')
    await session.ask(address, { type: 'update', player: account.user, score })
    return { message: 'Score updated successfully', player: account.user, game, score }
  },
})

export default definePlugin({ name: 'game-score', commands: [gameScore], actors: [game] })
