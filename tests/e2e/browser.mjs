// SPDX-License-Identifier: GPL-2.0-or-later
// A headless Chromium that tests command by lines of JSON: {"do": name, ...} in, {"ok": value} or
// {"error": words} out. Selectors and waiting are Playwright's.
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const require = createRequire(new URL("../../ui/package.json", import.meta.url));
const { chromium } = require("playwright-core");
const axe = require("axe-core");

const PATIENCE_MS = 30000;
const POLL_MS = 20;
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  headless: true,
  args: [
    "--no-sandbox", // tests run as root in namespaces, where Chromium's own sandbox cannot start
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
  ],
});

const plain = (s) => s.replaceAll("\u00a0", " ");

let page;
let complaints = [];

const commands = {
  async open({ url, width = 1100, height = 900, scheme = "light", locale = "en-GB" }) {
    await page?.context().close();
    complaints = [];
    const context = await browser.newContext({ viewport: { width, height }, colorScheme: scheme, locale });
    page = await context.newPage();
    page.setDefaultTimeout(PATIENCE_MS);
    page.on("console", (m) => complaints.push(`${m.type()}: ${m.text()}`));
    page.on("pageerror", (e) => complaints.push(`error: ${e.message}`));
    await page.goto(url);
  },
  goto: ({ url }) => page.goto(url).then(() => null),
  reload: () => page.reload().then(() => null),
  click: ({ at }) => page.click(at),
  press: ({ key }) => page.keyboard.press(key),
  type: ({ text }) => page.keyboard.type(text),
  fill: ({ at, text }) => page.fill(at, text),
  select: ({ at, value }) => page.selectOption(at, value).then(() => null),
  wait: ({ at, state = "visible" }) => page.waitForSelector(at, { state }).then(() => null),
  text: async ({ at }) => plain(await page.innerText(at)),
  texts: async ({ at }) => (await page.locator(at).allInnerTexts()).map(plain),
  attribute: ({ at, name }) => page.getAttribute(at, name),
  count: ({ at }) => page.locator(at).count(),
  eval: ({ js }) => page.evaluate(js),
  // Until a JavaScript expression is true; how long it took. Asked from outside: the page's own policy
  // forbids to evaluate text inside it.
  async until({ js, ms = PATIENCE_MS }) {
    const start = Date.now();
    for (;;) {
      const value = await page.evaluate(js).catch(() => false); // between two documents
      const took = Date.now() - start;
      if (value) return took;
      if (took > ms) throw new Error(`not within ${ms} ms: ${js}\n${await page.innerText("body")}`);
      await new Promise((r) => setTimeout(r, POLL_MS));
    }
  },
  async axe() {
    await page.evaluate(axe.source);
    const r = await page.evaluate(() => globalThis.axe.run());
    return {
      passes: r.passes.length,
      violations: r.violations.map((v) => `${v.id}: ${v.help}: ${v.nodes.map((n) => n.html).join(" ")}`),
    };
  },
  shot: ({ path }) => page.screenshot({ path, fullPage: true }).then(() => null),
  complaints: () => complaints,
};

console.log(JSON.stringify({ ok: "ready" }));
for await (const line of createInterface({ input: process.stdin })) {
  const order = JSON.parse(line);
  try {
    console.log(JSON.stringify({ ok: (await commands[order.do](order)) ?? null }));
  } catch (e) {
    console.log(JSON.stringify({ error: String(e.message ?? e) }));
  }
}
await browser.close();
