// A page with Miso's browser library; its query says where to and with which key: ?api=URL&key=…&user=…
// Posts what came of it to its own origin: {"ok": true} or {"error": "…"}.
import MisoClient from '@miso.ai/client-sdk'

const query = new URLSearchParams(location.search)

async function play() {
  const client = new MisoClient({ apiKey: query.get('key'), apiHost: query.get('api') })
  client.context.user_id = query.get('user')
  await client.api.interactions.upload({ type: 'product_detail_page_view', product_ids: ['lamp-1'] })
  await client.api.interactions.upload([
    { type: 'search', search: { keywords: 'red lamp' } },
    { type: 'add_to_cart', product_ids: ['lamp-1'], quantities: [2] },
  ])
  // the same again is a second view: the library gives neither a time nor an id
  await client.api.interactions.upload({ type: 'product_detail_page_view', product_ids: ['lamp-1'] })
}

async function report(result) {
  await fetch('/done', { method: 'POST', body: JSON.stringify(result) })
}

play().then(
  () => report({ ok: true }),
  (error) => report({ error: error.message, status: error.status }),
)
