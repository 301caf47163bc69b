// generate.mjs [--check]: writes the operations' types and documents, and the manifest of what is sent of
// them, or checks that they are fresh.
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";

import { InMemoryCache } from "@apollo/client/cache";
import { print } from "@apollo/client/utilities";
import { plugin as typedDocuments } from "@graphql-codegen/typed-document-node";
import { plugin as types } from "@graphql-codegen/typescript-operations";
import { buildSchema, parse, validate } from "graphql";

const schema = buildSchema(readFileSync(new URL("../../schema.graphql", import.meta.url), "utf8"));
const operations = new URL("../src/api/operations/", import.meta.url);
const target = new URL("../src/api/generated.ts", import.meta.url);

const text = readdirSync(operations)
  .filter((name) => name.endsWith(".graphql"))
  .sort()
  .map((name) => readFileSync(new URL(name, operations), "utf8"))
  .join("\n");
const document = parse(text, { noLocation: true });
const problems = validate(schema, document);
if (problems.length > 0) throw new AggregateError(problems, problems.join("\n"));

const config = {
  scalars: { DateTime: "string", ID: "string" },
  useTypeImports: true,
  skipTypename: true,
  avoidOptionals: { field: true },
};
const outputs = [
  await types(schema, [{ document }], config, { outputFile: "generated.ts" }),
  await typedDocuments(schema, [{ document }], config),
];
const generated = [
  "// Generated from operations/*.graphql and the schema by `npm run generate`.",
  ...new Set(outputs.flatMap(({ prepend }) => prepend)),
  ...outputs.map(({ content }) => content),
  "",
].join("\n");

// As the client sends them, which asks for __typename, too.
const cache = new InMemoryCache();
const manifest = {};
for (const [, json] of generated.matchAll(/export const \w+Document = (\{.*\}) as unknown/g)) {
  const text = print(cache.transformDocument(JSON.parse(json)));
  manifest[createHash("sha256").update(text).digest("hex")] = text;
}
const files = [
  [target, generated],
  [
    new URL("../../graphql_app/browser_documents.json", import.meta.url),
    `${JSON.stringify(manifest, null, 2)}\n`,
  ],
];

for (const [file, text] of files) {
  if (!process.argv.includes("--check")) {
    writeFileSync(file, text);
  } else if (!existsSync(file) || readFileSync(file, "utf8") !== text) {
    console.error(`${file.pathname} is not what its sources say: \`npm run generate\` writes it.`);
    process.exitCode = 1;
  }
}
