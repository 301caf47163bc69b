import "./MessageView.css";

import { memo, useState } from "react";

import type { MessageModel } from "../model";
import { CopyButton } from "./CopyButton";
import { Icon, IconButton } from "./Icon";
import { Markdown } from "./Markdown";
import { PlainIfBroken } from "./PlainIfBroken";

interface Props {
  message: MessageModel;
  /** This window has detached itself from the reply. */
  isInterrupted?: boolean;
  onRegenerate: () => void;
  /** Which of a question's replies this is. */
  versions?: { index: number; count: number; onSelect: (index: number) => void };
}

/** One message, as an item of the list. */
export const MessageView = memo(function MessageView(props: Props) {
  const { message, isInterrupted = false, onRegenerate, versions } = props;
  const { id, role, status, content } = message;
  const hasEnded = role === "ASSISTANT" && status !== "STREAMING";
  return (
    // biome-ignore lint/a11y/useSemanticElements: groups stand between it and its list
    <div
      role="listitem"
      className="message"
      data-message-id={id}
      data-role={role}
      data-status={status}
    >
      <PlainIfBroken key={id} text={content}>
        <h2 aria-label={role === "USER" ? "You" : "Reply"} />
        {role === "USER" ? (
          <p className="bubble">{content.replace(/\r\n?/g, "\n")}</p>
        ) : (
          <Markdown text={content} isStreaming={status === "STREAMING" && !isInterrupted} />
        )}
        <Outcome {...props} />
        <div className="actions">
          {content && <CopyButton text={content} />}
          {hasEnded && status !== "ERROR" && (
            <IconButton icon="regenerate" name="Regenerate" onClick={onRegenerate} />
          )}
          {hasEnded && versions && versions.count > 1 && <Versions {...versions} />}
          {status === "DONE" && message.usage && <Usage usage={message.usage} />}
        </div>
      </PlainIfBroken>
    </div>
  );
});

function Outcome({ message: { status, error }, isInterrupted, onRegenerate }: Props) {
  // A failure of long ago is nothing to interrupt a reader with.
  const [isOld] = useState(status === "ERROR");
  if (status === "ERROR") {
    return (
      <div className="problem failure">
        <Icon name="alert" />
        <p role={isOld ? undefined : "alert"}>
          {error?.message ?? "The reply could not be completed."}
        </p>
        <button type="button" onClick={onRegenerate}>
          <Icon name="regenerate" />
          Retry
        </button>
      </div>
    );
  }
  if (status === "STOPPED") return <p className="mark">Stopped</p>;
  if (status === "STREAMING" && isInterrupted) {
    return <p className="mark">Interrupted here; the reply goes on on the server</p>;
  }
  return null;
}

function Versions({ index, count, onSelect }: NonNullable<Props["versions"]>) {
  return (
    <div className="versions">
      <IconButton
        icon="previous"
        name="Previous reply"
        disabled={index === 0}
        onClick={() => onSelect(index - 1)}
      />
      <span>
        {index + 1} of {count}
      </span>
      <IconButton
        icon="next"
        name="Next reply"
        disabled={index === count - 1}
        onClick={() => onSelect(index + 1)}
      />
    </div>
  );
}

/** What a reply took, as far as it is known; no part of the text, even for who selects all of it. */
function Usage({ usage }: { usage: NonNullable<MessageModel["usage"]> }) {
  const { model, outputTokens, duration } = usage;
  const tokens = outputTokens === null ? null : `${outputTokens} tokens`;
  const seconds = duration === null ? null : `${duration.toFixed(1)} s`;
  const words = [model, tokens, seconds].filter((each) => each !== null).join(" · ");
  return <span className="usage" data-words={words} />;
}
