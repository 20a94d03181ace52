// Requests to the API. The key is kept in this tab only, and sent as a header.
const storageKey = "spillway-operator";
const session = { key: "", who: "" };

export const signedIn = () => session.key !== "";

export function setCredentials(key, who) {
  Object.assign(session, { key, who });
}

// Without session storage the key is kept in memory only.
export function remember() {
  try { sessionStorage.setItem(storageKey, JSON.stringify(session)); } catch { /* see above */ }
}

export function forget() {
  session.key = "";
  try { sessionStorage.removeItem(storageKey); } catch { /* see above */ }
}

export function restore() {
  try { Object.assign(session, JSON.parse(sessionStorage.getItem(storageKey)) || {}); } catch { /* see above */ }
}

export async function request(path, options = {}) {
  const headers = { "x-spillway-operator": encodeURIComponent(session.who) };
  if (session.key) headers["x-spillway-operator-key"] = session.key;
  return fetch("/ops/api/" + path, { ...options, headers, cache: "no-store", credentials: "omit", redirect: "error", signal: AbortSignal.timeout(options.timeout || 5000) });
}

export async function errorText(response) {
  try { return (await response.json()).error.message; } catch { return "The response was " + response.status + "."; }
}
