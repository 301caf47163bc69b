import { useSyncExternalStore } from "react";

// The number tells a second announcement of the same words from the first.
let latest = { text: "", number: 0 };
const listeners = new Set<() => void>();

/** Has ConnectionStatus, the page's one status region, say something politely. */
export function announce(text: string): void {
  latest = { text, number: latest.number + 1 };
  for (const listener of listeners) listener();
}

export function useAnnouncement() {
  return useSyncExternalStore(subscribe, () => latest);
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}
