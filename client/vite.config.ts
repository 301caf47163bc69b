import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import { defineConfig, type Plugin } from "vite";

const SERVER = "http://127.0.0.1:3000";
const OUTPUT = "../graphql_app/static";

/** Puts a .gz beside each file that is worth it; the server sends it to browsers that take it. */
const compressed: Plugin = {
  name: "compressed",
  apply: "build",
  closeBundle() {
    for (const name of readdirSync(OUTPUT, { recursive: true, encoding: "utf8" })) {
      if (!/\.(html|js|css|svg)$/.test(name)) continue;
      const content = readFileSync(`${OUTPUT}/${name}`);
      if (content.length > 1000)
        writeFileSync(`${OUTPUT}/${name}.gz`, gzipSync(content, { level: 9 }));
    }
  },
};

export default defineConfig(({ command }) => ({
  // The Python server serves the build's files below this path.
  base: command === "build" ? "/static/" : "/",
  plugins: [compressed],
  server: {
    host: "127.0.0.1",
    port: 5173,
    strictPort: true,
    // The playground is served as it was built.
    proxy: { "/graphql": { target: SERVER, ws: true }, "/static": SERVER },
  },
  build: {
    outDir: OUTPUT,
    emptyOutDir: true,
    // scripts/size.mjs reads what the page loads from it.
    manifest: true,
    // The bundled packages' licences ask to go along with them.
    license: { fileName: "licenses.md" },
    // The playground's editor is one chunk of 2.8 MB, loaded after the page shows.
    chunkSizeWarningLimit: 3000,
    rolldownOptions: {
      input: ["index.html", "playground.html"],
      // "use client" in GraphiQL's dependencies means nothing in a browser-only build.
      checks: { moduleLevelDirective: false },
    },
  },
  // Classic workers cannot be split into chunks, which the editor's are.
  worker: { format: "es" },
}));
