// generate.mjs [--check]: writes the operations' types and documents, or checks that they are fresh.
import { readdirSync, readFileSync, writeFileSync } from "node:fs";

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

if (!process.argv.includes("--check")) {
  writeFileSync(target, generated);
} else if (readFileSync(target, "utf8") !== generated) {
  console.error("src/api/generated.ts is not what its sources say: `npm run generate` writes it.");
  process.exit(1);
}
