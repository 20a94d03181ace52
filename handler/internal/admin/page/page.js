// Requests the status once a second while the page is visible, and shows it as text and attributes: the content
// security policy lets no script write markup.
import { forget, read, remember, restore, setCredentials, signedIn } from "./api.js";
import { onAction } from "./actions.js";
import { $, text } from "./dom.js";
import { clock } from "./format.js";
import { onView, render, statusPath } from "./render.js";
import { showHistory } from "./history.js";
import { showUsage } from "./usage.js";
import "./lookup.js";

let timer = 0, misses = 0, lastGood = 0;

function next(delay) {
  clearTimeout(timer);
  if (!document.hidden) timer = setTimeout(poll, delay);
}

async function poll() {
  clearTimeout(timer);
  try {
    const status = await read("status", statusPath());
    if (!status) return;
    $("signin").hidden = true;
    $("status").hidden = false;
    $("out").hidden = Boolean(status.keyless);
    render(status);
    if (!lastGood) performance.mark("status-shown");
    lastGood = Date.now();
    showHistory();
    showUsage(status.usage);
    misses = 0;
    $("lost").hidden = true;
    next(1000);
  } catch (error) {
    if ([401, 404].includes(error.status)) return signIn(signedIn() ? "The key was not accepted." : "");
    if ($("status").hidden) text($("key-problem"), error.message);
    misses++;
    const since = lastGood ? "The data shown is from " + clock(lastGood) + "." : "";
    text($("lost"), "Spillway does not respond (" + error.message + "). " + since);
    $("lost").hidden = misses < 2;
    next(Math.min(1000 * misses, 5000));
  }
}

document.addEventListener("visibilitychange", () => { if (!document.hidden && !$("status").hidden) next(0); });

function signIn(problem) {
  clearTimeout(timer);
  forget();
  $("status").hidden = true;
  $("out").hidden = true;
  $("signin").hidden = false;
  text($("key-problem"), problem);
  text($("overall"), "Spillway status");
  text($("overall-why"), "");
  text($("answered"), "");
  delete $("top").dataset.level;
  document.title = "Spillway status";
  if (problem) $("key").focus();
}

$("key-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const key = $("key").value.trim();
  if (!/^[\x21-\x7e]+$/.test(key)) return signIn("A key has letters, digits and punctuation, no spaces.");
  setCredentials(key, $("who").value.trim());
  await poll();
  if ($("status").hidden) return;
  $("key").value = "";
  remember();
  $("overall").focus({ preventScroll: true });
  scrollTo(0, 0);
});

// Reloading removes the data with the key.
$("out").addEventListener("click", () => { forget(); location.reload(); });

document.documentElement.classList.add("scripted");
onAction({ onWritten: () => next(0), onUnauthorized: () => signIn("The key was not accepted.") });
onView(() => next(0));
restore();
if ("keyless" in document.body.dataset || signedIn()) poll();
else {
  signIn("");
  $("who").focus();
}
