// Stands for Shopify's pixel manager in a worker of a real browser; SETTINGS and INIT are put before it, the bundle after.
// Tells the page the status of each request of the pixel.
const listeners = {}
const browserFetch = self.fetch

self.fetch = async (...request) => {
  try {
    const answer = await browserFetch(...request)
    self.postMessage(answer.status)
    return answer
  } catch (error) {
    self.postMessage(String(error))
    throw error
  }
}

self.shopify = {
  extend(_point, start) {
    start({
      settings: SETTINGS,
      init: INIT,
      browser: {},
      analytics: { subscribe: (name, callback) => (listeners[name] = callback) },
      customerPrivacy: { subscribe: () => true },
    })
  },
}

self.onmessage = ({ data }) => {
  for (const event of data) listeners[event.name](event)
}
