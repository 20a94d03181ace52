// Adding up the traffic of the instances: each poll may reach another one.
const maxAge = 15000;
const statuses = new Map(); // instance -> its latest status, and when it arrived

export const instanceCount = () => statuses.size;
export const isRecent = (instance) => statuses.has(instance);
export const reset = () => statuses.clear();

// addStatus keeps a status, and returns it with the traffic of all recent ones.
export function addStatus(status) {
  const at = Date.now();
  statuses.set(status.instance, { status, at });
  for (const [name, kept] of statuses) if (at - kept.at > maxAge) statuses.delete(name);
  return merged(status);
}

const summed = ["requests", "served", "throttled", "failed", "silent", "hedges", "tokens"];

function merged(latest) {
  const sum = structuredClone(latest);
  const backends = new Map();
  for (const pool of sum.pools) for (const group of pool.groups) for (const b of group.backends) backends.set(b.slot, [pool, b]);
  const consumers = new Map(sum.consumers.map((c) => [c.name, c]));
  for (const [name, { status }] of statuses) {
    if (name === latest.instance) continue;
    for (const c of status.consumers) if (consumers.has(c.name)) addMinute(consumers.get(c.name).lastMinute, c.lastMinute);
    for (const pool of status.pools) for (const group of pool.groups) for (const b of group.backends) {
      if (!backends.has(b.slot)) continue;
      const [ours, into] = backends.get(b.slot);
      addMinute(into.lastMinute, b.lastMinute);
      addMinute(ours.lastMinute, b.lastMinute);
      into.inFlight += b.inFlight;
      into.firstToken = addTimes(into.firstToken, b.firstToken);
      into.utilizationPercent ??= b.utilizationPercent;
    }
  }
  return sum;
}

function addMinute(into, from) {
  for (const field of summed) into[field] = (into[field] || 0) + (from[field] || 0);
}

function addTimes(a, b) {
  const counts = new Map(a.counts);
  for (const [bucket, n] of b.counts) counts.set(bucket, (counts.get(bucket) || 0) + n);
  const sorted = [...counts].sort((x, y) => x[0] - y[0]);
  const samples = a.samples + b.samples;
  return { samples, counts: sorted, p50Ms: quantile(sorted, samples, 0.5), p95Ms: quantile(sorted, samples, 0.95) };
}

function quantile(sorted, samples, q) {
  let seen = 0;
  for (const [bucket, n] of sorted) if ((seen += n) >= Math.ceil(q * samples)) return 2 ** ((bucket + 0.5) / 4);
  return 0;
}
