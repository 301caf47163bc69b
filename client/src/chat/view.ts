import type { View } from "./model";
import { messagesOf, streamingIn, type Thread } from "./thread";

/** The same object as before if it says the same, so that text that grows renders only its row. */
export function viewOf(thread: Thread, problem: string | null, before?: View): View {
  const messages = messagesOf(thread);
  const last = messages.at(-1);
  const streaming = streamingIn(thread).at(-1);
  // A question is listed, and shown when it is sent, before its reply.
  const isReplying = streaming !== undefined || last?.role === "USER";
  const view: View = {
    messageIds: messages.map(({ id }) => id),
    isLoading: !thread.isLoaded,
    hasEarlier: thread.hasEarlier,
    isReplying,
    isInterrupted: thread.isInterrupted,
    streamingId: streaming?.id ?? null,
    problem,
    lastEnd: !isReplying && last && last.status !== "STREAMING" ? last.status : null,
  };
  if (!before) return view;
  if (isSameList(view.messageIds, before.messageIds)) view.messageIds = before.messageIds;
  const keys = Object.keys(view) as (keyof View)[];
  return keys.every((key) => view[key] === before[key]) ? before : view;
}

function isSameList(one: readonly string[], other: readonly string[]): boolean {
  return one.length === other.length && one.every((id, index) => id === other[index]);
}
