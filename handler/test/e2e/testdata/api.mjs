// Uses the whole API through Spillway with the unmodified openai package, in
// the form named by the second argument, and prints what came of it as JSON.
import { createRequire } from 'node:module';
const require = createRequire(process.env.SPILLWAY_TOOLS + '/openai/package.json');
const { OpenAI, AzureOpenAI, toFile } = require('openai');

const [base, form] = process.argv.slice(2);
const client = form === 'azure'
  ? new AzureOpenAI({ endpoint: base, apiKey: 'key-of-the-sdk-tests', apiVersion: '2025-04-01-preview' })
  : new OpenAI({ baseURL: base + '/openai/v1', apiKey: 'key-of-the-sdk-tests' });
const seen = {};

const embed = (encoding_format) => client.embeddings.create({ model: 'text-embedding-3-small', input: ['Hello', 'World'], encoding_format });
seen.float = (await embed('float')).data.map((d) => Array.from(d.embedding).slice(0, 3).map((x) => x.toFixed(6)));
seen.base64 = (await embed('base64')).data.map((d) => typeof d.embedding);
seen.decoded = (await embed(undefined)).data.map((d) => Array.from(d.embedding).slice(0, 3).map((x) => x.toFixed(6)));

seen.image = (await client.images.generate({ model: 'gpt-image-1', prompt: 'a cat' })).data[0].b64_json.length;
const png = await toFile(Buffer.from('iVBORw0KGgo=', 'base64'), 'cat.png', { type: 'image/png' });
seen.edit = (await client.images.edit({ model: 'gpt-image-1', image: png, prompt: 'a hat' })).data[0].b64_json.length;

seen.speech = (await (await client.audio.speech.create({ model: 'tts-1', voice: 'alloy', input: 'Hello' })).arrayBuffer()).byteLength;
const sound = await toFile(Buffer.alloc(200000, 7), 'sound.mp3');
seen.transcription = (await client.audio.transcriptions.create({ model: 'whisper-1', file: sound })).text.length;
seen.translation = (await client.audio.translations.create({ model: 'whisper-1', file: sound, response_format: 'text' })).length;

seen.completion = (await client.completions.create({ model: 'gpt-4o', prompt: 'Hello' })).choices[0].text.length;
seen.models = (await client.models.list()).data.map((m) => m.id);
seen.model = (await client.models.retrieve('gpt-4o')).id;

const first = await client.responses.create({ model: 'gpt-4o', input: 'Hello' });
const next = await client.responses.create({ model: 'gpt-4o', input: 'Go on', previous_response_id: first.id });
seen.followed = next.previous_response_id === first.id;
seen.retrieved = (await client.responses.retrieve(next.id)).id === next.id;
seen.items = (await client.responses.inputItems.list(next.id)).data.length;
await client.responses.delete(first.id);
seen.deleted = await client.responses.retrieve(first.id).then(() => 'still there', (e) => e.constructor.name);
const running = await client.responses.create({ model: 'gpt-4o', input: 'Hello', background: true });
seen.cancelled = (await client.responses.cancel(running.id)).id === running.id;
seen.stranger = await client.responses.create({ model: 'gpt-4o', input: 'x', previous_response_id: 'resp_nobody' })
  .then(() => 'served', (e) => `${e.status} ${e.code}`);

const file = await client.files.create({ file: await toFile(Buffer.from('{}\n'), 'in.jsonl'), purpose: 'batch' });
seen.content = await (await client.files.content(file.id)).text();
if (form !== 'azure') { // its batches are posted below a deployment that they do not have
  const batch = await client.batches.create({ input_file_id: file.id, endpoint: '/v1/chat/completions', completion_window: '24h' });
  seen.batch = (await client.batches.retrieve(batch.id)).id === batch.id;
}
seen.store = (await client.vectorStores.create({ name: 'notes' })).id.startsWith('vs_');
const conversation = await client.conversations.create({});
seen.conversed = (await client.responses.create({ model: 'gpt-4o', input: 'Hello', conversation: conversation.id })).status;

console.log(JSON.stringify(seen));
