/**
 * Who a presence says it is. Editors show `user` of the state, an object that the client wrote; where the server knows who the
 * client is, it puts the name of the account there as `id`, whatever the client had in its place.
 *
 * Promises: stamping twice is stamping once, byte for byte, also after a client has parsed the text and written it again. A stock
 * client takes over the state that it gets back of itself and sends it on, so with any other text both sides would go on for ever.
 */
const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/**
 * The state (a JSON text) with `user.id`; `id` undefined: nobody knows who this is, and it cannot claim to be somebody. A state that is
 * no object has no `user`, and stays as it is.
 */
export const stampIdentity = (state: string, id: string | undefined): string => {
  const value: unknown = JSON.parse(state)
  if (!isObject(value)) return state
  const { user } = value
  if (id !== undefined) return JSON.stringify({ ...value, user: { ...(isObject(user) ? user : {}), id } })
  if (!isObject(user) || !Object.hasOwn(user, 'id')) return state
  const { id: _claimed, ...rest } = user
  return JSON.stringify({ ...value, user: rest })
}
