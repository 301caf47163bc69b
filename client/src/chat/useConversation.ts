import { useEffect, useMemo, useSyncExternalStore } from "react";

import type { Conversation } from "./model";
import { Session } from "./session";

/** A conversation for as long as it is shown. Leaving it ends its subscriptions, and no reply. */
export function useConversation(id: string): Conversation {
  const session = useMemo(() => new Session(id), [id]);
  const { live } = session;
  useEffect(() => {
    live.open();
    return () => live.close();
  }, [live]);
  const view = useSyncExternalStore(live.onView, live.view);
  return useMemo(() => ({ ...session, ...view, id }), [session, view, id]);
}
