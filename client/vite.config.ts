import { defineConfig } from "vite";

export default defineConfig({
  // The Python server serves the build's files below this path.
  base: "/static/",
  build: {
    outDir: "../graphql_app/static",
    emptyOutDir: true,
    // The bundled packages' licences ask to go along with them.
    license: { fileName: "licenses.md" },
    // The editor is one chunk of 2.8 MB, loaded after the page shows.
    chunkSizeWarningLimit: 3000,
    rolldownOptions: {
      input: ["playground.html"],
      // "use client" in GraphiQL's dependencies means nothing in a browser-only build.
      checks: { moduleLevelDirective: false },
    },
  },
  // Classic workers cannot be split into chunks, which the editor's are.
  worker: { format: "es" },
});
