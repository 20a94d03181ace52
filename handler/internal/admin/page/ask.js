// Asking the API, as this tab's operator. The key lives in this tab alone and travels as a header.
const keptIn = "spillway-operator";
const session = { key: "", who: "" };

export const signedIn = () => session.key !== "";

export function become(key, who) {
  Object.assign(session, { key, who });
}

// remember and forget do without a browser's storage: then the key is in memory alone.
export function remember() {
  try { sessionStorage.setItem(keptIn, JSON.stringify(session)); } catch { /* as said */ }
}

export function forget() {
  session.key = "";
  try { sessionStorage.removeItem(keptIn); } catch { /* as said */ }
}

export function recall() {
  try { Object.assign(session, JSON.parse(sessionStorage.getItem(keptIn)) || {}); } catch { /* as said */ }
}

export async function ask(path, options = {}) {
  const headers = { "x-spillway-operator": encodeURIComponent(session.who) };
  if (session.key) headers["x-spillway-operator-key"] = session.key;
  return fetch("/ops/api/" + path, { ...options, headers, cache: "no-store", credentials: "omit", redirect: "error", signal: AbortSignal.timeout(options.patience || 5000) });
}

export async function problemOf(response) {
  try { return (await response.json()).error.message; } catch { return "The answer was " + response.status + "."; }
}
