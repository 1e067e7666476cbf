// Runs the bundled web pixel as Shopify's strict sandbox does: a global scope of a worker, without window and document.
// https://shopify.dev/docs/apps/build/marketing-analytics/pixels#app-pixels
// Reads {bundle, settings, init, answers, steps} from standard input, writes {posts, names, surprises}.
// Steps: {publish: event} · {consent: privacy} · {wait: ms}. Answers: a status or "lost" for each request, then 204.
const fs = require('node:fs')
const vm = require('node:vm')

const task = JSON.parse(fs.readFileSync(0, 'utf8'))
const posts = []
const surprises = []
const listeners = new Map()
const consents = []
let timers = []
let now = 0

process.on('unhandledRejection', (error) => surprises.push(String(error)))

function fetch(url, { body, ...options }) {
  const answer = task.answers.shift() ?? 204
  posts.push({ url: String(url), at: now, answer, options, body })
  return answer === 'lost' ? Promise.reject(new TypeError('Failed to fetch')) : Promise.resolve({ status: answer, ok: answer < 300 })
}

function setTimeout(callback, ms) {
  timers.push({ callback, due: now + ms })
}

const scope = { URL, URLSearchParams, fetch, setTimeout }
scope.self = scope
const context = vm.createContext(scope, { codeGeneration: { strings: false, wasm: false } })
const inside = (value) => vm.runInContext('JSON.parse', context)(JSON.stringify(value ?? null))

scope.shopify = {
  extend(point, start) {
    if (point !== 'WebPixel::Render') throw new Error(`unknown extension point ${point}`)
    start({
      settings: inside(task.settings),
      init: inside(task.init),
      browser: {},
      _pixelInfo: {},
      analytics: {
        subscribe(name, callback) {
          listeners.set(name, callback)
          return () => listeners.delete(name)
        },
      },
      customerPrivacy: {
        subscribe(name, callback) {
          if (name !== 'visitorConsentCollected') throw new Error(`unknown event ${name}`)
          consents.push(callback)
          return () => true
        },
      },
    })
  },
}

const settled = () => new Promise((resolve) => setImmediate(resolve))

// What the pixel raises is Shopify's to log, not ours to miss.
function call(callback, value) {
  try {
    callback?.(inside(value))
  } catch (error) {
    surprises.push(String(error))
  }
}

async function wait(ms) {
  const until = now + ms
  for (;;) {
    await settled()
    const next = timers.filter(({ due }) => due <= until).sort((a, b) => a.due - b.due)[0]
    if (!next) break
    timers = timers.filter((timer) => timer !== next)
    now = next.due
    next.callback()
  }
  now = until
}

async function play() {
  vm.runInContext(fs.readFileSync(task.bundle, 'utf8'), context)
  for (const step of task.steps) {
    if ('publish' in step) call(listeners.get(step.publish?.name), step.publish)
    if ('consent' in step) for (const callback of consents) call(callback, { customerPrivacy: step.consent })
    if ('wait' in step) await wait(step.wait)
    await settled()
  }
  process.stdout.write(JSON.stringify({ posts, names: [...listeners.keys()], surprises }))
}

play()
