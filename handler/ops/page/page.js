// The script of the status page. It asks for the status once a second while the page is visible, and writes what it
// learns as text and attributes, never as markup: the page's policy lets no script write markup at all.
"use strict";

const $ = (id) => document.getElementById(id);
const keptIn = "spillway-operator";
const session = { key: "", who: "" }; // of this tab
let heard = new Map(); // instance -> its latest status, and when it came
let before = new Map(); // slot -> condition, for what is said aloud
let timer = 0, misses = 0, lastGood = 0, now = null;

// ---- asking ----

async function ask(path, options = {}) {
  const headers = { "x-spillway-operator": encodeURIComponent(session.who) };
  if (session.key) headers["x-spillway-operator-key"] = session.key;
  return fetch("/ops/api/" + path, { ...options, headers, cache: "no-store", credentials: "omit", redirect: "error", signal: AbortSignal.timeout(options.patience || 5000) });
}

async function problemOf(response) {
  try { return (await response.json()).error.message; } catch { return "The answer was " + response.status + "."; }
}

function next(delay) {
  clearTimeout(timer);
  if (!document.hidden) timer = setTimeout(poll, delay);
}

async function poll() {
  try {
    const response = await ask("status");
    if (response.status === 401 || response.status === 404) return signIn(session.key ? "The key was not accepted." : "");
    if (!response.ok) throw new Error(await problemOf(response));
    take(await response.json());
    misses = 0;
    $("lost").hidden = true;
    next(1000);
  } catch (error) {
    misses++;
    const since = lastGood ? "What you see is of " + clock(lastGood) + "." : "";
    text($("lost"), "No answer from Spillway (" + error.message + "). " + since);
    $("lost").hidden = misses < 2;
    next(Math.min(1000 * misses, 5000));
  }
}

document.addEventListener("visibilitychange", () => { if (!document.hidden && !$("status").hidden) next(0); });

// ---- signing in ----

function signIn(problem) {
  clearTimeout(timer);
  forget();
  $("status").hidden = true;
  $("out").hidden = true;
  $("signin").hidden = false;
  text($("key-problem"), problem);
  text($("overall"), "");
  text($("answered"), "");
  document.title = "Spillway status";
  if (problem) $("key").focus();
}

function forget() {
  session.key = "";
  heard = new Map();
  try { sessionStorage.removeItem(keptIn); } catch { /* a browser without storage: the key was in memory alone */ }
}

$("key-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  session.key = $("key").value.trim();
  session.who = $("who").value.trim();
  if (!/^[\x21-\x7e]+$/.test(session.key)) return signIn("A key is made of letters, digits and signs, without spaces.");
  await poll();
  if ($("status").hidden) return;
  $("key").value = "";
  try { sessionStorage.setItem(keptIn, JSON.stringify(session)); } catch { /* see forget */ }
  $("content").focus();
});

$("out").addEventListener("click", () => { signIn(""); $("who").focus(); });

// ---- saying ----

