import { expect, test } from "vitest";

import { type Result, replyAssembler } from "./reply";

const chunk = (offset: number, text: string): Result => ({ data: { reply: { offset, text } } });

test("each result of a send has the text so far", () => {
  const assemble = replyAssembler({ message: { content: undefined } });
  assemble(chunk(0, "Hello"));
  expect(assemble(chunk(5, " you")).extensions).toEqual({ content: "Hello you" });
  expect(assemble(chunk(0, "Hello you!")).extensions).toEqual({ content: "Hello you!" });
});

test("a resume goes on from the text among its variables", () => {
  const assemble = replyAssembler({ message: { content: "Hello yuo" } });
  expect(assemble(chunk(7, "ou!")).extensions).toEqual({ content: "Hello you!" });
});

test("a resume by offset is left as it is, since the text before it is not known", () => {
  const result = chunk(5, " you");
  expect(replyAssembler()(result)).toBe(result);
});

test("what is no chunk is left as it is", () => {
  const result: Result = { data: { messages: [] } };
  expect(replyAssembler()(result)).toBe(result);
});
