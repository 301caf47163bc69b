import type { View } from "./model";
import { messagesOf, streamingIn, type Thread, underWayIn } from "./thread";

/** The same object as before if it says the same, so that text that grows renders only its row. */
export function viewOf(thread: Thread, problem: string | null, before?: View): View {
  const messages = messagesOf(thread);
  const underWay = underWayIn(thread);
  const isReplying = underWay.length > 0;
  // An end counts until all has ended that was under way with it.
  const known = isReplying && !before?.isReplying ? [] : (before?.awaitedIds ?? []);
  const awaited = new Set([...known, ...underWay.map(({ id }) => id)]);
  const ends = messages
    .filter(({ id, replyToId }) => replyToId && (awaited.has(id) || awaited.has(replyToId)))
    .map(({ status }) => status);
  const view: View = {
    messageIds: messages.map(({ id }) => id),
    isLoading: !thread.isLoaded,
    hasEarlier: thread.hasEarlier,
    isReplying,
    isInterrupted: thread.isInterrupted,
    streamingId: streamingIn(thread).at(-1)?.id ?? null,
    problem,
    awaitedIds: [...awaited],
    lastEnd: isReplying ? null : (WORST_FIRST.find((end) => ends.includes(end)) ?? null),
  };
  if (!before) return view;
  for (const key of ["messageIds", "awaitedIds"] as const) {
    if (isSameList(view[key], before[key])) view[key] = before[key];
  }
  const keys = Object.keys(view) as (keyof View)[];
  return keys.every((key) => view[key] === before[key]) ? before : view;
}

const WORST_FIRST = ["ERROR", "STOPPED", "DONE"] as const;

function isSameList(one: readonly string[], other: readonly string[]): boolean {
  return one.length === other.length && one.every((id, index) => id === other[index]);
}
