import type { FormattedExecutionResult } from "graphql";

export type Result = FormattedExecutionResult<Record<string, unknown>>;
type Chunk = { offset: number; text: string };

/**
 * Adds the reply's text so far to the results of one subscription, as `extensions.content`.
 * A resume starts from the text in its variables; a send from nothing, since its first offset is 0.
 */
export function replyAssembler(variables?: { message?: { content?: unknown } }) {
  const start = variables?.message?.content;
  let content = typeof start === "string" ? start : "";

  return (result: Result): Result => {
    const chunk = Object.values(result.data ?? {}).find(isChunk);
    // After a resume by offset only the server knows the text before it.
    if (!chunk || chunk.offset > content.length) return result;
    content = content.slice(0, chunk.offset) + chunk.text;
    return { ...result, extensions: { ...result.extensions, content } };
  };
}

function isChunk(value: unknown): value is Chunk {
  const { offset, text } = (value ?? {}) as Partial<Chunk>;
  return typeof offset === "number" && typeof text === "string";
}
