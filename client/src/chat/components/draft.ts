const keyOf = (conversationId: string) => `draft:${conversationId}`;

/** What was being written in a conversation, also before a reload; each tab has its own. */
export function loadDraft(conversationId: string): string {
  try {
    return sessionStorage.getItem(keyOf(conversationId)) ?? "";
  } catch {
    return "";
  }
}

export function saveDraft(conversationId: string, text: string): void {
  try {
    sessionStorage.setItem(keyOf(conversationId), text);
  } catch {
    // Storage is off, or full: the draft lives as long as the page.
  }
}

/** Texts that are to be written on together, one below the other. */
export function joined(...texts: string[]): string {
  return texts.filter((text) => text.trim()).join("\n\n");
}
