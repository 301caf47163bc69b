import { readFileSync } from "node:fs";

import { buildSchema, getOperationAST, getVariableValues, parse, validate } from "graphql";
import { expect, test } from "vitest";

import { tabs } from "./tabs";

const schema = buildSchema(
  readFileSync(new URL("../../../schema.graphql", import.meta.url), "utf8"),
);

test.each(tabs)("the schema has what tab $# asks for, and takes its variables", (tab) => {
  const document = parse(tab.query);
  expect(validate(schema, document)).toEqual([]);
  const variables = getOperationAST(document)?.variableDefinitions ?? [];
  const { errors } = getVariableValues(schema, variables, JSON.parse(tab.variables));
  expect(errors).toBeUndefined();
});

test("what Send sends is what Regenerate and Stop are about, and each reply has a new id", () => {
  const variables = tabs.map((tab) => JSON.parse(tab.variables));
  const [send, , regenerate, stop] = variables;
  expect(regenerate.message.messageId).toBe(send.message.id);
  expect(stop.id).toBe(send.message.id);
  expect(regenerate.message.id).not.toBe(send.message.id);
});
