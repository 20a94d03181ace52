// An operator's word on a backend: asked back in a dialog, then written for the whole fleet.
import { ask, problemOf } from "./ask.js";
import { $, text } from "./dom.js";

const words = {
  drain: ["Drain", "It gets no new requests, on every instance, until it is restored. Requests under way finish."],
  restore: ["Restore", "It gets requests again, on every instance, as far as its breaker and its limits allow."],
  reset: ["Reset", "Its breaker closes and its throttle windows end, on every instance, without a ramp. If it still fails or is still full, callers will notice until it trips or throttles again."],
};
let pending = null, opener = null, written, refused;

// begin says whom to tell when the fleet has heard, and when the key was refused.
export function begin(tell) {
  ({ written, refused } = tell);
}

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
    if (response.status === 401) { $("confirm").close(); return refused(); }
    if (!response.ok) throw new Error(await problemOf(response));
    $("confirm").close();
    text($("announce"), words[verb][0] + " " + target + ": the fleet has heard it.");
    written();
  } catch (error) {
    text($("confirm-problem"), error.message);
  } finally {
    $("confirm-yes").disabled = false;
    text($("confirm-yes"), words[verb][0]);
  }
});
