// Actions on a backend: confirmed in a dialog, then written for all instances.
import { errorText, request } from "./api.js";
import { $, text } from "./dom.js";

const actions = {
  drain: ["Drain", "No instance sends it new requests until it is restored. Requests in flight finish."],
  restore: ["Restore", "All instances send it requests again, as far as its circuit and its limits allow."],
  reset: ["Reset", "Its circuit closes and its throttle windows end on all instances. If it still fails, requests fail over until the circuit opens again."],
};
let pending = null, opener = null, onWritten, onUnauthorized;

// onAction sets what is called after an action was written, and when the key was refused.
export function onAction(callbacks) {
  ({ onWritten, onUnauthorized } = callbacks);
}

$("pools").addEventListener("click", (event) => {
  const button = event.target.closest("button[data-verb]");
  if (!button) return;
  const { verb, slot, name, model } = button.dataset;
  opener = button;
  pending = verb;
  text($("confirm-title"), actions[verb][0] + " " + name + "?");
  text($("confirm-text"), actions[verb][1]);
  text($("scope-slot"), "the model " + model + " only");
  text($("scope-name"), "all models of " + name);
  const [one, all] = $("confirm-scope").querySelectorAll("input");
  one.value = slot;
  all.value = name;
  one.checked = true;
  text($("confirm-yes"), actions[verb][0]);
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
  text($("confirm-yes"), "Writing…");
  try {
    const response = await request("backends/" + encodeURIComponent(target) + "/" + verb, { method: "POST", timeout: 15000 });
    if (response.status === 401) { $("confirm").close(); return onUnauthorized(); }
    if (!response.ok) throw new Error(await errorText(response));
    $("confirm").close();
    text($("announce"), actions[verb][0] + " " + target + ": written for all instances.");
    onWritten();
  } catch (error) {
    text($("confirm-problem"), error.message);
  } finally {
    $("confirm-yes").disabled = false;
    text($("confirm-yes"), actions[verb][0]);
  }
});
