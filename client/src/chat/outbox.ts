import { joined, loadDraft, save } from "./components/draft";

export interface Outgoing {
  id: string;
  content: string;
  conversationId: string;
}

const KEY = "outbox";

const putBacks = new Map<string, number>();
const listeners = new Set<() => void>();

/** What this window has sent, and does not know to be stored: a reload repeats it, with the same id. */
export const outbox = {
  of(conversationId: string): Outgoing[] {
    return read().filter((message) => message.conversationId === conversationId);
  },

  add(message: Outgoing): void {
    write([...read().filter(({ id }) => id !== message.id), message]);
  },

  remove(id: string): void {
    write(read().filter((message) => message.id !== id));
  },

  /** Gives a refused text back to its conversation's draft, once, however many hear of the refusal. */
  putBack({ id, content, conversationId }: Outgoing): void {
    if (!read().some((message) => message.id === id)) return;
    outbox.remove(id);
    const draft = joined(content, loadDraft(conversationId));
    save("sessionStorage", conversationId, ""); // what was queued is in the draft now
    save("localStorage", conversationId, draft);
    putBacks.set(conversationId, outbox.putBacks(conversationId) + 1);
    for (const listener of [...listeners]) listener();
  },

  /** How often that was done: a box that is open shows an older draft. */
  putBacks(conversationId: string): number {
    return putBacks.get(conversationId) ?? 0;
  },

  onPutBack(listener: () => void): () => void {
    listeners.add(listener);
    return () => listeners.delete(listener);
  },
};

function read(): Outgoing[] {
  try {
    return JSON.parse(sessionStorage.getItem(KEY) ?? "[]");
  } catch {
    return [];
  }
}

function write(messages: Outgoing[]): void {
  try {
    sessionStorage.setItem(KEY, JSON.stringify(messages));
  } catch {
    // Storage is off, or full: a reload will not know of it.
  }
}
