export type Role = "USER" | "ASSISTANT";
export type Status = "STREAMING" | "DONE" | "STOPPED" | "ERROR";

export interface MessageModel {
  id: string;
  role: Role;
  content: string;
  status: Status;
  createdAt: string;
  replyToId: string | null;
  error: { code: string; message: string } | null;
}

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

/** What the page shows of a conversation besides its messages, which rows read by themselves. */
export interface View {
  /** Oldest first. */
  messageIds: readonly string[];
  isLoading: boolean;
  hasEarlier: boolean;
  /** The newest reply that streams. */
  streamingId: string | null;
  /** Something streams, or was sent and has no reply yet. */
  isReplying: boolean;
  /** The messages that are, or were last, under way together. */
  awaitedIds: readonly string[];
  /** How these ended, the worst of it; null while there is more to come. */
  lastEnd: "DONE" | "STOPPED" | "ERROR" | null;
  /** This window is detached: it shows what it showed, until `resume`. */
  isInterrupted: boolean;
  /** Why something could not be done; null when it could. */
  problem: string | null;
}

export interface Actions {
  /** Shows the message at once; resolves when the server has it, rejects with the reason if it refuses it. */
  send(content: string): Promise<void>;
  /** Ends, for everyone, all that streams. */
  stop(): void;
  /** Leaves the replies that stream: they go on, and this window shows what it showed. */
  interrupt(): void;
  resume(): void;
  /** Removes the messages for everyone. */
  clear(): void;
  /** Asks for another reply in the place of this one. */
  regenerate(replyId: string): void;
  /** Resolves to whether it worked. */
  loadEarlier(): Promise<boolean>;
  /** Streams a reply from its beginning once more, under the text that is shown. */
  replay(replyId: string): void;
}

export interface Conversation extends View, Actions {
  id: string;
}
