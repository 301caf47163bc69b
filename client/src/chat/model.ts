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
  | {
      kind: "reconnecting";
      retryAt: number /* performance.now() based ms */;
      /** Why the server wants that wait; empty if it does not. */
      reason: string;
    }
  | { kind: "offline" }
  | Unauthenticated
  | { kind: "failed"; reason: string }; // the server refused the connection for good

/** The server wants a token, and another one than it was given. */
export interface Unauthenticated {
  kind: "unauthenticated";
  /** None came; one came that was not taken; one that was taken is no longer. */
  why: "missing" | "refused" | "expired";
  /** The server's sentence, which may be empty. */
  reason: string;
  /** The next attempt is under way. */
  isTrying: boolean;
}

/** How an operation ended: with its socket, by a complete, or with an error's code. */
export type Ending =
  | { kind: "cut" }
  | { kind: "complete" }
  | { kind: "error"; code: string; message: string };