// clean takes away what would turn the direction of a text, and make a name read as another.
const clean = (value) => String(value).replace(/[\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, "\ufffd");

function text(element, value) {
  const said = clean(value);
  if (element.textContent !== said) element.textContent = said;
}

const clock = (at) => new Date(at).toLocaleTimeString([], { hour12: false });
const count = (n) => String(Math.round(n)).replace(/\B(?=(\d{3})+$)/g, "\u202f");
const plural = (n, one, many = one + "s") => n + " " + (n === 1 ? one : many);

function ms(n) {
  if (!(n > 0)) return "–";
  if (n < 1000) return Math.round(n) + " ms";
  if (n < 10000) return (n / 1000).toFixed(1) + " s";
  if (n < 120000) return Math.round(n / 1000) + " s";
  return Math.round(n / 60000) + " min";
}

const left = (n) => (n > 0 ? "for another " + ms(n) : "");

function meter(m) {
  return m ? count(m.limit - m.remaining) + " of " + count(m.limit) : "no limit";
}

function traffic(m) {
  return [count(m.requests), m.throttled && count(m.throttled) + " throttled", m.failed && count(m.failed) + " failed"].filter(Boolean).join(", ");
}

function why(b) {
  let said = b.why || "";
  if (said && b.condition === "available") said = "last: " + said;
  if (b.drained && b.drained.by) said = "by " + b.drained.by;
  return [said, said && b.changedAt && clock(b.changedAt)].filter(Boolean).join(", ");
}

function month(c) {
  return [c.tokensPerMonth && count(c.tokensPerMonth) + " tokens", c.budgetPerMonth && c.budgetPerMonth + " in money"].filter(Boolean).join(", ") || "no limit";
}

// ---- adding up what the instances said of their own traffic ----

const fresh = 15000;
const summed = ["requests", "served", "throttled", "failed", "tokens"];

function take(status) {
  lastGood = Date.now();
  heard.set(status.instance, { status, at: lastGood });
  for (const [name, said] of heard) if (lastGood - said.at > fresh) heard.delete(name);
  now = merged(status);
  show(now);
}

function merged(latest) {
  const sum = structuredClone(latest);
  const backends = new Map();
  for (const pool of sum.pools) for (const group of pool.groups) for (const b of group.backends) backends.set(b.slot, [pool, b]);
  const consumers = new Map(sum.consumers.map((c) => [c.name, c]));
  for (const [name, { status }] of heard) {
    if (name === latest.instance) continue;
    for (const c of status.consumers) if (consumers.has(c.name)) addMinute(consumers.get(c.name).lastMinute, c.lastMinute);
    for (const pool of status.pools) for (const group of pool.groups) for (const b of group.backends) {
      if (!backends.has(b.slot)) continue;
      const [ours, into] = backends.get(b.slot);
      addMinute(into.lastMinute, b.lastMinute);
      addMinute(ours.lastMinute, b.lastMinute);
      into.inFlight += b.inFlight;
      into.firstToken = addTimes(into.firstToken, b.firstToken);
      into.utilizationPercent ??= b.utilizationPercent;
    }
  }
  return sum;
}

function addMinute(into, from) {
  for (const field of summed) into[field] += from[field];
}

function addTimes(a, b) {
  const counts = new Map(a.counts);
  for (const [bucket, n] of b.counts) counts.set(bucket, (counts.get(bucket) || 0) + n);
  const sorted = [...counts].sort((x, y) => x[0] - y[0]);
  const samples = a.samples + b.samples;
  return { samples, counts: sorted, p50Ms: quantile(sorted, samples, 0.5), p95Ms: quantile(sorted, samples, 0.95) };
}

function quantile(sorted, samples, q) {
  let seen = 0;
  for (const [bucket, n] of sorted) if ((seen += n) >= Math.ceil(q * samples)) return 2 ** ((bucket + 0.5) / 4);
  return 0;
}

// ---- showing ----

// list makes the children of a container those of the items, keeping elements that stay: focus and selection survive.
function list(container, items, template, keyOf, update) {
  const old = new Map([...container.children].filter((e) => e.dataset.key !== undefined).map((e) => [e.dataset.key, e]));
  let at = [...container.children].find((e) => e.dataset.key !== undefined) || null;
  for (const item of items) {
    const key = String(keyOf(item));
    let element = old.get(key);
    old.delete(key);
    if (!element) {
      element = $(template).content.firstElementChild.cloneNode(true);
      element.dataset.key = key;
    }
    if (element === at) at = at.nextElementSibling;
    else container.insertBefore(element, at);
    update(element, item);
  }
  for (const gone of old.values()) gone.remove();
}

// fill writes texts into the fields of an element that are not those of an element inside it.
function fill(element, texts) {
  for (const field of element.querySelectorAll("[data-f]")) {
    if (field.dataset.f in texts && field.closest("[data-key]") === element) text(field, texts[field.dataset.f]);
  }
}

function mark(element, name, value) {
  if (element.dataset[name] !== value) element.dataset[name] = value;
}

function show(s) {
  $("signin").hidden = true;
  $("status").hidden = false;
  $("out").hidden = Boolean(s.keyless);
  document.documentElement.classList.add("scripted");
  text($("version"), s.version);
  text($("answered"), (heard.size > 1 ? "Traffic of " + heard.size + " instances" : s.instance) + ", " + clock(s.at));
  overall(s);
  shared(s);
  list($("pools"), s.pools, "t-pool", (p) => p.model, showPool);
  list($("instances"), s.fleet ? s.fleet.instances : [], "t-instance", (i) => i.name, (e, i) => fill(e, {
    name: i.name, answers: heard.has(i.name) ? "answers you" : "", revision: i.revision + (i.latest ? ", the latest" : ""),
    said: ms(i.saidMsAgo) + " ago", behind: ms(i.behindMs), outage: ms(i.outageMs),
  }));
  list($("changes"), s.changes, "t-change", (c) => c.slot + " " + c.text + " " + Date.parse(c.at), (e, c) => fill(e, {
    at: clock(c.at), slot: c.slot, text: c.text, by: [c.times > 1 && c.times + " times", c.by && "seen by " + c.by].filter(Boolean).join(", "),
  }));
  $("no-changes").hidden = s.changes.length > 0;
  $("consumers-section").hidden = s.consumers.length === 0;
  list($("consumers"), s.consumers, "t-consumer", (c) => c.name, (e, c) => fill(e, {
    name: c.name, requests: count(c.lastMinute.requests), tokens: count(c.lastMinute.tokens), refused: count(c.lastMinute.throttled),
    rpm: meter(c.requestsPerMinute), tpm: meter(c.tokensPerMinute), month: month(c),
  }));
  if (s.usage && $("usage").hidden) { $("usage").hidden = false; drawUsage(); }
}

const ranks = ["healthy", "reduced", "spilling", "down"];

function overall(s) {
  const of = (standing) => s.pools.filter((p) => p.standing === standing).length;
  const worst = ranks.findLast((r) => of(r) > 0) || "healthy";
  const total = plural(s.pools.length, "model");
  const said = {
    healthy: s.pools.length === 1 ? "The model is served by its first priority" : "All " + total + " are served by their first priority",
    reduced: of("reduced") + " of " + total + " served, with a backend out or held back",
    spilling: of("spilling") + " of " + total + " spilling to a lower priority",
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
  $("instances").closest(".scroll").hidden = !s.fleet;
  if (t.memory) return text($("agree"), "State lives in this process alone: there is nobody to agree with. Set SPILLWAY_STATE to share it.");
  const parts = ["The table is read every " + ms(t.refreshMs) + " while there is traffic, last " + ms(t.sinceContactMs) + " ago; one exchange takes " + ms(t.exchangeMs) + "."];
  parts.push(t.disagreements ? "This instance learnt of " + plural(t.disagreements, "change") + " by others, on average " + ms(t.disagreementMs) + " late, and sent " + plural(t.wastedRequests, "request") + " to a backend that the fleet knew to be shut." : "This instance has had no change by others to learn of.");
  if (t.outageMs) parts.push("It has been without the table for " + ms(t.outageMs) + " in all.");
  if (s.fleet) parts.push("The shared state was written " + plural(s.fleet.revision, "time") + ".");
  text($("agree"), parts.join(" "));
}

function showPool(element, pool) {
  element.setAttribute("aria-label", "Model " + pool.model);
  mark(element, "standing", pool.standing);
  const names = [pool.strategy, pool.aliases && "also called " + pool.aliases.join(", "), pool.fallbacks && "falls back to " + pool.fallbacks.join(", ")];
  fill(element, { model: pool.model, strategy: names.filter(Boolean).join("; "), standing: pool.standing, sentence: pool.sentence });
  element.querySelector(".scroll").setAttribute("aria-label", "Backends of " + pool.model);
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
    words: b.words, left: left(b.leftMs), why: why(b), share: share + " %", requests: traffic(b.lastMinute), tokens: count(b.lastMinute.tokens),
    inFlight: count(b.inFlight), firstToken: b.firstToken.samples ? ms(b.firstToken.p50Ms) + ", " + ms(b.firstToken.p95Ms) : "–",
    full: b.utilizationPercent === undefined ? "–" : Math.round(b.utilizationPercent) + " %",
  });
  for (const bar of element.querySelectorAll("[data-w]")) bar.setAttribute("width", share);
  for (const button of element.querySelectorAll("button")) {
    if (button.dataset.verb !== "reset") {
      const verb = b.drained ? "restore" : "drain";
      mark(button, "verb", verb);
      text(button, b.drained ? "Restore" : "Drain");
    }
    button.setAttribute("aria-label", button.textContent + " " + b.name + " for " + pool.model);
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

// ---- an operator's word ----

const words = {
  drain: ["Drain", "It gets no new requests, on every instance, until it is restored. Requests under way finish."],
  restore: ["Restore", "It gets requests again, on every instance, as far as its breaker and its limits allow."],
  reset: ["Reset", "Its breaker closes and its throttle windows end, on every instance, without a ramp. If it still fails or is still full, callers will notice until it trips or throttles again."],
};
let pending = null, opener = null;

$("pools").addEventListener("click", (event) => {
  const button = event.target.closest("button[data-verb]");
  if (!button) return;
  const { verb, slot, name, model } = button.dataset;
  opener = button;
  pending = verb;
  text($("confirm-title"), words[verb][0] + " " + name + "?");
  text($("confirm-text"), words[verb][1]);
  text($("scope-slot"), "the model " + model + " only");
  text($("scope-name"), "all models of " + name);
  const [one, all] = $("confirm-scope").querySelectorAll("input");
  one.value = slot;
  all.value = name;
  one.checked = true;
  text($("confirm-yes"), words[verb][0]);
  text($("confirm-problem"), "");
  $("confirm").showModal();
  $("confirm-no").focus();
});

$("confirm-no").addEventListener("click", () => $("confirm").close());
$("confirm").addEventListener("close", () => { if (opener && opener.isConnected) opener.focus(); });

$("confirm-yes").addEventListener("click", async () => {
  const target = $("confirm-scope").querySelector("input:checked").value;
  const verb = pending;
  $("confirm-yes").disabled = true;
  text($("confirm-yes"), "Telling the fleet…");
  try {
    const response = await ask("backends/" + encodeURIComponent(target) + "/" + verb, { method: "POST", patience: 15000 });
    if (response.status === 401) { $("confirm").close(); return signIn("The key was not accepted."); }
    if (!response.ok) throw new Error(await problemOf(response));
    $("confirm").close();
    text($("announce"), words[verb][0] + " " + target + ": the fleet has heard it.");
    next(0);
  } catch (error) {
    text($("confirm-problem"), error.message);
  } finally {
    $("confirm-yes").disabled = false;
    text($("confirm-yes"), words[verb][0]);
  }
});

// ---- looking up a request ----

function make(tag, content, attributes = {}) {
  const element = document.createElement(tag);
  if (content instanceof Array) element.append(...content);
  else if (content !== undefined) element.textContent = clean(content);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

function table(label, heads, rows) {
  const body = rows.map((cells) => make("tr", cells.map((c, i) => (c instanceof Node ? make("td", [c]) : make(i ? "td" : "th", c, i ? {} : { scope: "row" })))));
  const whole = make("table", [make("thead", [make("tr", heads.map((h) => make("th", h, { scope: "col" })))]), make("tbody", body)]);
  return make("div", [whole], { class: "scroll", tabindex: "0", role: "region", "aria-label": label });
}

// Each try may reach another instance, and only one of them has the request.
async function find(id) {
  const asked = new Set();
  let message = "";
  for (let tries = 0; tries < 8; tries++) {
    const response = await ask("requests?id=" + encodeURIComponent(id));
    if (response.ok) return showRequest(await response.json());
    if (response.status !== 404) throw new Error(await problemOf(response));
    const answer = await response.json();
    asked.add(answer.instance);
    message = "Not among the last " + answer.kept + " decisions of " + [...asked].join(", ") + ". It may be older, or of an instance that did not answer: the log line with this request_id says the same.";
    if (heard.size <= asked.size && tries >= 3) break;
  }
  $("found").replaceChildren(make("p", message));
}

function showRequest(r) {
  const head = [r.status + (r.code ? " " + r.code : ""), r.consumer && "for " + r.consumer, r.model && "model " + r.model + (r.fallbackModel ? ", answered by " + r.fallbackModel : ""),
    r.operation, r.stream && "a stream", ms(r.totalMs) + " in all", r.firstTokenMs && "first token after " + ms(r.firstTokenMs),
    r.tokens && count(r.tokens.prompt) + " prompt (" + count(r.tokens.cached) + " cached) and " + count(r.tokens.completion) + " completion tokens",
    r.cost && r.cost.toPrecision(4) + " " + (r.currency || ""), "on " + r.instance];
  const parts = [make("p", [make("b", r.id), " " + clock(r.at) + ": " + head.filter(Boolean).join("; ") + "."]), make("ol", r.why.map((w) => make("li", w)), { class: "why" })];
  if (r.candidates) parts.push(table("Candidates", ["Candidate", "Priority", "Place in the line", "Passed over because"], r.candidates.map((c) => [c.backend, String(c.priority), c.place ? String(c.place) : "passed over", [c.reason, left(c.leftMs)].filter(Boolean).join(" ")])));
  if (r.attempts) parts.push(table("Attempts", ["Attempt", "Verdict", "Status", "Took", "Asked to wait"], r.attempts.map((a) => [a.backend, a.verdict + (a.why ? ": " + a.why : "") + (a.probe ? " (probe)" : ""), a.status ? String(a.status) : "none", ms(a.tookMs), ms(a.askedWaitMs)])));
  $("found").replaceChildren(...parts);
}

async function latest() {
  const response = await ask("requests?last=20");
  if (!response.ok) throw new Error(await problemOf(response));
  const all = await response.json();
  const rows = all.requests.map((r) => {
    const link = make("button", r.id, { type: "button", class: "plain-link" });
    link.addEventListener("click", () => { $("find-id").value = r.id; lookUp(() => find(r.id)); });
    return [link, clock(r.at), r.consumer || "–", r.model || "–", String(r.status), r.backend || "none", String((r.attempts || []).length), ms(r.totalMs)];
  });
  const said = rows.length ? "The latest of " + all.instance + ", which keeps " + count(all.kept) + "." : all.instance + " has seen no request yet.";
  $("found").replaceChildren(make("p", said), ...(rows.length ? [table("Latest requests", ["Request id", "At", "Consumer", "Model", "Status", "Served by", "Attempts", "Took"], rows)] : []));
}

async function lookUp(how) {
  try { await how(); } catch (error) { $("found").replaceChildren(make("p", error.message, { class: "problem" })); }
}

$("find").addEventListener("submit", (event) => {
  event.preventDefault();
  const id = $("find-id").value.trim();
  if (id) lookUp(() => find(id));
});
$("latest").addEventListener("click", () => lookUp(latest));

// ---- usage ----

const svg = (tag, attributes, content) => {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (content !== undefined) element.textContent = content;
  return element;
};

function usageQuery(extra) {
  const days = Number($("usage-span").value);
  return "usage?from=" + new Date(Date.now() - days * 86400000).toISOString() + "&by=" + extra;
}

async function drawUsage() {
  try {
    const by = $("usage-by").value, unit = $("usage-unit").value;
    const response = await ask(usageQuery("hour," + by), { patience: 20000 });
    if (!response.ok) throw new Error(await problemOf(response));
    plot(await response.json(), by, unit);
  } catch (error) {
    $("plot").replaceChildren(make("p", error.message, { class: "problem" }));
  }
}

function plot(u, by, unit) {
  const value = (r) => (unit === "cost" ? r.cost : r.promptTokens + r.completionTokens);
  const days = Number($("usage-span").value), step = (days > 1 ? 24 : 1) * 3600000;
  const totals = new Map(), bars = new Map(), rows = new Map();
  for (const r of u.rows) {
    const name = r[by] || "(no name)", at = Math.floor(Date.parse(r.hour) / step) * step;
    totals.set(name, (totals.get(name) || 0) + value(r));
    const row = rows.get(name + "\n" + (r.currency || "")) || { name, currency: r.currency || "", requests: 0, promptTokens: 0, cachedTokens: 0, completionTokens: 0, reasoningTokens: 0, cost: 0 };
    for (const f of ["requests", "promptTokens", "cachedTokens", "completionTokens", "reasoningTokens", "cost"]) row[f] += r[f];
    rows.set(name + "\n" + row.currency, row);
    const bar = bars.get(at) || new Map();
    bar.set(name, (bar.get(name) || 0) + value(r));
    bars.set(at, bar);
  }
  if (!u.rows.length) return $("plot").replaceChildren(make("p", "Nothing was used in this span."));
  const names = [...totals].sort((a, b) => b[1] - a[1]).map(([name]) => name);
  const tint = (name) => Math.min(names.indexOf(name), 6);
  const drawing = drawBars(bars, { from: Math.floor(Date.parse(u.from) / step) * step, to: Date.parse(u.to), step, tint, names, unit, by });
  const sorted = [...rows.values()].sort((a, b) => value(b) - value(a));
  const body = sorted.map((r) => [make("span", [make("span", "", { class: "key s" + tint(r.name), "aria-hidden": "true" }), r.name]), count(r.requests), count(r.promptTokens), count(r.cachedTokens), count(r.completionTokens), count(r.reasoningTokens), money(r.cost) + " " + r.currency]);
  $("plot").replaceChildren(drawing, table("Usage by " + by, [by[0].toUpperCase() + by.slice(1), "Requests", "Prompt", "of it cached", "Completion", "of it reasoning", "Money"], body));
}

const short = (n) => n.toLocaleString("en", { notation: "compact", maximumSignificantDigits: 3 });
const money = (n) => (n >= 100 ? count(n) : n.toFixed(n >= 1 ? 2 : 4));

function drawBars(bars, o) {
  const wide = 900, high = 220, low = 26, side = 62;
  const tops = [...bars.values()].map((bar) => [...bar.values()].reduce((a, b) => a + b, 0));
  const top = Math.max(...tops) || 1;
  const slots = Math.floor((o.to - o.from) / o.step) + 1, width = (wide - side) / slots;
  const total = tops.reduce((a, b) => a + b, 0);
  const say = (n) => (o.unit === "cost" ? money(n) : count(n));
  const root = svg("svg", { viewBox: "0 0 " + wide + " " + high, role: "img", "aria-label": "Usage over time by " + o.by + ": " + say(total) + (o.unit === "cost" ? " in money" : " tokens") + " in all, most " + say(top) + ". The table below has the figures." });
  for (const part of [0, 0.5, 1]) {
    const y = high - low - part * (high - low - 12);
    root.append(svg("line", { class: "grid", x1: side, x2: wide, y1: y, y2: y }), svg("text", { x: side - 6, y: y + 4, "text-anchor": "end" }, short(part * top)));
  }
  for (const [at, bar] of bars) {
    let y = high - low;
    const x = side + Math.round((at - o.from) / o.step) * width;
    for (const name of o.names) {
      const tall = ((bar.get(name) || 0) / top) * (high - low - 12);
      if (!tall) continue;
      root.append(svg("rect", { class: "s" + o.tint(name), x: x + width * 0.1, y: (y -= tall), width: width * 0.8, height: tall }));
    }
  }
  for (let i = 0; i < slots; i += Math.ceil(slots / 8)) {
    const at = new Date(o.from + i * o.step);
    const label = o.step > 3600000 ? at.toLocaleDateString([], { day: "numeric", month: "short" }) : at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hour12: false });
    root.append(svg("text", { x: side + (i + 0.5) * width, y: high - 8, "text-anchor": "middle" }, label));
  }
  return root;
}

for (const id of ["usage-span", "usage-by", "usage-unit"]) $(id).addEventListener("change", drawUsage);
setInterval(() => { if (!$("usage").hidden && !document.hidden && !$("status").hidden) drawUsage(); }, 60000);

$("usage-csv").addEventListener("click", async () => {
  const response = await ask(usageQuery("hour,consumer,model,backend&format=csv"), { patience: 20000 });
  if (!response.ok) return $("plot").prepend(make("p", await problemOf(response), { class: "problem" }));
  const url = URL.createObjectURL(await response.blob());
  const link = make("a", "", { href: url, download: "spillway-usage.csv" });
  link.click();
  URL.revokeObjectURL(url);
});

// ---- beginning ----

document.documentElement.classList.add("scripted");
try { Object.assign(session, JSON.parse(sessionStorage.getItem(keptIn)) || {}); } catch { /* see forget */ }
if (document.body.dataset.keyless === "true" || session.key) poll();
else $("who").focus();
