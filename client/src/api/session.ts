import { backoff } from "./backoff";
import { forget, keep, kept } from "./tab";
import { isGiven, paste, personOf, token } from "./token";

const PERSON = "person";
// Whatever a tab keeps of what people wrote, here and in the playground.
const WRITTEN = ["draft:", "outbox:", "graphiql:"];

const tabs = new BroadcastChannel("sign-out");

/** Whether somebody has signed in here, and not where the page comes from. */
export function canSignOut(): boolean {
  return !isGiven() && kept(PERSON) !== null;
}

/** Forgets the token and all that was written, in each of this person's tabs. */
export function signOut(): void {
  tabs.postMessage(kept(PERSON));
  leave();
}

tabs.onmessage = ({ data }) => {
  if (canSignOut() && data === kept(PERSON)) leave();
};

function leave(): void {
  paste(null);
  keep(PERSON, null);
  beginAnew();
}

/**
 * The server has taken a token; null where none was sent. After somebody else nothing of theirs may be
 * shown, or sent in this one's name: the page begins anew, and this gives false. What was written before
 * anybody signed in belongs to who does so first.
 */
export function accepted(token: string | null): boolean {
  const before = kept(PERSON);
  const now = token && personOf(token);
  keep(PERSON, now);
  if (before === null || before === now) return true;
  beginAnew();
  return false;
}

/**
 * Resolves when what this tab keeps may be shown. Where people sign in elsewhere, it may be somebody else's:
 * then it is gone.
 */
export async function known(): Promise<void> {
  for (let failures = 0; isGiven() && kept(PERSON) !== null; failures++) {
    await new Promise((resolve) => setTimeout(resolve, backoff(failures)));
    const given = await token().catch(() => undefined);
    if (given === undefined) continue;
    if ((given && personOf(given)) === kept(PERSON)) return;
    keep(PERSON, null);
    forget(WRITTEN);
  }
}

/** Loads the page without anything of what it was, be it in a cache, a box or the address. */
function beginAnew(): void {
  const clear = () => forget(WRITTEN);
  clear();
  // Until it is gone the page may keep something again.
  addEventListener("pagehide", clear);
  location.replace(location.pathname);
}
