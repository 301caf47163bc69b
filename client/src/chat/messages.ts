import type { TypedDocumentNode } from "@apollo/client";
import { useEffect, useState } from "react";

import { client } from "../api/client";
import { MessageFieldsFragmentDoc } from "../api/generated";
import type { MessageModel } from "./model";

const { cache } = client;
const typed = { __typename: "Message" } as const;
const fragment = {
  fragment: MessageFieldsFragmentDoc as TypedDocumentNode<MessageModel>,
  fragmentName: "MessageFields",
};

/** Makes the cache have these messages, of which it has those before. */
export function write(messages: readonly MessageModel[], before: readonly MessageModel[]): void {
  const written = new Set(before);
  const ids = new Set(messages.map(({ id }) => id));
  const update = () => {
    for (const message of messages) {
      if (written.has(message)) continue;
      // Without their type: the cache would take them for messages, and drop those that are not shown.
      const replies = message.replies.map(({ replyId }) => ({ replyId }));
      cache.writeFragment({
        ...fragment,
        from: { ...typed, id: message.id },
        data: { ...typed, ...message, replies },
      });
    }
    for (const { id } of before)
      if (!ids.has(id)) cache.evict({ id: cache.identify({ ...typed, id }) });
  };
  cache.batch({ update });
}

/**
 * Reads a message, and watches it if it may change: unless it had ended before. (`useFragment` would watch
 * all, and each watch costs something for each write: in a long thread a tenth of each frame.)
 */
export function useMessage(id: string, mayChange = false): MessageModel | null {
  const from = { ...typed, id };
  const [message, setMessage] = useState(() => cache.readFragment({ ...fragment, from }));
  const [isWatched] = useState(mayChange || !message || message.status === "STREAMING");
  useEffect(() => {
    if (!isWatched) return;
    const watch = client
      .watchFragment({ ...fragment, from: { ...typed, id } })
      .subscribe(({ data, complete }) => complete && setMessage(data));
    return () => watch.unsubscribe();
  }, [id, isWatched]);
  return message;
}
