// example.mjs PAGE URL < options.json: runs the module of docs/how-to/PAGE.md against a server, and
// prints what came of it, as JSON.
//
// options: { reply, stopAfter } follows a reply, and stops it when its text is longer than that;
//   null runs the page's last block instead, which uses the module.
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { json } from "node:stream/consumers";
import { fileURLToPath, pathToFileURL } from "node:url";

import { WebSocket } from "ws";

const [page, url] = process.argv.slice(2);
const options = await json(process.stdin);

const requests = [];
// Node 20 has no WebSocket of its own.
globalThis.WebSocket = class extends WebSocket {
  send(data) {
    const { type, payload } = JSON.parse(data);
    if (type === "subscribe") requests.push(payload);
    super.send(data);
  }
};

const text = await readFile(new URL(`../../docs/how-to/${page}.md`, import.meta.url), "utf8");
const blocks = [...text.matchAll(/^```js\n(.*?)^```$/gms)].map(([, code]) => code);
const usage = blocks.pop();
const documented = '"ws://127.0.0.1:3000/graphql"';
const module = blocks.join("");
if (!module.includes(documented)) throw new Error(`${page}.md has no ${documented}`);

// Below node_modules, so that the packages are found.
const packages = fileURLToPath(new URL("../node_modules/.examples/", import.meta.url));
await mkdir(packages, { recursive: true });
const folder = await mkdtemp(packages);
const at = (name) => pathToFileURL(`${folder}/${name}`).href;
await writeFile(new URL(at("chat.js")), module.replace(documented, JSON.stringify(url)));
await writeFile(new URL(at("usage.js")), usage);
await writeFile(new URL(at("package.json")), '{ "type": "module" }');

const outcome = { reply: null, shown: [], refused: null, printed: [], requests };
try {
  if (options) await follow(options);
  else await use();
} finally {
  await rm(folder, { recursive: true });
}
console.log(JSON.stringify(outcome));

async function follow({ reply, stopAfter = Infinity }) {
  const chat = await import(at("chat.js"));
  let stopping;
  try {
    await chat.follow(reply, (shown) => {
      outcome.reply = shown;
      outcome.shown.push(shown.content);
      if (shown.content.length > stopAfter) stopping ??= chat.stop(shown.id);
    });
  } catch (error) {
    outcome.refused = (error.errors ?? error.graphQLErrors)[0].extensions.code;
  }
  await stopping;
}

async function use() {
  const { log } = console;
  console.log = (line) => outcome.printed.push(line);
  await import(at("usage.js"));
  console.log = log;
}
