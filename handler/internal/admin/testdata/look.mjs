// look.mjs visits the status page with a browser. It loads the page once, and has the server switch from scenario to
// scenario under it. It prints the faults as JSON: {"looked": {...}, "measured": {...}, "problems": [...]}.
// usage: node look.mjs TOOLS CHROMIUM SHOTS ADDRESSES-JSON      SHOTS "" takes no screenshots
import { createRequire } from "node:module";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const [tools, executablePath, shots, json] = process.argv.slice(2);
const require = createRequire(join(tools, "/"));
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const address = JSON.parse(json);
const looked = {}, measured = {}, problems = [];

const profile = mkdtempSync(join(tmpdir(), "spillway-look-"));
const context = await chromium.launchPersistentContext(profile, {
  executablePath, headless: true, bypassCSP: false, viewport: { width: 1280, height: 900 }, serviceWorkers: "block", locale: "en-GB", timezoneId: "UTC",
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});
context.setDefaultTimeout(120_000); // a busy machine is slow, and no page is judged by that

let scene = "";
const wrong = (what) => problems.push(scene + ": " + what);

// open is a tab that reports what must not happen. It may get answers of the expected status.
async function open(url, expected) {
  const tab = await context.newPage();
  const { origin } = new URL(url);
  tab.on("console", (m) => { if (m.type() === "error" && !(expected && m.text().includes(" " + expected + " "))) wrong("console: " + m.text()); });
  tab.on("pageerror", (e) => wrong("script: " + e.message));
  tab.on("dialog", (d) => { wrong("a dialog opened: " + d.message()); d.dismiss(); });
  tab.on("request", (r) => { if (!r.url().startsWith(origin + "/ops/") && !r.url().startsWith("blob:" + origin)) wrong("request to another address: " + r.url()); });
  await tab.addInitScript(() => document.addEventListener("securitypolicyviolation", (e) => console.error("policy: " + e.violatedDirective + " " + e.blockedURI)));
  await tab.goto(url + "/ops/");
  await tab.evaluate(axe); // in the debugger's isolated world, to which the page's policy does not apply
  return tab;
}

// judge runs axe, and looks whether the page scrolls sideways.
async function judge(tab, name) {
  const result = await tab.evaluate(() => globalThis.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] }));
  looked[name] = { axe: result.passes.length };
  for (const v of result.violations) wrong(name + ": axe " + v.id + ": " + v.nodes.map((n) => n.target.join(" ")).slice(0, 3).join(" | ") + " " + (v.nodes[0].any[0]?.message || v.help));
  const wide = await tab.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  if (wide > 0) wrong(name + ": the page scrolls sideways by " + wide + " px");
}

// shoot takes the page as it is, and what is seen of it without scrolling.
async function shoot(tab, name) {
  if (!shots) return;
  await tab.screenshot({ path: join(shots, name + ".png"), fullPage: true });
  if (tab.viewportSize().width < 500) await tab.screenshot({ path: join(shots, name + "-top.png") });
}

// show switches to a scenario, and waits until the page shows its status and its last hours.
async function show(tab, name) {
  scene = name;
  await (await fetch(address.open + "/scene/" + name)).text();
  const answers = ["/ops/api/status", "/ops/api/history"].map((path) => tab.waitForResponse((r) => r.url().includes(path) && r.ok() && r.headers()["x-scene"] === name));
  await tab.evaluate(() => {
    document.dispatchEvent(new Event("visibilitychange")); // the page asks at once
    document.getElementById("history-model").dispatchEvent(new Event("change"));
  });
  for (const answer of await Promise.all(answers)) await answer.finished();
  await tab.evaluate(() => new Promise((done) => requestAnimationFrame(() => setTimeout(done))));
}

const says = (tab, selector) => tab.locator(selector).first().innerText();
const screens = (tab) => tab.evaluate(() => Math.round((10 * document.documentElement.scrollHeight) / innerHeight) / 10);
const unfold = (tab) => tab.evaluate(() => { const d = document.querySelector("#pools details"); if (!d.open) d.firstElementChild.click(); });

