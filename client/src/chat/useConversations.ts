import { useQuery } from "@apollo/client/react";
import { useEffect, useState } from "react";

import { query, repeated } from "../api/client";
import { ConversationsDocument, OneMessageDocument, OutlineDocument } from "../api/generated";
import { useConnection } from "./useConnection";

const SHOWN = 100;
const TITLE = 100;
// How long a title that was refused is not asked for.
const AGAIN = 10_000;

export interface ConversationItem {
  id: string;
  title: string;
  updatedAt: string;
}

/** The conversations, most recently used first, each called by its first line. */
export function useConversations(): ConversationItem[] {
  const { data, previousData, refetch } = useQuery(ConversationsDocument, {
    variables: { first: SHOWN },
    fetchPolicy: "network-only",
  });
  const isLive = useConnection().kind === "live";
  useEffect(() => {
    // What happened without a connection, or in another window, was not announced here.
    const refresh = () => refetch().catch(() => {});
    if (isLive) refresh();
    addEventListener("focus", refresh);
    return () => removeEventListener("focus", refresh);
  }, [isLive, refetch]);
  const { conversations = [] } = data ?? previousData ?? {};
  const titles = useTitles(conversations.map(({ id }) => id));
  return conversations.map(({ id, updatedAt }) => ({ id, updatedAt, title: titles[id] ?? id }));
}

function useTitles(ids: readonly string[]): Record<string, string> {
  const [titles, setTitles] = useState<Record<string, string>>({});
  const missing = ids.find((id) => titles[id] === undefined);
  useEffect(() => {
    if (missing === undefined) return;
    const set = (title: string) => setTitles((known) => ({ ...known, [missing]: title }));
    titleOf(missing).then(set, () => {
      set(missing); // until it is asked for again; others come first
      setTimeout(setTitles, AGAIN, without(missing));
    });
  }, [missing]);
  // A conversation that was cleared may begin anew.
  const gone = Object.keys(titles).find((id) => !ids.includes(id));
  useEffect(() => {
    if (gone !== undefined) setTitles(without(gone));
  }, [gone]);
  return titles;
}

function without(id: string) {
  return ({ [id]: _, ...others }: Record<string, string>) => others;
}

/** The first line of a conversation's first message; its outline says which one that is. */
async function titleOf(conversationId: string): Promise<string> {
  const { messages } = await repeated(() => query(OutlineDocument, { conversationId }));
  const question = messages.find(({ role }) => role === "USER");
  if (!question) return conversationId;
  const { message } = await repeated(() => query(OneMessageDocument, { id: question.id }));
  return message?.content.trim().split("\n")[0]?.slice(0, TITLE) ?? conversationId;
}
