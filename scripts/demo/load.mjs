// load.mjs asks N handlers in turn at a fixed rate and prints, once a second, which backend served whom.
// usage: node load.mjs RATE ADDRESS...
import http from 'node:http';

const [rate, ...addresses] = process.argv.slice(2);
const agent = new http.Agent({ keepAlive: true, maxSockets: 200 });
const body = JSON.stringify({ model: 'gpt-4o', max_tokens: 40, messages: [{ role: 'user', content: 'Hello' }] });
const counts = addresses.map(() => new Map());
let turn = 0;

function ask() {
  const i = turn++ % addresses.length;
  const request = http.request(`${addresses[i]}/openai/v1/chat/completions`, {
    method: 'POST', agent, headers: { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) },
  }, (answer) => {
    const who = answer.statusCode === 200 ? answer.headers['x-spillway-backend'] : `status ${answer.statusCode}`;
    counts[i].set(who, (counts[i].get(who) ?? 0) + 1);
    answer.resume();
  });
  request.on('error', (e) => counts[i].set(e.code, (counts[i].get(e.code) ?? 0) + 1));
  request.end(body);
}

setInterval(ask, 1000 / Number(rate));
setInterval(() => {
  const line = counts.map((seen, i) => `${i + 1}: ` + [...seen].sort().map(([who, n]) => `${who} ${n}`).join(' ')).join('   ');
  console.log(new Date().toISOString().slice(11, 19), line);
  counts.forEach((seen) => seen.clear());
}, 1000);
