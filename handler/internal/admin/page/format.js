// Numbers and times for people, as format.go formats them on the server.
export const clock = (at) => new Date(at).toLocaleTimeString([], { hour12: false });
export const count = (n) => String(Math.round(n)).replace(/\B(?=(\d{3})+$)/g, "\u202f");
export const plural = (n, one, many = one + "s") => n + " " + (n === 1 ? one : many);

export function ms(n) {
  if (!(n > 0)) return "–";
  if (n < 999.5) return Math.round(n) + "\u00a0ms";
  if (n < 9950) return (n / 1000).toFixed(1) + "\u00a0s";
  if (n < 119500) return Math.round(n / 1000) + "\u00a0s";
  return Math.round(n / 60000) + "\u00a0min";
}

export const left = (n) => (n > 0 ? "for another " + ms(n) : "");

const amount = (n) => (Number.isInteger(n) ? count(n) : n.toFixed(2));
const used = (l) => (l.amount > 0 ? (100 * (l.amount - l.remaining)) / l.amount : 100);

export function quota(l) {
  const name = l.limit.replace(/[A-Z]/g, (c) => " " + c.toLowerCase());
  return name + (l.model ? " of " + l.model : "") + ": " + amount(l.amount - l.remaining) + " of " + amount(l.amount) + ", " + Math.trunc(used(l)) + "\u00a0%";
}

export const level = (l) => (used(l) >= 100 ? "over" : used(l) >= 80 ? "near" : "well");

export function traffic(m) {
  return [count(m.requests), m.throttled && count(m.throttled) + " throttled", m.failed && count(m.failed) + " failed", m.silent && count(m.silent) + " silent", m.hedges && count(m.hedges) + " hedges"].filter(Boolean).join(", ");
}

export function why(b) {
  let reason = b.why || "", at = b.changedAt;
  if (reason && b.condition === "available") reason = "last change: " + reason;
  if (b.drained && b.drained.by) [reason, at] = ["by " + b.drained.by, b.drained.at];
  return [b.detail, [reason, reason && at && clock(at)].filter(Boolean).join(", ")].filter(Boolean).join("; ");
}
