import { keep, kept } from "./tab";

declare global {
  interface Window {
    /** Set by a page whose people are signed in already: the token, or a function that gives it. */
    graphqlAppToken?: Given | (() => Given | Promise<Given>);
  }
}

type Given = string | null | undefined;

const KEY = "token";

let asking: Promise<string | null> | null = null;

/**
 * The token to come with; null if there is none. The page's own source, if it has one, is asked anew each
 * time, but never while it still thinks: it may have opened a window for people to sign in. Throws what it
 * throws.
 */
export function token(): Promise<string | null> {
  asking ??= ask().finally(() => {
    asking = null;
  });
  return asking;
}

async function ask(): Promise<string | null> {
  if (!isGiven()) return kept(KEY);
  const { graphqlAppToken: source } = window;
  return bare((typeof source === "function" ? await source() : source) ?? "");
}

/** Whether the page has a source of its own; then no other counts. */
export function isGiven(): boolean {
  return window.graphqlAppToken !== undefined;
}

/** Takes what somebody has pasted, for this tab; null forgets it. */
export function paste(text: string | null): void {
  keep(KEY, text && bare(text));
}

/** Whom a token says it is about, unchecked; null if it cannot be read. */
export function personOf(token: string): string | null {
  try {
    const [, payload = ""] = token.split(".");
    const binary = atob(payload.replaceAll("-", "+").replaceAll("_", "/"));
    const bytes = Uint8Array.from(binary, (character) => character.charCodeAt(0));
    const { sub } = JSON.parse(new TextDecoder().decode(bytes));
    return typeof sub === "string" ? sub : null;
  } catch {
    return null;
  }
}

/** Without what people copy along with it: white space, quotes, the header's first words. */
function bare(text: string): string | null {
  const rest = text.replace(/^[\s"']*(authorization:)?\s*(bearer\s)?/i, "");
  return rest.replace(/[\s"']/g, "") || null;
}
