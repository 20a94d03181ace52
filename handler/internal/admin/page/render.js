// Rendering a status.
import { $, clean, fill, list, mark, text } from "./dom.js";
import { clock, count, left, level, ms, plural, quota, traffic, why } from "./format.js";
import { instanceCount, isRecent } from "./aggregate.js";

const lastState = new Map(); // slot -> state, for the announcements

export function render(s) {
  text($("version"), s.version);
  text($("answered"), (instanceCount() > 1 ? "Traffic of " + instanceCount() + " instances" : s.instance) + ", " + clock(s.at));
  renderOverall(s);
  renderSharedState(s);
  list($("pools"), s.pools, "t-pool", (p) => p.model, renderPool);
  list($("instances"), s.fleet ? s.fleet.instances : [], "t-instance", (i) => i.name, (e, i) => fill(e, {
    name: i.name, answers: isRecent(i.name) ? "serves this page" : "", revision: i.revision + (i.latest ? ", the latest" : ", the latest is " + s.fleet.revision),
    seen: ms(i.saidMsAgo) + " ago", behind: ms(i.behindMs), outage: ms(i.outageMs),
  }));
  list($("changes"), s.changes, "t-change", (c) => c.slot + " " + c.text + " " + Date.parse(c.at), (e, c) => fill(e, {
    at: clock(c.at), slot: c.slot, text: c.text, by: [c.times > 1 && c.times + " times", c.by && "reported by " + c.by].filter(Boolean).join(", "),
  }));
  $("no-changes").hidden = s.changes.length > 0;
  $("consumers-section").hidden = s.consumers.length === 0;
  list($("consumers"), s.consumers, "t-consumer", (c) => c.name, (e, c) => {
    fill(e, { name: c.name, requests: count(c.lastMinute.requests), tokens: count(c.lastMinute.tokens), refused: count(c.lastMinute.throttled) });
    list(e.querySelector("ul"), c.limits || [], "t-limit", (l) => l.limit + " " + (l.model || ""), (li, l) => {
      mark(li, "level", level(l));
      fill(li, { quota: quota(l) });
    });
  });
}

const poolStates = ["healthy", "reduced", "spilling", "down"];

function renderOverall(s) {
  const of = (standing) => s.pools.filter((p) => p.standing === standing).length;
  const worst = poolStates.findLast((r) => of(r) > 0) || "healthy";
  const total = plural(s.pools.length, "model");
  const summary = {
    healthy: s.pools.length === 1 ? "The model is served by its first priority" : "All " + total + " are served by their first priority",
    reduced: (s.pools.length === 1 ? "The model is" : of("reduced") + " of " + total) + " served, with a backend unavailable or limited",
    spilling: (s.pools.length === 1 ? "The model is" : of("spilling") + " of " + total) + " spilling to a lower priority",
    down: s.pools.length === 1 ? "The model has no available backend" : of("down") + " of " + total + " without an available backend",
  }[worst];
  mark($("overall"), "standing", worst);
  text($("overall"), summary);
  document.title = (worst === "healthy" ? "" : worst + " · ") + "Spillway status";
}

function renderSharedState(s) {
  const t = s.state;
  let notice = "";
  if (t.alone) notice = "The table has been unreachable for " + ms(t.sinceContactMs) + ". Each instance uses its last copy of the shared state and its own observations, and they synchronize again when the table is back. Requests are not delayed.";
  else if (t.readOnly) notice = "The table can be read but not written: what this instance sees stays with it, and it follows the others. " + t.trouble;
  else if (t.trouble) notice = "The last request to the table failed: " + t.trouble;
  else if (s.fleet && s.fleet.trouble) notice = "The state of all instances could not be read: " + s.fleet.trouble;
  if (t.unreadableRecords) notice += " " + plural(t.unreadableRecords, "record") + " in the table could not be read.";
  $("table-notice").hidden = !notice;
  text($("table-notice").firstElementChild, notice.trim() + (t.alone && t.trouble ? " (" + t.trouble + ")" : ""));
  $("instances").closest(".scroll").hidden = !s.fleet || t.memory === true;
  if (t.memory) return text($("agree"), "State is kept in this process only. Set SPILLWAY_STATE to share it between instances.");
  const parts = ["The table is read every " + ms(t.refreshMs) + " while there is traffic, last " + ms(t.sinceContactMs) + " ago; a request to it takes " + ms(t.exchangeMs) + "."];
  parts.push(t.disagreements ? "This instance applied " + plural(t.disagreements, "change") + " of other instances after " + ms(t.disagreementMs) + " on average, and sent " + plural(t.wastedRequests, "request") + " to backends that were already marked unavailable." : "Other instances have made no change since this one started.");
  if (t.stalls) parts.push("This process stood still " + plural(t.stalls, "time") + " for more than a second; what failed meanwhile was not counted.");
  if (t.recordsLeftOut) parts.push(plural(t.recordsLeftOut, "record") + " did not fit into the row.");
  if (t.outageMs) parts.push("The table was unreachable for " + ms(t.outageMs) + " in total.");
  if (s.fleet) parts.push("The shared state has been written " + plural(s.fleet.revision, "time") + ".");
  text($("agree"), parts.join(" "));
}

