// The script of the status page. It asks for the status once a second while the page is visible, and writes what it
// learns as text and attributes: the page's policy lets no script write markup at all.
import { ask, become, forget, problemOf, recall, remember, signedIn } from "./ask.js";
import { begin as listen } from "./act.js";
import { $, text } from "./dom.js";
import { clock } from "./say.js";
import { show } from "./show.js";
import { hear, unhear } from "./sum.js";
import { begin as plot } from "./usage.js";
import "./find.js";

let timer = 0, misses = 0, lastGood = 0;

function next(delay) {
  clearTimeout(timer);
  if (!document.hidden) timer = setTimeout(poll, delay);
}

async function poll() {
  try {
    const response = await ask("status");
    if (response.status === 401 || response.status === 404) return signIn(signedIn() ? "The key was not accepted." : "");
    if (!response.ok) throw new Error(await problemOf(response));
    const status = hear(await response.json());
    lastGood = Date.now();
    enter(status);
    show(status);
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

function enter(status) {
  $("signin").hidden = true;
  $("status").hidden = false;
  $("out").hidden = Boolean(status.keyless);
  if (status.usage) plot();
}

function signIn(problem) {
  clearTimeout(timer);
  forget();
  unhear();
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
  if (!/^[\x21-\x7e]+$/.test(key)) return signIn("A key is made of letters, digits and signs, without spaces.");
  become(key, $("who").value.trim());
  await poll();
  if ($("status").hidden) return;
  $("key").value = "";
  remember();
  $("content").focus();
});

// What was shown goes with the key.
$("out").addEventListener("click", () => { forget(); location.reload(); });

document.documentElement.classList.add("scripted");
listen({ written: () => next(0), refused: () => signIn("The key was not accepted.") });
recall();
if (document.body.dataset.keyless === "true" || signedIn()) poll();
else $("who").focus();
