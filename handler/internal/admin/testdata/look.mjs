// look.mjs visits the status page with a browser, in every scenario that the Go test serves, and prints the faults as
// JSON: {"looked": {...}, "problems": [...]}.
// usage: node look.mjs TOOLS CHROMIUM SHOTS SCENES-JSON      SHOTS "" takes no screenshots
import { createRequire } from "node:module";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const [tools, executablePath, shots, json] = process.argv.slice(2);
const require = createRequire(join(tools, "/"));
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const scenes = JSON.parse(json);
const looked = {};
const problems = [];

const profile = mkdtempSync(join(tmpdir(), "spillway-look-"));
const context = await chromium.launchPersistentContext(profile, {
  executablePath, headless: true, bypassCSP: false, viewport: { width: 1280, height: 900 }, serviceWorkers: "block", locale: "en-GB", timezoneId: "UTC",
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});

context.setDefaultTimeout(120_000); // a busy machine is slow, and no page is judged by that

// open visits one scenario in a page of its own, and reports what must not happen.
async function open(scene, options, look) {
  const tab = await context.newPage();
  const count = (looked[scene] = { requests: 0, axe: 0, bytes: 0 });
  const wrong = (what) => problems.push(scene + ": " + what);
  const origin = new URL(options.url).origin;
  tab.on("console", (m) => { if (m.type() === "error" && !(options.expected && m.text().includes(" " + options.expected + " "))) wrong("console: " + m.text()); });
  tab.on("pageerror", (e) => wrong("script: " + e.message));
  tab.on("dialog", (d) => { wrong("a dialog opened: " + d.message()); d.dismiss(); });
  tab.on("request", (r) => { count.requests++; if (!r.url().startsWith(origin + "/ops/") && !r.url().startsWith("blob:" + origin)) wrong("request to another address: " + r.url()); });
  await tab.addInitScript(() => document.addEventListener("securitypolicyviolation", (e) => console.error("policy: " + e.violatedDirective + " " + e.blockedURI)));
  await tab.setViewportSize({ width: options.width || 1280, height: options.height || 900 });
  await tab.emulateMedia({ colorScheme: options.dark ? "dark" : "light" });
  try {
    await tab.goto(options.url);
    await look(tab, wrong, count);
    await judge(tab, wrong, count);
    if (shots) await tab.screenshot({ path: join(shots, scene + ".png"), fullPage: true });
    if (shots && options.width < 500) await tab.screenshot({ path: join(shots, scene + "-top.png") });
  } catch (error) {
    wrong("stopped: " + error.message.split("\n")[0]);
  }
  await tab.close();
}

// judge runs axe in the debugger's isolated world, to which the page's policy does not apply.
async function judge(tab, wrong, count) {
  await tab.evaluate(axe);
  const result = await tab.evaluate(() => globalThis.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] }));
  count.axe = result.passes.length;
  for (const v of result.violations) wrong("axe " + v.id + ": " + v.nodes.map((n) => n.target.join(" ")).slice(0, 3).join(" | ") + " " + (v.nodes[0].any[0]?.message || v.help));
  const wide = await tab.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  if (wide > 0) wrong("the page scrolls sideways by " + wide + " px");
}

const live = (tab) => tab.waitForFunction(() => document.documentElement.classList.contains("scripted") && document.querySelectorAll("#pools tr[data-key]").length > 0);
const says = (tab, selector) => tab.locator(selector).first().innerText();

// polled waits for one more answer of the API, so that what is seen was written by the script.
const polled = (tab) => tab.waitForResponse((r) => r.url().includes("/ops/api/status") && r.ok());

async function view([scene, dark, width]) {
  const name = scene + (dark ? "-dark" : "") + (width ? "-phone" : "");
  await open(name, { url: scenes[scene] + "/ops/", dark, width, height: width ? 844 : 900 }, async (tab, wrong) => {
    await live(tab);
    await polled(tab);
    const standing = await tab.locator("#pools section.pool").first().getAttribute("data-standing");
    const want = { healthy: "healthy", spilling: "spilling", open: "reduced", down: "down", fifty: "reduced", outage: "spilling", memory: "healthy", hostile: "down" }[scene];
    if (standing !== want) wrong("the first pool is " + standing + ", want " + want);
    if (scene === "outage" && !(await says(tab, "#table-notice")).includes("unreachable")) wrong("the page does not show that the table is unreachable");
    if (scene === "fifty" && (await tab.locator("#pools tr[data-key]").count()) !== 50) wrong("not 50 rows");
    if (scene === "healthy") await tab.waitForSelector("#plot svg rect");
    if (scene === "hostile") {
      if (await tab.evaluate(() => document.querySelectorAll("#pools img, #pools iframe, #pools script, [onerror], [onload]").length)) wrong("a name became markup");
      if ((await tab.locator("body").innerText()).includes("\u202e")) wrong("a name turns the direction of what follows");
      await tab.fill("#find-id", "<img src=x onerror=alert(1)>");
      await tab.press("#find-id", "Enter");
      await tab.waitForSelector("#found ol.why");
      await tab.waitForSelector("#plot svg rect");
    }
    if (scene === "down") {
      await tab.fill("#find-id", "req_nobody");
      await tab.press("#find-id", "Enter");
      await tab.waitForSelector("#found ol.why");
      if (!(await says(tab, "#found")).includes("No backend was left to try")) wrong("the look-up does not explain the request");
    }
  });
}

// Without scripts, the rendered page has the data.
const plain = await (await fetch(scenes.spilling + "/ops/", { headers: { accept: "text/html" } })).text();
if (!plain.includes("ptu-uksouth") || !plain.includes("spilling")) problems.push("plain: the rendered page has no data");

