import type { MessageModel } from "./model";

/** How many messages a reset and a page of earlier ones bring at most. */
export const PAGE = 100;

/** The messages of one conversation as this window knows them. */
export interface Thread {
  /** As the server's list has them, oldest first; a streaming one with the text that its stream brought. */
  readonly listed: readonly MessageModel[];
  /** What this window has sent, or asked for, and no list has yet. */
  readonly pending: readonly MessageModel[];
  readonly isLoaded: boolean;
  readonly hasEarlier: boolean;
  /** The window is detached: its streaming replies stay as they are shown. */
  readonly isInterrupted: boolean;
}

export const emptyThread: Thread = {
  listed: [],
  pending: [],
  isLoaded: false,
  hasEarlier: false,
  isInterrupted: false,
};

/** What to show: a pending reply stands in the place of the one that it replaces, a pending send at the end. */
export function messagesOf({ listed, pending }: Thread): readonly MessageModel[] {
  if (pending.length === 0) return listed;
  const replacing = new Map(pending.map((message) => [message.replyToId, message]));
  return [
    ...listed.map((message) => (message.replyToId && replacing.get(message.replyToId)) || message),
    ...pending.filter((message) => message.role === "USER"),
  ];
}

export function messageIn({ listed, pending }: Thread, id: string): MessageModel | undefined {
  return listed.find((message) => message.id === id) ?? pending.find((each) => each.id === id);
}

export function streamingIn(thread: Thread): readonly MessageModel[] {
  return messagesOf(thread).filter(isStreaming);
}

/** What is replied to, or waits for it: the replies that stream, and questions at the end. */
export function underWayIn(thread: Thread): readonly MessageModel[] {
  const messages = messagesOf(thread);
  const lastReply = messages.findLastIndex(({ role }) => role === "ASSISTANT");
  return messages.filter((message, index) => isStreaming(message) || index > lastReply);
}

/** The list as the server has it now: whatever else is shown was removed, or is older than the list. */
export function reset(thread: Thread, messages: readonly MessageModel[]): Thread {
  const mine = new Map([...thread.listed, ...thread.pending].map((each) => [each.id, each]));
  const listed = messages.map((message) => merged(mine.get(message.id), message, thread));
  const first = messages[0];
  const isPage = messages.length >= PAGE;
  // A clear leaves nothing, so one message that is still there shows that the earlier ones are, too.
  const isSame = isPage && thread.listed.some(({ id }) => messages.some((each) => each.id === id));
  const place = thread.listed.findIndex(({ id }) => id === first?.id);
  const isEarlier = ({ createdAt }: MessageModel, index: number) =>
    place >= 0 ? index < place : first !== undefined && createdAt < first.createdAt;
  const earlier = isSame ? thread.listed.filter(isEarlier) : [];
  return settled({
    ...thread,
    listed: [...earlier, ...listed],
    isLoaded: true,
    hasEarlier: earlier.length > 0 ? thread.hasEarlier : isPage,
  });
}

/** A message was added, or ended. */
export function changed(thread: Thread, message: MessageModel): Thread {
  const [first] = thread.listed;
  const isOlder = thread.hasEarlier && first && message.createdAt < first.createdAt;
  const isListed = thread.listed.some(({ id }) => id === message.id || id === message.replyToId);
  // Without those between it and the list: a page of earlier ones brings it with them.
  if (isOlder && !isListed) return removed(thread, message.id);
  const mine = messageIn(thread, message.id);
  // A list shows one reply to a question, the newest.
  const others = thread.listed.filter(
    ({ id, replyToId }) =>
      id !== message.id && (replyToId === null || replyToId !== message.replyToId),
  );
  const listed = [...others, merged(mine, message, thread)];
  return settled({ ...thread, listed: listed.sort(byCreation) });
}

/** The answer to a question for what came before the oldest message, unless a reset came meanwhile. */
export function earlier(thread: Thread, before: string, page: readonly MessageModel[]): Thread {
  if (thread.listed[0]?.id !== before) return thread;
  return { ...thread, listed: [...page, ...thread.listed], hasEarlier: page.length >= PAGE };
}

/** Shows a message at once: a send's, or the empty reply of a regenerate. */
export function awaiting(thread: Thread, message: MessageModel): Thread {
  const others = thread.pending.filter(({ id }) => id !== message.id);
  return settled({ ...thread, pending: [...others, message] });
}

/** The server refused what was pending, or said that a message is gone. */
export function removed(thread: Thread, id: string): Thread {
  const stays = (message: MessageModel) => message.id !== id;
  const { listed, pending } = thread;
  return settled({ ...thread, listed: listed.filter(stays), pending: pending.filter(stays) });
}

/** A stream brought text or an end. */
export function grown(
  thread: Thread,
  id: string,
  { content, status, error }: Pick<MessageModel, "content" | "status" | "error">,
): Thread {
  const grow = (message: MessageModel) => {
    const isNews = message.content !== content || message.status !== status;
    const grows = message.id === id && isStreaming(message) && isNews;
    return grows ? { ...message, content, status, error } : message;
  };
  const { listed, pending } = thread;
  return settled({ ...thread, listed: listed.map(grow), pending: pending.map(grow) });
}

export function interrupted(thread: Thread): Thread {
  return settled({ ...thread, isInterrupted: true });
}

export function attached(thread: Thread): Thread {
  return { ...thread, isInterrupted: false };
}

/**
 * Of a message that we have and one that a list or an event brings. An end is never undone; a text that
 * streams belongs to its stream, unless the server says that it ended; detached, not even then.
 */
function merged(
  mine: MessageModel | undefined,
  theirs: MessageModel,
  { isInterrupted }: Thread,
): MessageModel {
  if (!mine) return theirs;
  const keepsMine = !isStreaming(mine) || isStreaming(theirs) || isInterrupted;
  const { content, status, error } = keepsMine ? mine : theirs;
  return { ...theirs, content, status, error };
}

/** What is listed is no longer pending; where nothing is under way there is nothing to be detached from. */
function settled(thread: Thread): Thread {
  const listed = new Set(thread.listed.map(({ id }) => id));
  const pending = thread.pending.filter(({ id }) => !listed.has(id));
  const next = { ...thread, pending };
  return { ...next, isInterrupted: thread.isInterrupted && underWayIn(next).length > 0 };
}

function isStreaming({ status }: MessageModel): boolean {
  return status === "STREAMING";
}

// The server writes all of them in one form, which sorts as text does.
function byCreation(one: MessageModel, other: MessageModel): number {
  return one.createdAt < other.createdAt ? -1 : one.createdAt > other.createdAt ? 1 : 0;
}
