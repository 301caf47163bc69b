const keyOf = (conversationId: string) => `draft:${conversationId}`;

/** What was being written in a conversation, also before a reload. */
export function loadDraft(conversationId: string): string {
  try {
    return localStorage.getItem(keyOf(conversationId)) ?? "";
  } catch {
    return "";
  }
}

export function saveDraft(conversationId: string, text: string): void {
  try {
    if (text) localStorage.setItem(keyOf(conversationId), text);
    else localStorage.removeItem(keyOf(conversationId));
  } catch {
    // Storage is off, or full: the draft lives as long as the page.
  }
}

/** Texts that are to be written on together, one below the other. */
export function joined(...texts: string[]): string {
  return texts.filter((text) => text.trim()).join("\n\n");
}
