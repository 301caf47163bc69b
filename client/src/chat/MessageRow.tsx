import { memo, useCallback } from "react";

import { MessageView } from "./components/MessageView";
import type { MessageModel } from "./model";
import { useMessage } from "./useMessage";
import { useVersions } from "./useVersions";

interface Props {
  id: string;
  isLast: boolean;
  isInterrupted: boolean;
  onRegenerate: (replyId: string) => void;
}

/** Reads its message by itself, so that a reply that grows renders nothing else. */
export const MessageRow = memo(function MessageRow({ id, ...props }: Props) {
  const message = useMessage(id);
  return message && <Row message={message} {...props} />;
});

function Row({
  message,
  isLast,
  isInterrupted,
  onRegenerate,
}: Omit<Props, "id"> & { message: MessageModel }) {
  const { shown, versions } = useVersions(message, isLast);
  const regenerate = useCallback(() => onRegenerate(message.id), [onRegenerate, message.id]);
  return (
    <MessageView
      message={shown}
      isInterrupted={isInterrupted}
      onRegenerate={regenerate}
      onRetry={regenerate}
      versions={versions}
    />
  );
}
