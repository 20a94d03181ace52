// Rendering a status.
import { $, clean, fill, list, mark, text } from "./dom.js";
import { clock, count, left, level, ms, percent, plural, quota, since, time, traffic, used, why } from "./format.js";

const lineLimits = { pools: 40, consumers: 8 }; // lines shown before "show all"
const all = { pools: false, consumers: false };
const open = new Set(); // models whose backends are shown
const lastState = new Map(); // what was announced
let last = null, onChange = () => {}, first = true;

// onView sets what is called when more is to be shown.
export function onView(callback) { onChange = callback; }

// statusPath requests the backends of the models that are shown only.
export const statusPath = () => "status?brief" + (all.consumers || $("consumer-filter").value ? "&consumers" : "") + [...open].map((model) => "&model=" + encodeURIComponent(model)).join("");

const order = ["down", "not answering", "throttled", "spilling over", "degraded", "ok"];
const word = (state) => (state === "ok" ? "OK" : state[0].toUpperCase() + state.slice(1));

export function render(s) {
  last = s;
  text($("version"), s.version);
  const instances = s.fleet && !s.state.memory ? s.fleet.instances.length : 1;
  text($("answered"), clock(s.at) + ", " + (instances > 1 ? instances + " instances" : s.instance));
  renderHeadline(s);
  renderTable(s);
  renderPools();
  renderFleet(s);
  renderConsumers();
  if (first && s.pools.length === 1) document.querySelector("#pools details").open = true;
  first = false;
}

function renderHeadline(s) {
  const h = s.headline, worst = h.troubles[0];
  mark($("top"), "level", h.level);
  text($("overall"), h.text);
  text($("overall-why"), worst && worst.level !== "notice" ? (h.troubles.length > 1 ? worst.model + " " : "") + [since(worst.since, s.at), worst.text].filter(Boolean).join(": ") : "");
  document.title = (h.level === "ok" ? "" : (h.level === "critical" ? "⛔ " : "⚠ ") + h.text + " · ") + "Spillway";
  const now = h.level + h.text;
  if (lastState.has("") && lastState.get("") !== now) text($("announce"), h.text);
  lastState.set("", now);
}

function renderTable(s) {
  const t = s.state, notices = [];
  if (t.alone) notices.push("The state table has been unreachable for " + ms(t.sinceContactMs) + (t.trouble ? " (" + t.trouble + ")" : "") + ". Requests are served: each instance uses its last copy and what it sees itself.");
  else if (t.readOnly) notices.push("The state table can be read but not written (" + t.trouble + "): the others do not see what this instance sees. Check its role on the storage account.");
  else if (t.trouble) notices.push("A request to the state table failed: " + t.trouble);
  else if (s.fleet && s.fleet.trouble) notices.push("The state of all instances could not be read: " + s.fleet.trouble);
  if (t.unreadableRecords) notices.push(plural(t.unreadableRecords, "record") + " in the table could not be read.");
  $("table-notice").hidden = notices.length === 0;
  text($("table-notice"), notices.join(" "));
  $("conditions").hidden = s.conditions.length === 0;
  list($("conditions"), s.conditions, "t-condition", (c) => c.part + c.instance, (e, c) => fill(e, {
    part: c.part + ": " + c.state + " on " + c.instance,
    why: [since(c.since, s.at), c.why].filter(Boolean).join(": ") + ". Still works: " + c.works + ". Fix: " + c.fix + ".",
  }));
}

// lines shows the first of total items that match the filter, and a button for the rest.
function lines(id, items, total, filter, matches, template, update) {
  const wanted = $(filter).value.trim().toLowerCase();
  const found = wanted ? items.filter((i) => matches(i).toLowerCase().includes(wanted)) : items;
  const most = all[id] ? Infinity : lineLimits[id];
  list($(id), found.slice(0, most), template, (i) => i.model || i.name, update);
  const more = $("more-" + id);
  const n = wanted ? found.length : total;
  more.hidden = n <= lineLimits[id];
  text(more, all[id] ? "Show fewer" : "Show all " + count(n));
}

function renderPools() {
  const s = last;
  const sorted = [...s.pools].sort((a, b) => order.indexOf(a.standing) - order.indexOf(b.standing) || a.model.localeCompare(b.model));
  const matches = (p) => [p.model, ...(p.aliases || []), p.standing, p.standing === "ok" ? "" : p.sentence].join(" ");
  lines("pools", sorted, sorted.length, "filter", matches, "t-pool", renderPool);
}

function renderPool(element, pool) {
  const healthy = pool.standing === "ok", m = pool.lastMinute, details = element.firstElementChild;
  mark(element, "standing", pool.standing);
  fill(element, {
    model: pool.model, standing: word(pool.standing),
    since: since(pool.since, last.at),
    sentence: healthy ? "" : (pool.leftMs ? "first free in " + ms(pool.leftMs) + "; " : "") + (pool.serving && pool.standing !== "not answering" ? pool.serving + " of " + pool.backends + " serve; " : "") + pool.sentence,
    requests: m.served ? count(m.served) + "/min" : m.requests ? "none served" : "idle", spill: m.served ? percent(pool.spillPercent) + " spilled" : "", first: pool.firstToken.samples ? "p95 " + ms(pool.firstToken.p95Ms) : "",
    about: [plural(pool.backends, "backend"), pool.strategy, pool.aliases && "aliases " + pool.aliases.join(", "), pool.fallbacks && "falls back to " + pool.fallbacks.join(", "), count(m.tokens) + " tokens/min"].filter(Boolean).join("; "),
  });
  details.dataset.model = pool.model;
  if (!details.open) return;
  element.querySelector(".scroll").setAttribute("aria-label", clean("Backends of " + pool.model));
  list(element.querySelector("table"), pool.groups, "t-group", (g) => g.priority, (body, g) => {
    fill(body, { priority: g.priority });
    list(body, g.backends, "t-backend", (b) => b.slot, (e, b) => renderBackend(e, b, pool));
  });
}

