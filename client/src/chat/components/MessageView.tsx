import "./MessageView.css";

import { memo, type ReactNode, useState } from "react";

import type { MessageModel } from "../model";
import { CopyButton } from "./CopyButton";
import { Icon } from "./Icon";
import { Markdown } from "./Markdown";
import { PlainIfBroken } from "./PlainIfBroken";

interface Props {
  message: MessageModel;
  /** This window has detached itself from the reply. */
  isInterrupted?: boolean;
  onRegenerate?: (replyId: string) => void;
  onRetry?: (replyId: string) => void;
  /** Which of a question's replies this is. */
  versions?: { index: number; count: number; onSelect: (index: number) => void };
}

/** One message, as an item of the list. */
export const MessageView = memo(function MessageView(props: Props) {
  const { message, isInterrupted = false } = props;
  const { id, role, status, content } = message;
  const isStreaming = status === "STREAMING" && !isInterrupted;
  return (
    <li className="message" data-message-id={id} data-role={role} data-status={status}>
      <PlainIfBroken key={id} text={content}>
        <h2 aria-label={role === "USER" ? "You" : "Reply"} />
        {role === "USER" ? (
          <p className="bubble">{content}</p>
        ) : (
          <Markdown text={content} isStreaming={isStreaming} />
        )}
        <Outcome {...props} />
        <Actions {...props} />
      </PlainIfBroken>
    </li>
  );
});

function Outcome({ message, isInterrupted, onRetry }: Props) {
  const { id, status, error } = message;
  // A failure of long ago is nothing to interrupt a reader with.
  const [isOld] = useState(status === "ERROR");
  if (status === "ERROR") {
    return (
      <div className="problem failure">
        <Icon name="alert" />
        <p role={isOld ? undefined : "alert"}>
          {error?.message ?? "The reply could not be completed."}
        </p>
        {onRetry && (
          <button type="button" onClick={() => onRetry(id)}>
            <Icon name="regenerate" />
            Retry
          </button>
        )}
      </div>
    );
  }
  if (status === "STOPPED") {
    return (
      <Mark>
        <Icon name="stop" />
        Stopped
      </Mark>
    );
  }
  return status === "STREAMING" && isInterrupted ? (
    <Mark>Interrupted here; the reply goes on on the server</Mark>
  ) : null;
}

function Mark({ children }: { children: ReactNode }) {
  return <p className="mark">{children}</p>;
}

function Actions({ message, onRegenerate, versions }: Props) {
  const { id, role, status, content } = message;
  return (
    <div className="actions">
      {content && <CopyButton text={content} />}
      {role === "ASSISTANT" && (status === "DONE" || status === "STOPPED") && onRegenerate && (
        <button
          type="button"
          className="icon-only"
          aria-label="Regenerate"
          title="Regenerate"
          onClick={() => onRegenerate(id)}
        >
          <Icon name="regenerate" />
        </button>
      )}
      {status !== "STREAMING" && versions && versions.count > 1 && <Versions {...versions} />}
    </div>
  );
}

function Versions({ index, count, onSelect }: NonNullable<Props["versions"]>) {
  return (
    <div className="versions">
      <button
        type="button"
        className="icon-only"
        aria-label="Previous reply"
        disabled={index === 0}
        onClick={() => onSelect(index - 1)}
      >
        <Icon name="previous" />
      </button>
      <span>
        {index + 1} of {count}
      </span>
      <button
        type="button"
        className="icon-only"
        aria-label="Next reply"
        disabled={index === count - 1}
        onClick={() => onSelect(index + 1)}
      >
        <Icon name="next" />
      </button>
    </div>
  );
}
