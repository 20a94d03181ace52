// Asks through Spillway with the unmodified @anthropic-ai/sdk package, and prints
// what came of the cases named by the third argument, divided by commas, as JSON:
// an object by case.
import { createRequire } from 'node:module';
const require = createRequire(process.env.SPILLWAY_TOOLS + '/@anthropic-ai/sdk/package.json');
const { Anthropic } = require('@anthropic-ai/sdk');

const [base, , which] = process.argv.slice(2);
const client = new Anthropic({ baseURL: base + '/anthropic', apiKey: process.env.KEY ?? 'any', authToken: null });

const ask = (more = {}, options = {}) =>
  client.messages.create({ model: 'claude-sonnet-5', max_tokens: 100, messages: [{ role: 'user', content: 'Hello' }], ...more }, options);
const tools = [{ name: 'weather', description: 'The weather', input_schema: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] } }];

// failure is the error that a call throws.
const failure = async (call) => {
  try {
    await call();
    return { error: null };
  } catch (e) {
    return { error: e.constructor.name, status: e.status ?? null, type: e.type ?? null, message: e.message, id: e.requestID ?? null };
  }
};

const cases = {
  plain: async () => {
    const m = await ask();
    return { text: m.content[0].text, stop: m.stop_reason, input: m.usage.input_tokens, output: m.usage.output_tokens, id: m._request_id };
  },
  stream: async () => {
    let text = '', stop = null, output = 0;
    for await (const e of await ask({ stream: true })) {
      text += e.delta?.text ?? '';
      stop = e.delta?.stop_reason ?? stop;
      output = e.usage?.output_tokens ?? output;
    }
    return { text, stop, output };
  },
  helper: async () => {
    const m = await client.messages.stream({ model: 'claude-sonnet-5', max_tokens: 100, messages: [{ role: 'user', content: 'Hello' }] }).finalMessage();
    return { text: m.content[0].text, stop: m.stop_reason };
  },
  tools: async () => {
    const m = await ask({ tools, tool_choice: { type: 'any' } });
    const s = await client.messages.stream({ model: 'claude-sonnet-5', max_tokens: 100, messages: [{ role: 'user', content: 'Hello' }], tools, tool_choice: { type: 'any' } }).finalMessage();
    return { name: m.content[0].name, city: m.content[0].input.city, stop: m.stop_reason, streamed: s.content[0].input.city };
  },
  count: async () => client.messages.countTokens({ model: 'claude-sonnet-5', messages: [{ role: 'user', content: 'Hello' }] }),
  abort: async () => {
    let events = 0;
    const stream = await ask({ stream: true, max_tokens: 5000 });
    for await (const _ of stream) if (++events === 6) break;
    return { events };
  },
  retried: async () => {
    const began = Date.now();
    const m = await ask();
    return { text: m.content[0].text, ms: Date.now() - began };
  },
  broken: async () => failure(async () => {
    for await (const _ of await ask({ stream: true }, { maxRetries: 0 }));
  }),
  final: async () => failure(() => client.messages.stream({ model: 'claude-sonnet-5', max_tokens: 100, messages: [{ role: 'user', content: 'Hello' }] }, { maxRetries: 0 }).finalMessage()),
  refused: async () => failure(() => ask({ model: 'unknown' }, { maxRetries: 0 })),
  failed: async () => failure(() => ask({}, { maxRetries: 0 })),
};

const came = {};
for (const name of which.split(',')) came[name] = await cases[name]();
console.log(JSON.stringify(came));
