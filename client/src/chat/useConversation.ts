import { useEffect, useSyncExternalStore } from "react";

import { Conversation } from "./conversation";

// All that were shown, since what was sent in one may be under way when it is left.
const conversations = new Map<string, Conversation>();

/** A conversation, open for as long as it is shown. Leaving it ends its subscriptions, and no reply. */
export function useConversation(id: string) {
  const conversation = conversations.get(id) ?? new Conversation(id);
  conversations.set(id, conversation);
  useEffect(() => {
    conversation.open();
    return () => conversation.close();
  }, [conversation]);
  const view = useSyncExternalStore(conversation.onView, conversation.view);
  return { conversation, view };
}
