import type { MessageModel } from "./model";

const keyOf = (conversationId: string) => `outbox:${conversationId}`;

/**
 * What this window has sent, or asked for, and does not know to be stored, as it is shown. A reload repeats
 * it, with the same id.
 */
export function loadUnsent(conversationId: string): readonly MessageModel[] {
  try {
    return JSON.parse(sessionStorage.getItem(keyOf(conversationId)) ?? "[]");
  } catch {
    return [];
  }
}

export function saveUnsent(conversationId: string, messages: readonly MessageModel[]): void {
  try {
    sessionStorage.setItem(keyOf(conversationId), JSON.stringify(messages));
  } catch {
    // Storage is off, or full: a reload will not know of it.
  }
}