function renderPool(element, pool) {
  element.setAttribute("aria-label", clean("Model " + pool.model));
  mark(element, "standing", pool.standing);
  const names = [pool.strategy, pool.aliases && "aliases " + pool.aliases.join(", "), pool.fallbacks && "falls back to " + pool.fallbacks.join(", ")];
  fill(element, { model: pool.model, strategy: names.filter(Boolean).join("; "), standing: pool.standing, sentence: pool.sentence });
  element.querySelector(".scroll").setAttribute("aria-label", clean("Backends of " + pool.model));
  const priority = (g) => g.priority;
  list(element.querySelector(".lanes"), pool.groups, "t-lane", priority, (lane, g) => {
    fill(lane, { priority: g.priority });
    list(lane.querySelector("ul"), g.backends, "t-chip", (b) => b.slot, (e, b) => renderBackend(e, b, pool));
  });
  list(element.querySelector("table"), pool.groups, "t-group", priority, (body, g) => {
    fill(body, { priority: g.priority });
    list(body, g.backends, "t-backend", (b) => b.slot, (e, b) => renderBackend(e, b, pool));
  });
  pool.groups.forEach((g) => g.backends.forEach(announce));
}

function renderBackend(element, b, pool) {
  mark(element, "condition", b.condition);
  element.querySelector("use").setAttribute("href", "#i-" + b.condition);
  const share = pool.lastMinute.served ? Math.round((100 * b.lastMinute.served) / pool.lastMinute.served) : 0;
  fill(element, {
    name: b.name, where: [b.provisioned ? "provisioned" : "pay as you go", b.region].filter(Boolean).join(", "),
    words: b.words, left: left(b.leftMs), why: why(b), share: share + "\u00a0%", part: pool.lastMinute.served ? share + "\u00a0% of responses" : "no responses in the last minute", requests: traffic(b.lastMinute), tokens: count(b.lastMinute.tokens),
    inFlight: count(b.inFlight), firstToken: b.firstToken.samples ? ms(b.firstToken.p50Ms) + ", " + ms(b.firstToken.p95Ms) : "–",
    full: b.utilizationPercent === undefined ? "–" : Math.round(b.utilizationPercent) + "\u00a0%",
  });
  for (const bar of element.querySelectorAll("[data-w]")) bar.setAttribute("width", share);
  for (const button of element.querySelectorAll("button")) {
    if (button.dataset.verb !== "reset") {
      const verb = b.drained ? "restore" : "drain";
      mark(button, "verb", verb);
      text(button, b.drained ? "Restore" : "Drain");
    }
    button.setAttribute("aria-label", clean(button.textContent + " " + b.name + " for " + pool.model));
    button.dataset.slot = b.slot;
    button.dataset.name = b.name;
    button.dataset.model = pool.model;
  }
}

// announce announces a change of state to screen readers.
function announce(b) {
  const was = lastState.get(b.slot);
  lastState.set(b.slot, b.condition);
  if (was && was !== b.condition) text($("announce"), b.slot + ": " + b.words + (b.leftMs > 0 ? " " + left(b.leftMs) : ""));
}