// What each scenario must show: the headline, the state of the first model, and more.
const scenes = {
  healthy: ["All 2 models are served normally", "ok"],
  spilling: ["gpt-4o spills over", "spilling over"],
  open: ["text-embedding-3-large spills over; gpt-4o is degraded", "spilling over"],
  throttled: ["gpt-4o is throttled on every backend", "throttled"],
  budget: ["team-a (96\u00a0%) is near a month's limit", "ok", async (tab) => {
    const text = await says(tab, "#consumers .consumer");
    if (!text.includes("team-a") || !text.includes("96") || !(await says(tab, "#events")).includes("95")) wrong("the budget is not shown: " + text);
  }],
  outage: ["gpt-4o spills over; the state table is unreachable", "spilling over", async (tab) => { if (!(await says(tab, "#table-notice")).includes("unreachable for 42")) wrong("no notice"); }],
  memory: ["The model is served normally", "ok"],
  down: ["gpt-4o is down", "down", async (tab) => {
    const why = await says(tab, "#overall-why");
    if (!/since \d\d:\d\d \(\d+.min\): no backend takes requests/.test(why) || !why.includes("503")) wrong("the headline does not say why and since when: " + why);
    await tab.fill("#find-id", "req_nobody");
    await tab.press("#find-id", "Enter");
    await tab.waitForSelector("#found ol.why");
    if (!(await says(tab, "#found")).includes("No backend was left to try")) wrong("the look-up does not explain the request");
  }],
  refusing: ["gpt-4o is degraded; entra-keys: failing; telemetry: degraded", "degraded", async (tab) => {
    const parts = await says(tab, "#conditions"), model = await says(tab, "#pools > li");
    if (!parts.includes("no route to host. Still works: callers with keys") || !model.includes("payg-sweden: refuses chat (deployment not found)")) wrong("the parts or the refused operation are not shown: " + parts + model);
  }],
  ...(shots ? {
    "big-healthy": ["All 20 models are served normally", "ok"], "big-down": ["model-03 is down", "down"],
    "big-throttled": ["model-00, model-01, model-02 and 17 more are throttled on every backend", "throttled"],
    "big-outage": ["The state table is unreachable", "ok"], "big-budget": ["team-007 (96\u00a0%) is near a month's limit", "ok"],
  } : {}),
  hostile: ["", "down", async (tab) => {
    if (await tab.evaluate(() => document.querySelectorAll("main img, main iframe, main script, [onerror], [onload]").length)) wrong("a name became markup");
    if ((await tab.locator("body").innerText()).includes("\u202e")) wrong("a name turns the direction of what follows");
    await tab.fill("#find-id", "<img src=x onerror=alert(1)>");
    await tab.press("#find-id", "Enter");
    await tab.waitForSelector("#found ol.why");
    await tab.click("#usage-details summary");
    await tab.waitForSelector("#plot rect");
  }],
  big: ["model-03 is down; model-07 is throttled on every backend; model-11 spills over; model-15 is degraded", "down", async (tab) => {
    if ((await tab.locator("#pools > li").count()) !== 20 || (await tab.locator("#consumers > li").count()) !== 8) wrong("not one line for each of 20 models, and 8 consumers");
    await tab.fill("#filter", "down");
    if ((await tab.locator("#pools > li").count()) !== 1) wrong("the filter does not find the model that is down");
    await tab.fill("#filter", "");
    await tab.click("#more-consumers");
    await tab.waitForFunction(() => document.querySelectorAll("#consumers > li").length === 200);
    await tab.click("#more-consumers");
    await unfold(tab);
    await tab.waitForFunction(() => document.querySelectorAll("#pools tr[data-condition]").length === 60);
    await tab.evaluate(() => document.querySelector("#pools summary").click());
  }],
};

