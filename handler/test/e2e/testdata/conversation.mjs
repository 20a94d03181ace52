// Leads conversations through Spillway with the unmodified client named by the
// first argument: each turn goes to one of the addresses, any of them, with the
// id of the turn before. Prints how many turns there were, and every error that
// is no matter of the connection.
import { createRequire } from 'node:module';
const require = createRequire(process.env.SPILLWAY_TOOLS + '/openai/package.json');

const [kind, addresses, conversations, turns] = process.argv.slice(2);
const bases = addresses.split(',');
const apiKey = 'any', model = 'gpt-4o', maxRetries = 6;

// Each client leads one turn: (base, id of the turn before, number) => id.
const clients = {
  openai: async () => {
    const { OpenAI } = require('openai');
    const at = bases.map((base) => new OpenAI({ baseURL: base + '/openai/v1', apiKey, maxRetries }));
    return async (i, previous_response_id, n) => {
      const ask = { model, input: 'Turn ' + n, previous_response_id };
      if (n % 3 === 0) return (await at[i].responses.create(ask)).id;
      let id;
      for await (const event of await at[i].responses.create({ ...ask, stream: true })) {
        if (event.type === 'response.completed') id = event.response.id;
      }
      if (n % 7 === 0) await at[(i + 1) % at.length].responses.retrieve(id);
      return id;
    };
  },
  azure: async () => {
    const { AzureOpenAI } = require('openai');
    const at = bases.map((endpoint) => new AzureOpenAI({ endpoint, apiKey, apiVersion: '2025-04-01-preview', maxRetries }));
    return async (i, previous_response_id, n) => (await at[i].responses.create({ model, input: 'Turn ' + n, previous_response_id })).id;
  },
  langchain: async () => {
    const { ChatOpenAI } = require('@langchain/openai');
    const at = bases.map((base) => new ChatOpenAI({ model, apiKey, useResponsesApi: true, maxRetries, configuration: { baseURL: base + '/openai/v1' } }));
    return async (i, previous_response_id, n) => {
      const answer = await at[i].invoke('Turn ' + n, { previous_response_id });
      return answer.response_metadata.id ?? answer.id;
    };
  },
  ai: async () => {
    const { createAzure } = require('@ai-sdk/azure');
    const { generateText } = require('ai');
    const at = bases.map((base) => createAzure({ baseURL: base + '/openai', apiKey }));
    return async (i, previousResponseId, n) => {
      const options = { previousResponseId };
      const r = await generateText({ model: at[i].responses(model), prompt: 'Turn ' + n, maxRetries, providerOptions: { azure: options, openai: options } });
      const meta = r.providerMetadata.azure ?? r.providerMetadata.openai;
      return meta.responseId;
    };
  },
};

const lead = await clients[kind]();
const seen = { turns: 0, errors: [] };
const converse = async (c) => {
  let id;
  for (let n = 0; n < turns; n++) {
    try {
      id = await lead((c + n) % bases.length, id, n);
      if (!id?.startsWith('resp_')) throw new Error('no response id: ' + id);
      seen.turns++;
    } catch (e) {
      const status = e.status ?? e.statusCode ?? e.lastError?.statusCode;
      seen.errors.push(`${status} ${e.message}`);
    }
  }
};
await Promise.all(Array.from({ length: Number(conversations) }, (_, c) => converse(c)));
console.log(JSON.stringify(seen));
