// The last hours: small plots of the traffic, and the events as a picture.
import { read } from "./api.js";
import { $, fill, list, make, problem, svg, text } from "./dom.js";
import { count, money, ms, percent, short, time } from "./format.js";

const every = 10000, lanes = 10;
let due = 0;

// showHistory requests the history when it is due.
export async function showHistory(now = Date.now()) {
  if (now < due || document.hidden) return;
  due = now + every;
  try {
    const h = await read("history", "history?model=" + encodeURIComponent($("history-model").value));
    if (!h) return;
    renderPlots(h);
    renderEvents(h);
  } catch (error) {
    problem("plots", error);
  }
}

$("history-model").addEventListener("change", () => showHistory(Infinity).then(() => { due = 0; }));

function renderPlots(h) {
  const select = $("history-model"), step = h.stepMs / 60000, last = h.plots.requests.length - 1;
  if (select.options.length !== h.models.length + 1) {
    const chosen = select.value;
    select.replaceChildren(select.options[0], ...[...h.models].sort().map((model) => make("option", model, { value: model })));
    select.value = chosen;
  }
  // The last step is not over: its rate is over the part that is, and not shown in its first minute unless it is all there is.
  const passed = (Date.parse(h.at) - Date.parse(h.from)) / 60000 - last * step, end = passed < 1 && h.plots.requests.slice(0, last).some((n) => n > 0) ? last : last + 1;
  const rate = (values) => values.slice(0, end).map((v, i) => v / (i === last ? Math.min(passed, step) : step));
  const hourly = (values) => rate(values).map((v) => v * 60);
  const per = (n) => (n < 10 ? String(Math.round(n * 10) / 10) : short(n));
  const plots = [
    ["Requests a minute", per, [rate(h.plots.requests), rate(h.plots.failed)], ["", "refused or failed"]],
    ["Spilled over", percent, [h.plots.spilled.slice(0, end)], [""], 100],
    ["Tokens a minute", short, [rate(h.plots.tokens)], [""]],
    ["First token", ms, [h.plots.p95.slice(0, end), h.plots.p50.slice(0, end)], ["p95", "p50"]],
    ...(Object.keys(h.costs).length ? Object.entries(h.costs) : [["", h.plots.requests.map(() => 0)]]).map(([currency, values]) => [(currency || "Cost") + " an hour", money, [hourly(values)], [""]]),
  ];
  $("plots").replaceChildren(...plots.map((plot) => draw(h, ...plot)));
}

function draw(h, name, format, rows, labels, ceiling) {
  const width = rows[0].length, high = 40;
  const top = ceiling || Math.max(...rows.flat()) || 1;
  const points = (values) => values.map((v, i) => i + "," + (high - (v / top) * (high - 2)).toFixed(1));
  const picture = svg("svg", { viewBox: "0 0 " + (width - 1) + " " + high, preserveAspectRatio: "none", "aria-hidden": "true" });
  rows.forEach((values, i) => {
    if (labels[i][0] !== "p") picture.append(svg("path", { class: "area a" + i, d: "M0," + high + "L" + points(values).join("L") + "L" + (width - 1) + "," + high + "z" }));
    picture.append(svg("polyline", { class: "curve " + (labels[i][0] === "p" ? labels[i] : "a" + i), points: points(values).join(" ") }));
  });
  const peak = Math.max(...rows[0]), when = new Date(Date.parse(h.from) + rows[0].indexOf(peak) * h.stepMs);
  const now = rows.map((values, i) => [format(values.at(-1)), labels[i]].filter(Boolean).join(" ")).filter((t, i) => i === 0 || rows[i].some((v) => v > 0)).join(", ");
  return make("figure", [make("figcaption", [make("span", name + " "), make("b", now), make("small", peak > 0 ? " most " + format(peak) + " at " + time(when) : " none in 6 hours")]), picture]);
}

const kinds = { trip: "circuit open", throttle: "throttled", refuse: "refuses an operation", drain: "drained", budget: "budget mark", config: "configuration" };
const ends = { trip: ["close", "reset"], drain: ["restore"], throttle: ["reset"] };

