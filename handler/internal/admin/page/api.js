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

const turns = {};

// read returns nothing when the part of the page has requested again since.
export async function read(part, path, options) {
  const turn = (turns[part] = (turns[part] || 0) + 1);
  const response = await request(path, options);
  const body = response.ok ? await response.json() : await errorText(response);
  if (turn !== turns[part]) return;
  if (!response.ok) throw Object.assign(new Error(body), { status: response.status });
  return body;
}

export async function errorText(response) {
  try { return (await response.json()).error.message; } catch { return "The response was " + response.status + "."; }
}
