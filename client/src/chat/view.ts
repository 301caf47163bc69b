import { messagesOf, streamingIn, type Thread, underWayIn } from "./thread";

/** What the page shows of a conversation besides its messages, which rows read by themselves. */
export type View = ReturnType<typeof viewOf>;

interface Notes {
  /** Why something could not be done; null when it could. */
  problem: string | null;
  /** How often a refused text went back to the draft: a box that is open shows an older one. */
  putBacks: number;
}

type Before = { readonly isReplying: boolean; readonly awaitedIds: readonly string[] };

export function viewOf(thread: Thread, notes: Notes, before?: Before) {
  const messages = messagesOf(thread);
  const underWay = underWayIn(thread);
  const isReplying = underWay.length > 0;
  // An end counts until all has ended that was under way with it.
  const known = isReplying && !before?.isReplying ? [] : (before?.awaitedIds ?? []);
  const awaited = new Set([...known, ...underWay.map(({ id }) => id)]);
  const ends = messages
    .filter(({ id, replyToId }) => replyToId && (awaited.has(id) || awaited.has(replyToId)))
    .map(({ status }) => status);
  return {
    ...notes,
    messageIds: messages.map(({ id }) => id),
    isLoading: !thread.isLoaded,
    hasEarlier: thread.hasEarlier,
    isInterrupted: thread.isInterrupted,
    /** The newest reply that streams. */
    streamingId: streamingIn(thread).at(-1)?.id ?? null,
    /** Something streams, or was sent and has no reply yet. */
    isReplying,
    /** The messages that are, or were last, under way together. */
    awaitedIds: [...awaited],
    /** How these ended, the worst of it; null while there is more to come. */
    lastEnd: isReplying ? null : (WORST_FIRST.find((end) => ends.includes(end)) ?? null),
  };
}

const WORST_FIRST = ["ERROR", "STOPPED", "DONE"] as const;

/** Whether two say the same, so that text that grows renders only its row. */
export function isSameView(one: View, other: View): boolean {
  const keys = Object.keys(one) as (keyof View)[];
  return keys.every((key) => isSame(one[key], other[key]));
}

function isSame(one: unknown, other: unknown): boolean {
  if (!Array.isArray(one) || !Array.isArray(other)) return one === other;
  return one.length === other.length && one.every((each, index) => each === other[index]);
}
