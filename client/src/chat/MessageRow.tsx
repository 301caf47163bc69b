import { memo, useCallback, useMemo, useState } from "react";

import { query } from "../api/client";
import { OneMessageDocument } from "../api/generated";
import { MessageView } from "./components/MessageView";
import { useMessage } from "./messages";
import type { MessageModel } from "./model";

interface Props {
  id: string;
  isInterrupted: boolean;
  onRegenerate: (replyId: string) => void;
}

/**
 * Reads its message by itself, so that a reply that grows renders nothing else. Of a question's replies it
 * stands for the newest, and shows it unless an older one is selected.
 */
export const MessageRow = memo(function MessageRow({ id, isInterrupted, onRegenerate }: Props) {
  const message = useMessage(id);
  const question = useMessage(message?.replyToId ?? id, message?.status === "STREAMING");
  const [selected, setSelected] = useState<MessageModel | null>(null);
  const shown = selected ?? message;
  const versions = useMemo(() => {
    const replies = message?.replyToId ? question?.replies : [];
    const older = replies?.map(({ replyId }) => replyId).filter((each) => each !== id) ?? [];
    const ids = [...older, id];
    const onSelect = (index: number) => {
      query(OneMessageDocument, { id: ids[index] ?? id })
        .then((data) => setSelected(data.message))
        .catch(() => {});
    };
    return { index: ids.indexOf(shown?.id ?? id), count: ids.length, onSelect };
  }, [id, message?.replyToId, question, shown?.id]);
  const regenerate = useCallback(() => onRegenerate(id), [onRegenerate, id]);
  if (!shown) return null;
  return (
    <MessageView
      message={shown}
      isInterrupted={isInterrupted}
      onRegenerate={regenerate}
      versions={versions}
    />
  );
});
