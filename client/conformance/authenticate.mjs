// authenticate.mjs URL < options.json: asks something with the client of docs/how-to/authenticate.md,
// and prints what came of it, as JSON.
//
// options: { query, token }
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { json } from "node:stream/consumers";
import { fileURLToPath, pathToFileURL } from "node:url";

import { WebSocket } from "ws";

const [url] = process.argv.slice(2);
const { query, token } = await json(process.stdin);

// Node 20 has no WebSocket of its own, and the page leaves it to the app where tokens come from.
globalThis.WebSocket = WebSocket;
globalThis.freshToken = async () => token;

const page = new URL("../../docs/how-to/authenticate.md", import.meta.url);
const [, code] = (await readFile(page, "utf8")).match(/^```js\n(.*?)^```$/ms);
const documented = '"ws://127.0.0.1:3000/graphql"';
if (!code.includes(documented)) throw new Error(`authenticate.md has no ${documented}`);

// Below node_modules, so that the packages are found.
const packages = fileURLToPath(new URL("../node_modules/.examples/", import.meta.url));
await mkdir(packages, { recursive: true });
const folder = await mkdtemp(packages);
try {
  await writeFile(`${folder}/package.json`, '{ "type": "module" }');
  await writeFile(`${folder}/client.js`, code.replace(documented, JSON.stringify(url)));
  const { client } = await import(pathToFileURL(`${folder}/client.js`).href);
  const results = [];
  for await (const result of client.iterate({ query })) results.push(result);
  await client.dispose();
  console.log(JSON.stringify(results));
} finally {
  await rm(folder, { recursive: true });
}
