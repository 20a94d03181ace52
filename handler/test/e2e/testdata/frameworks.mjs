// Uses Spillway with LangChain and the AI SDK, unmodified, and prints what came
// of it as JSON.
import { createRequire } from 'node:module';
const require = createRequire(process.env.SPILLWAY_TOOLS + '/openai/package.json');
const { ChatOpenAI, AzureChatOpenAI, OpenAIEmbeddings } = require('@langchain/openai');
const { createAzure } = require('@ai-sdk/azure');
const { generateText, streamText, embed, stepCountIs } = require('ai');

const [base] = process.argv.slice(2);
const apiKey = 'key-of-the-sdk-tests', configuration = { baseURL: base + '/openai/v1' };
const seen = {};

const chat = new ChatOpenAI({ model: 'gpt-4o', apiKey, configuration });
seen.langchain = (await chat.invoke('Hello')).content.length;
seen.langchainStream = 0;
for await (const chunk of await chat.stream('Hello')) seen.langchainStream += chunk.content.length;
const classic = new AzureChatOpenAI({ azureOpenAIEndpoint: base, azureOpenAIApiKey: apiKey, azureOpenAIApiDeploymentName: 'gpt-4o', azureOpenAIApiVersion: '2024-10-21' });
seen.langchainAzure = (await classic.invoke('Hello')).content.length;
const embeddings = new OpenAIEmbeddings({ model: 'text-embedding-3-small', apiKey, configuration });
seen.langchainEmbedding = (await embeddings.embedQuery('Hello')).length;
const responses = new ChatOpenAI({ model: 'gpt-4o', apiKey, configuration, useResponsesApi: true });
seen.langchainResponses = (await responses.invoke('Hello')).content.length;

const azure = createAzure({ baseURL: base + '/openai/v1', apiKey });
seen.ai = (await generateText({ model: azure.chat('gpt-4o'), prompt: 'Hello' })).text.length;
seen.aiStream = 0;
for await (const text of streamText({ model: azure.responses('gpt-4o'), prompt: 'Hello' }).textStream) seen.aiStream += text.length;
seen.aiEmbedding = (await embed({ model: azure.embedding('text-embedding-3-small'), value: 'Hello' })).embedding.length;
// A conversation by its messages: earlier ones are sent as references to the
// items that the backend holds.
const messages = [{ role: 'user', content: 'Hello' }];
seen.aiTurns = 0;
for (let n = 0; n < 8; n++) {
  const r = await generateText({ model: azure.responses('gpt-4o'), messages, stopWhen: stepCountIs(1) });
  messages.push(...r.response.messages, { role: 'user', content: 'Go on' });
  seen.aiTurns++;
}
console.log(JSON.stringify(seen));
