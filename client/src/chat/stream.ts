import type { Chunk, Ending, MessageModel, Status } from "./model";

/*
 * The rules of one reply that this window follows; docs/streaming.md says them in words.
 *
 *              first chunk               final status
 *   asking ─────────────────▶ following ──────────────▶ ended
 *     ▲                          │
 *     ├──────────────────────────┤  an error for good
 *     │   cut, bare complete,    └────────────────────▶ failed
 *         gap, passing error
 *
 * asking goes to itself, ended and failed, too. Nothing leaves ended and failed.
 */
export interface Stream {
  readonly phase: "asking" | "following" | "ended" | "failed";
  /** The reply's id; null until a send's first chunk tells it. */
  readonly messageId: string | null;
  /** What the window shows. */
  readonly content: string;
  readonly status: Status;
  readonly error: MessageModel["error"];
  /** Asks for the whole text although we have some: what comes is compared with what is shown. */
  readonly isReplay: boolean;
  /** How often it ended early, without the connection's fault, since it last grew. */
  readonly failures: number;
}

// After these the reply still is what it was.
const PASSING = new Set([
  "STORE_UNAVAILABLE",
  "UNAUTHENTICATED",
  "TOO_MANY_OPERATIONS",
  "RATE_LIMITED",
  "INTERNAL_SERVER_ERROR",
]);

/** A stream that begins with a send, or with a regenerate. */
export const beginning: Stream = {
  phase: "asking",
  messageId: null,
  content: "",
  status: "STREAMING",
  error: null,
  isReplay: false,
  failures: 0,
};

/** A stream of a reply that is known from a list. */
export function continuing({ id, content }: Pick<MessageModel, "id" | "content">): Stream {
  return { ...beginning, messageId: id, content };
}

/** The same, asked for from the reply's beginning, with what is shown left in place. */
export function replaying(reply: Pick<MessageModel, "id" | "content">): Stream {
  return { ...continuing(reply), isReplay: true };
}

/** What to resume with; null while the send, or its like, has to be repeated. */
export function resumption({ messageId, content, isReplay }: Stream) {
  return messageId === null ? null : { id: messageId, content: isReplay ? "" : content };
}

export function received(stream: Stream, chunk: Chunk): Stream {
  if (!isOpen(stream)) return stream;
  const { content } = stream;
  const { messageId, offset, text, status, error } = chunk;
  if (offset > content.length) return failedOnce(stream);

  const isFinal = status !== "STREAMING";
  // A resume's first chunk answers what we have, so it may cut off what is wrong at its end; so may
  // the last chunk. Any other that brings nothing new is a repetition.
  const isAnswer = stream.phase === "asking" && !stream.isReplay;
  const isRepetition = !isAnswer && !isFinal && content.startsWith(text, offset);
  const next = isRepetition ? content : content.slice(0, offset) + text;
  return {
    phase: isFinal ? "ended" : "following",
    messageId,
    content: next,
    status,
    error,
    isReplay: stream.isReplay,
    failures: next === content ? stream.failures : 0,
  };
}

export function ended(stream: Stream, ending: Ending): Stream {
  if (!isOpen(stream)) return stream;
  if (ending.kind === "cut") return { ...stream, phase: "asking", isReplay: false };
  // Bare: without a final status.
  if (ending.kind === "complete") return failedOnce(stream);
  const { code, message } = ending;
  // A send that is refused goes back to its author, who decides.
  if (stream.messageId !== null && PASSING.has(code)) return failedOnce(stream);
  return { ...stream, phase: "failed", error: { code, message } };
}

function isOpen({ phase }: Stream): boolean {
  return phase === "asking" || phase === "following";
}

function failedOnce(stream: Stream): Stream {
  return { ...stream, phase: "asking", isReplay: false, failures: stream.failures + 1 };
}
