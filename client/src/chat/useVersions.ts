import { useCallback, useEffect, useMemo, useState } from "react";

import { query } from "../api/client";
import { OneMessageDocument, RepliesDocument } from "../api/generated";
import type { MessageModel } from "./model";

/** All replies to the question of this one, which is the newest of them, and the one to show. */
export function useVersions(newest: MessageModel, isWanted: boolean) {
  const { id, replyToId, status } = newest;
  const [ids, setIds] = useState<string[]>([]);
  const [selected, setSelected] = useState<MessageModel | null>(null);

  useEffect(() => {
    if (!isWanted || !replyToId || status === "STREAMING") return;
    query(RepliesDocument, { id: replyToId })
      .then(({ message }) => {
        const replies = message?.replies.map((reply) => reply.id) ?? [];
        // A list that does not have this one is older than it.
        setIds(replies.includes(id) ? replies : []);
      })
      .catch(() => {}); // then there is one to see
  }, [isWanted, id, replyToId, status]);

  const onSelect = useCallback(
    (index: number) => {
      query(OneMessageDocument, { id: ids[index] ?? "" })
        .then(({ message }) => setSelected(message))
        .catch(() => {});
    },
    [ids],
  );
  const shown = selected ?? newest;
  const versions = useMemo(
    () => ({ index: ids.indexOf(shown.id), count: ids.length, onSelect }),
    [ids, shown.id, onSelect],
  );
  return { shown, versions };
}
