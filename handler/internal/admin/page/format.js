// Numbers and times for people.
export const clock = (at) => new Date(at).toLocaleTimeString([], { hour12: false });
export const count = (n) => String(Math.round(n)).replace(/\B(?=(\d{3})+$)/g, "\u202f");
export const plural = (n, one, many = one + "s") => count(n) + " " + (n === 1 ? one : many);
export const percent = (n) => (n > 0 && n < 1 ? "<1" : Math.round(n)) + "\u00a0%";
export const short = (n) => n.toLocaleString("en", { notation: "compact", maximumSignificantDigits: 3 });
export const money = (n) => (n === 0 ? "0" : n >= 100 ? count(n) : n.toFixed(n >= 1 ? 2 : 4));

export function ms(n) {
  if (!(n > 0)) return "–";
  if (n < 999.5) return Math.round(n) + "\u00a0ms";
  if (n < 9950) return (n / 1000).toFixed(1) + "\u00a0s";
  if (n < 119500) return Math.round(n / 1000) + "\u00a0s";
  if (n < 7170000) return Math.round(n / 60000) + "\u00a0min";
  if (n < 172000000) return Math.round(n / 3600000) + "\u00a0h";
  return Math.round(n / 86400000) + "\u00a0days";
}

// time is the hour, with the day when it was long ago.
export function time(at) {
  const day = new Date(at);
  return (Date.now() - day > 72000000 ? day.toLocaleDateString([], { day: "numeric", month: "short" }) + " " : "") + day.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hour12: false });
}

export const since = (at, now) => (at ? "since " + time(at) + " (" + ms(Math.max(Date.parse(now) - Date.parse(at), 1000)) + ")" : "");
export const left = (n) => (n > 0 ? "for another " + ms(n) : "");

const amount = (n) => (Number.isInteger(n) ? count(n) : n.toFixed(2));
export const used = (l) => (l.amount > 0 ? (100 * l.used) / l.amount : 100);
export const level = (l) => (used(l) >= 100 ? "over" : used(l) >= 80 ? "near" : "well");
export const limitName = (l) => l.limit.replace(/[A-Z]/g, (c) => " " + c.toLowerCase()) + (l.model ? " of " + l.model : "");
export const quota = (l) => limitName(l) + ": " + amount(l.used) + " of " + amount(l.amount) + ", " + Math.trunc(used(l)) + "\u00a0%";

export function traffic(m) {
  return [count(m.requests), m.throttled && count(m.throttled) + " throttled", m.failed && count(m.failed) + " failed", m.silent && count(m.silent) + " silent", m.hedges && count(m.hedges) + " hedges"].filter(Boolean).join(", ");
}

// why is what last changed a backend, and when; a drain is explained by its label.
export function why(b, now) {
  const drained = b.drained && b.drained.by ? "by " + b.drained.by : "";
  if (b.condition === "available") return [b.detail, b.why && "last change: " + b.why + (b.changedAt ? ", " + time(b.changedAt) : "")].filter(Boolean).join("; ");
  return [b.detail, [drained || b.why, since(b.since, now)].filter(Boolean).join(", ")].filter(Boolean).join("; ");
}
