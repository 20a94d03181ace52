// Looking up why a request went to its backend.
import { errorText, read, request } from "./api.js";
import { $, make, problem, table } from "./dom.js";
import { clock, count, ms } from "./format.js";

// Each try may reach another instance, and only one has the request.
async function find(id) {
  const asked = new Set();
  let message = "";
  for (let tries = 0; tries < 8; tries++) {
    const response = await request("requests?id=" + encodeURIComponent(id));
    if (response.ok) return showRequest(await response.json());
    if (response.status !== 404) throw new Error(await errorText(response));
    const answer = await response.json();
    asked.add(answer.instance);
    message = "Not among the last " + answer.kept + " requests of " + [...asked].join(", ") + ". See the log line with this request_id.";
  }
  $("found").replaceChildren(make("p", message));
}

function showRequest(r) {
  const head = [r.status + (r.code ? " " + r.code : ""), r.consumer && "for " + r.consumer, r.model && "model " + r.model + (r.fallbackModel ? ", served by its fallback " + r.fallbackModel : ""),
    r.operation, r.stream && "a stream", ms(r.totalMs) + " in total", r.firstTokenMs && "first token after " + ms(r.firstTokenMs),
    r.tokens && count(r.tokens.prompt) + " prompt (" + count(r.tokens.cached) + " cached) and " + count(r.tokens.completion) + " completion tokens",
    r.cost && r.cost.toPrecision(4) + " " + (r.currency || ""), "on " + r.instance];
  const parts = [make("p", [make("b", r.id), " " + clock(r.at) + ": " + head.filter(Boolean).join("; ") + "."]), make("ol", r.why.map((w) => make("li", w)), { class: "why" })];
  if (r.attempts) parts.push(table("Attempts", ["Attempt", "Outcome", "Status", "Took", "Requested wait"], r.attempts.map((a) => [a.backend, a.verdict + (a.why ? ": " + a.why : "") + (a.probe ? " (probe)" : ""), a.status ? String(a.status) : "–", ms(a.tookMs), ms(a.askedWaitMs)])));
  $("found").replaceChildren(...parts);
}

async function latest() {
  const all = await read("found", "requests?last=20");
  if (!all) return;
  const rows = all.requests.map((r) => {
    const link = make("button", r.id, { type: "button", class: "plain-link" });
    link.addEventListener("click", () => { $("find-id").value = r.id; lookUp(() => find(r.id)); });
    return [link, clock(r.at), r.consumer || "–", r.model || "–", String(r.status), r.backend || "none", ms(r.totalMs)];
  });
  const summary = rows.length ? "The latest of " + count(all.kept) + " requests of " + all.instance + "." : all.instance + " has served no request yet.";
  $("found").replaceChildren(make("p", summary), ...(rows.length ? [table("Latest requests", ["Request id", "At", "Consumer", "Model", "Status", "Served by", "Took"], rows)] : []));
}

async function lookUp(query) {
  try { await query(); } catch (error) { problem("found", error); }
}

$("find").addEventListener("submit", (event) => {
  event.preventDefault();
  const id = $("find-id").value.trim();
  if (id) lookUp(() => find(id));
});
$("latest").addEventListener("click", () => lookUp(latest));
