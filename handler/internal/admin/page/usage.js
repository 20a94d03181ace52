// Tokens and cost over days: a line for each consumer, model or backend, with its course.
import { errorText, read, request } from "./api.js";
import { $, make, problem, svg, table } from "./dom.js";
import { count, money } from "./format.js";

const most = 20; // lines shown; the CSV has all

function usageQuery(extra) {
  return "usage?from=" + new Date(Date.now() - Number($("usage-span").value) * 86400000).toISOString() + "&by=" + extra;
}

// showUsage offers the section when the API has usage; it is read when it is opened.
export function showUsage(exists) {
  $("usage").hidden = !exists;
}

async function drawUsage() {
  if (!$("usage-details").open || document.hidden) return;
  try {
    const by = $("usage-by").value;
    const rows = await read("usage", usageQuery("hour," + by), { timeout: 20000 });
    if (rows) plot(rows, by);
  } catch (error) {
    problem("plot", error);
  }
}

function plot(u, by) {
  const step = ($("usage-span").value > 1 ? 24 : 1) * 3600000, from = Math.floor(Date.parse(u.from) / step);
  const slots = Math.floor(Date.parse(u.to) / step) - from + 1, rows = new Map();
  for (const r of u.rows) { // amounts of different currencies are not added
    const name = r[by] || "(no name)", key = name + "\n" + r.currency;
    if (!rows.has(key)) rows.set(key, { name, currency: r.currency, requests: 0, prompt: 0, cached: 0, completion: 0, cost: 0, bars: Array(slots).fill(0) });
    const row = rows.get(key);
    for (const f of ["requests", "prompt", "cached", "completion", "cost"]) row[f] += r[f];
    row.bars[Math.floor(Date.parse(r.hour) / step) - from] += r.prompt + r.completion;
  }
  const sorted = [...rows.values()].sort((a, b) => b.cost - a.cost || b.prompt - a.prompt), top = Math.max(...sorted.flatMap((r) => r.bars));
  const body = sorted.slice(0, most).map((r) => [r.name, bars(r.bars, top), money(r.cost) + " " + r.currency, count(r.requests), count(r.prompt), count(r.cached), count(r.completion)]);
  $("plot").replaceChildren(sorted.length ? table("Usage by " + by, [by[0].toUpperCase() + by.slice(1), "Tokens over time", "Cost", "Requests", "Prompt", "cached", "Completion"], body) : make("p", "There is no usage in this time."));
  if (sorted.length > most) $("plot").append(make("p", "The first " + most + " of " + sorted.length + ": the CSV has all.", { class: "quiet" }));
}

function bars(values, top) {
  const rects = values.map((v, i) => svg("rect", { x: i + 0.1, width: 0.8, y: 20 - (v / top) * 20, height: (v / top) * 20 }));
  return svg("svg", { class: "bars", viewBox: "0 0 " + values.length + " 20", preserveAspectRatio: "none", "aria-hidden": "true" }, rects);
}

for (const id of ["usage-span", "usage-by"]) $(id).addEventListener("change", drawUsage);
$("usage-details").addEventListener("toggle", drawUsage);
setInterval(drawUsage, 60000);

$("usage-csv").addEventListener("click", async () => {
  const response = await request(usageQuery("hour,consumer,model,backend&format=csv"), { timeout: 20000 });
  if (!response.ok) return problem("plot", new Error(await errorText(response)));
  const url = URL.createObjectURL(await response.blob());
  make("a", "", { href: url, download: "spillway-usage.csv" }).click();
  URL.revokeObjectURL(url);
});
