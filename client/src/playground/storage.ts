import { forget, keep, kept } from "../api/tab";

const OURS = "graphiql:";

/**
 * Where GraphiQL keeps the history of what was run, and the like: in the tab. By itself it takes
 * localStorage, where whoever uses the browser next would read it.
 */
export const storage = {
  getItem: kept,
  setItem: (key: string, value: string) => keep(key, withoutHeaders(value)),
  removeItem: (key: string) => keep(key, null),
  clear: () => forget([OURS]),
  length: 0, // asked for only after a write that failed, and none does
};

/** The history has them, and in them the token, whatever GraphiQL is told. */
function withoutHeaders(value: string): string {
  try {
    return JSON.stringify(JSON.parse(value, (key, part) => (key === "headers" ? undefined : part)));
  } catch {
    return value; // a query, or what is being written
  }
}

/** Removes what an earlier version of this page kept for all tabs. */
export function leaveLocalStorage(): void {
  for (const key of Object.keys(localStorage)) {
    if (key.startsWith(OURS)) localStorage.removeItem(key);
  }
}
