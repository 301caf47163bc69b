export interface Outgoing {
  id: string;
  content: string;
  conversationId: string;
}

const KEY = "outbox";

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
