// An issuer of tokens: oauth2-mock-server, controlled by lines of JSON on stdin; each has one line of JSON on stdout as its answer.
// {"do":"key","kid":"one","alg":"RS256"} → {"key":{…}}, the private key · {"do":"sign","kid":"one","claims":{…}} → {"token":"…"}
import { createInterface } from 'node:readline';
import { createRequire } from 'node:module';
const require = createRequire(process.env.SPILLWAY_TOOLS + '/oauth2-mock-server/package.json');
const { OAuth2Server } = await import(require.resolve('oauth2-mock-server'));

const server = new OAuth2Server();
await server.start(0, '127.0.0.1');
server.issuer.url = process.argv[2]; // what it calls itself: the address of what stands before it
console.log(JSON.stringify({ port: server.address().port }));

const verbs = {
  key: async ({ kid, alg }) => ({ key: await server.issuer.keys.generate(alg, { kid }) }),
  sign: async ({ kid, claims }) => ({
    token: await server.issuer.buildToken({
      kid,
      scopesOrTransform: (_header, payload) => {
        for (const name of Object.keys(payload)) delete payload[name];
        Object.assign(payload, claims);
      },
    }),
  }),
};
for await (const line of createInterface({ input: process.stdin })) {
  const wish = JSON.parse(line);
  console.log(JSON.stringify(await verbs[wish.do](wish)));
}
await server.stop();
