// What sessionStorage cannot take, where it is off or full, lives as long as the page.
const memory = new Map<string, string>();

/** What this tab keeps under a key, also before a reload; no other tab has it, and it ends with this one. */
export function kept(key: string): string | null {
  try {
    return sessionStorage.getItem(key) ?? memory.get(key) ?? null;
  } catch {
    return memory.get(key) ?? null;
  }
}

export function keep(key: string, value: string | null): void {
  memory.delete(key);
  try {
    sessionStorage.removeItem(key);
    if (value !== null) sessionStorage.setItem(key, value);
  } catch {
    if (value !== null) memory.set(key, value);
  }
}

/** Drops all whose keys begin with one of these. */
export function forget(prefixes: readonly string[]): void {
  const isMeant = (key: string) => prefixes.some((prefix) => key.startsWith(prefix));
  for (const key of memory.keys()) if (isMeant(key)) memory.delete(key);
  try {
    for (const key of Object.keys(sessionStorage)) if (isMeant(key)) sessionStorage.removeItem(key);
  } catch {
    // Where storage is off, nothing is kept in it.
  }
}
