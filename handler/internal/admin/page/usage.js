// Tokens and cost over time, as bars and a table.
import { errorText, request } from "./api.js";
import { $, clean, make, table } from "./dom.js";
import { count } from "./format.js";

const svg = (tag, attributes, content) => {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (content !== undefined) element.textContent = clean(content);
  return element;
};

function usageQuery(extra) {
  const days = Number($("usage-span").value);
  return "usage?from=" + new Date(Date.now() - days * 86400000).toISOString() + "&by=" + extra;
}

// showUsage shows the section, when the API has usage.
export function showUsage() {
  if (!$("usage").hidden) return;
  $("usage").hidden = false;
  drawUsage();
}

async function drawUsage() {
  try {
    const by = $("usage-by").value, unit = $("usage-unit").value;
    const response = await request(usageQuery("hour," + by), { timeout: 20000 });
    if (!response.ok) throw new Error(await errorText(response));
    plot(await response.json(), by, unit);
  } catch (error) {
    $("plot").replaceChildren(make("p", error.message, { class: "problem" }));
  }
}

function plot(u, by, unit) {
  const value = (r) => (unit === "cost" ? r.cost : r.prompt + r.completion);
  const days = Number($("usage-span").value), step = (days > 1 ? 24 : 1) * 3600000;
  const mixed = unit === "cost" && new Set(u.rows.map((r) => r.currency)).size > 1; // amounts of different currencies are not added
  const totals = new Map(), bars = new Map(), rows = new Map();
  for (const r of u.rows) {
    const name = (r[by] || "(no name)") + (mixed ? " in " + r.currency : ""), at = Math.floor(Date.parse(r.hour) / step) * step;
    totals.set(name, (totals.get(name) || 0) + value(r));
    const row = rows.get(name + "\n" + (r.currency || "")) || { name, currency: r.currency || "", requests: 0, prompt: 0, cached: 0, completion: 0, reasoning: 0, cost: 0 };
    for (const f of ["requests", "prompt", "cached", "completion", "reasoning", "cost"]) row[f] += r[f];
    rows.set(name + "\n" + row.currency, row);
    const bar = bars.get(at) || new Map();
    bar.set(name, (bar.get(name) || 0) + value(r));
    bars.set(at, bar);
  }
  if (!u.rows.length) return $("plot").replaceChildren(make("p", "There is no usage in this time."));
  const names = [...totals].sort((a, b) => b[1] - a[1]).map(([name]) => name);
  const tint = (name) => Math.min(names.indexOf(name), 6);
  const drawing = drawBars(bars, { from: Math.floor(Date.parse(u.from) / step) * step, to: Date.parse(u.to), step, tint, names, unit, by });
  const sorted = [...rows.values()].sort((a, b) => value(b) - value(a));
  const body = sorted.map((r) => [make("span", [make("span", "", { class: "key s" + tint(r.name), "aria-hidden": "true" }), r.name]), count(r.requests), count(r.prompt), count(r.cached), count(r.completion), count(r.reasoning), money(r.cost) + " " + r.currency]);
  $("plot").replaceChildren(drawing, table("Usage by " + by, [by[0].toUpperCase() + by.slice(1), "Requests", "Prompt", "cached", "Completion", "reasoning", "Cost"], body));
}

const short = (n) => n.toLocaleString("en", { notation: "compact", maximumSignificantDigits: 3 });
const money = (n) => (n >= 100 ? count(n) : n.toFixed(n >= 1 ? 2 : 4));

function drawBars(bars, o) {
  const wide = 900, high = 220, low = 26, side = 62;
  const tops = [...bars.values()].map((bar) => [...bar.values()].reduce((a, b) => a + b, 0));
  const top = Math.max(...tops) || 1;
  const slots = Math.floor((o.to - o.from) / o.step) + 1, width = (wide - side) / slots;
  const total = tops.reduce((a, b) => a + b, 0);
  const format = (n) => (o.unit === "cost" ? money(n) : count(n));
  const root = svg("svg", { viewBox: "0 0 " + wide + " " + high, role: "img", "aria-label": "Usage over time by " + o.by + ": " + format(total) + (o.unit === "cost" ? " of cost" : " tokens") + " in total, at most " + format(top) + ". The table below has the figures." });
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
    const x = side + (i + 0.5) * width, last = x > wide - 30;
    root.append(svg("text", { x: last ? wide : x, y: high - 6, "text-anchor": last ? "end" : "middle" }, label));
  }
  return root;
}

for (const id of ["usage-span", "usage-by", "usage-unit"]) $(id).addEventListener("change", drawUsage);
setInterval(() => { if (!$("usage").hidden && !document.hidden && !$("status").hidden) drawUsage(); }, 60000);

$("usage-csv").addEventListener("click", async () => {
  const response = await request(usageQuery("hour,consumer,model,backend&format=csv"), { timeout: 20000 });
  if (!response.ok) return $("plot").prepend(make("p", await errorText(response), { class: "problem" }));
  const url = URL.createObjectURL(await response.blob());
  const link = make("a", "", { href: url, download: "spillway-usage.csv" });
  link.click();
  URL.revokeObjectURL(url);
});
