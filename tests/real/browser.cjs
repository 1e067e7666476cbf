// A real browser, led by lines of JSON on stdin: each command is answered by one line on stdout. See browser.py.
"use strict";

const readline = require("node:readline");
const axe = require("axe-core");
const { chromium } = require("playwright-core");

const SECONDS = 1000;
// a page that is pretended to be out in the world frames one on this machine, which a browser asks its user about
const ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-features=LocalNetworkAccessChecks"];
const seen = { trouble: [] };

async function open({ executable, width, height, scheme }) {
  seen.browser ??= await chromium.launch({ executablePath: executable, args: ARGUMENTS });
  await seen.context?.close();
  seen.trouble = [];
  seen.context = await seen.browser.newContext({ viewport: { width, height }, colorScheme: scheme });
  seen.page = await seen.context.newPage();
  seen.page.setDefaultTimeout(30 * SECONDS);
  // console errors include what the content security policy refused
  seen.page.on("console", (line) => {
    if (["error", "warning"].includes(line.type())) seen.trouble.push(line.text());
  });
  seen.page.on("pageerror", (error) => seen.trouble.push(String(error)));
}

const commands = {
  open,
  go: async ({ url }) => (await seen.page.goto(url)).status(),
  address: async () => seen.page.url(),
  // what a host that is not there would answer; the page has that host's origin
  pretend: async ({ url, body }) => void (await seen.page.route(url, (route) => route.fulfill({ contentType: "text/html", body }))),
  click: async ({ selector }) => void (await seen.page.click(selector)),
  press: async ({ key }) => void (await seen.page.keyboard.press(key)),
  wait: async ({ selector, frame }) => void (await inside(frame).locator(selector).first().waitFor({ state: "attached" })),
  text: async ({ selector, frame }) => inside(frame).locator(selector).first().innerText(),
  count: async ({ selector }) => seen.page.locator(selector).count(),
  title: async () => seen.page.title(),
  shot: async ({ path }) => void (await seen.page.screenshot({ path, fullPage: true })),
  trouble: async () => seen.trouble.splice(0),
  evaluate: async ({ script }) => seen.page.evaluate(script),
  axe: async () => {
    await seen.page.evaluate(axe.source);
    const found = await seen.page.evaluate(() => globalThis.axe.run());
    return [...found.violations, ...found.incomplete].map((one) => `${one.id}: ${one.nodes[0].html} ${one.nodes[0].failureSummary}`);
  },
};

function inside(frame) {
  return frame ? seen.page.frameLocator(frame) : seen.page;
}

(async () => {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const { command, ...given } = JSON.parse(line);
    let answer;
    try {
      answer = { value: (await commands[command](given)) ?? null };
    } catch (error) {
      answer = { error: String(error) };
    }
    process.stdout.write(`${JSON.stringify(answer)}\n`);
  }
  await seen.browser?.close();
})();
