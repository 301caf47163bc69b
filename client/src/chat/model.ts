import type { ChunkFieldsFragment, MessageFieldsFragment } from "../api/generated";

// A server that is newer has codes that this client does not know.
type WithAnyError<Type> = Omit<Type, "error"> & {
  error: { code: string; message: string } | null;
};

export type MessageModel = WithAnyError<MessageFieldsFragment>;
export type Chunk = WithAnyError<ChunkFieldsFragment>;
export type Status = MessageModel["status"];

export type ConnectionState =
  | { kind: "connecting" }
  | { kind: "live" }
  | { kind: "reconnecting"; retryAt: number /* performance.now() based ms */ }
  | { kind: "offline" }
  | { kind: "failed"; reason: string }; // the server refused the connection for good

/** How an operation ended: with its socket, by a complete, or with an error's code. */
export type Ending =
  | { kind: "cut" }
  | { kind: "complete" }
  | { kind: "error"; code: string; message: string };
