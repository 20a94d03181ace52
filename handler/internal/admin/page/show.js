// Showing a status on the page.
import { $, clean, fill, list, mark, text } from "./dom.js";
import { clock, count, left, level, ms, plural, quota, traffic, why } from "./say.js";
import { speakers, spoke } from "./sum.js";

const before = new Map(); // slot -> condition, for what is said aloud

export function show(s) {
  text($("version"), s.version);
  text($("answered"), (speakers() > 1 ? "Traffic of " + speakers() + " instances" : s.instance) + ", " + clock(s.at));
  overall(s);
  shared(s);
  list($("pools"), s.pools, "t-pool", (p) => p.model, showPool);
  list($("instances"), s.fleet ? s.fleet.instances : [], "t-instance", (i) => i.name, (e, i) => fill(e, {
    name: i.name, answers: spoke(i.name) ? "answers you" : "", revision: i.revision + (i.latest ? ", the latest" : ", the latest is " + s.fleet.revision),
    said: ms(i.saidMsAgo) + " ago", behind: ms(i.behindMs), outage: ms(i.outageMs),
  }));
  list($("changes"), s.changes, "t-change", (c) => c.slot + " " + c.text + " " + Date.parse(c.at), (e, c) => fill(e, {
    at: clock(c.at), slot: c.slot, text: c.text, by: [c.times > 1 && c.times + " times", c.by && "seen by " + c.by].filter(Boolean).join(", "),
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

const ranks = ["healthy", "reduced", "spilling", "down"];

function overall(s) {
  const of = (standing) => s.pools.filter((p) => p.standing === standing).length;
  const worst = ranks.findLast((r) => of(r) > 0) || "healthy";
  const total = plural(s.pools.length, "model");
  const said = {
    healthy: s.pools.length === 1 ? "The model is served by its first priority" : "All " + total + " are served by their first priority",
    reduced: (s.pools.length === 1 ? "The model is" : of("reduced") + " of " + total) + " served, with a backend out or held back",
    spilling: (s.pools.length === 1 ? "The model is" : of("spilling") + " of " + total) + " spilling to a lower priority",
    down: s.pools.length === 1 ? "The model has no backend that takes requests" : of("down") + " of " + total + " without a backend that takes requests",
  }[worst];
  mark($("overall"), "standing", worst);
  text($("overall"), said);
  document.title = (worst === "healthy" ? "" : worst + " · ") + "Spillway status";
}

function shared(s) {
  const t = s.state;
  let notice = "";
  if (t.alone) notice = "The table has been out of reach for " + ms(t.sinceContactMs) + ". Every instance goes on with what it knows and what it sees itself, and they will agree again when it is back. Requests are not slower.";
  else if (t.trouble) notice = "The last exchange with the table failed: " + t.trouble;
  else if (s.fleet && s.fleet.trouble) notice = "The whole fleet could not be read: " + s.fleet.trouble;
  if (t.unreadableRecords) notice += " " + plural(t.unreadableRecords, "record") + " in the table could not be read.";
  $("table-notice").hidden = !notice;
  text($("table-notice").firstElementChild, notice.trim() + (t.alone && t.trouble ? " (" + t.trouble + ")" : ""));
  $("instances").closest(".scroll").hidden = !s.fleet || t.memory === true;
  if (t.memory) return text($("agree"), "State lives in this process alone: there is nobody to agree with. Set SPILLWAY_STATE to share it.");
  const parts = ["The table is read every " + ms(t.refreshMs) + " while there is traffic, last " + ms(t.sinceContactMs) + " ago; one exchange takes " + ms(t.exchangeMs) + "."];
  parts.push(t.disagreements ? "This instance learnt of " + plural(t.disagreements, "change") + " by others, on average " + ms(t.disagreementMs) + " late, and sent " + plural(t.wastedRequests, "request") + " to a backend that the fleet knew to be shut." : "This instance has had no change by others to learn of.");
  if (t.outageMs) parts.push("It has been without the table for " + ms(t.outageMs) + " in all.");
  if (s.fleet) parts.push("The shared state was written " + plural(s.fleet.revision, "time") + ".");
  text($("agree"), parts.join(" "));
}

function showPool(element, pool) {
  element.setAttribute("aria-label", clean("Model " + pool.model));
  mark(element, "standing", pool.standing);
  const names = [pool.strategy, pool.aliases && "also called " + pool.aliases.join(", "), pool.fallbacks && "falls back to " + pool.fallbacks.join(", ")];
  fill(element, { model: pool.model, strategy: names.filter(Boolean).join("; "), standing: pool.standing, sentence: pool.sentence });
  element.querySelector(".scroll").setAttribute("aria-label", clean("Backends of " + pool.model));
  const priority = (g) => g.priority;
  list(element.querySelector(".lanes"), pool.groups, "t-lane", priority, (lane, g) => {
    fill(lane, { priority: g.priority });
    list(lane.querySelector("ul"), g.backends, "t-chip", (b) => b.slot, (e, b) => showBackend(e, b, pool));
  });
  list(element.querySelector("table"), pool.groups, "t-group", priority, (body, g) => {
    fill(body, { priority: g.priority });
    list(body, g.backends, "t-backend", (b) => b.slot, (e, b) => showBackend(e, b, pool));
  });
  pool.groups.forEach((g) => g.backends.forEach(announce));
}

function showBackend(element, b, pool) {
  mark(element, "condition", b.condition);
  element.querySelector("use").setAttribute("href", "#i-" + b.condition);
  const share = pool.lastMinute.served ? Math.round((100 * b.lastMinute.served) / pool.lastMinute.served) : 0;
  fill(element, {
    name: b.name, where: [b.provisioned ? "provisioned" : "pay as you go", b.region].filter(Boolean).join(", "),
    words: b.words, left: left(b.leftMs), why: why(b), share: share + "\u00a0%", part: pool.lastMinute.served ? share + "\u00a0% of the answers" : "no answers lately", requests: traffic(b.lastMinute), tokens: count(b.lastMinute.tokens),
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

// announce says a change of condition to those who do not see it.
function announce(b) {
  const was = before.get(b.slot);
  before.set(b.slot, b.condition);
  if (was && was !== b.condition) text($("announce"), b.slot + ": " + b.words + (b.leftMs > 0 ? " " + left(b.leftMs) : ""));
}
