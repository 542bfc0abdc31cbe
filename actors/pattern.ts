/** Patterns of names: `*` stands for any run of characters, slashes too; everything else stands for itself. */
export interface Pattern {
  test(name: string): boolean
}

const anything: Pattern = { test: () => true }

/**
 * The parts between the stars must come one after the other. Each is looked for once, from left to right: a regular
 * expression would try `a*a*a*a*b` in every combination, for minutes.
 */
export const pattern = (text: string): Pattern => {
  const [first = '', ...others] = text.split('*')
  const last = others.pop()
  if (last === undefined) return { test: (name) => name === text }
  const inner = others.filter((part) => part !== '')
  if (first === '' && last === '' && inner.length === 0) return anything
  const test = (name: string): boolean => {
    const end = name.length - last.length
    if (end < first.length || !name.startsWith(first) || !name.endsWith(last)) return false
    let at = first.length
    for (const part of inner) {
      const found = name.indexOf(part, at)
      if (found < 0 || found + part.length > end) return false
      at = found + part.length
    }
    return true
  }
  return { test }
}