// spans are the events of a subject with their ends: of a trip and a drain the event that ends it.
function spans(events, now) {
  const found = [];
  for (const e of events) {
    if (!kinds[e.kind]) continue;
    const at = Date.parse(e.at), through = Date.parse(e.last);
    const end = e.kind === "trip" || e.kind === "drain" ? events.find((o) => ends[e.kind].includes(o.kind) && Date.parse(o.at) >= through) : e;
    found.push({ kind: e.kind, at, end: end ? Date.parse(end.last) : now, open: !end, event: e });
  }
  return found;
}

function renderEvents(h) {
  const from = Date.parse(h.from), now = Date.parse(h.at), model = $("history-model").value;
  const of = new Map();
  for (const e of h.events) {
    if (model && e.kind !== "config" && !e.subject.endsWith("/" + model)) continue;
    const lane = e.kind === "config" ? "configuration" : e.subject;
    of.set(lane, [...(of.get(lane) || []), e]);
  }
  let rows = [...of].map(([name, events]) => ({ name, spans: spans(events, now).filter((s) => s.end >= from) })).filter((r) => r.spans.length);
  if (rows.length > lanes) rows = byModel(rows);
  rows.sort((a, b) => Math.max(...b.spans.map((s) => s.end)) - Math.max(...a.spans.map((s) => s.end)) || a.name.localeCompare(b.name));
  const shown = rows.slice(0, lanes).map((r) => lane(r, from, now));
  if (rows.length > lanes) shown.push(make("li", "and " + (rows.length - lanes) + " more: see the list", { class: "quiet" }));
  $("events").replaceChildren(...shown);
  $("no-events").hidden = rows.length > 0;
  $("events").hidden = $("axis").hidden = rows.length === 0;
  const marks = [];
  for (let at = Math.ceil(from / 3600000) * 3600000; at < now; at += 3600000) marks.push(svg("text", { x: ((at - from) / (now - from)) * 100 + "%", y: 12, "text-anchor": "middle" }, time(at)));
  $("axis").replaceChildren(svg("svg", { width: "100%", height: 16 }, marks));
  list($("changes"), h.events.slice(-50).reverse(), "t-change", (e) => e.subject + " " + e.kind + " " + e.text + " " + e.at, (li, e) => fill(li, {
    at: time(e.at) + (Date.parse(e.last) - Date.parse(e.at) > 60000 ? "–" + time(e.last) : ""), slot: e.subject, text: e.text,
    by: [e.times > 1 && count(e.times) + " times", e.by && "seen by " + e.by].filter(Boolean).join(", "),
  }));
}

// byModel puts the backends of a model on one lane.
function byModel(rows) {
  const models = Map.groupBy(rows, (r) => r.name.slice(r.name.indexOf("/") + 1));
  return [...models].map(([name, of]) => (of.length === 1 ? of[0] : { name: name + ", " + of.length + " backends", spans: of.flatMap((r) => r.spans).sort((a, b) => a.at - b.at) }));
}

function lane(row, from, now) {
  const x = (at) => (Math.max(at - from, 0) / (now - from)) * 1000;
  const picture = svg("svg", { viewBox: "0 0 1000 16", preserveAspectRatio: "none", "aria-hidden": "true" }, [svg("line", { class: "track", x1: 0, x2: 1000, y1: 8, y2: 8 })]);
  for (const s of row.spans) {
    const left = x(s.at), width = Math.max(x(s.end) - left, 4), e = "e-" + s.kind;
    if (s.kind === "budget") picture.append(svg("path", { class: e, d: "M" + left + " 1l5 7-5 7-5-7z" }));
    else if (s.kind === "config") picture.append(svg("path", { class: e, d: "M" + (left - 6) + " 2h12l-6 12z" }));
    else picture.append(svg("rect", { class: e, x: Math.min(left, 996), width, y: { trip: 1, drain: 2 }[s.kind] || 5, height: { trip: 14, drain: 12 }[s.kind] || 6 }));
  }
  const latest = row.spans.at(-1), words = new Map();
  for (const s of row.spans) words.set(s.kind, (words.get(s.kind) || 0) + s.event.times);
  const told = [...words].map(([kind, n]) => kinds[kind] + (n > 1 ? " " + count(n) + " times" : "")).join(", ") + ", last " + time(latest.at) + (latest.open ? ", still so" : latest.end - latest.at > 60000 ? " to " + time(latest.end) : "");
  return make("li", [make("span", row.name, { class: "name" }), picture, make("small", row.spans.length === 1 || latest.kind === "config" || latest.kind === "budget" ? latest.event.text + ", " + time(latest.at) : told)]);
}
