// Plays session.json with Segment's server library: node node_shop.cjs HOST PATH WRITE_KEY USER ANONYMOUS
// Ends with 0 only if the library says that every event was delivered.
const { Analytics } = require('@segment/analytics-node')
const session = require('./session.json')

const [host, path, writeKey, userId, anonymousId] = process.argv.slice(2)

async function main() {
  const analytics = new Analytics({ writeKey, host, path, flushAt: 4, flushInterval: 100 })
  const failures = []
  analytics.on('error', ({ code, reason }) => failures.push(`${code}: ${reason}`))
  const sent = session.map(
    ({ call, ...fields }) =>
      new Promise((resolve) => {
        const message = { userId, anonymousId, ...fields }
        if (call === 'alias') Object.assign(message, { previousId: anonymousId })
        analytics[call](message, (error) => resolve(error && String(error)))
      }),
  )
  await analytics.closeAndFlush({ timeout: 20000 })
  failures.push(...(await Promise.all(sent)).filter(Boolean))
  if (failures.length) throw new Error([...new Set(failures)].join('; '))
}

main().catch((error) => {
  console.error(error)
  process.exit(1)
})
