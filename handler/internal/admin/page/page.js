// The script of the status page. It requests the status once a second while the page is visible, and shows it as text
// and attributes: the content security policy lets no script write markup.
import { errorText, forget, remember, request, restore, setCredentials, signedIn } from "./api.js";
import { onAction } from "./actions.js";
import { $, text } from "./dom.js";
import { clock } from "./format.js";
import { render } from "./render.js";
import { addStatus, reset } from "./aggregate.js";
import { showUsage } from "./usage.js";
import "./lookup.js";

let timer = 0, misses = 0, lastGood = 0;

function next(delay) {
  clearTimeout(timer);
  if (!document.hidden) timer = setTimeout(poll, delay);
}

async function poll() {
  try {
    const response = await request("status");
    if (response.status === 401 || response.status === 404) return signIn(signedIn() ? "The key was not accepted." : "");
    if (!response.ok) throw new Error(await errorText(response));
    const status = addStatus(await response.json());
    lastGood = Date.now();
    showStatus(status);
    render(status);
    misses = 0;
    $("lost").hidden = true;
    next(1000);
  } catch (error) {
    misses++;
    const since = lastGood ? "The data shown is from " + clock(lastGood) + "." : "";
    text($("lost"), "Spillway does not respond (" + error.message + "). " + since);
    $("lost").hidden = misses < 2;
    next(Math.min(1000 * misses, 5000));
  }
}

document.addEventListener("visibilitychange", () => { if (!document.hidden && !$("status").hidden) next(0); });

function showStatus(status) {
  $("signin").hidden = true;
  $("status").hidden = false;
  $("out").hidden = Boolean(status.keyless);
  if (status.usage) showUsage();
}

function signIn(problem) {
  clearTimeout(timer);
  forget();
  reset();
  $("status").hidden = true;
  $("out").hidden = true;
  $("signin").hidden = false;
  text($("key-problem"), problem);
  text($("overall"), "");
  text($("answered"), "");
  document.title = "Spillway status";
  if (problem) $("key").focus();
}

$("key-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const key = $("key").value.trim();
  if (!/^[\x21-\x7e]+$/.test(key)) return signIn("A key consists of letters, digits and punctuation, without spaces.");
  setCredentials(key, $("who").value.trim());
  await poll();
  if ($("status").hidden) return;
  $("key").value = "";
  remember();
  $("content").focus();
});

// Reloading removes the data with the key.
$("out").addEventListener("click", () => { forget(); location.reload(); });

document.documentElement.classList.add("scripted");
onAction({ onWritten: () => next(0), onUnauthorized: () => signIn("The key was not accepted.") });
restore();
if (document.body.dataset.keyless === "true" || signedIn()) poll();
else $("who").focus();