// By keyboard alone: to the first drain button, through the dialog, and back.
const keyboard = () => open("keyboard", { url: scenes.keyboard + "/ops/" }, async (tab, wrong) => {
  await live(tab);
  await polled(tab);
  const focused = () => tab.evaluate(() => document.activeElement.getAttribute("aria-label") || document.activeElement.id || document.activeElement.textContent);
  for (let i = 0; i < 40 && (await focused()) !== "Drain ptu-uksouth for gpt-4o"; i++) await tab.keyboard.press("Tab");
  await tab.keyboard.press("Enter");
  await tab.waitForSelector("#confirm[open]");
  await judge(tab, wrong, looked.keyboard);
  if (shots) await tab.screenshot({ path: join(shots, "dialog.png") });
  if ((await focused()) !== "confirm-no") wrong("the dialog begins on " + (await focused()));
  await tab.keyboard.press("Escape");
  if ((await focused()) !== "Drain ptu-uksouth for gpt-4o") wrong("after Escape the focus is on " + (await focused()));
  await tab.keyboard.press("Enter");
  await tab.keyboard.press("Tab");
  if ((await focused()) !== "confirm-yes") wrong("after Cancel comes " + (await focused()));
  await tab.keyboard.press("Enter");
  await tab.waitForSelector('#pools tr[data-condition="drained"]');
  await tab.waitForFunction(() => document.getElementById("announce").textContent.includes("drain"));
  if ((await focused()) !== "Restore ptu-uksouth for gpt-4o") wrong("after the action the focus is on " + (await focused()));
});

// Behind the key: a form, a wrong key, the right one, a reload of the tab, and out.
const signin = () => open("signin", { url: scenes.locked + "/ops/", expected: 401, width: 1280 }, async (tab, wrong) => {
  if (await tab.locator("#status").isVisible()) wrong("the status is to be seen without a key");
  await judge(tab, wrong, looked.signin);
  if (shots) await tab.screenshot({ path: join(shots, "signin-form.png") });
  await tab.fill("#who", "Ana Óðinn");
  await tab.fill("#key", "wrong-key-wrong-key");
  await tab.press("#key", "Enter");
  await tab.waitForFunction(() => document.getElementById("key-problem").textContent.includes("not accepted"));
  await tab.fill("#key", scenes.key);
  await tab.press("#key", "Enter");
  await live(tab);
  await tab.reload();
  await live(tab);
  if (tab.url().includes(scenes.key)) wrong("the key is in the URL");
  if ((await context.cookies()).length) wrong("a cookie was set");
  const other = await context.newPage();
  await other.goto(scenes.locked + "/ops/");
  if (await other.locator("#status").isVisible()) wrong("another tab is signed in");
  await other.close();
  await tab.locator("#pools button[data-verb=drain]").first().click();
  await tab.locator("#scope-name").click();
  await tab.click("#confirm-yes");
  await tab.waitForSelector('#pools tr[data-condition="drained"]');
  await tab.click("#out");
  await tab.waitForSelector("#signin:not([hidden])");
  if ((await tab.content()).includes("ptu-uksouth")) wrong("the data is there after signing out");
  if (await tab.evaluate(() => sessionStorage.length)) wrong("the key is there after signing out");
});

// Two instances behind one address: the page adds up their traffic, and finds a request of either.
const two = () => open("two", { url: scenes.two + "/ops/", expected: 404 }, async (tab, wrong) => {
  await live(tab);
  await tab.waitForFunction(() => document.getElementById("answered").textContent.includes("2 instances"));
  await tab.waitForFunction(() => document.querySelector('#pools td[data-f="requests"]').textContent === "30");
  for (const id of ["req_of-a", "req_of-b"]) {
    await tab.fill("#find-id", id);
    await tab.press("#find-id", "Enter");
    await tab.waitForFunction((want) => document.querySelector("#found b")?.textContent === want, id);
  }
});

// A change made elsewhere is shown within one poll: of those that begin after it, the first shows it. A second may have
// begun before it is drawn.
const change = () => open("change", { url: scenes.change + "/ops/" }, async (tab, wrong) => {
  await live(tab);
  await polled(tab);
  const seen = await tab.evaluate(async (act) => {
    await fetch(act, { method: "POST", headers: { "x-spillway-operator": "colleague" } });
    const began = performance.now();
    while (!document.querySelector('#pools tr[data-condition="drained"]')) await new Promise((r) => setTimeout(r, 10));
    const polls = performance.getEntriesByType("resource").filter((e) => e.name.includes("/ops/api/status") && e.startTime >= began);
    return { polls: polls.length, took: performance.now() - began };
  }, "/ops/api/backends/payg-sweden/drain");
  looked.change.followedMs = Math.round(seen.took);
  if (seen.polls > 2) wrong("the page followed after " + seen.polls + " polls");
});

// Several at a time: much of the time is waiting for the next poll. The longest begin first.
const views = [["fifty"], ["hostile"], ["fifty", false, 390], ["hostile", false, 390], ["healthy"], ["spilling"], ["open"], ["down"], ["outage"], ["memory"], ["spilling", true], ["open", false, 390], ["open", true, 390]];
const looks = [signin, keyboard, two, change, ...views.map((v) => () => view(v))];
const lanes = Array.from({ length: 4 }, async () => { for (let next; (next = looks.shift()); ) await next(); });
await Promise.all(lanes);

await context.close();
rmSync(profile, { recursive: true, force: true });
console.log(JSON.stringify({ looked, problems }));
