// Asks through Spillway with the unmodified openai package, in the form named
// by the second argument, and prints what came of the cases named by the third,
// divided by commas, as JSON: an object by case. The fourth is the key.
import { createRequire } from 'node:module';
const require = createRequire(process.env.SPILLWAY_TOOLS + '/openai/package.json');
const { OpenAI, AzureOpenAI } = require('openai');

const [base, form, which, key] = process.argv.slice(2);
const apiKey = key ?? process.env.KEY ?? 'any';
let attempts = 0;
const counted = (...args) => (attempts++, fetch(...args));
const client = form === 'azure'
  ? new AzureOpenAI({ endpoint: base, apiKey, apiVersion: '2024-10-21', fetch: counted })
  : new OpenAI({ baseURL: base + '/openai/v1', apiKey, fetch: counted });

const model = 'gpt-4o';
const messages = [{ role: 'user', content: 'Hello' }];
const ask = (more = {}, options = {}) => client.chat.completions.create({ model, messages, ...more }, options);

const text = async (stream) => {
  let out = '', finish = null, events = 0;
  for await (const chunk of stream) {
    events++;
    out += chunk.choices[0]?.delta?.content ?? '';
    finish = chunk.choices[0]?.finish_reason ?? finish;
  }
  return { out, finish, events };
};

const cases = {
  plain: async () => {
    const c = await ask();
    return { content: c.choices[0].message.content, finish: c.choices[0].finish_reason, tokens: c.usage.total_tokens, id: c._request_id };
  },
  stream: async () => text(await ask({ stream: true })),
  usage: async () => {
    let usage = null;
    for await (const c of await ask({ stream: true, stream_options: { include_usage: true } })) usage = c.usage ?? usage;
    return { tokens: usage.total_tokens };
  },
  tools: async () => {
    const tools = [{ type: 'function', function: { name: 'weather', parameters: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] } } }];
    const c = await ask({ tools, tool_choice: 'required' });
    const call = c.choices[0].message.tool_calls[0];
    return { name: call.function.name, arguments: JSON.parse(call.function.arguments), finish: c.choices[0].finish_reason };
  },
  schema: async () => {
    const schema = { type: 'object', properties: { answer: { type: 'string' } }, required: ['answer'], additionalProperties: false };
    const c = await ask({ response_format: { type: 'json_schema', json_schema: { name: 'reply', strict: true, schema } } });
    return JSON.parse(c.choices[0].message.content);
  },
  image: async () => {
    const url = 'data:image/png;base64,' + 'A'.repeat(200000);
    const c = await ask({ messages: [{ role: 'user', content: [{ type: 'text', text: 'What is it?' }, { type: 'image_url', image_url: { url } }] }] });
    return { content: c.choices[0].message.content };
  },
  abort: async () => {
    const stream = await ask({ stream: true });
    let events = 0;
    for await (const _ of stream) if (++events === 3) break;
    return { events };
  },
  retried: async () => {
    const began = Date.now();
    const c = await ask();
    return { content: c.choices[0].message.content, ms: Date.now() - began };
  },
  broken: async () => {
    const seen = { events: 0, error: null };
    try {
      for await (const _ of await ask({ stream: true }, { maxRetries: 0 })) seen.events++;
    } catch (e) {
      seen.error = e.constructor.name;
    }
    return seen;
  },
  retriedUntilServed: async () => {
    for (let served = 0; ; served++) {
      const began = Date.now();
      attempts = 0;
      await ask({ max_tokens: 120 }, { maxRetries: 3 });
      if (attempts > 1) return { served, attempts, ms: Date.now() - began };
    }
  },
  usedUp: async () => {
    let served = 0;
    for (let refused = 0; ; served++) {
      attempts = 0;
      try {
        await ask({ max_tokens: 120 }, { maxRetries: 3 });
      } catch (e) {
        if (++refused === 2) return { served, attempts, error: e.constructor.name, status: e.status, code: e.code, message: e.message };
      }
    }
  },
  refused: async () => {
    try {
      await client.chat.completions.create({ model: 'unknown', messages }, { maxRetries: 0 });
      return { error: null };
    } catch (e) {
      return { error: e.constructor.name, status: e.status, code: e.code, message: e.message, id: e.requestID };
    }
  },
};

const came = {};
for (const name of which.split(',')) came[name] = await cases[name]();
console.log(JSON.stringify(came));