function renderBackend(element, b, pool) {
  mark(element, "condition", b.condition);
  fill(element, {
    name: b.name, where: [b.provisioned ? "provisioned" : "pay as you go", b.region].filter(Boolean).join(", "),
    words: b.words, left: left(b.leftMs), why: why(b, last.at), requests: traffic(b.lastMinute), tokens: count(b.lastMinute.tokens),
    share: pool.lastMinute.served ? percent((100 * b.lastMinute.served) / pool.lastMinute.served) : "–",
    inFlight: count(b.inFlight), firstToken: b.firstToken.samples ? ms(b.firstToken.p50Ms) + ", " + ms(b.firstToken.p95Ms) : "–",
    full: b.utilizationPercent === undefined ? "–" : percent(b.utilizationPercent),
  });
  for (const button of element.querySelectorAll("button")) {
    if (button.dataset.verb !== "reset") {
      mark(button, "verb", b.drained ? "restore" : "drain");
      text(button, b.drained ? "Restore" : "Drain");
    }
    button.setAttribute("aria-label", clean(button.textContent + " " + b.name + " for " + pool.model));
    Object.assign(button.dataset, { slot: b.slot, name: b.name, model: pool.model });
  }
  const was = lastState.get(b.slot);
  lastState.set(b.slot, b.condition);
  if (was && was !== b.condition) text($("announce"), b.slot + ": " + b.words);
}

const worstLimit = (c) => (c.limits || []).reduce((a, b) => (a && used(a) >= used(b) ? a : b), null);

function renderConsumers() {
  const { consumers, consumerCount } = last;
  $("consumers-section").hidden = consumerCount === 0;
  lines("consumers", consumers, consumerCount, "consumer-filter", (c) => c.name, "t-consumer", (e, c) => {
    const worst = worstLimit(c);
    mark(e, "level", worst ? level(worst) : "well");
    e.querySelector(".used").setAttribute("width", worst ? Math.min(used(worst), 100) : 0);
    const marks = worst && worst.limit.endsWith("Month") ? c.warnAt || [] : [];
    e.querySelector(".marks").setAttribute("d", marks.map((m) => "M" + m + " 0v6").join(""));
    const warned = Math.max(...marks.filter((m) => m <= used(worst)));
    fill(e, {
      name: c.name, limit: worst ? quota(worst) + (warned > 0 ? ", warned at " + warned + "\u00a0%" : "") : "no limit", requests: count(c.lastMinute.requests) + " req/min", tokens: count(c.lastMinute.tokens) + " tok/min",
      refused: c.lastMinute.throttled ? count(c.lastMinute.throttled) + " refused" : "",
    });
    list(e.querySelector("ul"), c.limits || [], "t-limit", (l) => l.limit + " " + (l.model || ""), (li, l) => {
      mark(li, "level", level(l));
      text(li, quota(l) + (l.resetMs > 0 ? ", renewed in " + ms(l.resetMs) : ""));
    });
  });
}

function renderFleet(s) {
  const t = s.state, instances = s.fleet ? s.fleet.instances : [];
  $("instances").closest(".scroll").hidden = !s.fleet || t.memory === true;
  if (t.memory) {
    text($("fleet-line"), "one instance, nothing is shared");
    return text($("agree"), "State is kept in this process only. Set SPILLWAY_STATE to share it between instances.");
  }
  const behind = instances.filter((i) => i.behindMs > 0);
  const delay = behind.length ? ms(Math.max(...behind.map((i) => i.behindMs))) : "";
  text($("fleet-line"), (instances.length ? plural(instances.length, "instance") + " with traffic" : "no instance has traffic") + (delay ? "; changes arrive within " + delay + " on average" : ""));
  text($("agree"), (t.sinceContactMs ? "This instance read the table " + ms(t.sinceContactMs) + " ago; a request to it takes " + ms(t.exchangeMs) + ". " : "This instance has no traffic: it reads nothing. ") + (t.outageMs ? "The table was unreachable for " + ms(t.outageMs) + " in all." : ""));
  list($("instances"), instances, "t-instance", (i) => i.name, (e, i) => fill(e, {
    name: i.name, revision: i.latest ? "up to date" : "no report since the last change",
    seen: ms(i.saidMsAgo) + " ago", behind: ms(i.behindMs), outage: i.outageMs ? ms(i.outageMs) : "none",
  }));
}

// A model's backends are requested when its line is opened. The event does not bubble.
$("pools").addEventListener("toggle", (event) => {
  const { model } = event.target.dataset;
  if (event.target.open) open.add(model);
  else open.delete(model);
  onChange();
}, true);
$("filter").addEventListener("input", () => last && renderPools());
$("consumer-filter").addEventListener("input", () => onChange());
for (const id of ["pools", "consumers"]) $("more-" + id).addEventListener("click", () => {
  all[id] = !all[id];
  onChange();
});
