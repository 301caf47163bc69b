import { useSyncExternalStore } from "react";

// Long enough to be read out. Who comes to the status later is to find there what is so.
const STAYS_MS = 5000;

// The number tells a second announcement of the same words from the first.
let latest = { text: "", number: 0 };
const listeners = new Set<() => void>();

/** Has ConnectionStatus, the page's one status region, say something politely. */
export function announce(text: string): void {
  const number = latest.number + 1;
  say({ text, number });
  setTimeout(() => latest.number === number && say({ text: "", number }), STAYS_MS);
}

function say(next: typeof latest): void {
  latest = next;
  for (const listener of listeners) listener();
}

export function useAnnouncement() {
  return useSyncExternalStore(subscribe, () => latest);
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}
