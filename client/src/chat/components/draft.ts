/** All tabs share what is being written; what is queued only the tab that queued it may send. */
type Place = "localStorage" | "sessionStorage";

const keyOf = (conversationId: string) => `draft:${conversationId}`;

/** What was queued and being written in a conversation, also before a reload. */
export function loadDraft(conversationId: string): string {
  return joined(load("sessionStorage", conversationId), load("localStorage", conversationId));
}

function load(place: Place, conversationId: string): string {
  try {
    return globalThis[place].getItem(keyOf(conversationId)) ?? "";
  } catch {
    return "";
  }
}

export function save(place: Place, conversationId: string, text: string): void {
  try {
    if (text) globalThis[place].setItem(keyOf(conversationId), text);
    else globalThis[place].removeItem(keyOf(conversationId));
  } catch {
    // Storage is off, or full: the draft lives as long as the page.
  }
}

/** Texts that are to be written on together, one below the other. */
export function joined(...texts: string[]): string {
  return texts.filter((text) => text.trim()).join("\n\n");
}
