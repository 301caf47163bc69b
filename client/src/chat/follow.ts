import { backoff } from "../api/backoff";
import { connection, listen } from "../api/client";
import {
  type MessageInput,
  RegenerateDocument,
  type RegenerateInput,
  ResumeDocument,
  type ResumeInput,
  SendDocument,
} from "../api/generated";
import type { Ending } from "./model";
import { asked, type Chunk, ended, received, resumption, type Stream } from "./stream";

/** Runs one operation that streams a reply; `next` says whether to go on. */
export type Ask = (next: (chunk: Chunk) => boolean, signal: AbortSignal) => Promise<Ending>;

export function send(message: MessageInput): Ask {
  return (next, signal) =>
    listen(SendDocument, { message }, (data) => next(data.sendMessage), signal);
}

export function regenerate(message: RegenerateInput): Ask {
  return (next, signal) =>
    listen(RegenerateDocument, { message }, (data) => next(data.regenerateMessage), signal);
}

function resume(message: ResumeInput): Ask {
  return (next, signal) =>
    listen(ResumeDocument, { message }, (data) => next(data.resumeMessage), signal);
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
  while (current.phase === "waiting") {
    await pause(backoff(current.failures));
    await connection.live();
    const message = resumption(current);
    const ask = message ? resume(message) : begin;
    become(asked(current));
    if (signal.aborted || !ask) return;
    const next = (chunk: Chunk) => {
      become(received(current, chunk));
      return current.phase !== "waiting";
    };
    const ending = await ask(next, signal);
    become(ended(current, ending));
  }
}

export function pause(milliseconds: number): Promise<void> {
  // A timer of a hidden page takes a second, even for nothing.
  if (milliseconds === 0) return Promise.resolve();
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
