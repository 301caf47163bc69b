import { useQuery } from "@apollo/client/react";
import { useEffect } from "react";

import { client, connection } from "../api/client";
import { ConversationsDocument } from "../api/generated";
import { oncePerFrame } from "./frame";

const SHOWN = 100;

const windows = new BroadcastChannel("conversations");

/** Refreshes the list in all windows of this browser: events tell each only of what it shows. */
export function conversationsChanged(): void {
  refresh();
  windows.postMessage(null);
}

// What happens at once in several windows is asked for once.
const refresh = oncePerFrame(() => {
  client.refetchQueries({ include: [ConversationsDocument] }).catch(() => {});
});

/** The conversations, most recently used first. */
export function useConversations() {
  const { data, previousData } = useQuery(ConversationsDocument, {
    variables: { first: SHOWN },
    fetchPolicy: "network-only",
  });
  useEffect(() => {
    // What happened without a connection, or in another browser, was not announced here.
    const leave = connection.onState(() => connection.state().kind === "live" && refresh());
    addEventListener("focus", refresh);
    windows.addEventListener("message", refresh);
    return () => {
      leave();
      removeEventListener("focus", refresh);
      windows.removeEventListener("message", refresh);
    };
  }, []);
  return (data ?? previousData)?.conversations ?? [];
}
