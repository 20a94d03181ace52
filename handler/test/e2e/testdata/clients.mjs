// Asks through Spillway with every unmodified client that streams from OpenAI's
// endpoints, and prints, for the case named by the second argument, what came of it
// by client and endpoint, as JSON.
import { createRequire } from 'node:module';
const require = createRequire(process.env.SPILLWAY_TOOLS + '/openai/package.json');
const { OpenAI, AzureOpenAI } = require('openai');
const { ChatOpenAI, AzureChatOpenAI, OpenAI: Completions } = require('@langchain/openai');
const { createAzure } = require('@ai-sdk/azure');
const { generateText, streamText, tool, jsonSchema } = require('ai');

const [base, which] = process.argv.slice(2);
const apiKey = 'any', model = 'gpt-4o', instruct = 'gpt-3.5-turbo-instruct', text = 'Hello', messages = [{ role: 'user', content: text }];
const maxRetries = which === 'retried' ? 3 : 0;
const openai = new OpenAI({ baseURL: base + '/openai/v1', apiKey, maxRetries });
const azure = new AzureOpenAI({ endpoint: base, apiKey, apiVersion: '2025-04-01-preview', maxRetries });
const langchain = { model, apiKey, maxRetries, configuration: { baseURL: base + '/openai/v1' } };
const langchainAzure = { azureOpenAIEndpoint: base, azureOpenAIApiKey: apiKey, azureOpenAIApiDeploymentName: model, azureOpenAIApiVersion: '2024-10-21', maxRetries };
const ai = createAzure({ baseURL: base + '/openai/v1', apiKey });

const parameters = { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] };
const weather = { type: 'function', function: { name: 'weather', parameters } };

// parts are the parts of a stream of the AI SDK, which reports errors among them.
async function* parts(model, abortSignal) {
  for await (const part of streamText({ model, prompt: text, maxRetries, abortSignal, onError: () => {} }).fullStream) {
    if (part.type === 'error') throw part.error;
    if (part.type === 'text-delta') yield part;
  }
}

// Each streams with a signal that aborts it, and yields what comes.
const streams = {
  'openai chat': (signal) => openai.chat.completions.create({ model, messages, stream: true }, { signal }),
  'openai completions': (signal) => openai.completions.create({ model, prompt: text, max_tokens: 500, stream: true }, { signal }),
  'openai responses': (signal) => openai.responses.create({ model, input: text, stream: true }, { signal }),
  'openai chat helper': (signal) => openai.chat.completions.stream({ model, messages }, { signal }),
  'openai responses helper': (signal) => openai.responses.stream({ model, input: text }, { signal }),
  'azure chat': (signal) => azure.chat.completions.create({ model, messages, stream: true }, { signal }),
  'azure completions': (signal) => azure.completions.create({ model, prompt: text, max_tokens: 500, stream: true }, { signal }),
  'azure responses': (signal) => azure.responses.create({ model, input: text, stream: true }, { signal }),
  'langchain chat': (signal) => new ChatOpenAI(langchain).stream(text, { signal }),
  'langchain azure chat': (signal) => new AzureChatOpenAI(langchainAzure).stream(text, { signal }),
  'langchain completions': (signal) => new Completions({ ...langchain, model: instruct, maxTokens: 500 }).stream(text, { signal }),
  'langchain responses': (signal) => new ChatOpenAI({ ...langchain, useResponsesApi: true }).stream(text, { signal }),
  'ai chat': (signal) => parts(ai.chat(model), signal),
  'ai completions': (signal) => parts(ai.completion(model), signal),
  'ai responses': (signal) => parts(ai.responses(model), signal),
};

const wholes = {
  'openai chat': async () => (await openai.chat.completions.create({ model, messages })).choices[0].message.content,
  'openai completions': async () => (await openai.completions.create({ model, prompt: text })).choices[0].text,
  'openai responses': async () => (await openai.responses.create({ model, input: text })).output_text,
  'azure chat': async () => (await azure.chat.completions.create({ model, messages })).choices[0].message.content,
  'langchain chat': async () => (await new ChatOpenAI(langchain).invoke(text)).content,
  'langchain azure chat': async () => (await new AzureChatOpenAI(langchainAzure).invoke(text)).content,
  'langchain completions': async () => new Completions({ ...langchain, model: instruct }).invoke(text),
  'langchain responses': async () => (await new ChatOpenAI({ ...langchain, useResponsesApi: true }).invoke(text)).text,
  'ai chat': async () => (await generateText({ model: ai.chat(model), prompt: text, maxRetries })).text,
  'ai completions': async () => (await generateText({ model: ai.completion(model), prompt: text, maxRetries })).text,
  'ai responses': async () => (await generateText({ model: ai.responses(model), prompt: text, maxRetries })).text,
};

const aiTools = { weather: tool({ description: 'The weather', inputSchema: jsonSchema(parameters) }) };
const tools = {
  'openai chat': async () => JSON.parse((await openai.chat.completions.create({ model, messages, tools: [weather], tool_choice: 'required' })).choices[0].message.tool_calls[0].function.arguments),
  'openai chat helper': async () => JSON.parse((await openai.chat.completions.stream({ model, messages, tools: [weather], tool_choice: 'required' }).finalChatCompletion()).choices[0].message.tool_calls[0].function.arguments),
  'langchain chat': async () => (await new ChatOpenAI(langchain).bindTools([weather], { tool_choice: 'required' }).invoke(text)).tool_calls[0].args,
  'langchain azure chat': async () => (await new AzureChatOpenAI(langchainAzure).bindTools([weather], { tool_choice: 'required' }).invoke(text)).tool_calls[0].args,
  'ai chat': async () => (await generateText({ model: ai.chat(model), prompt: text, tools: aiTools, toolChoice: 'required' })).toolCalls[0].input,
  'ai chat stream': async () => (await streamText({ model: ai.chat(model), prompt: text, tools: aiTools, toolChoice: 'required' }).toolCalls)[0].input,
};

// read is how many events a stream had, and the error that ended it.
const read = async (open) => {
  const seen = { events: 0, error: null, message: null };
  try {
    for await (const _ of await open()) seen.events++;
  } catch (e) {
    Object.assign(seen, { error: e?.constructor?.name ?? typeof e, message: e?.message ?? JSON.stringify(e) });
  }
  return seen;
};

const cases = {
  stream: (name) => read(() => streams[name]()),
  abort: async (name) => {
    const controller = new AbortController();
    let events = 0;
    try {
      for await (const _ of await streams[name](controller.signal)) if (++events === 3) controller.abort();
    } catch { /* clients differ in whether an abort is an error */ }
    return { events };
  },
  plain: (name) => wholes[name](),
  retried: (name) => wholes[name](),
  tools: (name) => tools[name](),
};

const came = {};
for (const name of Object.keys({ stream: streams, abort: streams, tools }[which] ?? wholes)) {
  came[name] = await cases[which](name).catch((e) => ({ failed: String(e) }));
}
console.log(JSON.stringify(came));
