// size.mjs: fails if the chat's page loads more JavaScript at first than it may.
import { readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";

const LIMIT_KB = 210;
const directory = new URL("../../graphql_app/static/", import.meta.url);
const manifest = JSON.parse(readFileSync(new URL(".vite/manifest.json", directory), "utf8"));

/** The files of a chunk and of all that it imports before it can run. */
function filesOf(name, files = new Set()) {
  const { file, imports = [] } = manifest[name];
  if (!files.has(file)) {
    files.add(file);
    for (const imported of imports) filesOf(imported, files);
  }
  return files;
}

let bytes = 0;
for (const file of filesOf("index.html")) {
  const size = gzipSync(readFileSync(new URL(file, directory))).length;
  console.log(`${(size / 1000).toFixed(1).padStart(7)} KB  ${file}`);
  bytes += size;
}
console.log(`${(bytes / 1000).toFixed(1).padStart(7)} KB  of ${LIMIT_KB} KB`);
if (bytes > LIMIT_KB * 1000) process.exit(1);
