import { useEffect, useState } from "react";

import { client } from "../api/client";
import { MessageFieldsFragmentDoc } from "../api/generated";
import type { MessageModel } from "./model";

const fragment = { fragment: MessageFieldsFragmentDoc, fragmentName: "MessageFields" };

/**
 * Watches one message, until it has ended: from then on it does not change. (`useFragment` would go on
 * watching, and each watch costs something for each write: in a long thread a tenth of each frame.)
 */
export function useMessage(id: string): MessageModel | null {
  const from = { __typename: "Message" as const, id };
  const [message, setMessage] = useState<MessageModel | null>(() =>
    client.readFragment({ ...fragment, id: client.cache.identify(from) }),
  );
  const isWatching = message?.status === "STREAMING";
  useEffect(() => {
    if (!isWatching) return;
    const watch = client
      .watchFragment({ ...fragment, from: { __typename: "Message", id } })
      .subscribe(({ data, complete }) => complete && setMessage(data));
    return () => watch.unsubscribe();
  }, [id, isWatching]);
  return message;
}
