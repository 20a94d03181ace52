// follow.mjs looks at the status page with a real browser and prints a line of JSON for each condition of the first
// backend that comes to be seen: {"condition": "open", "at": milliseconds since 1970}. It ends when its input does.
// usage: node follow.mjs TOOLS CHROMIUM URL
import { createRequire } from "node:module";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const [tools, executablePath, url] = process.argv.slice(2);
const { chromium } = createRequire(join(tools, "/"))("playwright-core");
const profile = mkdtempSync(join(tmpdir(), "spillway-follow-"));
const context = await chromium.launchPersistentContext(profile, {
  executablePath, headless: true, args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});
const tab = await context.newPage();
await tab.exposeFunction("seen", (condition, at) => console.log(JSON.stringify({ condition, at })));
await tab.goto(url);
await tab.waitForFunction(() => document.documentElement.classList.contains("scripted"));
await tab.evaluate(() => {
  let last;
  const look = () => {
    const now = document.querySelector("#pools tr[data-key][data-condition]")?.dataset.condition;
    if (now !== undefined && now !== last) globalThis.seen((last = now), Date.now());
  };
  new MutationObserver(look).observe(document.documentElement, { subtree: true, childList: true, attributes: true });
  look();
});
process.stdin.resume();
await new Promise((done) => process.stdin.on("end", done));
await context.close();
rmSync(profile, { recursive: true, force: true });
