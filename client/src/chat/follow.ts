import type { TypedDocumentNode } from "@apollo/client";

import { listen, ready } from "../api/client";
import { RegenerateDocument, ResumeDocument, SendDocument } from "../api/generated";
import type { Chunk, Ending } from "./model";
import { ended, received, resumption, type Stream } from "./stream";

/** Runs one operation that streams a reply; `next` says whether to go on. */
export type Ask = (next: (chunk: Chunk) => boolean, signal: AbortSignal) => Promise<Ending>;

export const send = asking(SendDocument);
export const regenerate = asking(RegenerateDocument);
const resume = asking(ResumeDocument);

function asking<Message>(document: TypedDocumentNode<{ chunk: Chunk }, { message: Message }>) {
  return (message: Message): Ask =>
    (next, signal) =>
      listen(document, { message }, ({ chunk }) => next(chunk), signal);
}

/**
 * Follows one reply through as many operations as it takes, until the reply ends or `signal` does.
 *
 * @param begin asks for the reply while its id is not known; the same as often as it is cut.
 */
export async function follow(
  stream: Stream,
  begin: Ask | null,
  onChange: (stream: Stream) => void,
  signal: AbortSignal,
): Promise<void> {
  let current = stream;
  const become = (next: Stream) => {
    if (signal.aborted || next === current) return;
    current = next;
    onChange(current);
  };
  while (current.phase === "asking") {
    await ready(current.failures);
    const message = resumption(current);
    const ask = message ? resume(message) : begin;
    if (signal.aborted || !ask) return;
    const next = (chunk: Chunk) => {
      become(received(current, chunk));
      return current.phase !== "asking";
    };
    const ending = await ask(next, signal);
    become(ended(current, ending));
  }
}