// measure is how long a load takes, and what it weighs.
async function measure(tab, name) {
  measured[name] = await tab.evaluate(() => {
    const files = [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")].filter((e) => !e.name.includes("/api/"));
    const status = performance.getEntriesByType("resource").findLast((e) => e.name.includes("/api/status"));
    return {
      firstPaintMs: Math.round(performance.getEntriesByName("first-contentful-paint")[0]?.startTime), statusShownMs: Math.round(performance.getEntriesByName("status-shown")[0]?.startTime),
      files: files.length, bytes: files.reduce((sum, e) => sum + e.decodedBodySize, 0), statusBytes: status.decodedBodySize,
    };
  });
  if (measured[name].bytes > 50_000) wrong("the page weighs " + measured[name].bytes + " bytes");
}

const views = [[1280, false], [390, false], [1280, true], [390, true]];

async function visit() {
  const tab = await open(address.open, 404);
  await tab.waitForSelector("#pools > li");
  for (const [name, [headline, state, more]] of Object.entries(scenes)) {
    await show(tab, name);
    // The response is there, but a busy browser may not have drawn it. What is wrong is told below.
    await tab.waitForFunction(([headline, state]) => (!headline || document.getElementById("overall").innerText === headline) && document.querySelector("#pools > li")?.dataset.standing === state, [headline, state], { timeout: 10_000 }).catch(() => {});
    const told = await says(tab, "#overall"), first = await tab.locator("#pools > li").first().getAttribute("data-standing");
    if (headline && told !== headline) wrong("the headline is " + told + ", want " + headline);
    if (first !== state) wrong("the first model is " + first + ", want " + state);
    await more?.(tab);
    const big = name.startsWith("big");
    if (!big) await unfold(tab), await tab.waitForSelector("#pools tr[data-condition]");
    for (const [width, dark] of shots || name === "down" || name === "big" ? views : [views[problems.length % 2 ? 0 : Object.keys(looked).length % views.length]]) {
      await tab.setViewportSize({ width, height: width < 500 ? 844 : 900 });
      await tab.emulateMedia({ colorScheme: dark ? "dark" : "light" });
      await tab.evaluate(() => scrollTo(0, 0));
      const view = name + (dark ? "-dark" : "") + (width < 500 ? "-phone" : "");
      await judge(tab, view);
      await shoot(tab, view);
      if (big) measured[view] = { screens: await screens(tab) };
      if (big && measured[view].screens > (width < 500 ? 8 : 4)) wrong(view + ": " + measured[view].screens + " screens tall");
    }
    if (!big) await tab.evaluate(() => document.querySelector("#pools summary").click());
  }
  await tab.setViewportSize({ width: 1280, height: 900 });
  await keyboard(tab);
  await show(tab, "two"); // two instances: the page finds a request of either
  for (const id of ["req_of-a", "req_of-b"]) {
    await tab.fill("#find-id", id);
    await tab.press("#find-id", "Enter");
    await tab.waitForFunction((want) => document.querySelector("#found b")?.textContent === want, id);
  }
  looked.two = looked.keyboard;
  scene = "big"; // measured in a load of its own
  await (await fetch(address.open + "/scene/big")).text();
  await tab.reload();
  await tab.waitForFunction(() => performance.getEntriesByName("status-shown").length);
  await measure(tab, "load");
  await tab.close();
}

// By keyboard alone: to the first drain button, through the dialog, and back.
async function keyboard(tab) {
  await show(tab, "keyboard");
  const focused = () => tab.evaluate(() => document.activeElement.getAttribute("aria-label") || document.activeElement.id || document.activeElement.textContent);
  await tab.focus("#filter");
  await tab.keyboard.press("Tab"); // the first model
  await tab.keyboard.press("Enter");
  await tab.waitForSelector("#pools tr[data-condition]");
  for (let i = 0; i < 6 && (await focused()) !== "Drain ptu-uksouth for gpt-4o"; i++) await tab.keyboard.press("Tab");
  await tab.keyboard.press("Enter");
  await tab.waitForSelector("#confirm[open]");
  await judge(tab, "keyboard");
  await shoot(tab, "dialog");
  if ((await focused()) !== "confirm-no") wrong("the dialog begins on " + (await focused()));
  await tab.keyboard.press("Escape");
  if ((await focused()) !== "Drain ptu-uksouth for gpt-4o") wrong("after Escape the focus is on " + (await focused()));
  await tab.keyboard.press("Enter");
  await tab.keyboard.press("Tab");
  if ((await focused()) !== "confirm-yes") wrong("after Cancel comes " + (await focused()));
  await tab.keyboard.press("Enter");
  await tab.waitForSelector('#pools tr[data-condition="drained"]');
  await tab.waitForFunction(() => document.getElementById("announce").textContent !== "");
  if ((await focused()) !== "Restore ptu-uksouth for gpt-4o") wrong("after the action the focus is on " + (await focused()));
}

// Behind the key: a form, a wrong key, the right one, a reload of the tab, and out.
async function signin() {
  scene = "signin";
  const tab = await open(address.locked, 401);
  if (await tab.locator("#status").isVisible()) wrong("the status is to be seen without a key");
  await judge(tab, "signin");
  await shoot(tab, "signin-form");
  await tab.fill("#who", "Ana Óðinn");
  await tab.fill("#key", "wrong-key-wrong-key");
  await tab.press("#key", "Enter");
  await tab.waitForFunction(() => document.getElementById("key-problem").textContent.includes("not accepted"));
  await tab.fill("#key", address.key);
  await tab.press("#key", "Enter");
  await tab.waitForSelector("#pools > li");
  const top = await tab.evaluate(() => document.getElementById("overall").getBoundingClientRect().top);
  if (top < 0 || top > 200) wrong("after signing in the headline is at " + top);
  await tab.reload();
  await tab.waitForSelector("#pools > li");
  if (tab.url().includes(address.key)) wrong("the key is in the URL");
  if ((await context.cookies()).length) wrong("a cookie was set");
  const other = await context.newPage();
  await other.goto(address.locked + "/ops/");
  if (await other.locator("#status").isVisible()) wrong("another tab is signed in");
  await other.close();
  await unfold(tab);
  await tab.locator("#pools button[data-verb=drain]").first().click();
  await tab.locator("#scope-name").click();
  await tab.click("#confirm-yes");
  await tab.waitForSelector('#pools tr[data-condition="drained"]');
  await tab.click("#out");
  await tab.waitForSelector("#signin:not([hidden])");
  if ((await tab.content()).includes("ptu-uksouth")) wrong("the data is there after signing out");
  if (await tab.evaluate(() => sessionStorage.length)) wrong("the key is there after signing out");
}

for (const part of [visit, signin]) {
  try {
    await part();
  } catch (error) {
    wrong("stopped: " + error.message.split("\n")[0]);
  }
}
await context.close();
rmSync(profile, { recursive: true, force: true });
console.log(JSON.stringify({ looked, measured, problems }));
