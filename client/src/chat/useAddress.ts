import { useSyncExternalStore } from "react";

/** The conversation that the address names: what stands behind the #. */
export function useAddress(): string {
  return useSyncExternalStore(onAddress, address);
}

function address(): string {
  const id = location.hash.slice(1);
  try {
    return decodeURIComponent(id) || "default";
  } catch {
    return id; // written by hand, with a % that stands for itself
  }
}

function onAddress(listener: () => void): () => void {
  addEventListener("hashchange", listener);
  return () => removeEventListener("hashchange", listener);
}

export function goTo(conversationId: string): void {
  location.hash = encodeURIComponent(conversationId);
}
