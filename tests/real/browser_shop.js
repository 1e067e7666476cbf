// Plays session.json with Segment's browser library; the page's query says where to and how:
// ?api=HOST:PORT/hooks/…/v1&key=WRITE_KEY&user=…&anonymous=…&batching=true|false
// Posts what came of it to its own origin: {"ok": true} or {"error": "…"}.
import { AnalyticsBrowser } from '@segment/analytics-next'
import session from './session.json'

const query = new URLSearchParams(location.search)
const writeKey = query.get('key')
const userId = query.get('user')

async function play() {
  const settings = { apiHost: query.get('api'), protocol: 'http' }
  if (query.get('batching') === 'true') {
    settings.deliveryStrategy = { strategy: 'batching', config: { size: 4, timeout: 200 } }
  }
  const cdnSettings = { integrations: { 'Segment.io': { apiKey: writeKey } }, plan: {} }
  const analytics = AnalyticsBrowser.load({ writeKey, cdnSettings }, { integrations: { 'Segment.io': settings } })
  const failures = []
  analytics.on('error', (error) => failures.push(`${error.code}: ${error.reason}`))
  await analytics.setAnonymousId(query.get('anonymous'))
  for (const { call, name, event, groupId, properties, traits } of session) {
    if (call === 'page') await analytics.page(undefined, name, properties)
    if (call === 'track') await analytics.track(event, properties)
    if (call === 'identify') await analytics.identify(userId, traits)
    if (call === 'group') await analytics.group(groupId, traits)
    if (call === 'alias') await analytics.alias(userId, query.get('anonymous'))
  }
  if (failures.length) throw new Error(failures.join('; '))
}

async function foreign() {
  const answer = await fetch(`http://${query.get('api')}/t`, {
    method: 'POST',
    headers: { 'Content-Type': 'text/plain', Authorization: `Basic ${btoa(`${writeKey}:`)}` },
    body: JSON.stringify({ writeKey, event: 'Product Viewed', anonymousId: 'a', properties: { product_id: 'p' } }),
  })
  throw new Error(`the page could read an answer with status ${answer.status}`)
}

async function report(result) {
  await fetch('/done', { method: 'POST', body: JSON.stringify(result) })
}

;(query.has('foreign') ? foreign() : play()).then(
  () => report({ ok: true }),
  (error) => report({ error: String(error) }),
)
